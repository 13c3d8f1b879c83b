"""SQL texts with other columns in them: definitions the server printed and expressions a user gave, by the grammar."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, LiteralString, cast

from psycopg import sql

from dbkit.errors import UsageError
from dbkit.postgres import ddl
from dbkit.postgres.catalog import quote


def expression(text: str, what: str) -> Any:
    """The node of one SQL expression. Raises UsageError when it is not exactly one."""
    try:
        statements = ddl.parse(f"select {text}", label=what)
    except ddl.SqlSyntaxError as error:
        raise UsageError(f"{what} is not an expression: {text}", why=error.what) from None
    select = statements[0].node.select_stmt if len(statements) == 1 else None
    plain = select is not None and len(select.target_list) == 1 and not select.from_clause and not select.sort_clause
    if not plain or select is None or select.HasField("where_clause") or select.target_list[0].res_target.name:
        raise UsageError(f"{what} is not one expression: {text}")
    return select.target_list[0].res_target.val


def trusted(text: str) -> sql.SQL:
    """A piece of SQL that the grammar has read as one expression or type."""
    return sql.SQL(cast(LiteralString, text))


def slug(text: str) -> str:
    """A text as part of an id: letters, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def columns_in(text: str, what: str) -> tuple[str, ...]:
    """The columns an expression names, in order."""
    nodes = ddl.walk(expression(text, what))
    found = [cast(Any, n).fields[-1].string.sval for n in nodes if type(n).__name__ == "ColumnRef"]
    return tuple(dict.fromkeys(found))


def qualified(text: str, prefix: str) -> str:
    """The expression with every column written as `prefix.column`, for triggers."""
    node = ddl.copy(expression(text, "the expression"))
    for inner in ddl.walk(node):
        if type(inner).__name__ == "ColumnRef":
            _prefix(inner, prefix)
    return ddl.deparse_expression(node)


def _prefix(reference: Any, prefix: str) -> None:
    name = reference.fields[-1].string.sval
    del reference.fields[:]
    for part in (prefix, name):
        reference.fields.add().string.sval = part


def renamed(text: str, mapping: Mapping[str, str]) -> str:
    """The expression with columns renamed."""
    node = ddl.copy(expression(text, "the expression"))
    _rename(node, mapping)
    return ddl.deparse_expression(node)


def index(definition: str, mapping: Mapping[str, str], name: str, tablespace: str | None = None) -> str:
    """A CREATE INDEX statement on the renamed columns, concurrent, under another name.

    The server does not print the tablespace: it is given where it is not the database's own.
    """

    def change(node: Any) -> None:
        held = node.index_stmt
        held.idxname = name
        held.table_space = tablespace or ""
        held.concurrent = True
        held.if_not_exists = True
        held.relation.inh = True  # of a partitioned table the server prints ON ONLY
        for element in (*held.index_params, *held.index_including_params):
            if element.index_elem.name in mapping:
                element.index_elem.name = mapping[element.index_elem.name]
        _rename(held, mapping)

    return _changed(definition, change)


def index_on(definition: str, table: str) -> str:
    """The same CREATE INDEX, plain and without a name, on another table of the same columns."""

    def change(node: Any) -> None:
        held = node.index_stmt
        held.idxname, held.relation.schemaname, held.relation.relname = "", "", table
        held.relation.inh = True

    return _changed(definition, change)


def constraint(
    table: str, definition: str, mapping: Mapping[str, str], name: str, parent: Mapping[str, str] | None = None
) -> str:
    """ALTER TABLE ADD CONSTRAINT for the same constraint on renamed columns (and the parent's), not valid yet."""

    def change(node: Any) -> None:
        held = getattr(node.alter_table_stmt.cmds[0].alter_table_cmd, "def").constraint
        held.skip_validation = True
        held.initially_valid = False
        for key in (*held.keys, *held.fk_attrs):
            key.string.sval = mapping.get(key.string.sval, key.string.sval)
        for key in held.pk_attrs:
            key.string.sval = (parent or {}).get(key.string.sval, key.string.sval)
        _rename(held, mapping)

    plain = definition.removesuffix(" NOT VALID")
    return _changed(f"alter table {table} add constraint {quote(name)} {plain}", change)


