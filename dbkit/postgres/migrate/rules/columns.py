"""Columns added and made NOT NULL."""

from __future__ import annotations

from collections.abc import Iterator

from dbkit.model import Evidence
from dbkit.postgres.ddl import deparse_expression
from dbkit.postgres.migrate import actions as a
from dbkit.postgres.migrate import expressions, recipes
from dbkit.postgres.migrate.context import Context, Hazard
from dbkit.postgres.migrate.names import quote
from dbkit.postgres.migrate.rules.declare import ERROR, REWRITES, SCANS, also, hazard
from dbkit.postgres.migrate.types import SERIALS

_AX = "ACCESS EXCLUSIVE"


@hazard(
    "migrate.not-null-scans",
    on=(a.SetNotNull, a.AddConstraint, a.AddColumn),
    category="lock",
    severity=ERROR,
    lock=_AX,
    cost=SCANS,
    versions="a validated CHECK is taken as proof from 12; NOT NULL ... NOT VALID exists from 18",
    ok="Every NOT NULL on an existing column is proved before the lock is taken",
    bad="alter table orders alter column total set not null;",
    good="""
    -- before
    create table orders (total int, constraint total_not_null check (total is not null));
    -- migration
    alter table orders alter column total set not null;
    """,
    known=also(
        "adding-not-nullable-field",
        "change_column_null change_column_null_postgresql change_column_with_not_null",
        "E2",
        "addingNotNullField",
        "set-not-null",
    ),
)
def not_null_scans(ctx: Context, action: a.SetNotNull | a.AddConstraint | a.AddColumn) -> Iterator[Hazard]:
    """SET NOT NULL reads the whole table while reads and writes wait.

    Why: it holds ACCESS EXCLUSIVE until every row was seen to hold a value; on a partitioned table, on every partition.

    Fix: add CHECK (column IS NOT NULL) NOT VALID, VALIDATE it in another transaction, SET NOT NULL (finds the proof
    and does not scan), drop the check. From 18: ADD CONSTRAINT ... NOT NULL column NOT VALID, then VALIDATE.

    Not reported when: the table or the column was created empty by the same file, the column is NOT NULL already, or a
    validated CHECK proves it (from 12): one that is, or has among its ANDs, `column IS NOT NULL`. `column > 0` proves
    nothing, since a CHECK passes on NULL; nor does one that the same statement drops, since drops come first.
    """
    if isinstance(action, a.AddColumn):
        yield from _virtual_not_null(ctx, action)
        return
    if isinstance(action, a.AddConstraint):
        if action.constraint.kind != "notnull" or action.constraint.not_valid:
            return
        wanted = action.constraint.columns
    else:
        wanted = (action.column,)
    if ctx.fresh(action.table):
        return
    table = ctx.schema.table(action.table)
    for name in wanted:
        column = table.column(name) if table is not None else None
        if column is not None and column.not_null:
            continue
        proof = table.proof_of_not_null(name) if table is not None and ctx.major >= 12 else None
        dropped = {x.name for x in ctx.actions if isinstance(x, a.DropConstraint)}
        if proof is not None and proof.name not in dropped:  # parts that drop come first, whatever their order
            continue
        pending = _unvalidated_proof(ctx, action, name)
        rewrite = recipes.set_not_null(action.table, name, ctx.major)
        why = f"; check {pending} would prove it once validated" if pending and ctx.major >= 12 else ""
        yield Hazard(
            f"SET NOT NULL on {action.table}.{name} reads the whole table while reads and writes wait{why}",
            object=str(action.table),
            recipe=f"ALTER TABLE {action.table.sql} VALIDATE CONSTRAINT {quote(pending)};  -- first, on its own"
            if why
            else rewrite.sql + ";",
            rewrite=rewrite if ctx.alone and not why and ctx.major >= 12 else None,
            tables=(action.table, *ctx.schema.leaves(action.table)),
            evidence=ctx.evidence(action.table),
            data={"lock": _AX, "cost": SCANS, "column": name},
        )


