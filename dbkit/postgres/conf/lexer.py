"""The lines of one postgresql.conf, by the server's own scanner rules (src/backend/utils/misc/guc-file.l).

Works on bytes, because the server does: a BOM becomes part of the first name, a non-breaking space part of a value.
The longest match wins, and of two equally long ones the earlier rule. Observed on PostgreSQL 15 and 18 (research 2.1).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

_LETTER: Final = rb"[A-Za-z_\x80-\xff]"
_LETTER_OR_DIGIT: Final = rb"[A-Za-z_0-9\x80-\xff]"
_ID: Final = _LETTER + _LETTER_OR_DIGIT + rb"*"

# In the order of the scanner's rules; `blank` and `comment` are skipped.
_RULES: Final = (
    ("eol", re.compile(rb"\n")),
    ("blank", re.compile(rb"[ \t\r]+")),
    ("comment", re.compile(rb"#[^\n]*")),
    ("id", re.compile(_ID)),
    ("qualified", re.compile(_ID + rb"\." + _ID)),
    ("string", re.compile(rb"'(?:[^'\\\n]|\\[^\n]|'')*'")),
    ("unquoted", re.compile(_LETTER + rb"(?:" + _LETTER_OR_DIGIT + rb"|[-._:/])*")),
    ("integer", re.compile(rb"[-+]?(?:0x[0-9a-fA-F]+|[0-9]+)[a-zA-Z]*")),
    ("real", re.compile(rb"[-+]?[0-9]*\.[0-9]*(?:[Ee][-+]?[0-9]+)?")),
    ("equals", re.compile(rb"=")),
)
_VALUES: Final = ("id", "string", "unquoted", "integer", "real")
MAX_ERRORS: Final = 100
"""The server gives a file up after this many syntax errors."""


@dataclass(frozen=True, slots=True)
class Entry:
    """`name = value` at a 1-based line; `quoted` tells whether the value stood in quotes."""

    name: str
    value: str
    line: int
    quoted: bool


@dataclass(frozen=True, slots=True)
class SyntaxProblem:
    """A line the scanner rejects. `near` is the token at fault, empty at the end of a line."""

    line: int
    near: str

    @property
    def message(self) -> str:
        """In the server's words."""
        return f'syntax error near token "{self.near}"' if self.near else "syntax error near end of line"


def read(text: bytes) -> tuple[list[Entry], list[SyntaxProblem]]:
    """All entries and all syntax problems of one file, in order."""
    entries: list[Entry] = []
    problems: list[SyntaxProblem] = []
    for number, tokens in _lines(text):
        if not tokens:
            continue
        found = _entry(tokens, number)
        if isinstance(found, Entry):
            entries.append(found)
        else:
            problems.append(found)
            if len(problems) >= MAX_ERRORS:
                break
    return entries, problems


def _lines(text: bytes) -> Iterator[tuple[int, list[tuple[str, bytes]]]]:
    """The tokens of each line. Only the `eol` rule consumes a line feed, so lines and scanner lines are the same."""
    for number, line in enumerate(text.split(b"\n"), start=1):
        yield number, list(_tokens(line))


def _tokens(line: bytes) -> Iterator[tuple[str, bytes]]:
    at = 0
    while at < len(line):
        kind, end = "error", at + 1
        for name, pattern in _RULES:
            match = pattern.match(line, at)
            if match and match.end() > (end if kind != "error" else at):
                kind, end = name, match.end()
        if kind not in ("blank", "comment"):
            yield kind, line[at:end]
        at = end


def _entry(tokens: list[tuple[str, bytes]], line: int) -> Entry | SyntaxProblem:
    rest = iter(tokens)
    kind, name = next(rest)
    if kind not in ("id", "qualified"):
        return SyntaxProblem(line, _text(name))
    kind, value = next(rest, ("eol", b""))
    if kind == "equals":
        kind, value = next(rest, ("eol", b""))
    if kind not in _VALUES:
        return SyntaxProblem(line, _text(value))
    extra = next(rest, None)
    if extra is not None:
        return SyntaxProblem(line, _text(extra[1]))
    return Entry(_text(name), _text(unquote(value) if kind == "string" else value), line, quoted=kind == "string")


_ESCAPES: Final = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t"}
_ESCAPED: Final = re.compile(rb"\\([0-7]{1,3}|[^\n])|''", re.DOTALL)


def unquote(token: bytes) -> bytes:
    r"""A quoted token without its quotes, escapes resolved: doubled quotes, `\n`, `\101`, and `\x` for x itself."""

    def resolve(match: re.Match[bytes]) -> bytes:
        escaped = match.group(1)
        if escaped is None:
            return b"'"
        if escaped[:1] in b"01234567":
            return bytes([int(escaped, 8) & 0xFF])
        return _ESCAPES.get(escaped, escaped)

    # A C string ends at a NUL, and the server takes the last character before it for the closing quote.
    inner = token.partition(b"\0")[0][1:-1]
    return _ESCAPED.sub(resolve, inner).partition(b"\0")[0]


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")
