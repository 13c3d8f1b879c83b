"""Table sizes of a real server, as `dbkit migrate stats -o stats.json` writes them: severity follows them.

{"schema": 1, "tables": [{"name": "public.orders", "bytes": 73400320, "rows": 1200000, "index_bytes": 20971520}]}

`bytes` and `rows` decide; the other keys are what a rehearsal uses. `dbkit policy schema --stats` prints them all.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from dbkit.errors import UsageError
from dbkit.postgres.migrate.names import Name

SMALL_BYTES: Final = 10 * 1024 * 1024
SMALL_ROWS: Final = 50_000
LARGE_BYTES: Final = 1024**3


@dataclass(frozen=True, slots=True)
class TableSize:
    """Bytes of the heap with its TOAST table, and the estimated rows."""

    bytes: int
    rows: int
    index_bytes: int = 0
    reads: float | None = None
    """Statements a second that read it, where the file says."""
    writes: float | None = None
    """Rows a second written to it, where the file says."""
    nulls: dict[str, float] | None = None
    """The share of NULLs of each column whose share is known; None where the file says nothing of it."""

    @property
    def small(self) -> bool:
        """Scanned or rewritten in well under a second on any disk."""
        return self.bytes < SMALL_BYTES and self.rows < SMALL_ROWS

    @property
    def large(self) -> bool:
        """Takes long enough that nobody would call it brief."""
        return self.bytes >= LARGE_BYTES


@dataclass(frozen=True, slots=True)
class Stats:
    """Sizes by (schema, table)."""

    tables: dict[tuple[str, str], TableSize] = field(default_factory=dict[tuple[str, str], TableSize])

    def of(self, name: Name) -> TableSize | None:
        """The table's size; an unqualified name is looked for in `public`."""
        return self.tables.get((name.schema or "public", name.name))


def load(file: Path) -> Stats:
    """Read a statistics file. Raises UsageError naming what is wrong."""
    try:
        data: Any = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read {file}", why=error.strerror) from None
    except ValueError as error:
        hint = "`dbkit migrate stats -t TARGET -o stats.json` writes one"
        raise UsageError(f"{file} is not JSON", why=str(error), hint=hint) from None
    try:
        tables: dict[tuple[str, str], TableSize] = {}
        for entry in data["tables"]:
            schema, _, name = str(entry["name"]).rpartition(".")
            tables[(schema or "public", name)] = TableSize(
                int(entry["bytes"]),
                int(entry["rows"]),
                int(entry.get("index_bytes") or 0),
                _rate(entry.get("reads_per_second")),
                _rate(entry.get("writes_per_second")),
                _shares(entry.get("null_shares")),
            )
    except (AttributeError, KeyError, TypeError, ValueError):
        raise UsageError(
            f"{file} holds no table sizes",
            hint='expected {"tables": [{"name": "public.t", "bytes": 8192, "rows": 10}]}',
        ) from None
    return Stats(tables)


def _rate(value: Any) -> float | None:
    return None if value is None else float(value)


def _shares(value: Any) -> dict[str, float] | None:
    return None if value is None else {str(name): float(share) for name, share in value.items()}
