"""Makes fewer indexes of many: one that serves nearly all that two chosen ones serve takes their place."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations
from typing import Final, Protocol

LOSS: Final = 0.1
"""The share of what the two save that may be lost for having one index less to write."""


class Scores(Protocol):
    """What candidates save, as the chooser knows."""

    def total(self, chosen: Iterable[int], table: int) -> float:
        """What the queries on a table save with these candidates."""
        ...

    def table(self, position: int) -> int:
        """The table of a candidate."""
        ...

    def serves(self, other: Iterable[int], chosen: Iterable[int], tables: Iterable[int]) -> bool:
        """Whether every query on the tables is about as cheap with the other candidates as with the chosen ones."""
        ...

    def alike(self, one: int, other: int) -> bool:
        """Whether two candidates could be one: the same table and method, and a column in common."""
        ...

    def price(self, position: int) -> float:
        """What it costs to have it: its size, partial ones counted a little larger."""
        ...

    def kept(self, position: int) -> bool:
        """Whether it must stay."""
        ...


def merge(chosen: list[int], usable: Sequence[int], scores: Scores) -> None:
    """Replace pairs of chosen candidates on one table, then single ones by smaller ones, as long as that loses little.

    Changes `chosen`.
    """
    for size in (2, 1):
        while (found := _replacement(chosen, usable, scores, size)) is not None:
            group, instead = found
            chosen[:] = [n for n in chosen if n not in group]
            if instead not in chosen:
                chosen.append(instead)


def _replacement(
    chosen: Sequence[int], usable: Sequence[int], scores: Scores, size: int
) -> tuple[tuple[int, ...], int] | None:
    for group in combinations(chosen, size):
        table = scores.table(group[0])
        kept = [n for n in group if scores.kept(n)]
        if not scores.alike(group[0], group[-1]) or len(kept) == size:
            continue
        now = scores.total(chosen, table)
        rest = [n for n in chosen if n not in group]
        allowed = LOSS * (now - scores.total(rest, table))
        price = sum(map(scores.price, group)) if size > 1 else scores.price(group[0])
        free = [
            n for n in usable if n not in chosen and all(scores.alike(n, m) for m in group) and scores.price(n) < price
        ]
        options = kept or [*(group if size > 1 else ()), *free]
        fit = [
            n
            for n in options
            if now - scores.total([*rest, n], table) <= allowed and scores.serves([*rest, n], chosen, [table])
        ]
        if fit:
            return group, min(fit, key=scores.price)
    return None
