"""The user a throw-away server runs as: never root."""

from __future__ import annotations

import os
import pwd
from dataclasses import dataclass

from dbkit.ephemeral import Unavailable

CANDIDATES = ("postgres", "nobody")


@dataclass(frozen=True)
class Account:
    """An unprivileged user that servers run as when dbkit itself runs as root."""

    name: str
    uid: int
    gid: int


def unprivileged() -> Account | None:
    """The account to switch to, or None when dbkit does not run as root and no switch is needed.

    Raises :class:`Unavailable` when dbkit runs as root and the machine has none of the usual accounts.
    """
    if os.geteuid() != 0:
        return None
    for name in CANDIDATES:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        if entry.pw_uid != 0:
            return Account(name, entry.pw_uid, entry.pw_gid)
    raise Unavailable(
        f"dbkit runs as root, a server must not, and no user named {' or '.join(CANDIDATES)} exists",
        hint="run dbkit as an ordinary user",
    )


def owner(account: Account | None) -> tuple[int, int]:
    """User and group id that own a server's files."""
    return (os.geteuid(), os.getegid()) if account is None else (account.uid, account.gid)