def statistics(definition: str, mapping: Mapping[str, str], schema: str, name: str) -> str:
    """A CREATE STATISTICS statement on renamed columns, under another name."""

    def change(node: Any) -> None:
        held = node.create_stats_stmt
        del held.defnames[:]
        for part in (schema, name):
            held.defnames.add().string.sval = part
        held.if_not_exists = True
        for element in held.exprs:
            if element.stats_elem.name in mapping:
                element.stats_elem.name = mapping[element.stats_elem.name]
        _rename(held, mapping)

    return _changed(definition, change)


def retyped(definition: str, schema: str, name: str, to: str) -> str:
    """A statement the server printed, with every cast to the type (and arrays of it) written as one to `to`."""

    def change(node: Any) -> None:
        for inner in ddl.walk(node):
            if type(inner).__name__ == "TypeCast":
                held = cast(Any, inner).type_name
                if [n.string.sval for n in held.names] == [schema, name]:
                    del held.names[:]
                    held.names.add().string.sval = to

    return _changed(definition, change)


def trigger_also_of(definition: str, columns: tuple[str, ...]) -> str:
    """CREATE OR REPLACE TRIGGER with more columns in its UPDATE OF list (none: as it is, replaceable)."""

    def change(node: Any) -> None:
        held = node.create_trig_stmt
        held.replace = True
        for column in columns:
            held.columns.add().string.sval = column

    return _changed(definition, change)


def _changed(text: str, change: Callable[[Any], None]) -> str:
    node = ddl.copy(ddl.parse(text)[0].node)
    change(node)
    return ddl.deparse(node)


def _rename(message: Any, mapping: Mapping[str, str]) -> None:
    for node in ddl.walk(message):
        if type(node).__name__ == "ColumnRef":
            last = cast(Any, node).fields[-1]
            if last.WhichOneof("node") == "string":  # and not `old.*`
                last.string.sval = mapping.get(last.string.sval, last.string.sval)


def trigger_only_of(definition: str, mapping: Mapping[str, str]) -> str:
    """CREATE OR REPLACE TRIGGER with the columns of UPDATE OF and of WHEN renamed."""

    def change(node: Any) -> None:
        held = node.create_trig_stmt
        held.replace = True
        for column in held.columns:
            column.string.sval = mapping.get(column.string.sval, column.string.sval)
        _rename(held.when_clause, mapping)

    return _changed(definition, change)


def index_elsewhere(
    definition: str, table: str, name: str, more: tuple[str, ...] = (), *, concurrently: bool = False
) -> str:
    """A CREATE INDEX statement on another table of the same schema, with more key columns at its end."""

    def change(node: Any) -> None:
        held = node.index_stmt
        held.idxname = name
        held.relation.relname = table
        held.relation.inh = True  # of a partitioned table the server prints ON ONLY
        held.concurrent = held.if_not_exists = concurrently
        for column in more:
            added = held.index_params.add().index_elem
            added.CopyFrom(held.index_params[0].index_elem)
            for field in ("expr", "collation", "opclass", "opclassopts"):
                added.ClearField(field)
            added.name = column

    return _changed(definition, change)


def key_elsewhere(table: str, definition: str, name: str, more: tuple[str, ...] = ()) -> str:
    """ALTER TABLE ADD CONSTRAINT for a primary key or unique constraint with more columns at its end."""

    def change(node: Any) -> None:
        held = getattr(node.alter_table_stmt.cmds[0].alter_table_cmd, "def").constraint
        for column in more:
            held.keys.add().string.sval = column

    return _changed(f"alter table {table} add constraint {quote(name)} {definition}", change)


def trigger_elsewhere(definition: str, table: str) -> str:
    """A CREATE TRIGGER statement on another table of the same schema."""

    def change(node: Any) -> None:
        node.create_trig_stmt.relation.relname = table

    return _changed(definition, change)


def statistics_elsewhere(definition: str, table: str, schema: str, name: str) -> str:
    """A CREATE STATISTICS statement on another table of the same schema, under another name."""

    def change(node: Any) -> None:
        held = node.create_stats_stmt
        del held.defnames[:]
        for part in (schema, name):
            held.defnames.add().string.sval = part
        held.relations[0].range_var.relname = table

    return _changed(definition, change)
