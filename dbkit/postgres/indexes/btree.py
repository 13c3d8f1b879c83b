"""How large a b-tree would be if it were built now, from the statistics of its columns."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil, prod
from typing import Any, Final

from dbkit.postgres.indexes.rules.scene import Fill

# Sizes of PostgreSQL's page layout, in bytes (bufpage.h, itup.h, nbtree.h); the same since 13.
_PAGE: Final = 24 + 16
_POINTER: Final = 4
_HEADER: Final = 8
_NULLS: Final = 8
_TID: Final = 6
_POSTING: Final = 1344
_PADDING: Final = 4


def estimate(row: Mapping[str, Any]) -> Fill | None:
    """The size range for one row of `postgres/btree_widths`; None when statistics are missing."""
    if row["tuples"] < 0 or row["known"] < row["columns"]:
        return None
    tuples, block = max(row["tuples"], 1.0), row["block"]
    head = _HEADER + (_NULLS if row["nulls"] else 0)
    entry = _aligned(head + row["width"]) + _POINTER
    padded = _aligned(head + row["width"] + _PADDING * (row["columns"] - 1)) + _POINTER
    high = tuples * padded
    low = tuples * entry
    if not row["apart"]:
        keys = min(tuples, prod(n if n > 0 else -n * tuples for n in row["distincts"]) or 1.0)
        low = min(low, max(keys, tuples * _TID / _POSTING) * entry + tuples * _TID)
    return Fill(
        low=_bytes(low, entry, row["fillfactor"], block),
        high=_bytes(high, padded, row["fillfactor"], block),
        analyzed=row["analyzed"],
    )


def measured(row: Mapping[str, Any], fillfactor: int, size: int, block: int) -> float:
    """The share of an index that entries need, from a row of pgstatindex()."""
    leaves = row["leaf_pages"] * row["avg_leaf_density"] / fillfactor
    return min(1.0, (leaves + row["internal_pages"] + 1) * block / size) if size else 1.0


def _aligned(size: float) -> float:
    return ceil(size / 8) * 8


def _bytes(content: float, entry: float, fillfactor: int, block: int) -> int:
    room = block - _PAGE
    leaves = ceil(content / (room * fillfactor / 100))
    inner = ceil(leaves / max(2.0, room * 0.7 / entry)) if leaves > 1 else 0
    return (1 + leaves + inner) * block
