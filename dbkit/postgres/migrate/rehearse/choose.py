"""Which of the scripts are pending, and which are history that only makes the schema before."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from dbkit.errors import UsageError
from dbkit.postgres.migrate.lint import Changed
from dbkit.postgres.migrate.source import Script

_REVISION: Final = re.compile(r"^revision\s*(?::\s*\w+\s*)?=\s*['\"]([^'\"]+)['\"]", re.MULTILINE)
_PER_MIGRATION: Final = re.compile(r"transaction_per_migration\s*=\s*True")


@dataclass(frozen=True, slots=True)
class Wish:
    """What the user said about it; at most one of the three is set."""

    last: int | None = None
    """`--pending N`; -1 for all."""
    deployed: str = ""
    """`--from`: the revision or file that production has."""
    changed: Changed | None = None
    """`--diff-base`: what git says is new."""
    named: bool = False
    """The scripts were named one by one beside a schema: all of them are pending."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Scripts in the order in which they run, history first."""

    history: tuple[Script, ...]
    pending: tuple[Script, ...]
    one_transaction: bool = False
    """Alembic runs all pending revisions in one transaction, unless its env.py says otherwise."""
    notes: tuple[str, ...] = ()

    def without_history(self) -> Choice:
        """The same, on a schema that holds the history already."""
        return replace(self, history=())


def choose(scripts: Sequence[Script], wish: Wish) -> Choice:
    """Divide the scripts. Raises UsageError when `--from` names none of them or N is more than there are."""
    notes: list[str] = []
    if wish.changed is not None:
        lines = wish.changed.lines
        pending = [s for s in scripts if s.file in lines and not s.history]
        history = [s for s in scripts if s.file not in lines or s.history]
        last = max((n for n, s in enumerate(scripts) if s.file not in lines), default=-1)
        early = [s.file for n, s in enumerate(scripts) if s.file in lines and n < last]
        if early:
            notes.append(f"new, but ordered before files that exist already: {', '.join(early)}")
        notes += [f"{s.file} was changed, not added: run whole" for s in pending if lines[s.file] is not None]
    elif wish.deployed:
        position = _position(scripts, wish.deployed)
        history, pending = list(scripts[: position + 1]), list(scripts[position + 1 :])
    else:
        count = wish.last if wish.last is not None else (-1 if wish.named else 1)
        if count > len(scripts):
            raise UsageError(f"--pending {count}, but there are {len(scripts)} migrations")
        cut = 0 if count < 0 else len(scripts) - count
        history, pending = list(scripts[:cut]), list(scripts[cut:])
    return Choice(tuple(history), tuple(pending), _one_transaction(pending), tuple(notes))


def revision(script: Script) -> str:
    """The revision id of an Alembic script; empty for another."""
    found = _REVISION.search(script.original) if script.kind == "alembic" else None
    return found[1] if found else ""


def _position(scripts: Sequence[Script], wanted: str) -> int:
    exact = [n for n, s in enumerate(scripts) if wanted in (revision(s), s.file)]
    loose = [
        n
        for n, s in enumerate(scripts)
        if ((rev := revision(s)) and rev.startswith(wanted)) or (s.path is not None and s.path.name.startswith(wanted))
    ]
    found = exact or loose
    if len(found) == 1:
        return found[0]
    known = ", ".join(revision(s) or s.file for s in scripts[-5:])
    if found:
        raise UsageError(
            f"--from {wanted} fits {len(found)} migrations", hint=f"write more of it; the last are {known}"
        )
    raise UsageError(f"no migration is called {wanted}", hint=f"--from names what is deployed; the last are {known}")


def _one_transaction(pending: Sequence[Script]) -> bool:
    """Whether Alembic's env.py leaves all revisions in one transaction."""
    if len(pending) < 2 or any(s.kind != "alembic" or s.path is None for s in pending):
        return False
    first = pending[0].path
    for folder in first.resolve().parents if first is not None else ():
        env = folder / "env.py"
        if env.is_file():
            return _PER_MIGRATION.search(env.read_text(encoding="utf-8", errors="replace")) is None
    return True
