"""The old shape of a change: what must not be used any more, and the ways it can be."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

READS: Final = "reads"
WRITES: Final = "writes"
ALL: Final = "all columns"
UNREAD: Final = "cannot be read"
TABLE: Final = "table"


@dataclass(frozen=True, slots=True)
class Shape:
    """What goes away: columns of a table and its partitions, or whole relations."""

    relations: frozenset[tuple[str, str]]
    """Schema and name of the table and of all its partitions."""
    columns: frozenset[str]
    """Columns that go away; empty when the relations themselves do."""
    others: frozenset[str] = frozenset()
    """All columns of the table."""
    keys: frozenset[tuple[str, ...]] = frozenset()
    """Columns of unique keys that go away; then it is only about what rests on them."""

    def names(self, schema: str, name: str) -> bool:
        """Whether a name in a statement may mean one of the relations."""
        return any(name == n and schema in ("", s) for s, n in self.relations)


def mentions(sql: str, shape: Shape) -> bool:
    """Whether a text holds the name of a relation and of a column as words; for texts that cannot be parsed."""

    def word(name: str) -> bool:
        return re.search(rf"(?<![\w$]){re.escape(name)}(?![\w$])", sql, re.IGNORECASE) is not None

    return any(word(n) for _, n in shape.relations) and (not shape.columns or any(word(c) for c in shape.columns))
