"""Names for new indexes."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

MAX_BYTES: Final = 63


def free(table: str, parts: Iterable[str], taken: Iterable[str], *, spare: str = "advised") -> str:
    """`table_column_idx`, cut to what PostgreSQL keeps and numbered if it is taken in its schema."""
    held = set(taken)
    base = "_".join((table, *parts)) or spare
    for number in range(1000):
        suffix = f"_idx{number or ''}"
        name = base.encode()[: MAX_BYTES - len(suffix)].decode(errors="ignore") + suffix
        if name not in held:
            return name
    return f"{spare}_{len(held)}_idx"


def words(expression: str) -> str:
    """What of an expression can be part of a name."""
    return "_".join(re.findall(r"[a-z0-9]+", expression.lower())[:3]) or "expr"
