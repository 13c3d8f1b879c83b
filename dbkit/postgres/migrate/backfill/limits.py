"""The limits of a backfill, as flags, as rows of dbkit.job_limit, and as numbers; all can be changed while it runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Final

from dbkit.errors import UsageError
from dbkit.sizes import format_bytes, format_seconds, parse_bytes, parse_seconds

OFF: Final = "off"


@dataclass(frozen=True, slots=True)
class Limits:
    """None switches a limit off. Seconds, bytes and shares as numbers."""

    batch_time: float = 0.05
    """What one batch should take at the most; it is less where others wait for its rows."""
    max_lag: float | None = 10.0
    """How far a replica may replay behind."""
    max_slot_lag: float | None = 8 * 1024**3
    """How many bytes of WAL a replication slot may hold back."""
    max_waiters: float | None = 0
    """How many sessions may wait for a lock of ours."""
    max_wal: float | None = None
    """WAL of the whole server per second."""
    max_dead: float | None = None
    """Share of dead rows in the table, 0 to 1."""
    max_active: float | None = None
    """Active sessions of others."""
    max_vacuums: float | None = None
    """Vacuums at work on the table."""
    rest: float = 0.0
    """Pause after each batch as a multiple of its time."""
    max_hold: float = 3600.0
    """How long it may be held back at a stretch; then it stops."""
    pause_file: str | None = None
    """While this file exists the backfill holds."""
    hold_while: str | None = None
    """While this query returns true (or any text) the backfill holds."""

    @classmethod
    def of_texts(cls, texts: Mapping[str, str]) -> Limits:
        """The limits with these texts read. Raises UsageError for a name or text that is none."""
        return cls().changed(texts)

    def changed(self, texts: Mapping[str, str]) -> Limits:
        """These limits with some replaced."""
        values: dict[str, Any] = {}
        for name, text in texts.items():
            if name not in NAMES:
                raise UsageError(f"{name!r} is not a limit", hint=f"limits are {', '.join(NAMES)}")
            values[name] = parse(name, text)
        return replace(self, **values)

    def texts(self) -> dict[str, str]:
        """Every limit as the text that `of_texts` reads back."""
        return {field.name: show(field.name, getattr(self, field.name)) for field in fields(self)}


def _share(text: str) -> float:
    share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    if not 0 < share < 1:
        raise ValueError(f"{text!r} is not a share such as 20%")
    return share


def _number(text: str) -> float:
    number = float(text)
    if not 0 <= number < float("inf"):
        raise ValueError(f"{text!r} is not a number of at least 0")
    return number


def _rate(text: str) -> float:
    return float(parse_bytes(text.removesuffix("/s")))


_READERS: Final[dict[str, Callable[[str], Any]]] = {
    "batch_time": parse_seconds,
    "max_lag": parse_seconds,
    "max_slot_lag": parse_bytes,
    "max_waiters": _number,
    "max_wal": _rate,
    "max_dead": _share,
    "max_active": _number,
    "max_vacuums": _number,
    "rest": _number,
    "max_hold": parse_seconds,
    "pause_file": str,
    "hold_while": str,
}
NAMES: Final = tuple(_READERS)
_ALWAYS: Final = ("batch_time", "rest", "max_hold")


def parse(name: str, text: str) -> Any:
    """The value of one limit. Raises UsageError naming the flag."""
    if text.strip().lower() == OFF and name not in _ALWAYS:
        return None
    try:
        value = _READERS[name](text.strip())
    except ValueError as error:
        flag = f"--{name.replace('_', '-')}"
        raise UsageError(f"{flag}: {error}", hint=f"or {flag} off" if name not in _ALWAYS else None) from None
    if name == "batch_time" and not 0.005 <= value <= 60:
        raise UsageError("--batch-time must be between 5ms and 1min")
    return value


def show(name: str, value: Any) -> str:
    """A value as text that `parse` reads back."""
    if value is None:
        return OFF
    if isinstance(value, str):
        return value
    return f"{value:g}s" if _READERS[name] is parse_seconds else f"{value:.12g}"


def told(name: str, value: Any) -> str:
    """A value for people."""
    if value is None or isinstance(value, str):
        return show(name, value)
    if _READERS[name] is parse_seconds:
        return format_seconds(float(value))
    if name == "max_dead":
        return f"{value:.0%}"
    return format_bytes(float(value)) if name in ("max_slot_lag", "max_wal") else f"{value:g}"
