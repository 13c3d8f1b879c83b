"""auth_file as the daemon reads it: `"user" "secret"` lines, until the first that it cannot read.

Secrets are looked at and dropped: only their kind is kept.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dbkit.errors import UsageError
from dbkit.pgbouncer.ini.parameters import Version

_SPACE: Final = re.compile(rb"[ \t\n\v\f\r]*")
# Never given back: a doubled quote is one that is meant, even where the text then has no end.
_QUOTED: Final = re.compile(rb'"((?:[^"]|"")*+)"')
_MD5: Final = re.compile(r"md5[0-9a-f]{32}")
MAX_NAME: Final = 128
MAX_SECRET: Final = 2048
_LONG_SECRETS_SINCE: Final = 25
"""1.24.1 stops at a longer secret, 1.26.1 takes it; 1.25 could not be asked."""


@dataclass(frozen=True, slots=True)
class Listed:
    """One user and what kind of secret stands beside it: scram, md5, plain or none."""

    name: str
    kind: str
    line: int


@dataclass(frozen=True, slots=True)
class Userlist:
    """A whole file. What stands after `broken_line` is not read by the daemon, which only logs "broken auth file"."""

    path: str
    users: tuple[Listed, ...]
    broken_line: int | None = None


def read_file(path: Path, version: Version | None = None) -> Userlist:
    """Read a file. Raises UsageError when it cannot be opened."""
    try:
        return read(path.read_bytes(), str(path), version)
    except OSError as error:
        raise UsageError(f"cannot read {path}", why=error.strerror) from None


def read(content: bytes, path: str = "userlist.txt", version: Version | None = None) -> Userlist:
    """Read the text of a file, as a version does, or the newest; it ends at the first NUL."""
    longest = MAX_SECRET if version is not None and version.minor < _LONG_SECRETS_SINCE else len(content) + 1
    text = content.partition(b"\0")[0]
    users: dict[str, Listed] = {}
    at = 0
    while True:
        space = _SPACE.match(text, at)
        at = space.end() if space else at
        if at >= len(text):
            return Userlist(path, tuple(users.values()))
        line = text.count(b"\n", 0, at) + 1
        if text[at : at + 1] == b";":
            at = _line_end(text, at)
            continue
        user = _QUOTED.match(text, at)
        # The secret may stand anywhere after the name: the daemon looks for the next quote.
        start = text.find(b'"', user.end()) if user else -1
        secret = _QUOTED.match(text, start) if start >= 0 else None
        if user is None or secret is None or len(user[1]) >= MAX_NAME or len(secret[1]) >= longest:
            return Userlist(path, tuple(users.values()), line)
        name = user[1].replace(b'""', b'"').decode("utf-8", "surrogateescape")
        users[name] = Listed(name, _kind(secret[1].decode("utf-8", "surrogateescape")), line)
        at = _line_end(text, secret.end())


def _kind(secret: str) -> str:
    if not secret:
        return "none"
    if secret.startswith("SCRAM-SHA-256$"):
        return "scram"
    return "md5" if _MD5.fullmatch(secret) else "plain"


def _line_end(text: bytes, at: int) -> int:
    found = text.find(b"\n", at)
    return len(text) if found < 0 else found