def _virtual_not_null(ctx: Context, action: a.AddColumn) -> Iterator[Hazard]:
    """A virtual column is not stored, but that none of its values is NULL has to be seen row by row."""
    column = action.column
    if column.generated == "virtual" and column.not_null and not ctx.fresh(action.table):
        yield Hazard(
            f"NOT NULL on the virtual column {column.name} reads all of {action.table} while reads and writes wait",
            object=str(action.table),
            tables=(action.table,),
            data={"lock": _AX, "cost": SCANS, "column": column.name},
        )


def _unvalidated_proof(ctx: Context, action: a.SetNotNull | a.AddConstraint, column: str) -> str:
    table = ctx.schema.table(action.table)
    if table is None:
        return ""
    for held in table.constraints.values():
        if not held.validated and column in expressions.proves_not_null(held.constraint.expression):
            return held.name
    return ""


@hazard(
    "migrate.add-column-volatile-default",
    on=a.AddColumn,
    category="lock",
    severity=ERROR,
    lock=_AX,
    cost=f"{REWRITES} and every index",
    ok="No column is added with a default that has to be computed row by row",
    bad="alter table users add column token uuid default gen_random_uuid();",
    good="""
    alter table users add column token uuid;
    alter table users alter column token set default gen_random_uuid();
    """,
    known=also(
        "adding-field-with-default",
        "add_column_default add_column_default_callable",
        "E5 E10",
        "addingFieldWithDefault",
        "add-column-volatile-default",
    ),
)
def volatile_default(ctx: Context, action: a.AddColumn) -> Iterator[Hazard]:
    """A column with a volatile default rewrites the table and all its indexes while reads and writes wait.

    Why: a constant or a stable default (now()) is stored once in the catalogue since 11; random(), clock_timestamp(),
    gen_random_uuid() and nextval() differ for each row, so each row is written anew under ACCESS EXCLUSIVE.

    Fix: add the column without default, SET DEFAULT for new rows, fill the old ones in batches.

    Not reported when: the table was created by the same file; the function is known to be stable or immutable. A
    function that is neither PostgreSQL's own nor in the known schema counts as volatile, as CREATE FUNCTION would.
    """
    column = action.column
    if ctx.fresh(action.table) or column.type.name in SERIALS:
        return
    found = expressions.volatile_call(column.default, ctx.schema.volatility)
    domain = ctx.schema.domain(column.type)
    if found is None and column.default is None and domain is not None and domain.volatile_default:
        found = (f"the default of {column.type}", True)
    if found is None:
        return
    name, certain = found
    default = deparse_expression(column.default) if column.default is not None else "..."
    rewrite = recipes.add_then_default(action.table, column, default)
    plain = column.exact and not column.not_null and not column.constraints and not column.collation
    because = "is volatile" if certain else "is not known and counts as volatile"
    yield Hazard(
        f"{name}() {because}: adding {column.name} rewrites {action.table} and its indexes while reads and writes wait",
        object=str(action.table),
        recipe=rewrite.sql + ";",
        rewrite=rewrite if ctx.alone and plain and not action.if_not_exists else None,
        tables=(action.table,),
        evidence=Evidence.SCHEMA if ctx.known(action.table) and certain else Evidence.TEXT,
        data={"lock": _AX, "cost": REWRITES, "function": name},
    )


