"""Rules: one problem, one small unit with its page and its examples.

A rule is a decorated function. Its docstring is the page that `dbkit explain RULE` prints: the first line is one
sentence, then the paragraphs *Why*, *Fix*, *Not reported when* and *See*. The `bad` and `good` examples are
documentation and test at once. An id is a dotted slug that names the problem (`pg.index-invalid`),
never the cure and never a number.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, ParamSpec, TypeVar

from pydantic import BaseModel

from dbkit.errors import UsageError
from dbkit.model import Evidence, Severity

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True)
class Rule(Generic[P, R]):
    """A registered rule; calling it calls its check."""

    id: str
    engine: str
    category: str
    severity: Severity
    evidence: Evidence
    ok: str
    """The healthy sentence, shown when the rule looked and found nothing."""
    bad: str
    good: str
    doc: str
    check: Callable[P, R]
    equivalents: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    """What other tools call the same problem, by tool."""
    facts: Mapping[str, str] = field(default_factory=dict[str, str])
    """Short facts for the page's head, such as `lock` and `cost` of a migration hazard."""
    aliases: tuple[str, ...] = ()
    """Former ids, still accepted in `--select`, policies and suppressions."""
    opt_in: bool = False
    """Reported only when selected by name or switched on in the policy."""
    limits: type[BaseModel] | None = None
    """The knobs a policy may turn for this rule, with their defaults."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.check(*args, **kwargs)

    @property
    def title(self) -> str:
        """The page's first sentence."""
        return self.doc.partition("\n")[0].strip()

    @property
    def body(self) -> str:
        """The page without its first sentence."""
        return self.doc.partition("\n")[2].strip()


REGISTRY: dict[str, Rule[..., Any]] = {}


def rule(
    id: str,
    *,
    engine: str,
    category: str,
    severity: Severity,
    evidence: Evidence,
    ok: str,
    bad: str,
    good: str,
    equivalents: Mapping[str, tuple[str, ...]] | None = None,
    facts: Mapping[str, str] | None = None,
    aliases: tuple[str, ...] = (),
    opt_in: bool = False,
    limits: type[BaseModel] | None = None,
) -> Callable[[Callable[P, R]], Rule[P, R]]:
    """Register the function below as the rule `id`; see the module's docstring for what its docstring must hold."""

    def register(check: Callable[P, R]) -> Rule[P, R]:
        if id in REGISTRY:
            raise ValueError(f"two rules are called {id}")
        made = Rule(
            id=id,
            engine=engine,
            category=category,
            severity=severity,
            evidence=evidence,
            ok=ok,
            bad=inspect.cleandoc(bad),
            good=inspect.cleandoc(good),
            doc=inspect.getdoc(check) or "",
            check=check,
            equivalents=dict(equivalents or {}),
            facts=dict(facts or {}),
            aliases=aliases,
            opt_in=opt_in,
            limits=limits,
        )
        REGISTRY[id] = made
        return made

    return register


def resolve(name: str) -> Rule[..., Any]:
    """The rule called `name`, by id or alias. Raises UsageError with the nearest ids."""
    if name in REGISTRY:
        return REGISTRY[name]
    for candidate in REGISTRY.values():
        if name in candidate.aliases:
            return candidate
    raise unknown_rule(name)


def unknown_rule(name: str) -> UsageError:
    """The error for a rule id or prefix that matches nothing."""
    near = difflib.get_close_matches(name, REGISTRY, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    return UsageError(f"no rule is called {name!r}", hint=f"{hint}`dbkit explain --list` prints every rule")


@dataclass(frozen=True)
class Selection:
    """Which rules a run uses: `select` and `ignore` hold ids or their beginnings (`pg`, `pg.index`)."""

    select: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()

    @classmethod
    def of_flags(cls, select: Iterable[str] | None, ignore: Iterable[str] | None) -> Selection:
        """What `--select` and `--ignore` hold: both may be repeated, and take several entries between commas."""
        return cls(_entries(select), _entries(ignore))

    def validate(self) -> None:
        """Raise UsageError when an entry matches no rule."""
        for entry in (*self.select, *self.ignore):
            if not any(_matches(entry, rule) for rule in REGISTRY.values()):
                raise unknown_rule(entry)

    def wants(self, rule: Rule[..., Any], *, switched_on: bool | None = None) -> bool:
        """Whether the run uses this rule; `switched_on` is the policy's word, None when it has none."""
        if any(_matches(entry, rule) for entry in self.ignore):
            return False
        named = [entry for entry in self.select if _matches(entry, rule)]
        if self.select and not named:
            return False
        if rule.id in named or any(alias in named for alias in rule.aliases):
            return True
        return switched_on if switched_on is not None else not rule.opt_in


def _entries(flags: Iterable[str] | None) -> tuple[str, ...]:
    return tuple(part.strip() for flag in flags or () for part in flag.split(",") if part.strip())


def listing(rules: Iterable[Rule[..., Any]]) -> list[dict[str, object]]:
    """The registry as `dbkit explain --list --format json` prints it (DESIGN.md 3)."""
    return [
        {
            "id": r.id,
            "engine": r.engine,
            "category": r.category,
            "title": r.title,
            "severity": r.severity.value,
            "evidence": r.evidence.value,
            "equivalents": {tool: list(names) for tool, names in sorted(r.equivalents.items())},
        }
        for r in sorted(rules, key=lambda r: r.id)
    ]


def _matches(entry: str, rule: Rule[..., Any]) -> bool:
    names = (rule.id, *rule.aliases)
    return entry in names or rule.id.startswith((f"{entry}.", f"{entry}-"))
