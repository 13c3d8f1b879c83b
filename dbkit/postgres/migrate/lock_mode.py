"""Modes of table locks, in the manual's words."""

from __future__ import annotations

from enum import IntEnum

from dbkit.postgres.migrate.names import Name


class Mode(IntEnum):
    """Table lock modes, weakest first; the numbers are PostgreSQL's own."""

    ACCESS_SHARE = 1
    ROW_SHARE = 2
    ROW_EXCLUSIVE = 3
    SHARE_UPDATE_EXCLUSIVE = 4
    SHARE = 5
    SHARE_ROW_EXCLUSIVE = 6
    EXCLUSIVE = 7
    ACCESS_EXCLUSIVE = 8

    @property
    def words(self) -> str:
        """As the manual writes it."""
        return self.name.replace("_", " ")

    @property
    def blocks(self) -> str:
        """What other sessions cannot do meanwhile."""
        if self is Mode.ACCESS_EXCLUSIVE:
            return "reads and writes"
        if self >= Mode.SHARE:
            return "writes"
        return (
            "other schema changes and VACUUM" if self is Mode.SHARE_UPDATE_EXCLUSIVE else "nothing of the application"
        )


Locks = list[tuple[Name, Mode]]
AX, SRX, S, SUX, X = (
    Mode.ACCESS_EXCLUSIVE,
    Mode.SHARE_ROW_EXCLUSIVE,
    Mode.SHARE,
    Mode.SHARE_UPDATE_EXCLUSIVE,
    Mode.EXCLUSIVE,
)
