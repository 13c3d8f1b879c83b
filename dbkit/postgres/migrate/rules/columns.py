"""Columns added: what their default, their domain or their NOT NULL costs."""

from __future__ import annotations

from collections.abc import Iterator

from dbkit.model import Evidence
from dbkit.postgres.ddl import deparse_expression
from dbkit.postgres.migrate import actions as a
from dbkit.postgres.migrate import expressions, recipes
from dbkit.postgres.migrate.context import Context, Hazard
from dbkit.postgres.migrate.names import quote
from dbkit.postgres.migrate.rules.declare import AX, ERROR, REWRITES, also, hazard
from dbkit.postgres.migrate.types import SERIALS


@hazard(
    "migrate.add-column-volatile-default",
    on=a.AddColumn,
    category="lock",
    severity=ERROR,
    lock=AX,
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
        data={"lock": AX, "cost": REWRITES, "function": name},
    )


@hazard(
    "migrate.add-column-constrained-domain",
    on=a.AddColumn,
    category="lock",
    severity=ERROR,
    lock=AX,
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
            data={"lock": AX, "cost": REWRITES},
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
