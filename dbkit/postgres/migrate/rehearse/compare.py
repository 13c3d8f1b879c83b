"""Holds what lint says of a statement against what the server did with it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from dbkit.model import Evidence, Finding
from dbkit.postgres.migrate.found import Found
from dbkit.postgres.migrate.lock_mode import Mode
from dbkit.postgres.migrate.rehearse.observed import Observation, stops
from dbkit.postgres.migrate.rehearse.rehearsal import Outcome

_CLAIMS: Final = ("table rewrite", "table scan", "index build")
_WORDS: Final = {m.words: m for m in sorted(Mode, key=lambda m: -len(m.words))}


@dataclass(frozen=True, slots=True)
class Disagreement:
    """One statement of which lint and the server say different things; `rule` is lint's, or empty."""

    message: str
    statement: int
    relation: str = ""
    rule: str = ""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Lint's findings, those that the server bore out marked as observed, and the disagreements."""

    findings: tuple[Finding, ...]
    disagreements: tuple[Disagreement, ...]


def compare(found: Sequence[tuple[Found, Finding]], outcome: Outcome, shown: frozenset[str]) -> Comparison:
    """Judge lint by the rehearsal. `shown` holds the rules the user wants to see; all of them are compared."""
    findings: list[Finding] = []
    disagreements: list[Disagreement] = []
    named: dict[int, list[Finding]] = {}
    empty = {str(s.table) for s in outcome.sown if not s.rows}
    filled = any(s.rows for s in outcome.sown)
    for one, linted in found:
        finding = linted
        position = _position(one, outcome.seen)
        seen = outcome.seen[position] if position is not None else None
        if position is not None and seen is not None:
            named.setdefault(position, []).append(finding)
            if _borne_out(finding, one, seen):
                finding = replace(finding, evidence=Evidence.OBSERVED)
            elif filled and not seen.error and not seen.unrehearsed and finding.suppression is None:
                message = _denied(finding, one, seen, empty)
                if message:
                    disagreements.append(Disagreement(message, position, finding.object, finding.rule))
        if finding.rule in shown:
            findings.append(finding)
    for position, seen in enumerate(outcome.seen):
        message, relation = _unnamed(seen, named.get(position, []), outcome)
        if message:
            disagreements.append(Disagreement(message, position, relation))
    return Comparison(tuple(findings), tuple(disagreements))


def _position(found: Found, seen: Sequence[Observation]) -> int | None:
    """The statement a finding is about: by its text, else by its line (a statement inside a body)."""
    here = [n for n, s in enumerate(seen) if s.file == found.file]
    exact = [n for n in here if seen[n].line == found.line and seen[n].sql == found.text]
    if exact:
        return exact[0]
    line = found.line or 0
    around = [n for n in here if seen[n].line <= line <= seen[n].line + seen[n].sql.count("\n")]
    return around[-1] if around else None


def _cost(finding: Finding, found: Found) -> str:
    cost = finding.data.get("cost")
    text = cost if isinstance(cost, str) else found.rule.facts.get("cost", "")
    return next((c for c in _CLAIMS if text.startswith(c)), "")


def _lock(finding: Finding, found: Found) -> Mode | None:
    lock = finding.data.get("lock")
    text = lock if isinstance(lock, str) else found.rule.facts.get("lock", "")
    return next((mode for words, mode in _WORDS.items() if re.match(rf"{words}\b", text)), None)


def _did(cost: str, seen: Observation) -> bool:
    if cost == "table rewrite":
        return bool(seen.rewritten)
    if cost == "index build":
        return bool(seen.built or seen.rewritten)
    return bool(seen.scanned or seen.rewritten)


def _borne_out(finding: Finding, found: Found, seen: Observation) -> bool:
    """Whether the lock and the work that lint named were seen; of a rule about transactions, its error."""
    if finding.rule == "migrate.not-in-transaction":
        return seen.sqlstate == "25001"
    if seen.error or found.rule.category != "lock":
        return False
    cost, lock = _cost(finding, found), _lock(finding, found)
    if lock is not None and max(seen.locks.values(), default=Mode.ACCESS_SHARE) < lock:
        return False
    return _did(cost, seen) if cost else lock is not None


def _denied(finding: Finding, found: Found, seen: Observation, empty: set[str]) -> str:
    """What lint said this very statement would do (a rule may also speak of what comes later) and it did not."""
    cost = _cost(finding, found) if "cost" in finding.data else ""
    if found.rule.category != "lock" or not cost or _did(cost, seen) or finding.object in empty:
        return ""
    return f"{finding.rule} says {cost}, but the server did none"


def _unnamed(seen: Observation, named: Sequence[Finding], outcome: Outcome) -> tuple[str, str]:
    """Work under a lock that stops writers, on tables that existed before, of which lint says nothing."""
    if seen.error or seen.bare:
        return "", ""
    worked = [
        *((name, "rewrote it") for name in seen.rewritten),
        *((name, "read it from end to end") for name in seen.scanned),
    ]
    grave = [
        (name, what)
        for name, what in worked
        if name in outcome.before and stops(seen.taken.get(name, Mode.ACCESS_SHARE), outcome.before[name])
    ]
    if not grave or any(_is_hazard(f) for f in named):
        return "", ""
    name, what = grave[0]
    return f"the server {what} under {seen.taken[name].words}; lint names no hazard here", name


def _is_hazard(finding: Finding) -> bool:
    from dbkit.rules import REGISTRY

    rule = REGISTRY.get(finding.rule)
    return rule is not None and rule.category in ("lock", "transaction")
