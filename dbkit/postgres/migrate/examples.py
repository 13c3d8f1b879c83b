"""The examples of migration rules: what exists before, the migration, and how it is run."""

from __future__ import annotations

import re
from dataclasses import dataclass

from dbkit.postgres.migrate.lint import DEFAULT_VERSION, parse_version


@dataclass(frozen=True, slots=True)
class Example:
    """One example, taken apart at its marks."""

    before: str
    migration: str
    assume: bool | None
    version: tuple[int, int | None]


def split(text: str) -> Example:
    """An example's parts: `-- before`, `-- migration`, `-- in a transaction`, `-- PostgreSQL 14`."""
    version = re.search(r"^-- PostgreSQL (\d+(?:\.\d+)?)$", text, re.MULTILINE)
    assume = True if re.search(r"^-- in a transaction$", text, re.MULTILINE) else None
    before, mark, migration = text.partition("-- migration\n")
    if not mark:
        before, migration = "", text
    return Example(before, migration, assume, parse_version(version[1]) if version else DEFAULT_VERSION)
