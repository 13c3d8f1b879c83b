"""How a change is carried out, as data: what each of its two revisions does, forwards and back, and what it fills."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from dbkit.errors import Refused

MAX_NAME: Final = 63


@dataclass(frozen=True, slots=True)
class Line:
    """One statement, and above it the comment that says why."""

    sql: str
    why: str = ""


@dataclass(frozen=True, slots=True)
class Block:
    """Statements of one transaction; or, `outside`, statements that each stand alone."""

    lines: tuple[Line, ...]
    outside: bool = False


@dataclass(frozen=True, slots=True)
class Fill:
    """Rows to fill, as `BackfillSpec` wants them."""

    schema: str
    table: str
    assignments: str
    pending: str
    columns: tuple[str, ...]
    tie: str = ""
    immutable: bool = True
    kept: str = ""


@dataclass(frozen=True, slots=True)
class Fit:
    """What every row must meet for the way back after contract; `told` says what it means if one does not."""

    schema: str
    table: str
    holds: str
    told: str


@dataclass(frozen=True, slots=True)
class Design:
    """A whole change. `contract` is empty when one revision is all it takes."""

    id: str
    kind: str
    title: str
    """`rename users.full_name to display_name`."""
    schema: str
    table: str
    """What the change is about: a table, or the type of an add-enum-value."""
    old: tuple[str, ...]
    new: tuple[str, ...]
    expand: tuple[Block, ...]
    undo_expand: tuple[Block, ...]
    contract: tuple[Block, ...] = ()
    undo_contract: tuple[Block, ...] = ()
    fills: tuple[Fill, ...] = ()
    restore: tuple[Fill, ...] = ()
    """What `undo_contract` has to fill before the old application may start."""
    fits: tuple[Fit, ...] = ()
    """What `undo_contract` demands of the rows, counted before it begins."""
    final: str = ""
    """Why the contract cannot be rolled back, where it cannot."""
    story: tuple[str, ...] = ()
    """Sentences for the head of the expand revision: what happens, and what the user has to do in between."""
    notes: tuple[str, ...] = ()
    """What hangs on the old shape and is not copied: a person has to move it before contract (or, where there is none,
    to look at it before the change)."""
    reads_old: tuple[str, ...] = field(default=())
    swaps: tuple[tuple[str, str, str], ...] = ()
    """Schema, table and column of what a swap drops under the name that stays: what rests on it has to go first."""
    lost: tuple[str, ...] = ()
    """Indexes that go with the old shape and have no copy, as `index public.t_name_idx`: the gate names them."""
    base: str = ""
    """What the table is called from expand to contract, where a view stands in its place; unquoted."""
    keys: tuple[tuple[str, ...], ...] = ()
    """Columns of unique keys that contract takes away: `on conflict` must not rest on them any more."""


class Refusals:
    """Collects reasons against a change, so that a user sees all of them at once."""

    def __init__(self, what: str, accepted: Sequence[str] = ()) -> None:
        self._what = what
        self._accepted = frozenset(accepted)
        self._reasons: list[str] = []

    def add(self, reason: str, *, accept: str = "") -> None:
        """One reason; with `accept` it is waived by `--accept WORD`."""
        if accept and accept in self._accepted:
            return
        self._reasons.append(f"{reason}{f' (--accept {accept} if that is taken care of)' if accept else ''}")

    def check(self, hint: str = "") -> None:
        """Raise Refused when there is any."""
        if self._reasons:
            raise Refused(self._what, why="; ".join(self._reasons), hint=hint or None)


def shorten(*parts: str, limit: int = MAX_NAME) -> str:
    """A name made of parts, at most `limit` bytes: a long one is cut and ends in a hash of the whole."""
    name = "_".join(parts)
    raw = name.encode()
    if len(raw) <= limit:
        return name
    mark = hashlib.sha256(raw).hexdigest()[:8]
    return raw[: limit - 9].decode(errors="ignore") + "_" + mark


def transaction(*lines: Line) -> Block:
    """One transaction, which begins with a limit on how long others may queue behind it."""
    return Block((Line("set local lock_timeout = '100ms'"), *lines))


def alone(sql: str, why: str = "") -> Block:
    """One statement outside any transaction."""
    return Block((Line(sql, why),), outside=True)
