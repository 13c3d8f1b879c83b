"""The lines of pg_hba.conf and pg_ident.conf as fields of tokens, with @files and includes (16 and newer); hba.c.

A token ends at a blank or a comma; double quotes keep both, and take a keyword its meaning. Run on 15 and 18.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from dbkit.errors import UsageError

MAX_DEPTH: Final = 10
MAX_BYTES: Final = 16 * 2**20
_BLANK: Final = " \t\r"


@dataclass(frozen=True, slots=True)
class Token:
    """One word; `quoted` when it began with a quote: then `all` is a name."""

    text: str
    quoted: bool = False

    def is_keyword(self, word: str) -> bool:
        """Whether it is this keyword, and not a name in quotes."""
        return not self.quoted and self.text == word


@dataclass(frozen=True, slots=True)
class Line:
    """One logical line: its fields, each a list of tokens, or why they could not be read."""

    file: str
    number: int
    fields: tuple[tuple[Token, ...], ...]
    error: str = ""


@dataclass
class _Reading:
    major: int
    lines: list[Line] = field(default_factory=list[Line])


def read(path: Path, major: int, *, setting: str = "hba_file") -> list[Line]:
    """Every line that is not blank, in reading order; `setting` names the file on a server.

    Raises UsageError when the file itself cannot be read.
    """
    reading = _Reading(major)
    try:
        content = _content(path)
    except OSError as error:
        raise UsageError(
            f"cannot read {path}", why=error.strerror, hint=f"on the server, `show {setting}` tells where it is"
        ) from None
    _file(reading, path, content, 0)
    return reading.lines


def _content(path: Path) -> bytes:
    if path.is_fifo() and path.parts[1:2] not in (("dev",), ("proc",)):
        raise OSError(0, "it is a named pipe")
    with path.open("rb") as stream:
        content = stream.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise OSError(0, f"it is larger than {MAX_BYTES // 2**20} MB")
    return content


def _logical(content: bytes) -> Iterator[tuple[int, str]]:
    """Lines with the number of their first physical one; a backslash at the end joins the next to it."""
    held, start = "", 0
    physical = content.decode("utf-8", "surrogateescape").split("\n")
    if physical and not physical[-1]:
        physical.pop()
    for number, raw in enumerate(physical, start=1):
        line = raw.rstrip("\r").partition("\0")[0]
        start = start or number
        if line.endswith("\\"):
            held += line[:-1]
            continue
        yield start, held + line
        held, start = "", 0
    if start:
        yield start, held


def _file(reading: _Reading, path: Path, content: bytes, depth: int) -> None:
    for number, text in _logical(content):
        fields: list[tuple[Token, ...]] = []
        error, at = "", 0
        while at < len(text) and not error:
            tokens, at, error = _field(text, at, path, depth, reading.major)
            if tokens:
                fields.append(tuple(tokens))
        if not fields and not error:
            continue
        if not error and len(fields) == 2 and reading.major >= 16:
            included, error = _directive(reading, path, fields[0][0].text, fields[1][0].text, depth)
            if included and not error:
                continue
        reading.lines.append(Line(str(path), number, tuple(fields), error))


def _field(text: str, at: int, path: Path, depth: int, major: int) -> tuple[list[Token], int, str]:
    """Tokens up to the next blank: a comma goes on with the same field."""
    tokens: list[Token] = []
    while True:
        token, at, comma = _token(text, at)
        if token is None:
            return tokens, at, ""
        if not token.quoted and token.text.startswith("@") and len(token.text) > 1:
            more, error = _names(path, token.text[1:], depth, major)
            tokens += more
            if error:
                return tokens, at, error
        else:
            tokens.append(token)
        if not comma:
            return tokens, at, ""


def _token(text: str, at: int) -> tuple[Token | None, int, bool]:
    while at < len(text) and (text[at] in _BLANK or text[at] == ","):
        at += 1
    said, inside, was_quote, saw_quote, first = "", False, False, False, False
    while at < len(text) and (inside or text[at] not in _BLANK):
        char = text[at]
        if char == "#" and not inside:
            at = len(text)
            break
        if char == "," and not inside:
            return Token(said, first), at, True
        if char != '"' or was_quote:
            said += char
        was_quote = not was_quote if inside and char == '"' else False
        if char == '"':
            inside, saw_quote = not inside, True
            first = first or not said
        at += 1
    return (Token(said, first) if saw_quote or said else None), at, False


def _names(path: Path, name: str, depth: int, major: int) -> tuple[list[Token], str]:
    """The tokens of an @file, which may name further ones."""
    target = _beside(path, name)
    if depth + 1 > MAX_DEPTH:
        return [], f'could not open file "{target}": maximum nesting depth exceeded'
    try:
        content = _content(target)
    except OSError as error:
        what = f'secondary authentication file "@{name}" as' if major < 16 else "file"
        return [], f'could not open {what} "{target}": {error.strerror}'
    tokens: list[Token] = []
    for _, text in _logical(content):
        at = 0
        while at < len(text):
            more, at, error = _field(text, at, target, depth + 1, major)
            tokens += more
            if error:
                return tokens, error
    return tokens, ""


def _directive(reading: _Reading, path: Path, word: str, name: str, depth: int) -> tuple[bool, str]:
    """Follow an include directive of 16 and newer: whether it is one, and what went wrong."""
    if word not in ("include", "include_if_exists", "include_dir"):
        return False, ""
    target = _beside(path, name)
    if word != "include_dir":
        return True, _include(reading, target, depth, strict=word == "include")
    try:
        names = sorted(os.fsencode(held.name) for held in target.iterdir())
    except OSError:
        return True, f'could not open directory "{target}"'
    errors: list[str] = []
    for raw in names:
        found = os.fsdecode(raw)
        if found.startswith(".") or len(found) < 6 or not found.endswith(".conf") or (target / found).is_dir():
            continue
        errors += filter(None, [_include(reading, target / found, depth, strict=True)])
    return True, "\n".join(errors)


def _include(reading: _Reading, target: Path, depth: int, *, strict: bool) -> str:
    if depth + 1 > MAX_DEPTH:
        return f'could not open file "{target}": maximum nesting depth exceeded'
    try:
        content = _content(target)
    except FileNotFoundError as error:
        return f'could not open file "{target}": {error.strerror}' if strict else ""
    except OSError as error:
        return f'could not open file "{target}": {error.strerror}'
    _file(reading, target, content, depth + 1)
    return ""


def _beside(path: Path, name: str) -> Path:
    return Path(os.path.normpath(path.parent / name))
