"""Bytes of a file in a form that a report can carry: as UTF-8, and in a sentence without control characters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dbkit.model import Json


def line(value: str) -> str:
    """A text for one line of a report: what is no UTF-8, and what would move a cursor, is written as its code."""
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in utf8(value))


def utf8(value: str) -> str:
    """A text with every byte that is no UTF-8 written as its code."""
    return value.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def printable(value: Json) -> Json:
    """The same data with every byte that is no UTF-8 written as its code."""
    if isinstance(value, str):
        return utf8(value)
    if isinstance(value, Mapping):
        return {utf8(key): printable(held) for key, held in value.items()}
    if isinstance(value, Sequence):
        return [printable(held) for held in value]
    return value
