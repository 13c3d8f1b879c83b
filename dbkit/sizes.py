"""Sizes and durations as people write and read them: `16GB` to bytes and back, seconds to `1 h 4 min`."""

from __future__ import annotations

import re
from typing import Final

_FACTORS: Final = {"": 1, "B": 1, "KB": 1024, "MB": 1024**2, "GB": 1024**3, "TB": 1024**4}


def parse_bytes(text: str) -> int:
    """Bytes of a size such as `16GB`, `512 MB` or `1.5GiB` (powers of 1024). Raises ValueError."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)i?(b?)\s*", text, re.IGNORECASE)
    if match is None:
        raise ValueError(f"{text!r} is not a size such as 16GB")
    number, prefix, suffix = match.groups()
    unit = f"{prefix.upper()}B" if prefix else suffix.upper()
    return int(float(number) * _FACTORS[unit])


def format_bytes(count: float) -> str:
    """A size in the largest unit that keeps it at or above one: `23 MB`, `1.4 GB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if abs(count) < 1024:
            return f"{count:.0f} {unit}" if unit == "B" or abs(count) >= 10 else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.0f} TB" if abs(count) >= 10 else f"{count:.1f} TB"


def parse_seconds(text: str) -> float:
    """Seconds of a duration such as `250ms`, `30s`, `5min`, `2h` or `1d`; bare, seconds. Raises ValueError."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|min|m|h|d)?\s*", text)
    if match is None:
        raise ValueError(f"{text!r} is not a duration such as 30s, 5min or 2h")
    factor = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}[match[2] or "s"]
    return float(match[1]) * factor


def format_seconds(seconds: float) -> str:
    """A duration with two parts at the most: `43 ms`, `4.2 s`, `3 min 10 s`, `2 h 5 min`."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for size, name, below, small in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            rest = whole % size // below
            return f"{whole // size} {name} {rest} {small}" if rest else f"{whole // size} {name}"
    return f"{whole} s"
