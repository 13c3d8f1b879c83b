"""Column types that are regretted later. All are opt-in."""

from __future__ import annotations

from collections.abc import Iterator

from dbkit.postgres.migrate import actions as a
from dbkit.postgres.migrate.context import Context, Hazard
from dbkit.postgres.migrate.rules.declare import (
    INFO,
    WARN,
    Check,
    MigrationRule,
    also,
    hazard,
)
from dbkit.postgres.migrate.types import SqlType


def _columns(action: a.CreateTable | a.AddColumn | a.AlterType) -> Iterator[tuple[str, SqlType, bool]]:
    """Name, type and whether it is a primary key, of every column an action gives a type."""
    if isinstance(action, a.AlterType):
        yield action.column, action.type, False
        return
    held = action.columns if isinstance(action, a.CreateTable) else (action.column,)
    keys = (
        {c for k in action.constraints if k.kind == "primary" for c in k.columns}
        if isinstance(action, a.CreateTable)
        else set[str]()
    )
    for column in held:
        inline = any(k.kind == "primary" for k in column.constraints)
        yield column.name, column.type, inline or column.name in keys


_TYPED = (a.CreateTable, a.AddColumn, a.AlterType)


def _of_types(names: frozenset[str], words: str) -> Check:
    def check(ctx: Context, action: a.CreateTable | a.AddColumn | a.AlterType) -> Iterator[Hazard]:
        for column, kind, _ in _columns(action):
            if kind.name in names and kind.schema in ("", "pg_catalog"):
                yield Hazard(f"{action.table}.{column} is {kind}: {words}", str(action.table), data={"column": column})

    return check


def _type_rule(
    id: str, names: str, words: str, doc: str, ok: str, bad: str, good: str, known: dict[str, tuple[str, ...]]
) -> MigrationRule:
    check = _of_types(frozenset(names.split()), words)
    check.__doc__ = doc
    return hazard(id, on=_TYPED, category="style", severity=INFO, ok=ok, bad=bad, good=good, opt_in=True, known=known)(
        check
    )


int_column = _type_rule(
    "migrate.int-column",
    "int4 serial",
    "it ends at 2,147,483,647",
    """An integer column runs out at 2,147,483,647, and widening it later rewrites the table.

    Why: bigint costs four bytes a row, often none after alignment.

    Fix: bigint.
    """,
    "No column is a 4-byte integer",
    "create table t (id integer);",
    "create table t (id bigint);",
    also("prefer-bigint-over-int", pgls="preferBigintOverInt preferBigInt"),
)


smallint_column = _type_rule(
    "migrate.smallint-column",
    "int2 smallserial",
    "it ends at 32,767",
    """A smallint column runs out at 32,767, and widening it later rewrites the table.

    Why: it seldom saves anything after alignment.

    Fix: bigint, or integer where the range is certain.
    """,
    "No column is a 2-byte integer",
    "create table t (id smallint);",
    "create table t (id bigint);",
    also("prefer-bigint-over-smallint", pgls="preferBigintOverSmallint preferBigInt"),
)


serial_column = _type_rule(
    "migrate.serial-column",
    "serial bigserial smallserial",
    "an identity column owns its sequence and its rights",
    """A serial column is a default with a loose sequence; an identity column is one thing.

    Why: rights on the sequence are separate, the default can be dropped or copied by LIKE, and the value can be
    overwritten unnoticed.

    Fix: bigint GENERATED ALWAYS (or BY DEFAULT) AS IDENTITY.
    """,
    "No column is serial",
    "create table t (id bigserial);",
    "create table t (id bigint generated always as identity);",
    also("prefer-identity", pgls="preferIdentity", pgsafe="prefer-identity"),
)


timestamp_column = _type_rule(
    "migrate.timestamp-column",
    "timestamp",
    "it does not say which moment it means",
    """A timestamp without time zone is a clock face, not a moment.

    Why: what it means depends on who wrote it; comparisons across time zones are wrong.

    Fix: timestamptz, which stores UTC and costs the same.
    """,
    "No column is a timestamp without time zone",
    "create table t (at timestamp);",
    "create table t (at timestamptz);",
    also("prefer-timestamp-tz prefer-timestamptz", pgls="preferTimestamptz"),
)


json_column = _type_rule(
    "migrate.json-column",
    "json",
    "it has no equality, so SELECT DISTINCT over it fails",
    """A json column has no equality operator and is parsed again at every access.

    Why: SELECT DISTINCT and GROUP BY over the table's columns fail as soon as it is there.

    Fix: jsonb.
    """,
    "No column is json",
    "create table t (data json);",
    "create table t (data jsonb);",
    also("", "add_column_json", "E3", "preferJsonb", "prefer-jsonb"),
)


money_column = _type_rule(
    "migrate.money-column",
    "money",
    "its fraction and currency come from a server setting",
    """A money column has the fraction digits and the currency of lc_monetary.

    Why: a dump restored under another locale means another amount.

    Fix: numeric, with the currency in a column of its own.
    """,
    "No column is money",
    "create table t (price money);",
    "create table t (price numeric(12, 2));",
    {},
)


char_column = _type_rule(
    "migrate.char-column",
    "bpchar char",
    "it pads with blanks, or is the internal type of one byte",
    """A char(n) column pads with blanks, which comparisons then ignore, sometimes.

    Why: it is neither smaller nor faster than text, and lengths surprise. In quotes, "char" is an internal type that
    keeps one byte.

    Fix: text, with a CHECK on the length if one is wanted.
    """,
    "No column is char",
    "create table t (code char(3));",
    "create table t (code text);",
    also("ban-char-field", pgls="banCharField"),
)


@hazard(
    "migrate.varchar-column",
    on=_TYPED,
    category="style",
    severity=INFO,
    ok="No column has a length limit in its type",
    bad="create table t (name varchar(50));",
    good="create table t (name text);",
    opt_in=True,
    known=also("prefer-text-field", pgls="preferTextField"),
)
def varchar_column(ctx: Context, action: a.CreateTable | a.AddColumn | a.AlterType) -> Iterator[Hazard]:
    """A varchar(n) column: making it shorter later rewrites the table.

    Why: text is the same without the limit; a limit is easier to change as a CHECK.

    Fix: text, with a CHECK on the length if one is wanted.
    """
    for column, kind, _ in _columns(action):
        if kind.name == "varchar" and kind.mods:
            yield Hazard(
                f"{action.table}.{column} is {kind}: a shorter limit later rewrites the table",
                str(action.table),
                data={"column": column},
            )


@hazard(
    "migrate.int-primary-key",
    on=(a.CreateTable, a.AddColumn),
    category="style",
    severity=WARN,
    ok="Every integer primary key is a bigint",
    bad="create table t (id integer primary key);",
    good="create table t (id bigint primary key);",
    opt_in=True,
    known=also("prefer-bigint-over-int", pgsafe="prefer-bigint-primary-key"),
)
def int_primary_key(ctx: Context, action: a.CreateTable | a.AddColumn) -> Iterator[Hazard]:
    """An integer primary key runs out at 2,147,483,647; changing it later is a project.

    Why: the key, every foreign key to it, its sequence and all indexes have to change together.

    Fix: bigint from the start.
    """
    for column, kind, key in _columns(action):
        if key and kind.name in ("int4", "int2", "serial", "smallserial"):
            yield Hazard(f"primary key {action.table}.{column} is {kind}", str(action.table))
