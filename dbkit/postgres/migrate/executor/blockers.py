"""Who stands in the way of a lock, seen before it is asked for; and, where that was allowed by pattern, made to go."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import psycopg

from dbkit import assets
from dbkit.errors import UsageError
from dbkit.postgres.connect import Connection, fetch
from dbkit.postgres.indexes.watch import Blocker
from dbkit.postgres.migrate.lock_mode import Mode

ORDINARY: Final = 0.5
"""Seconds: transactions younger than this are traffic, and end before a retry does."""
_CONFLICTS: Final[dict[Mode, tuple[Mode, ...]]] = {
    Mode.ACCESS_SHARE: (Mode.ACCESS_EXCLUSIVE,),
    Mode.ROW_SHARE: (Mode.EXCLUSIVE, Mode.ACCESS_EXCLUSIVE),
    Mode.ROW_EXCLUSIVE: (Mode.SHARE, Mode.SHARE_ROW_EXCLUSIVE, Mode.EXCLUSIVE, Mode.ACCESS_EXCLUSIVE),
    Mode.SHARE_UPDATE_EXCLUSIVE: tuple(m for m in Mode if m >= Mode.SHARE_UPDATE_EXCLUSIVE),
    Mode.SHARE: tuple(m for m in Mode if m >= Mode.ROW_EXCLUSIVE and m is not Mode.SHARE),
    Mode.SHARE_ROW_EXCLUSIVE: tuple(m for m in Mode if m >= Mode.ROW_EXCLUSIVE),
    Mode.EXCLUSIVE: tuple(m for m in Mode if m >= Mode.ROW_SHARE),
    Mode.ACCESS_EXCLUSIVE: tuple(Mode),
}


@dataclass(frozen=True, slots=True)
class Holder:
    """A transaction that holds what we want."""

    blocker: Blocker
    autovacuum: bool
    wraparound: bool
    relation: str

    def waits(self, *, yields: bool) -> bool:
        """Whether to stay away until it has gone: an autovacuum gives way by itself when it `yields`."""
        if self.autovacuum and not self.wraparound and yields:
            return False
        return (self.blocker.seconds or 0) > ORDINARY


def holders(connection: Connection, wanted: Mapping[int, Mode]) -> list[Holder]:
    """Other transactions whose locks conflict with these, longest first."""
    if not wanted:
        return []
    modes = [",".join(_spelled(m) for m in _CONFLICTS[mode]) for mode in wanted.values()]
    rows = fetch(connection, assets.query("postgres/lock_holders"), {"tables": list(wanted), "modes": modes})
    return [_holder(row) for row in rows]


def _holder(row: dict[str, Any]) -> Holder:
    autovacuum, wraparound, relation = row.pop("autovacuum"), row.pop("wraparound"), row.pop("relation")
    return Holder(Blocker(**row), autovacuum, wraparound, relation)


def _spelled(mode: Mode) -> str:
    """As pg_locks has it: AccessExclusiveLock."""
    return "".join(word.capitalize() for word in mode.name.split("_")) + "Lock"


def pattern(text: str | None) -> re.Pattern[str] | None:
    """The pattern of --cancel-blockers. Raises UsageError when it is none."""
    if text is None:
        return None
    try:
        return re.compile(text, re.IGNORECASE)
    except re.error as error:
        raise UsageError(
            f"{text!r} is not a pattern", why=str(error), hint="a regular expression over application name and query"
        ) from None


def remove(connection: Connection, found: Sequence[Holder], wanted: re.Pattern[str] | None) -> list[tuple[Holder, str]]:
    """Cancel what runs, end what idles in a transaction, where application name or query match; what was done to whom.

    Prepared transactions and autovacuum are never touched.
    """
    done: list[tuple[Holder, str]] = []
    for holder in found if wanted is not None else ():
        who = holder.blocker
        texts = (who.application_name or "", who.query or "")
        if who.pid == 0 or holder.autovacuum or not any(wanted.search(t) for t in texts if wanted):
            continue
        try:
            if who.state == "active":
                connection.execute("select pg_catalog.pg_cancel_backend(%s)", [who.pid])
                done.append((holder, "cancelled"))
            else:
                connection.execute("select pg_catalog.pg_terminate_backend(%s)", [who.pid])
                done.append((holder, "ended"))
        except psycopg.errors.InsufficientPrivilege as error:
            done.append((holder, f"not permitted to cancel: {error.diag.message_primary}"))
    return done
