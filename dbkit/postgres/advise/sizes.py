"""How large a candidate would be, from the widths ANALYZE has measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from dbkit.postgres.advise.candidate import Candidate
from dbkit.postgres.advise.facts import Column
from dbkit.postgres.indexes import btree

BLOCK: Final = 8192
_UNKNOWN_WIDTH: Final = 16
_VALUE_WIDTH: Final = 24
"""Of a value taken out of a document."""
# Bytes of a GIN index for each byte of the indexed value, as measured on text of some hundred bytes: every character
# begins a trigram, a word of a document comes out shorter and once.
_GIN: Final = {"gin_trgm_ops": 2.5, "": 0.8}


def bytes_of(candidate: Candidate, columns: Mapping[str, Column], rows: float) -> int:
    """The size with `rows` entries. A rough figure for methods other than b-tree."""
    if candidate.method != "btree":
        opclass = candidate.keys[0].opclass.rpartition(".")[2]
        width = sum(_width(columns, name) for key in candidate.keys for name in key.columns)
        return BLOCK * 2 + int(rows * width * _GIN.get(opclass, _GIN[""]))
    widths = [_key_width(columns, key.columns, plain=not key.text.endswith(")")) for key in candidate.keys]
    widths += [_width(columns, name) for name in candidate.included]
    names = [*(k.columns[0] if k.columns else "" for k in candidate.keys), *candidate.included]
    known = [columns[n] for n in names if n in columns]
    fill = btree.estimate(
        {
            "tuples": rows,
            "columns": len(widths),
            "known": len(widths),
            "width": sum(widths),
            "nulls": any(c.nulls for c in known),
            "distincts": [c.distincts or -1.0 for c in known] or [-1.0],
            "apart": bool(candidate.included),
            "fillfactor": 90,
            "block": BLOCK,
            "analyzed": None,
        }
    )
    return fill.low if fill is not None else BLOCK * 2


def _width(columns: Mapping[str, Column], name: str) -> int:
    found = columns.get(name)
    return (found.width if found is not None else None) or _UNKNOWN_WIDTH


def _key_width(columns: Mapping[str, Column], names: tuple[str, ...], *, plain: bool) -> int:
    if not plain and any(columns[n].category == "U" for n in names if n in columns):
        return _VALUE_WIDTH
    return sum(_width(columns, n) for n in names) or _UNKNOWN_WIDTH
