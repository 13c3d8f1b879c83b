"""The items of one file in the order in which the daemon meets them (cfparser.c).

Works on bytes up to the first NUL, as C does. The scanner does not go by lines: a quoted name may span some, text after
`[section]` is read on, and blank space after a value is skipped before the next item.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias

_SPACE: Final = b" \t\n\v\f\r"
_BLANKS: Final = re.compile(rb"[ \t\n\v\f\r]*")
_NAME: Final = re.compile(rb"[A-Za-z0-9_.\-*]*")
_INCLUDE: Final = re.compile(rb"%include[ \t]+([^\n]*)")
_SECTION: Final = re.compile(rb"\[([^\]\n]*)(\]?)")
_QUOTED: Final = re.compile(rb"'([^']+)'")
_ASSIGN: Final = re.compile(rb"[ \t]*=[ \t]*([^\n]*)")


@dataclass(frozen=True, slots=True)
class Section:
    """`[name]`."""

    name: str
    line: int


@dataclass(frozen=True, slots=True)
class Entry:
    """`key = value`; the value has no space at its ends and is otherwise as it stands."""

    key: str
    value: str
    line: int
    named: int
    """The line that the daemon names when it refuses the entry: blank lines behind it are counted in."""


@dataclass(frozen=True, slots=True)
class Include:
    """`%include path`."""

    path: str
    line: int


@dataclass(frozen=True, slots=True)
class SyntaxProblem:
    """A place that is none of these; the daemon stops reading here."""

    line: int
    text: str
    named: int
    """The line that the daemon names: where it gave up, which is far below a quote that nothing closes."""


Item: TypeAlias = "Section | Entry | Include | SyntaxProblem"


def items(content: bytes, *, quoted_names: bool) -> Iterator[Item]:
    """Everything but comments. After a SyntaxProblem the scan goes on at the next line, to find what else is wrong."""
    text = content.partition(b"\0")[0]
    at, line, counted = 0, 1, 0
    while True:
        at = _end(_BLANKS, text, at)
        line += text.count(b"\n", counted, at)
        counted = at
        if at >= len(text):
            return
        if text[at : at + 1] in b"#;":
            at = _next_line(text, at)
            continue
        item, at = _item(text, at, line, quoted_names=quoted_names)
        yield item


def _item(text: bytes, at: int, line: int, *, quoted_names: bool) -> tuple[Item, int]:
    include = _INCLUDE.match(text, at)
    if include:
        return Include(_text(include[1].rstrip(_SPACE)), line), include.end()
    if text[at : at + 1] == b"[":
        section = _SECTION.match(text, at)
        if section and section[2]:
            return Section(_text(section[1]), line), section.end()
        return _problem(text, at, line, line)
    quoted = _QUOTED.match(text, at) if quoted_names else None
    if quoted:
        key, at_sign = quoted[1], quoted.end()
    else:
        at_sign = _end(_NAME, text, at)
        key = text[at:at_sign]
    assign = _ASSIGN.match(text, at_sign)
    if assign is None:
        unclosed = quoted_names and text[at : at + 1] == b"'" and b"'" not in text[at + 1 :]
        given_up = len(text) if unclosed else at_sign
        return _problem(text, at, line, line + text.count(b"\n", at, given_up))
    value = assign[1].rstrip(_SPACE)
    # The daemon counts up to where it reads on, less the line end that it overwrote to end the value.
    cut = assign.start(1) + len(value)
    named = line + text.count(b"\n", at, _end(_BLANKS, text, assign.end())) - (text[cut : cut + 1] == b"\n")
    return Entry(_text(key), _text(value), line, named), assign.end()


def _problem(text: bytes, at: int, line: int, named: int) -> tuple[SyntaxProblem, int]:
    end = _next_line(text, at)
    return SyntaxProblem(line, _text(text[at:end].strip(_SPACE)), named), end


def _end(pattern: re.Pattern[bytes], text: bytes, at: int) -> int:
    match = pattern.match(text, at)
    return match.end() if match else at


def _next_line(text: bytes, at: int) -> int:
    found = text.find(b"\n", at)
    return len(text) if found < 0 else found


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")
