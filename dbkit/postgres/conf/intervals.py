"""Intervals of hours, minutes and seconds as interval_in reads them, for `timezone = 'interval ...'`; run on 15 and 18.

Months and days are refused there, so no more of them is read than that there are none.
"""

from __future__ import annotations

import re
from typing import Final

from dbkit.digits import whole

_SECONDS: Final = {
    **dict.fromkeys("h hr hrs hour hours".split(), 3600.0),
    **dict.fromkeys("m min mins minute minutes".split(), 60.0),
    **dict.fromkeys("s sec secs second seconds".split(), 1.0),
    **dict.fromkeys("ms msec msecs msecond mseconds millisecon".split(), 1e-3),
    **dict.fromkeys("us usec usecs usecond useconds microsecon".split(), 1e-6),
}
_LONGER: Final = frozenset(
    "d day days w week weeks mon mons month months qtr quarter y yr yrs year years dec decs decade decades "
    "c cent century centuries mil mils millennia milleniu".split()
)
"""Units of a day and more: taken only with a zero."""
_MOST_UNIT: Final = 10
"""The server compares as many letters of a unit."""
_MOST: Final = 2**63 / 1e6
_PART: Final = re.compile(
    r"[\s,;]*(?P<sign>[-+]?)\s*(?:(?P<h>\d+):(?P<m>\d+)(?::(?P<s>\d+(?:\.\d*)?)|(?P<minutes>\.\d*))?"
    r"|(?P<number>\d+\.?\d*|\.\d+))(?:\s*(?P<unit>[A-Za-z]+))?(?=[\s,;+-]|$)",
    re.ASCII,
)
_CLOCK_AFTER: Final = re.compile(r"\s+[-+]?\d+:")
_DESIGNATED: Final = re.compile(
    r"P(?:0+-0+-0+)?T(?:(?P<h>-?\d+):(?P<m>\d+)(?::(?P<s>\d+))?"
    r"|(?P<hours>-?\d+(?:\.\d+)?H)?(?P<minutes>-?\d+(?:\.\d+)?M)?(?P<seconds>-?\d+(?:\.\d+)?S)?)",
    re.ASCII,
)


def seconds(text: str) -> int | None:
    """Whole seconds of an interval; None when it is none, or has days or months in it."""
    text = text.strip()
    if text.startswith("P"):
        return _designated(text)
    text = text.removeprefix("@").strip()
    ago = re.search(r"\bago$", text, re.IGNORECASE)
    if ago:
        text = text[: ago.start()].strip()
    total, at, seen = 0.0, 0, set[str]()
    if not text:
        return None
    while at < len(text.rstrip(",; ")):
        match = _PART.match(text, at)
        if match is None:
            return None
        amount = _part(match, seen)
        if amount is None:
            return None
        total += -amount if match["sign"] == "-" else amount
        at = match.end()
    return _whole(-total if ago else total)


def _whole(amount: float) -> int | None:
    """Without its fraction; None when it is more than an interval holds."""
    return int(amount) if abs(amount) < _MOST else None


def _part(match: re.Match[str], seen: set[str]) -> float | None:
    unit = (match["unit"] or "").lower()[:_MOST_UNIT]
    if match["number"] is not None:
        amount = float(match["number"])
        if not unit and _CLOCK_AFTER.match(match.string, match.end()):
            unit = "day"
        factor = _SECONDS.get(unit or "s")
        if factor is None:
            return 0.0 if unit in _LONGER and amount == 0 else None
        kind = str(factor)
        held = amount * factor
    else:
        if unit and unit not in _SECONDS and unit not in _LONGER:
            return None
        kind, held = "clock", _clock(match)
    if kind in seen or ("clock" in seen and kind in ("3600.0", "60.0", "1.0")):
        return None  # the same field twice
    seen.add(kind)
    return held


def _clock(match: re.Match[str]) -> float | None:
    """Hours and minutes, or with a point minutes and seconds."""
    if match["minutes"] is not None:
        return float(match["h"]) * 60.0 + float(f"{match['m']}{match['minutes']}".rstrip("."))
    hours, minutes, rest = float(match["h"]), float(match["m"]), float((match["s"] or "0").rstrip("."))
    return hours * 3600.0 + minutes * 60.0 + rest if minutes < 60 and rest <= 60 else None


def _designated(text: str) -> int | None:
    """`PT3H30M`, and `PT03:30`; a number alone is hours."""
    match = _DESIGNATED.fullmatch(text)
    if match is None:
        alone = re.fullmatch(r"PT(-?\d+)", text, re.ASCII)
        return whole(alone[1]) * 3600 if alone else None
    if match["h"] is not None:
        sign = -1 if match["h"].startswith("-") else 1
        return whole(match["h"]) * 3600 + sign * (whole(match["m"]) * 60 + whole(match["s"] or "0"))
    parts = [(match["hours"], 3600), (match["minutes"], 60), (match["seconds"], 1)]
    given = [(float(part[:-1]), factor) for part, factor in parts if part]
    return _whole(sum(amount * factor for amount, factor in given)) if given else None
