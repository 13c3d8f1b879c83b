"""Constraints: added without a scan under a lock that stops traffic."""

from __future__ import annotations

from collections.abc import Iterator

from dbkit.postgres.migrate import actions as a
from dbkit.postgres.migrate import recipes
from dbkit.postgres.migrate.context import Context, Hazard
from dbkit.postgres.migrate.given_names import constraint_name
from dbkit.postgres.migrate.lock_mode import Mode
from dbkit.postgres.migrate.names import quote
from dbkit.postgres.migrate.rules.declare import ERROR, SCANS, WARN, also, hazard


@hazard(
    "migrate.check-scans",
    on=(a.AddConstraint, a.AddColumn),
    category="lock",
    severity=ERROR,
    lock="ACCESS EXCLUSIVE",
    cost=SCANS,
    ok="Every check on an existing table is added NOT VALID",
    bad="alter table orders add constraint positive check (total > 0);",
    good="alter table orders add constraint positive check (total > 0) not valid;",
    known=also(
        "constraint-missing-not-valid",
        "add_check_constraint",
        "E1",
        "constraintMissingNotValid",
        "add-check-without-not-valid",
    ),
)
def check_scans(ctx: Context, action: a.AddConstraint | a.AddColumn) -> Iterator[Hazard]:
    """Adding a CHECK reads the whole table while reads and writes wait.

    Why: ADD CONSTRAINT ... CHECK holds ACCESS EXCLUSIVE while every row is tested; so does ADD COLUMN ... CHECK, even
    for a column without a default.

    Fix: add it NOT VALID (brief), then VALIDATE CONSTRAINT in another transaction: readers and writers go on.

    Not reported when: the table was created by the same file, or the check is NOT ENFORCED (18).
    """
    made = (action.constraint,) if isinstance(action, a.AddConstraint) else action.column.constraints
    for constraint in made:
        if constraint.kind != "check" or constraint.not_valid or not constraint.enforced or ctx.fresh(action.table):
            continue
        name = constraint_name(action.table.name, constraint)
        rewrite = recipes.not_valid_then_validate(constraint, action.table)
        recipe = rewrite.sql + ";"
        if isinstance(action, a.AddColumn):
            column = quote(action.column.name)
            recipe = f"ALTER TABLE {action.table.sql} ADD COLUMN {column} {action.column.type};\n{recipe}"
        yield Hazard(
            f"check {name} reads all of {action.table} under ACCESS EXCLUSIVE: reads and writes wait",
            object=str(action.table),
            recipe=recipe,
            rewrite=rewrite if ctx.alone and isinstance(action, a.AddConstraint) else None,
            tables=(action.table,),
            data={"lock": "ACCESS EXCLUSIVE", "cost": SCANS, "constraint": name},
        )


def _valid(ctx: Context, action: a.ValidateConstraint) -> bool:
    """Whether the constraint is known to be valid already, so that nothing is read."""
    table = ctx.schema.table(action.table)
    held = table.constraints.get(action.name) if table is not None else None
    return held is not None and held.validated


@hazard(
    "migrate.validate-under-lock",
    on=a.ValidateConstraint,
    category="transaction",
    severity=ERROR,
    lock="the lock of the earlier statement, held through the scan",
    cost=SCANS,
    ok="Every constraint is validated in a transaction of its own",
    bad="""
    begin;
    alter table t add constraint c check (a > 0) not valid;
    alter table t validate constraint c;
    commit;
    """,
    good="""
    begin;
    alter table t add constraint c check (a > 0) not valid;
    commit;
    begin;
    alter table t validate constraint c;
    commit;
    """,
    known=also(
        "constraint-missing-not-valid",
        "validate_check_constraint validate_foreign_key",
        "E4",
        "requireSeparateConstraintValidation banNotValidValidateSameTransaction",
    ),
)
def validate_under_lock(ctx: Context, action: a.ValidateConstraint) -> Iterator[Hazard]:
    """VALIDATE CONSTRAINT scans under a strong lock that an earlier statement of the transaction still holds.

    Why: VALIDATE itself lets readers and writers go on, but locks are kept to the end of the transaction: after
    ADD CONSTRAINT ... NOT VALID in the same one, the table stays closed through the whole scan.

    Fix: COMMIT in between, or put the validation into the next migration.

    Not reported when: the table was created by the same file, or the constraint is known to be valid already.
    """
    if not ctx.session.held or ctx.fresh(action.table) or _valid(ctx, action):
        return
    worst = ctx.session.held.get(ctx.schema.key(action.table))
    if worst is not None and worst.mode >= Mode.SHARE and not worst.fresh:
        if_wrapped = "" if ctx.sure else ", if one transaction runs this file"
        yield Hazard(
            f"validating {action.name} scans {action.table} while line {worst.line} still holds"
            f" {worst.mode.words}{if_wrapped}",
            object=str(action.table),
            severity=ERROR if ctx.sure else WARN,
            tables=(action.table,),
            recipe=f"COMMIT;\nALTER TABLE {action.table.sql} VALIDATE CONSTRAINT {quote(action.name)};",
            data={"lock": worst.mode.words, "cost": SCANS},
        )


@hazard(
    "migrate.validate-with-stronger-lock",
    on=a.ValidateConstraint,
    category="lock",
    severity=ERROR,
    lock="the strongest lock of the statement's parts",
    cost=SCANS,
    ok="No constraint is validated in one statement with parts that lock more",
    bad="alter table t validate constraint c, drop column a;",
    good="alter table t validate constraint c;",
)
def validate_beside(ctx: Context, action: a.ValidateConstraint) -> Iterator[Hazard]:
    """One ALTER TABLE runs all its parts under the strongest lock that one of them needs, scans included.

    Why: VALIDATE CONSTRAINT beside DROP COLUMN scans the table under ACCESS EXCLUSIVE.

    Fix: give VALIDATE a statement and a transaction of its own.
    """
    if len(ctx.actions) > 1 and ctx.strongest >= 5 and not ctx.fresh(action.table) and not _valid(ctx, action):
        yield Hazard(
            f"{action.table} is scanned for {action.name} under {ctx.strongest.words}, because another part of the same"
            " statement needs that",
            object=str(action.table),
            recipe=f"ALTER TABLE {action.table.sql} VALIDATE CONSTRAINT {quote(action.name)};",
            tables=(action.table,),
            data={"lock": ctx.strongest.words, "cost": SCANS},
        )
