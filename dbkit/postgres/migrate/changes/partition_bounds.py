"""Where partitions begin and end: months, weeks, days or steps of a number, and how a bound of each is written.

All periods are those of UTC. A bound for `timestamptz` says so, so that it means the same under any TimeZone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

from dbkit.errors import UsageError

TIMES: Final = ("date", "timestamp", "timestamptz")
NUMBERS: Final = ("int2", "int4", "int8")
LARGEST: Final = {"int2": 2**15 - 1, "int4": 2**31 - 1, "int8": 2**63 - 1}
PERIODS: Final = ("month", "week", "day")
AHEAD: Final = {"month": 12, "week": 12, "day": 30, "": 10}
MOST_AHEAD: Final = 1000
LEAD: Final = timedelta(days=14)
"""How far off the first new partition lies at least: what is written until contract has to lie before it."""


@dataclass(frozen=True, slots=True)
class Every:
    """A period of time, or a step of a number."""

    period: str
    """month, week or day; empty for a number."""
    step: int = 1
    base: str = ""
    """The column's type as pg_type.typname."""

    @property
    def told(self) -> str:
        """`month`, or `1,000,000`."""
        return self.period or f"{self.step:,}"

    def start_of(self, value: date | int) -> date | int:
        """The start of the range that holds a value."""
        if isinstance(value, int):
            return value // self.step * self.step
        if self.period == "month":
            return value.replace(day=1)
        return value - timedelta(days=value.weekday()) if self.period == "week" else value

    def after(self, start: date | int) -> date | int:
        """The start of the next range."""
        if isinstance(start, int):
            return start + self.step
        if self.period == "month":
            return (start.replace(day=1) + timedelta(days=32)).replace(day=1)
        return start + timedelta(days=7 if self.period == "week" else 1)

    def first(self, now: date, highest: date | int | None) -> date | int:
        """The start of the first new range: far enough from now and from the highest value there is."""
        if not self.period:
            return self.after(self.after(self.start_of(highest if isinstance(highest, int) else 0)))
        far = now + LEAD
        if isinstance(highest, date) and highest > far:
            far = highest
        return self.after(self.start_of(far))

    def ranges(self, first: date | int, count: int) -> Iterator[tuple[date | int, date | int]]:
        """So many ranges, from the first on."""
        low = first
        for _ in range(count):
            high = self.after(low)
            yield low, high
            low = high

    def written(self, value: date | int) -> str:
        """A bound as a SQL literal."""
        if isinstance(value, int):
            return str(value)
        clock = {"date": "", "timestamp": " 00:00:00", "timestamptz": " 00:00:00+00"}[self.base]
        return f"'{value.isoformat()}{clock}'"

    def label(self, value: date | int) -> str:
        """What the name of a partition ends in."""
        if isinstance(value, int):
            return str(value)
        return value.strftime("%Y_%m" if self.period == "month" else "%Y_%m_%d")


def every(text: str, base: str, where: str) -> Every:
    """What `--every` says about a column of type `base`. Raises UsageError."""
    if base in TIMES:
        if text not in PERIODS:
            raise UsageError(f"--every {text} is none for {where}", hint="one of: month, week, day")
        return Every(text, base=base)
    if base in NUMBERS:
        if not text.isascii() or not text.isdigit() or int(text) < 1:
            raise UsageError(f"--every {text} is none for {where}", hint="a whole number, such as 10000000")
        return Every("", int(text), base)
    raise UsageError(
        f"{where} cannot be partitioned by ranges here",
        why=f"its type is {base}",
        hint="take a column of type date, timestamp, timestamptz or a whole number",
    )


def start(text: str, step: Every) -> date | int:
    """What `--from` says. Raises UsageError unless a range begins there."""
    value: date | int
    try:
        value = date.fromisoformat(text) if step.period else int(text)
    except ValueError:
        wanted = "a date such as 2027-01-01" if step.period else "a whole number"
        raise UsageError(f"--from {text} is none", hint=wanted) from None
    begins = step.start_of(value)
    if begins != value:
        raise UsageError(f"no {step.told} begins at {text}", hint=f"the next begins at {step.after(begins)}")
    return value
