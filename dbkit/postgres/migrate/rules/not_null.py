"""Columns made NOT NULL: proved first, or read row by row under the lock."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Set as AbstractSet

from dbkit.postgres.migrate import actions as a
from dbkit.postgres.migrate import expressions, recipes
from dbkit.postgres.migrate.context import Context, Hazard
from dbkit.postgres.migrate.given_names import auto_name
from dbkit.postgres.migrate.names import quote
from dbkit.postgres.migrate.rules.declare import AX, ERROR, SCANS, also, hazard
from dbkit.postgres.migrate.schema import Table


@hazard(
    "migrate.not-null-scans",
    on=(a.SetNotNull, a.AddConstraint, a.AddColumn),
    category="lock",
    severity=ERROR,
    lock=AX,
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
    nothing, since a CHECK passes on NULL; nor does one that the same statement drops, since drops come first. Where the
    migration that made the check was not read, its validation and its name say so: `orders_total_not_null`.
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
        if table is not None and ctx.major >= 12 and _named_proof(table, name) - dropped:
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
            data={"lock": AX, "cost": SCANS, "column": name},
        )


def _named_proof(table: Table, column: str) -> AbstractSet[str]:
    """Checks made in a migration that was not read, validated in one that was, and called by what they prove.

    The names are those that this rule's recipe and strong_migrations give.
    """
    usual = {auto_name(table.name.name, (column,), suffix) for suffix in ("not_null", "null")}
    return set[str]() if table.complete else usual & table.validated


def _virtual_not_null(ctx: Context, action: a.AddColumn) -> Iterator[Hazard]:
    """A virtual column is not stored, but that none of its values is NULL has to be seen row by row."""
    column = action.column
    if column.generated == "virtual" and column.not_null and not ctx.fresh(action.table):
        yield Hazard(
            f"NOT NULL on the virtual column {column.name} reads all of {action.table} while reads and writes wait",
            object=str(action.table),
            tables=(action.table,),
            data={"lock": AX, "cost": SCANS, "column": column.name},
        )


def _unvalidated_proof(ctx: Context, action: a.SetNotNull | a.AddConstraint, column: str) -> str:
    table = ctx.schema.table(action.table)
    if table is None:
        return ""
    for held in table.constraints.values():
        if not held.validated and column in expressions.proves_not_null(held.constraint.expression):
            return held.name
    return ""
