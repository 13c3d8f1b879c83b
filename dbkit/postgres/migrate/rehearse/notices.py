"""The server's own words at `debug1`: what a statement rewrote, verified, built, and what it found proved."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

_REWRITING: Final = re.compile(r'^rewriting table "(.+)"$')
_VERIFYING: Final = re.compile(r'^verifying table "(.+)"$')
_VALIDATING: Final = re.compile(r'^validating foreign key constraint "(.+)"$')
_BUILDING: Final = re.compile(r'^building index "(.+)" on table "(.+?)"')
_PROVED: Final = re.compile(r"existing constraints|is implied by")


@dataclass(slots=True)
class Said:
    """Names as the server wrote them, without a schema."""

    rewriting: list[str] = field(default_factory=list[str])
    verifying: list[str] = field(default_factory=list[str])
    validating: list[str] = field(default_factory=list[str])
    """Foreign keys."""
    building: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    """Index and table."""
    proved: list[str] = field(default_factory=list[str])


def read(lines: list[str]) -> Said:
    """Sort the messages of one statement; those about TOAST tables are left out."""
    said = Said()
    for line in lines:
        if found := _REWRITING.match(line):
            said.rewriting.append(found[1])
        elif found := _VERIFYING.match(line):
            said.verifying.append(found[1])
        elif found := _VALIDATING.match(line):
            said.validating.append(found[1])
        elif found := _BUILDING.match(line):
            if not found[2].startswith("pg_toast"):
                said.building.append((found[1], found[2]))
        elif _PROVED.search(line):
            said.proved.append(line)
    return said
