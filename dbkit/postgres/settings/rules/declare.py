"""How a setting rule is declared, and what it returns: a Verdict, with the changes that mend it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ParamSpec

from pydantic import BaseModel

from dbkit.model import Evidence, Json, Location, Severity
from dbkit.postgres.settings.repair import Edit
from dbkit.postgres.settings.scene import Scene
from dbkit.rules import Rule, rule

P = ParamSpec("P")


@dataclass(frozen=True, slots=True)
class Change:
    """One setting to be changed, to a canonical value; None takes it out of the file (ALTER SYSTEM RESET)."""

    name: str
    value: str | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a rule found: a sentence, the object, and what mends it (changes of settings, edits of lines, or a text)."""

    message: str
    object: str
    changes: tuple[Change, ...] = ()
    edits: tuple[Edit, ...] = ()
    fix: str = ""
    kind: str = "sql"
    """What `fix` is, when there are neither changes nor edits: `sql`, `conf` or `rewrite` (words)."""
    severity: Severity | None = None
    location: Location | None = None
    data: Mapping[str, Json] = field(default_factory=dict[str, Json])
    key: str = ""


Verdicts = Iterator[Verdict]


def setting_rule(
    name: str,
    severity: Severity,
    category: str,
    *,
    ok: str,
    bad: str,
    good: str,
    equivalents: Mapping[str, tuple[str, ...]] | None = None,
    limits: type[BaseModel] | None = None,
    evidence: Evidence = Evidence.OBSERVED,
    opt_in: bool = False,
) -> Callable[[Callable[P, Iterator[Verdict]]], Rule[P, Iterator[Verdict]]]:
    """Register a rule over a Scene as `pg.<name>`.

    An example that begins with `-- ` is SQL, run on a server of its own (role `app` is the auditor's neighbour); any
    other is a postgresql.conf. `# audit: --memory 16GB --cpus 4` in it are the flags it is audited with.
    """
    return rule(
        f"pg.{name}",
        engine="postgres",
        category=category,
        severity=severity,
        evidence=evidence,
        ok=ok,
        bad=bad,
        good=good,
        equivalents=equivalents,
        limits=limits,
        opt_in=opt_in,
    )


def place(scene: Scene, name: str) -> Location | None:
    """Where a file sets this, when it does."""
    held = scene.held.get(name.lower())
    if held is None or held.file is None:
        return Location(scene.conf.path) if scene.conf else None
    return Location(held.file, held.line)


def identifier(name: str) -> str:
    """A name as SQL, always quoted."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A string as SQL."""
    return "'" + text.replace("'", "''") + "'"


AnyRule = Rule[..., Any]