@hazard(
    "migrate.add-column-serial",
    on=a.AddColumn,
    category="lock",
    severity=ERROR,
    lock=_AX,
    cost=REWRITES,
    ok="No serial column is added to an existing table",
    bad="alter table orders add column number bigserial;",
    good="alter table orders add column number bigint;",
    known=also(
        "adding-serial-primary-key-field adding-field-with-default",
        "",
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
            data={"lock": _AX, "cost": REWRITES},
        )


@hazard(
    "migrate.add-column-identity",
    on=a.AddColumn,
    category="lock",
    severity=ERROR,
    lock=_AX,
    cost=REWRITES,
    ok="No identity column is added to an existing table",
    bad="alter table orders add column number bigint generated always as identity;",
    good="alter table orders add column number bigint;",
    known=also("", "", "E11 E10", "addSerialColumn", "add-column-identity"),
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
            data={"lock": _AX, "cost": REWRITES},
        )


@hazard(
    "migrate.add-column-generated-stored",
    on=a.AddColumn,
    category="lock",
    severity=ERROR,
    lock=_AX,
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
            data={"lock": _AX, "cost": REWRITES},
        )


@hazard(
    "migrate.set-expression",
    on=a.SetExpression,
    category="lock",
    severity=ERROR,
    lock=_AX,
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
        data={"lock": _AX, "cost": REWRITES},
    )


@hazard(
    "migrate.add-column-constrained-domain",
    on=a.AddColumn,
    category="lock",
    severity=ERROR,
    lock=_AX,
    cost=REWRITES,
    versions="up to 18, measured",
    ok="No column of a constrained domain is added to an existing table",
    bad="""
    -- before
    create domain positive as int check (value > 0);
    -- migration
    alter table t add column n positive;
    """,
    good="""
    -- before
    create domain positive as int check (value > 0);
    -- migration
    alter table t add column n int;
    """,
)
def constrained_domain(ctx: Context, action: a.AddColumn) -> Iterator[Hazard]:
    """A column of a domain with a constraint rewrites the table, even without a default.

    Why: the domain's check has to be run on each row's value, NULL included, so the fast path is not taken.

    Fix: the domain's base type, with the check on the table, added NOT VALID and validated.

    Not reported when: the domain has no constraint, or is not in the known schema.
    """
    base, constrained = ctx.schema.base(action.column.type)
    if constrained and not ctx.fresh(action.table):
        yield Hazard(
            f"domain {action.column.type} has a constraint: adding {action.column.name} rewrites {action.table} while"
            " reads and writes wait",
            object=str(action.table),
            recipe=f"ALTER TABLE {action.table.sql} ADD COLUMN {quote(action.column.name)} {base};",
            tables=(action.table,),
            evidence=Evidence.SCHEMA,
            data={"lock": _AX, "cost": REWRITES},
        )


@hazard(
    "migrate.add-required-column",
    on=a.AddColumn,
    category="compatibility",
    severity=ERROR,
    ok="No column is added that existing rows and old inserts cannot fill",
    bad="alter table users add column email text not null;",
    good="alter table users add column email text not null default '';",
    known=also(
        "adding-required-field",
        "",
        "",
        "addingRequiredField",
        "add-column-not-null-no-default",
        "ADD_COLUMN_NOT_NULL",
    ),
)
def required(ctx: Context, action: a.AddColumn) -> Iterator[Hazard]:
    """A NOT NULL column without a default fails on a table with rows, and breaks the inserts of the running version.

    Why: existing rows would be NULL; and the version of the application still running does not name the column.

    Fix: nullable first, or with a default; NOT NULL once every row and every writer fills it.

    Not reported when: the table was created by the same file, or the column fills itself by default or identity.
    """
    column = action.column
    fills = column.default is not None and not expressions.is_null_constant(column.default)
    if column.not_null and not (fills or column.identity or column.generated or column.type.name in SERIALS):
        domain = ctx.schema.domain(column.type)
        if ctx.fresh(action.table) or (domain is not None and domain.volatile_default):
            return
        yield Hazard(
            f"{action.table}.{column.name} is NOT NULL without a default: it fails if there are rows, and old inserts"
            " leave it out",
            object=str(action.table),
            recipe=f"ALTER TABLE {action.table.sql} ADD COLUMN {quote(column.name)} {column.type};",
            evidence=ctx.evidence(action.table),
        )
