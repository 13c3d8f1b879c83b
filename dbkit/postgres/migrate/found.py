"""What a run over scripts brings back: hazards with their place, the coverage, and scripts taken apart."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from dbkit.postgres import ddl
from dbkit.postgres.migrate.context import Hazard
from dbkit.postgres.migrate.psql_text import filled
from dbkit.postgres.migrate.rules.declare import MigrationRule
from dbkit.postgres.migrate.source import Part, Script

_BY_PSQL: Final = ("plain", "sqitch")
"""Kinds of scripts that psql runs or may run: for others `:name` is an error of the file."""
_PLACE: Final = re.compile(r"\A[^\n]*?:\d+:\d+: ")
_LONGEST: Final = 120
"""Characters of the grammar's sentence that are shown: an unclosed quote quotes the rest of the file."""


@dataclass(slots=True)
class Found:
    """A hazard with its rule and the lines of the statement it belongs to."""

    rule: MigrationRule
    hazard: Hazard
    file: str
    line: int | None
    last: int
    text: str
    """The statement, which tells apart two findings on one object."""
    start: int | None = None
    """Byte offset of a whole top-level statement of the file, for `--fix`."""
    together: bool | None = None
    """Whether the statement shares a transaction with others; None: not known."""


@dataclass(slots=True)
class Coverage:
    """How much of the input was judged."""

    statements: int = 0
    not_analysed: int = 0
    inside: int = 0
    """Of the statements, those found in DO blocks and functions."""

    @property
    def share(self) -> float:
        """Judged statements over all, 1.0 when there are none."""
        return 1.0 if not self.statements else (self.statements - self.not_analysed) / self.statements


def plain(error: ddl.SqlSyntaxError) -> str:
    """The grammar's sentence without the place, which the finding carries itself."""
    words = " ".join(_PLACE.sub("", error.what).split())
    return words if len(words) <= _LONGEST else f"{words[:_LONGEST]} ..."


def parse(
    script: Script,
) -> tuple[list[tuple[Part | None, tuple[ddl.Statement, ...]]], tuple[ddl.SqlSyntaxError, ...]]:
    if script.parts is None:
        statements, errors = ddl.parse_loosely(script.text, label=script.file)
        if errors:
            again = filled(script.text, psql=script.kind in _BY_PSQL)
            if again != script.text:
                more, fewer = ddl.parse_loosely(again, label=script.file)
                if len(fewer) < len(errors):
                    statements, errors = more, fewer
        return [(None, statements)], errors
    found: list[tuple[Part | None, tuple[ddl.Statement, ...]]] = []
    problems: list[ddl.SqlSyntaxError] = []
    for part in script.parts:
        if part.control:
            found.append((part, ()))
            continue
        statements, errors = ddl.parse_loosely(part.sql, label=script.file)
        for error in errors:
            error.line = part.line
        problems += errors
        found.append((part, statements))
    return found, tuple(problems)
