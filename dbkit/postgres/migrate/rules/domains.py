"""Domains: a constraint on one reaches every table that uses it."""

from __future__ import annotations

from collections.abc import Iterator

from dbkit.model import Evidence
from dbkit.postgres.migrate import actions as a
from dbkit.postgres.migrate.context import Context, Hazard
from dbkit.postgres.migrate.rules.declare import (
    ERROR,
    INFO,
    SCANS,
    also,
    hazard,
)
from dbkit.postgres.migrate.schema import Table


def _users(ctx: Context, action: a.AlterDomain) -> list[Table] | None:
    """Tables whose rows a domain constraint is checked against; None when that is not known."""
    domain = ctx.schema.domains.get(ctx.schema.key(action.name))
    if domain is not None and domain.born == ctx.number:
        return []
    tables = ctx.schema.tables_using(action.name)
    if tables or (domain is not None and ctx.schema.whole):
        return [t for t in tables if not ctx.fresh(t.name)]
    return None


def _domain_hazard(ctx: Context, action: a.AlterDomain, what: str) -> Iterator[Hazard]:
    users = _users(ctx, action)
    if users == []:
        return
    names = ", ".join(str(t.name) for t in users) if users else "every table that uses it"
    yield Hazard(
        f"{what} of domain {action.name} scans {names} under SHARE: writes wait",
        object=str(action.name),
        recipe=f"-- a CHECK on each table instead, NOT VALID and then validated; new values only:\n"
        f"-- ALTER DOMAIN {action.name.sql} ADD CONSTRAINT ... CHECK (...) NOT VALID;",
        tables=tuple(t.name for t in users) if users else (),
        evidence=Evidence.SCHEMA if users else Evidence.TEXT,
        data={"lock": "SHARE", "cost": SCANS},
    )


@hazard(
    "migrate.domain-constraint-scans",
    on=a.AlterDomain,
    category="lock",
    severity=ERROR,
    lock="SHARE on every table that uses the domain",
    cost=SCANS,
    ok="Every domain constraint is added NOT VALID",
    bad="alter domain positive add constraint p check (value > 0);",
    good="alter domain positive add constraint p check (value > 0) not valid;",
    known=also("ban-alter-domain-with-add-constraint", pgsafe="add-domain-constraint-without-not-valid"),
)
def domain_constraint(ctx: Context, action: a.AlterDomain) -> Iterator[Hazard]:
    """Adding a constraint to a domain scans every table that uses it while writes wait.

    Why: all those tables are locked with SHARE and read at once.

    Fix: NOT VALID takes no lock and holds for new values; VALIDATE would scan under SHARE again, so put what must hold
    for old rows into CHECK constraints of the tables.

    Not reported when: no known table uses the domain, or the same file created it.
    """
    made = action.constraint
    if action.verb == "add-constraint" and made is not None and made.kind == "check" and not made.not_valid:
        yield from _domain_hazard(ctx, action, "the constraint")


@hazard(
    "migrate.domain-validate-scans",
    on=a.AlterDomain,
    category="lock",
    severity=ERROR,
    lock="SHARE on every table that uses the domain",
    cost=SCANS,
    ok="No domain constraint is validated",
    bad="alter domain positive validate constraint p;",
    good="alter domain positive add constraint p check (value > 0) not valid;",
)
def domain_validate(ctx: Context, action: a.AlterDomain) -> Iterator[Hazard]:
    """Validating a domain constraint scans every table that uses it under SHARE.

    Why: unlike VALIDATE on a table, which lets writers go on, this stops the writes to all of them.

    Fix: leave it NOT VALID; put what must hold for old rows into CHECK constraints of the tables.

    Not reported when: the constraint is known to be valid already, or no known table uses the domain.
    """
    domain = ctx.schema.domains.get(ctx.schema.key(action.name))
    done = domain is not None and domain.constraints.get(action.constraint_name, False)
    if action.verb == "validate" and not done:
        yield from _domain_hazard(ctx, action, "validating a constraint")


@hazard(
    "migrate.domain-not-null",
    on=a.AlterDomain,
    category="lock",
    severity=ERROR,
    lock="SHARE on every table that uses the domain",
    cost=SCANS,
    ok="No domain is made NOT NULL",
    bad="alter domain email set not null;",
    good="alter domain email drop not null;",
    known=also(pgsafe="add-domain-not-null"),
)
def domain_not_null(ctx: Context, action: a.AlterDomain) -> Iterator[Hazard]:
    """SET NOT NULL on a domain scans every table that uses it while writes wait, and has no online form.

    Why: all those tables are locked with SHARE and read at once; NOT VALID does not exist for it.

    Fix: NOT NULL on the tables' columns instead (see migrate.not-null-scans).
    """
    added = action.verb == "add-constraint" and action.constraint is not None and action.constraint.kind == "notnull"
    domain = ctx.schema.domains.get(ctx.schema.key(action.name))
    if (action.verb == "set-not-null" or added) and not (domain is not None and domain.not_null):
        yield from _domain_hazard(ctx, action, "NOT NULL")


@hazard(
    "migrate.domain-with-constraint",
    on=a.CreateDomain,
    category="policy",
    severity=INFO,
    ok="No new domain carries a constraint",
    bad="create domain positive as int check (value > 0);",
    good="create domain positive as int;",
    known=also("ban-create-domain-with-constraint"),
)
def domain_with_constraint(ctx: Context, action: a.CreateDomain) -> Iterator[Hazard]:
    """A domain with a constraint is free today, and expensive with every later change.

    Why: adding a column of it rewrites the table, changing the constraint scans every table that uses it.

    Fix: the base type, and the check on the tables.
    """
    if action.constraints:
        yield Hazard(
            f"domain {action.name} has a constraint: each new column of it rewrites its table", str(action.name)
        )
