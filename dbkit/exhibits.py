"""What a report shows beside its findings: plain data that the HTML and Markdown pages draw as tables, bars, lanes.

Engines fill these; only renderers decide how they look. Every number carries its unit in the title or the column.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Tone: TypeAlias = Literal["neutral", "good", "warn", "bad"]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of text under column headings; `numeric` names the columns set flush right."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
    numeric: frozenset[str] = frozenset()
    headline: bool = False
    """Part of the answer itself: the text format shows it without -v."""


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar: a label, a value in the chart's unit, and the words shown at its end."""

    label: str
    value: float
    caption: str = ""
    tone: Tone = "neutral"


@dataclass(frozen=True, slots=True)
class Bars:
    """Values side by side on one scale starting at zero; `limit` draws a line across (a budget, a capacity)."""

    title: str
    unit: str
    bars: tuple[Bar, ...]
    limit: float | None = None
    limit_label: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Stack:
    """One capacity divided into named parts (memory of a server, connections of a pool)."""

    title: str
    unit: str
    parts: tuple[Bar, ...]
    capacity: float | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of time in a lane, in seconds since the timeline's start."""

    start: float
    end: float
    label: str
    tone: Tone = "neutral"


@dataclass(frozen=True, slots=True)
class Lane:
    """One row of a timeline: a relation, a session or a step."""

    label: str
    spans: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class Timeline:
    """What happened when, lane by lane, in seconds."""

    title: str
    lanes: tuple[Lane, ...]
    note: str = ""


@dataclass(frozen=True, slots=True)
class Text:
    """A heading and a paragraph, or a block of commands when `code` is true."""

    title: str
    body: str
    code: bool = False


Exhibit: TypeAlias = "Table | Bars | Stack | Timeline | Text"
