"""pg_ident.conf line by line, as pg_ident_file_mappings shows it (parse_ident_line of hba.c); run on 15 and 18."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dbkit.postgres.hba.lexer import Line, Token, read
from dbkit.postgres.hba.reader import why_broken


@dataclass(frozen=True, slots=True)
class IdentMap:
    """One line: who of the system may be which role; or why the server refuses it."""

    file: str
    line: int
    name: str | None = None
    system: str | None = None
    role: str | None = None
    error: str | None = None

    def row(self) -> dict[str, Any]:
        """The line with the names of pg_ident_file_mappings."""
        return {
            "line_number": self.line,
            "file_name": self.file,
            "map_name": self.name,
            "sys_name": self.system,
            "pg_username": self.role,
            "error": self.error,
        }


@dataclass(frozen=True, slots=True)
class IdentFile:
    """A pg_ident.conf with all it includes."""

    path: str
    major: int
    maps: tuple[IdentMap, ...]

    @property
    def loads(self) -> bool:
        """Whether a server would take it; one that does not starts all the same, with no map at all."""
        return all(one.error is None for one in self.maps)


def read_file(path: Path, major: int) -> IdentFile:
    """Read a pg_ident.conf. Raises UsageError when it cannot be read."""
    return IdentFile(str(path), major, tuple(_map(line, major) for line in read(path, major, setting="ident_file")))


def _map(line: Line, major: int) -> IdentMap:
    error = line.error or _shape(line.fields)
    if error:
        return IdentMap(line.file, line.number, error=error)
    name, system, role = (tokens[0].text for tokens in line.fields[:3])  # what follows is not looked at
    for text in (system, role) if major >= 16 else (system,):
        why = why_broken(text[1:]) if text.startswith("/") else ""
        if why:
            error = f'invalid regular expression "{text[1:]}": {why}'
            return IdentMap(line.file, line.number, error=error)
    return IdentMap(line.file, line.number, name, system, role)


def _shape(fields: tuple[tuple[Token, ...], ...]) -> str:
    """Three fields of one value each, looked at from left to right."""
    for position in range(3):
        if position >= len(fields):
            return "missing entry at end of line"
        if len(fields[position]) > 1:
            return "multiple values in ident field"
    return ""
