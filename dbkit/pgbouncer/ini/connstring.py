"""The `key=value` pairs to the right of a database, user or peer (loader.c): split at spaces, quoted by `'`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from dbkit.secrets import redact


class BadString(ValueError):
    """A connection string that the daemon refuses as a whole."""


def pairs(text: str) -> Iterator[tuple[str, str]]:
    """Key and value of each pair, in order. Only a space separates: a tab belongs to the value. Raises BadString.

    What comes before a mistake has been given out already, as the daemon acts on it before it sees the mistake.
    """
    at = _skip(text, 0)
    while at < len(text):
        key, at = _key(text, at)
        value, at = _value(text, at)
        yield key, value
        at = _skip(text, at)


_PASSWORD: Final = re.compile(r"(passw(?:or)?d\s*[=:]\s*)(?:'(?:[^']|'')*'?|[^ ]+)", re.IGNORECASE)


def without_password(text: str) -> str:
    """A line fit to be shown: a password is hidden by this file's own quoting, then by every other that is known."""
    return redact(_PASSWORD.sub(r"\1***", text))


def _skip(text: str, at: int) -> int:
    while at < len(text) and text[at] == " ":
        at += 1
    return at


def _key(text: str, at: int) -> tuple[str, int]:
    start = at
    while at < len(text) and text[at] not in "= ":
        at += 1
    key = text[start:at]
    at = _skip(text, at)
    if at >= len(text) or text[at] != "=" or not key:
        raise BadString(text)
    return key, at + 1


def _value(text: str, at: int) -> tuple[str, int]:
    at = _skip(text, at)
    if text[at : at + 1] == "'":
        value, at = _quoted(text, at + 1)
    else:
        start = at
        while at < len(text) and text[at] != " ":
            at += 1
        value = text[start:at]
    if not value:
        raise BadString(text)
    return value, at + 1  # the character after a value is cut off, whatever it is


def _quoted(text: str, at: int) -> tuple[str, int]:
    taken: list[str] = []
    while at < len(text):
        if text[at] == "'":
            if text[at + 1 : at + 2] != "'":
                return "".join(taken), at + 1
            at += 1
        taken.append(text[at])
        at += 1
    raise BadString(text)
