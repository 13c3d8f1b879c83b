"""What Django's `sqlmigrate` prints: SQL with a comment for each operation, and notes for those that are Python."""

from __future__ import annotations

import re
from typing import Final

_ONLY_PYTHON: Final = re.compile(
    r"^--\s*(?:THIS OPERATION CANNOT BE WRITTEN AS SQL"
    r"|MIGRATION NOW PERFORMS OPERATION THAT CANNOT BE WRITTEN AS SQL)[^\n]*",
    re.MULTILINE,
)
_OPERATION: Final = re.compile(r"^--\n-- ([^\n]+)\n--[ \t]*$", re.MULTILINE)


def problems(text: str) -> tuple[tuple[int | None, str], ...]:
    """Operations that exist only as Python, with their lines."""
    found: list[tuple[int | None, str]] = []
    for match in _ONLY_PYTHON.finditer(text):
        line = text.count("\n", 0, match.start()) + 1
        name = operation(text, match.start())
        found.append(
            (line, f"{name or 'an operation'} runs Python that sqlmigrate cannot show: what it locks is not known")
        )
    return tuple(found)


def operation(text: str, position: int) -> str:
    """Django's name for the operation a position belongs to, such as `Add field note to order`."""
    last = ""
    for match in _OPERATION.finditer(text, 0, position):
        last = match[1].strip()
    return last
