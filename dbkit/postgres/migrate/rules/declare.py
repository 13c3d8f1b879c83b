"""How a migration rule is declared: what it looks at, the lock and cost it is about, and what others call it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from dbkit.model import Evidence, Severity
from dbkit.postgres.migrate.actions import Action
from dbkit.postgres.migrate.context import Context, Hazard
from dbkit.postgres.migrate.names import Name
from dbkit.rules import Rule, rule

Check: TypeAlias = Callable[[Context, Any], Iterator[Hazard]]
MigrationRule: TypeAlias = Rule[[Context, Any], Iterator[Hazard]]


class EachStatement(Action):
    """A rule that looks at every statement as a whole, after its actions were judged one by one."""


class EachChange(Action):
    """As EachStatement, but only statements that may change the schema: neither data nor settings nor queries."""


class WhileHeld(Action):
    """As EachStatement, but only while the transaction holds a table lock of an earlier statement."""


class Together(Action):
    """As EachStatement, but only where statements certainly share a transaction."""


@dataclass(slots=True)
class AlreadyDone(Action):
    """An action with IF NOT EXISTS whose object is there, in its place: it does nothing but lock."""

    action: Action


class ScriptEnd(Action):
    """A rule that looks once a script is through."""


@dataclass(slots=True)
class AddedKey:
    """A foreign key the run added, and where."""

    table: Name
    name: str
    file: str
    line: int


@dataclass(slots=True)
class RunEnd(Action):
    """A rule that looks once every script is through, at the schema they leave."""

    foreign_keys: list[AddedKey]


DISPATCH: Final[dict[type[Action], list[MigrationRule]]] = {}
REWRITES, SCANS, BUILDS, BRIEF, NONE = "table rewrite", "table scan", "index build", "brief", "none"
AX: Final = "ACCESS EXCLUSIVE"


def hazard(
    id: str,
    *,
    on: type[Action] | tuple[type[Action], ...],
    category: str,
    severity: Severity,
    ok: str,
    bad: str,
    good: str,
    lock: str = "",
    cost: str = "",
    versions: str = "",
    opt_in: bool = False,
    known: Mapping[str, tuple[str, ...]] | None = None,
) -> Callable[[Check], MigrationRule]:
    """Register a check for the actions `on`. `known` holds other tools' names for the same problem.

    The examples are SQL. A part after `-- before` is the schema that exists; `-- migration` starts the file to judge,
    `-- in a transaction` and `-- PostgreSQL 14` set how and where it runs.
    """
    facts = {"lock": lock, "cost": cost, "versions": versions}

    def register(check: Check) -> MigrationRule:
        made = rule(
            id,
            engine="postgres",
            category=category,
            severity=severity,
            evidence=Evidence.TEXT,
            ok=ok,
            bad=bad,
            good=good,
            equivalents=known,
            facts={name: text for name, text in facts.items() if text},
            opt_in=opt_in,
        )(check)
        for kind in on if isinstance(on, tuple) else (on,):
            DISPATCH.setdefault(kind, []).append(made)
        return made

    return register


def works_on_rows(rule: MigrationRule) -> bool:
    """Whether the rule is about work that grows with the rows of the table."""
    return rule.facts.get("cost", "").startswith((REWRITES, SCANS, BUILDS, f"{BRIEF} or "))


ERROR, WARN, INFO = Severity.ERROR, Severity.WARN, Severity.INFO

SQUAWK: Final = "squawk"
STRONG: Final = "strong_migrations"
EUGENE: Final = "eugene"
PGLS: Final = "postgres-language-server"
PGSAFE: Final = "pgsafe"
DJANGO: Final = "django-pg-zero-downtime-migrations"


def also(
    squawk: str = "", strong: str = "", eugene: str = "", pgls: str = "", pgsafe: str = "", django: str = ""
) -> dict[str, tuple[str, ...]]:
    """Other tools' names, each a space-separated list."""
    given = {SQUAWK: squawk, STRONG: strong, EUGENE: eugene, PGLS: pgls, PGSAFE: pgsafe, DJANGO: django}
    return {tool: tuple(names.split()) for tool, names in given.items() if names}
