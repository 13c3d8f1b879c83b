"""How long a statement would run at production size, from its own times at two sizes in this very run.

Time = fixed part + slope * rows. Two sizes tell the fixed part (parsing, catalogue, planning) from what grows with the
table. Production rows may be wider or narrower than seeded ones: the truth lies between scaling by rows and scaling by
bytes, which, with the spread of the repeated measurements, gives the interval. It widens with the distance from what
was measured. All of it holds for a machine as fast as this one with the table in memory; with a rate at which storage
is read, no statement takes less than the reading of its tables.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from dbkit.postgres.migrate.names import Name
from dbkit.postgres.migrate.rehearse.observed import Hold, Observation
from dbkit.postgres.migrate.stats import Stats, TableSize

MARGIN: Final = 1.25
"""What a measurement of some milliseconds may be off by."""
ABOVE: Final = 0.25
BELOW: Final = 0.1
"""What each doubling beyond the rehearsed size adds to the interval; bench_rehearsal.py shows how it fits."""
_SORTED: Final = "index build"


@dataclass(frozen=True, slots=True)
class Size:
    """Of one rehearsal: rows and bytes by table, as shown."""

    tables: Mapping[str, TableSize]

    def sum(self, names: Sequence[str]) -> TableSize:
        """Several tables together."""
        found = [self.tables[n] for n in names if n in self.tables]
        return TableSize(sum(t.bytes for t in found), sum(t.rows for t in found))


@dataclass(frozen=True, slots=True)
class Timing:
    """One run without probes: how large the tables were, and the seconds of each statement by what names it.

    Not by position: how many statements the loop of a revision sends depends on the rows.
    """

    size: Size
    seconds: Mapping[tuple[str, int, str, int], float]


def timed(size: Size, seen: Sequence[Observation]) -> Timing:
    """A run's times."""
    return Timing(size, dict(zip(_names(seen), (o.seconds for o in seen), strict=True)))


def _names(seen: Sequence[Observation]) -> list[tuple[str, int, str, int]]:
    """File, line, kind, and the how-manieth of these: what a statement is called in every run."""
    counted: Counter[tuple[str, int, str]] = Counter()
    names: list[tuple[str, int, str, int]] = []
    for one in seen:
        place = (one.file, one.line, one.kind)
        names.append((*place, counted[place]))
        counted[place] += 1
    return names


@dataclass(frozen=True, slots=True)
class Prediction:
    """Seconds at production size: the likely value and the interval."""

    likely: float
    low: float
    high: float

    def at_least(self, seconds: float) -> Prediction:
        """The same, none of it under a floor; the floor is as sure as the rate it comes from."""
        return Prediction(max(self.likely, seconds), max(self.low, seconds / MARGIN), max(self.high, seconds * MARGIN))

    def plus(self, other: Prediction) -> Prediction:
        """Both, one after the other."""
        return Prediction(self.likely + other.likely, self.low + other.low, self.high + other.high)


def predict(
    seen: Sequence[Observation],
    timings: Sequence[Timing],
    stats: Stats,
    known: Mapping[str, Name],
    read_rate: float | None = None,
) -> list[Prediction | None]:
    """One prediction a statement; None where the production size of a table it works on is not known.

    `read_rate` is in bytes a second; without it the tables are presumed in memory.
    """
    return [
        _one(name, one, timings, stats, known, read_rate) if not one.error else None
        for name, one in zip(_names(seen), seen, strict=True)
    ]


def _one(
    name: tuple[str, int, str, int],
    seen: Observation,
    timings: Sequence[Timing],
    stats: Stats,
    known: Mapping[str, Name],
    read_rate: float | None,
) -> Prediction | None:
    runs = [(t.size.sum(seen.tables), t.seconds[name]) for t in timings if name in t.seconds]
    if not runs:
        return None
    grows = [n for n in seen.tables if n in known]
    if not grows or not (seen.work or seen.tables):
        flat = [s for _, s in runs]
        return Prediction(median(flat), min(flat), max(flat) * MARGIN)
    sizes = [stats.of(known[n]) for n in grows]
    if any(s is None for s in sizes):
        return None
    rows = sum(s.rows for s in sizes if s is not None)
    wide = sum(s.bytes for s in sizes if s is not None)
    found = _scaled(runs, rows, wide, sorts=seen.work == _SORTED)
    return found.at_least(wide / read_rate) if read_rate else found


def _scaled(runs: list[tuple[TableSize, float]], rows: int, wide: int, *, sorts: bool) -> Prediction:
    small = min(s.rows for s, _ in runs)
    large = max(s.rows for s, _ in runs)
    at_small = [t for s, t in runs if s.rows == small]
    at_large = [t for s, t in runs if s.rows == large]
    width = next(s.bytes / max(s.rows, 1) for s, _ in runs if s.rows == large)
    wider = (wide / max(rows, 1)) / width if width and wide and rows else 1.0
    # Comparisons of a sort grow a little faster than rows.
    grow = max(math.log2(max(rows, 2)) / math.log2(max(large, 2)), 1.0) if sorts else 1.0

    def at(slow: float, fast: float) -> tuple[float, float]:
        if large == small:
            return 0.0, fast / max(large, 1)
        slope = max((fast - slow) / (large - small), 0.1 * fast / max(large, 1))
        return max(slow - slope * small, 0.0), slope

    fixed, slope = at(median(at_small), median(at_large))
    slopes = [at(a, b)[1] for a in at_small for b in at_large]
    middle = math.sqrt(wider)
    # The further from what was measured, the less is known: sorts and hashes spill to disk, caches are left behind.
    doublings = math.log2(max(rows / max(large, 1), 1.0))
    return Prediction(
        fixed + slope * rows * middle * grow,
        fixed + min(slopes) * rows * min(1.0, wider) / (MARGIN * (1 + BELOW * doublings)),
        fixed + max(slopes) * rows * max(1.0, wider) * grow * MARGIN * (1 + ABOVE * doublings),
    )


def held(seen: Sequence[Observation], predictions: Sequence[Prediction | None], position: int) -> Prediction | None:
    """From this statement to the end of its transaction; None where one of them is not known."""
    total = Prediction(0.0, 0.0, 0.0)
    for number in range(position, len(seen)):
        if seen[number].transaction != seen[position].transaction:
            break
        one = predictions[number] if number < len(predictions) else None
        if one is None:
            return None
        total = total.plus(one)
    return total


def of_hold(hold: Hold, seen: Sequence[Observation], predictions: Sequence[Prediction | None]) -> Prediction | None:
    """How long a lock would be held."""
    return held(seen, predictions, hold.statement) if 0 <= hold.statement < len(seen) else None
