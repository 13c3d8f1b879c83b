"""The safe way to do what a statement does, with the user's own names. Rules show these; `--fix` writes them."""

from __future__ import annotations

import re

from dbkit.postgres.ddl import deparse_expression
from dbkit.postgres.migrate import actions as a
from dbkit.postgres.migrate.context import Rewrite
from dbkit.postgres.migrate.given_names import auto_name, constraint_name
from dbkit.postgres.migrate.names import Name, quote

_INDEX = re.compile(r"\A(create\s+(?:unique\s+)?index)\b", re.IGNORECASE)
_DROP_INDEX = re.compile(r"\A(drop\s+index)\b", re.IGNORECASE)
_REINDEX = re.compile(r"\A(reindex\s+(?:\([^)]*\)\s*)?(?:index|table|schema|database))\b", re.IGNORECASE)
_REFRESH = re.compile(r"\A(refresh\s+materialized\s+view)\b", re.IGNORECASE)
_DETACH = re.compile(r";?\s*\Z")


def _word(before: str, word: str) -> str:
    """The keyword in the author's case."""
    return word.upper() if before.upper() == before else word.lower()


def concurrently(sql: str, pattern: re.Pattern[str]) -> str | None:
    """The author's text with CONCURRENTLY put in, comments and line breaks kept."""
    found = pattern.match(sql)
    if found is None:
        return None
    return f"{found[1]} {_word(found[1], 'concurrently')}{sql[found.end() :]}"


def create_index(sql: str) -> Rewrite | None:
    """CREATE INDEX CONCURRENTLY."""
    text = concurrently(sql, _INDEX)
    return Rewrite(text, alone=True) if text else None


def drop_index(sql: str, action: a.Drop) -> Rewrite | None:
    """DROP INDEX CONCURRENTLY, one statement an index, which is all the grammar allows."""
    text = concurrently(sql, _DROP_INDEX)
    if text is None:
        return None
    if len(action.names) == 1:
        return Rewrite(text, alone=True) if not action.cascade else None
    exists = "if exists " if action.if_exists else ""
    head = _word(sql[:4], f"drop index concurrently {exists}")
    return Rewrite(";\n".join(f"{head}{name.sql}" for name in action.names), alone=True)


def reindex(sql: str) -> Rewrite | None:
    """REINDEX ... CONCURRENTLY."""
    if "(" in sql:
        return None
    text = concurrently(sql, _REINDEX)
    return Rewrite(text, alone=True) if text else None


def refresh(sql: str) -> Rewrite | None:
    """REFRESH MATERIALIZED VIEW CONCURRENTLY; it may share a transaction."""
    text = concurrently(sql, _REFRESH)
    return Rewrite(text) if text else None


def detach(sql: str) -> Rewrite | None:
    """DETACH PARTITION ... CONCURRENTLY."""
    return Rewrite(f"{_DETACH.sub('', sql)} {_word(sql[:5], 'concurrently')}", alone=True)


def columns(names: tuple[str, ...]) -> str:
    """A column list as SQL."""
    return ", ".join(quote(n) for n in names)


def constraint_sql(made: a.Constraint, table: Name) -> str:
    """`ADD CONSTRAINT ... ` of a check or foreign key, named, without NOT VALID."""
    name = quote(constraint_name(table.name, made))
    if made.kind == "check" and made.expression is not None:
        alone = " NO INHERIT" if made.no_inherit else ""
        return f"ADD CONSTRAINT {name} CHECK ({deparse_expression(made.expression)}){alone}"
    parent = made.parent.sql if made.parent is not None else ""
    target = f" ({columns(made.parent_columns)})" if made.parent_columns else ""
    keys = columns(made.columns)
    return f"ADD CONSTRAINT {name} FOREIGN KEY ({keys}) REFERENCES {parent}{target}{made.actions}{made.deferrable}"


def not_valid_then_validate(made: a.Constraint, table: Name) -> Rewrite:
    """A check or foreign key added without looking at the rows, then validated in its own transaction."""
    name = quote(constraint_name(table.name, made))
    head = f"ALTER TABLE {table.sql}"
    return Rewrite(
        f"{head} {constraint_sql(made, table)} NOT VALID;\n{head} VALIDATE CONSTRAINT {name}",
        alone=True,
    )


def set_not_null(table: Name, column: str, major: int) -> Rewrite:
    """NOT NULL proved by a validated check (or, from 18, added NOT VALID), so that no scan runs under the lock."""
    name = auto_name(table.name, (column,), "not_null")
    head, quoted = f"ALTER TABLE {table.sql}", quote(name)
    if major >= 18:
        return Rewrite(
            f"{head} ADD CONSTRAINT {quoted} NOT NULL {quote(column)} NOT VALID;\n{head} VALIDATE CONSTRAINT {quoted}",
            alone=True,
        )
    return Rewrite(
        f"{head} ADD CONSTRAINT {quoted} CHECK ({quote(column)} IS NOT NULL) NOT VALID;\n"
        f"{head} VALIDATE CONSTRAINT {quoted};\n"
        f"{head} ALTER COLUMN {quote(column)} SET NOT NULL;\n"
        f"{head} DROP CONSTRAINT {quoted}",
        alone=True,
    )


def unique_by_index(made: a.Constraint, table: Name) -> Rewrite:
    """The index first, concurrently; then the constraint takes it over."""
    name = constraint_name(table.name, made)
    kind = "PRIMARY KEY" if made.kind == "primary" else "UNIQUE"
    nulls = " NULLS NOT DISTINCT" if made.nulls_not_distinct else ""
    include = f" INCLUDE ({columns(made.include)})" if made.include else ""
    return Rewrite(
        f"CREATE UNIQUE INDEX CONCURRENTLY {quote(name)} ON {table.sql} ({columns(made.columns)}){include}{nulls};\n"
        f"ALTER TABLE {table.sql} ADD CONSTRAINT {quote(name)} {kind} USING INDEX {quote(name)}{made.deferrable}",
        alone=True,
    )


def shadow_column(table: Name, column: str, type_words: str) -> str:
    """The outline of a type change by a second column; `dbkit migrate new` writes it in full."""
    new = quote(f"{column}_new")
    quoted = type_words if type_words.isalnum() else f"'{type_words}'"
    return (
        f"ALTER TABLE {table.sql} ADD COLUMN {new} {type_words};\n"
        f"-- keep both columns equal with triggers, backfill in batches, verify, then swap the names:\n"
        f"--   dbkit migrate new change-type {table}.{quote(column)} {quoted}"
    )


def add_then_default(table: Name, column: a.ColumnDef, default_sql: str) -> Rewrite:
    """The column without its default, then the default for new rows; old rows are filled in batches."""
    name = quote(column.name)
    return Rewrite(
        f"ALTER TABLE {table.sql} ADD COLUMN {name} {column.type}, ALTER COLUMN {name} SET DEFAULT {default_sql}"
    )
