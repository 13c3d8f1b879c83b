"""Columns that fill themselves: serial, identity, generated."""

from __future__ import annotations

from collections.abc import Iterator

from dbkit.postgres.ddl import deparse_expression
from dbkit.postgres.migrate import actions as a
from dbkit.postgres.migrate.context import Context, Hazard
from dbkit.postgres.migrate.names import quote
from dbkit.postgres.migrate.rules.declare import AX, ERROR, REWRITES, also, hazard
from dbkit.postgres.migrate.types import SERIALS


@hazard(
    "migrate.add-column-serial",
    on=a.AddColumn,
    category="lock",
    severity=ERROR,
    lock=AX,
    cost=REWRITES,
    ok="No serial column is added to an existing table",
    bad="alter table orders add column number bigserial;",
    good="alter table orders add column number bigint;",
    known=also(
        "adding-serial-primary-key-field adding-field-with-default",
        "add_column_auto_incrementing",
        "E11 E10",
        "addSerialColumn addingPrimaryKeyConstraint",
        "add-column-serial",
    ),
)
def serial(ctx: Context, action: a.AddColumn) -> Iterator[Hazard]:
    """A serial column gives every existing row a number, which rewrites the table while reads and writes wait.

    Why: serial is a default of nextval(), which is volatile, and NOT NULL.

    Fix: a nullable bigint column, a sequence owned by it, SET DEFAULT nextval(...), a backfill in batches, then NOT
    NULL (see migrate.not-null-scans).

    Not reported when: the table was created by the same file.
    """
    column = action.column
    if column.type.name in SERIALS and not column.type.schema and not ctx.fresh(action.table):
        sequence = quote(f"{action.table.name}_{column.name}_seq"[:63])
        base = {"serial": "integer", "bigserial": "bigint", "smallserial": "smallint"}[column.type.name]
        head, name = f"ALTER TABLE {action.table.sql}", quote(column.name)
        yield Hazard(
            f"serial column {column.name} numbers every row: {action.table} is rewritten while reads and writes wait",
            object=str(action.table),
            recipe=f"{head} ADD COLUMN {name} {base};\n"
            f"CREATE SEQUENCE {sequence} AS {base} OWNED BY {action.table.sql}.{name};\n"
            f"{head} ALTER COLUMN {name} SET DEFAULT nextval('{sequence}');\n-- then fill the old rows in batches",
            tables=(action.table,),
            data={"lock": AX, "cost": REWRITES},
        )


@hazard(
    "migrate.add-column-identity",
    on=a.AddColumn,
    category="lock",
    severity=ERROR,
    lock=AX,
    cost=REWRITES,
    ok="No identity column is added to an existing table",
    bad="alter table orders add column number bigint generated always as identity;",
    good="alter table orders add column number bigint;",
    known=also("", "add_column_auto_incrementing", "E11 E10", "addSerialColumn", "add-column-identity"),
)
def identity(ctx: Context, action: a.AddColumn) -> Iterator[Hazard]:
    """An identity column gives every existing row a number, which rewrites the table while reads and writes wait.

    Why: the numbers come from a sequence, one a row, under ACCESS EXCLUSIVE.

    Fix: a nullable column, fill it in batches, make it NOT NULL, then ADD GENERATED ... AS IDENTITY, which is metadata.

    Not reported when: the table was created by the same file.
    """
    if action.column.identity and not ctx.fresh(action.table):
        column = action.column
        head, name = f"ALTER TABLE {action.table.sql}", quote(column.name)
        yield Hazard(
            f"identity column {column.name} numbers every row: {action.table} is rewritten while reads and writes wait",
            object=str(action.table),
            recipe=f"{head} ADD COLUMN {name} {column.type};\n"
            "-- fill it in batches, then SET NOT NULL by a check, then:\n"
            f"{head} ALTER COLUMN {name} ADD GENERATED ALWAYS AS IDENTITY;",
            tables=(action.table,),
            data={"lock": AX, "cost": REWRITES},
        )


@hazard(
    "migrate.add-column-generated-stored",
    on=a.AddColumn,
    category="lock",
    severity=ERROR,
    lock=AX,
    cost=REWRITES,
    versions="VIRTUAL (metadata only) from 18",
    ok="No stored generated column is added to an existing table",
    bad="alter table items add column total int generated always as (price * amount) stored;",
    good="alter table items add column total int;",
    known=also(
        "adding-field-with-default",
        "add_column_generated_stored",
        "E11 E10",
        "addSerialColumn",
        "add-column-generated-stored",
        "ADD_COLUMN_GENERATED_STORED",
    ),
)
def generated(ctx: Context, action: a.AddColumn) -> Iterator[Hazard]:
    """A stored generated column is computed for every row, which rewrites the table while reads and writes wait.

    Why: STORED means each row holds the value, so each is written anew under ACCESS EXCLUSIVE.

    Fix: a plain column kept up by a trigger and filled in batches; from 18 a VIRTUAL column, if no index needs it.

    Not reported when: the column is VIRTUAL or the table was created by the same file.
    """
    if action.column.generated == "stored" and not ctx.fresh(action.table):
        virtual = ctx.major >= 18 and action.column.expression is not None
        expression = deparse_expression(action.column.expression) if action.column.expression is not None else ""
        yield Hazard(
            f"stored column {action.column.name} is computed for every row: {action.table} is rewritten while reads and"
            " writes wait",
            object=str(action.table),
            recipe=f"ALTER TABLE {action.table.sql} ADD COLUMN {quote(action.column.name)} {action.column.type}"
            f" GENERATED ALWAYS AS ({expression}) VIRTUAL;"
            if virtual
            else f"ALTER TABLE {action.table.sql} ADD COLUMN {quote(action.column.name)} {action.column.type};\n"
            "-- keep it up by a trigger, fill old rows in batches",
            tables=(action.table,),
            data={"lock": AX, "cost": REWRITES},
        )


@hazard(
    "migrate.set-expression",
    on=a.SetExpression,
    category="lock",
    severity=ERROR,
    lock=AX,
    cost=REWRITES,
    versions="from 17; a virtual column (18) is not rewritten",
    ok="No generated column's expression is changed",
    bad="alter table items alter column total set expression as (price * 2);",
    good="""
    -- before
    create table items (price int, total int generated always as (price) virtual);
    -- PostgreSQL 18
    -- migration
    alter table items alter column total set expression as (price * 2);
    """,
    known=also("ban-alter-generated-expression"),
)
def set_expression(ctx: Context, action: a.SetExpression) -> Iterator[Hazard]:
    """SET EXPRESSION computes a stored column anew for every row while reads and writes wait.

    Why: it rewrites the table under ACCESS EXCLUSIVE.

    Fix: a second column with the new expression kept by trigger and backfill, then swap the names.

    Not reported when: the column is known to be VIRTUAL.
    """
    table = ctx.schema.table(action.table)
    column = table.column(action.column) if table is not None else None
    if (column is not None and column.generated == "virtual") or ctx.fresh(action.table):
        return
    yield Hazard(
        f"the new expression of {action.column} is computed for every row: {action.table} is rewritten",
        object=str(action.table),
        tables=(action.table,),
        data={"lock": AX, "cost": REWRITES},
    )
