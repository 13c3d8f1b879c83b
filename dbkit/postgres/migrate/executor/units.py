"""A revision cut into units: each is one transaction, or one statement that refuses to be in one.

A unit is the smallest thing that is done or not done. What a unit locks is read from its text by the real grammar, so
that those who stand in the way can be looked for before anybody has to queue behind us.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from dbkit.errors import UsageError
from dbkit.postgres import ddl
from dbkit.postgres.migrate import actions as a
from dbkit.postgres.migrate import reading
from dbkit.postgres.migrate.lock_mode import Mode
from dbkit.postgres.migrate.locks import locks
from dbkit.postgres.migrate.names import Name
from dbkit.postgres.migrate.rules.transactions import refuses_transaction
from dbkit.postgres.migrate.schema import Schema
from dbkit.postgres.migrate.source import Part

_OWN_SETTINGS: Final = frozenset(
    {
        "lock_timeout",
        "statement_timeout",
        "deadlock_timeout",
        "idle_in_transaction_session_timeout",
        "transaction_timeout",
    }
)
_ONLINE: Final = re.compile(r"\A-- dbkit: online\n")
_FILL: Final = re.compile(r"\A\s*--\s*dbkit:\s*fill\b")


@dataclass(frozen=True, slots=True)
class Sentence:
    """One statement of a revision."""

    sql: str
    """Without the closing semicolon."""
    line: int
    """The line of the revision's file that makes it."""
    locks: tuple[tuple[Name, Mode], ...] = ()
    """As far as its text tells; the other side of foreign keys is added from the catalogue when `neighbours` is set."""
    neighbours: bool = False
    outside: str = ""
    """What it is called, when it refuses a transaction block."""
    index: str = ""
    """`create` or `drop` for the concurrent forms, which go through the index builder."""
    fill: bool = False
    online: bool = False
    """Stands for a whole function that needs a connection; `sql` says which and why, in words."""
    opaque: bool = False
    """Not read by our grammar: it may be several statements."""


@dataclass(frozen=True, slots=True)
class Unit:
    """What is done as a whole or not at all."""

    number: int
    sentences: tuple[Sentence, ...]
    settings: tuple[str, ...] = ()
    """SET statements of the units before, which hold for this one too."""
    fingerprint: str = field(default="")

    @property
    def single(self) -> Sentence | None:
        """The statement of a unit that is no transaction: it refuses one, or is done in batches."""
        first = self.sentences[0]
        return first if first.outside or first.fill or first.online else None

    @property
    def told(self) -> str:
        """The unit in a few words, for messages."""
        first = next((s for s in self.sentences if not s.sql.lower().startswith("set ")), self.sentences[0])
        words = " ".join(re.sub(r"--[^\n]*\n", " ", first.sql).split())
        more = f" and {len(self.sentences) - 1} more" if len(self.sentences) > 1 else ""
        return f"{words[:70]}{'...' if len(words) > 70 else ''}{more}"


def cut(parts: Sequence[Part], label: str, major: int) -> tuple[Unit, ...]:
    """The units of what a revision sends. Raises UsageError for a statement that cannot run where it stands."""
    units: list[Unit] = []
    together: list[Sentence] = []
    settings: list[str] = []
    inside = True

    def close() -> None:
        if together:
            units.append(_unit(len(units), together, settings))
            settings.extend(s.sql for s in together if _lasting_setting(s.sql))
            together.clear()

    for part in parts:
        if part.control:
            close()
            inside = part.control == "begin"
            continue
        for sentence in sentences(part, label, major):
            if sentence.outside and inside:
                raise UsageError(
                    f"{label}:{sentence.line}: {sentence.outside} refuses to run in a transaction",
                    hint="put it into `with op.get_context().autocommit_block():`",
                )
            if sentence.fill or not inside:
                close()
                together.append(sentence)
                close()
            else:
                together.append(sentence)
    close()
    return tuple(units)


def _unit(number: int, sentences: Sequence[Sentence], settings: Sequence[str]) -> Unit:
    text = "\n".join(s.sql for s in sentences)
    return Unit(number, tuple(sentences), tuple(settings), hashlib.sha256(text.encode()).hexdigest()[:16])


def sentences(part: Part, label: str, major: int) -> list[Sentence]:
    """The statements of one part, each with what it locks as far as its text tells."""
    if _ONLINE.match(part.sql):
        return [Sentence(_ONLINE.sub("", part.sql), part.line, online=True)]
    if _FILL.match(part.sql):
        return [Sentence(part.sql.strip().removesuffix(";"), part.line, fill=True)]
    try:
        statements = ddl.parse(part.sql, label=label)
    except ddl.SqlSyntaxError:
        # Grammar of a newer server than our parser's: sent as it stands, with nothing known of its locks.
        return [Sentence(part.sql.strip().removesuffix(";"), part.line, opaque=True)]
    found: list[Sentence] = []
    for statement in statements:
        actions = reading.read(statement)
        if any(isinstance(x, a.SetVariable) and x.name in _OWN_SETTINGS for x in actions):
            continue  # the executor sets timeouts by itself
        found.append(_sentence(statement, actions, part.line, major))
    return found


def _sentence(statement: ddl.Statement, actions: Sequence[a.Action], line: int, major: int) -> Sentence:
    schema = Schema()
    taken: dict[Name, Mode] = {}
    for action in actions:
        for name, mode in locks(action, schema, major):
            taken[name] = max(mode, taken.get(name, mode))
    index = ""
    for action in actions:
        if isinstance(action, a.CreateIndex) and action.concurrently:
            index = "create"
        elif isinstance(action, a.Drop) and action.concurrently:
            index = "drop"
    return Sentence(
        sql=statement.sql,
        line=line,
        locks=tuple(taken.items()),
        neighbours=any(
            isinstance(x, a.DropConstraint | a.ValidateConstraint | a.Truncate)
            or (isinstance(x, a.Drop) and x.kind == "table")
            for x in actions
        ),
        outside=next((what for what in map(refuses_transaction, actions) if what), ""),
        index=index,
    )


def _lasting_setting(sql: str) -> bool:
    lowered = sql.lower()
    return lowered.startswith("set ") and not lowered.startswith(("set local ", "set transaction ", "set constraints "))
