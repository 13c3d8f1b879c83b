"""Time zones as the server reads them: names of the zone data, POSIX rules, hours from Greenwich, intervals.

Follows check_timezone and check_log_timezone (variable.c), pg_tzset (pgtz.c), tzparse (localtime.c); run on 15 and 18.
"""

from __future__ import annotations

import re
import zoneinfo
from functools import cache
from typing import Final

from dbkit.postgres.conf.values import InvalidValue, number_at_start

_MOST_HOURS: Final = 24 * 7 - 1
_CLOCK: Final = r"[-+]?(?P<{0}h>\d+)(?::(?P<{0}m>\d+)(?::(?P<{0}s>\d+))?)?"
# Abbreviations may be anything up to a digit, a sign or a comma, and the first one may be empty.
_ABBREVIATION: Final = r"(?:<[^>]*>|[^-+,\d<][^-+,\d]*)"
_DAY: Final = r"(?:J\d+|\d+|M\d+\.\d+\.\d+)(?:/[-+]?\d+(?::\d+){0,2})?"
_POSIX: Final = re.compile(
    rf"(?:{_ABBREVIATION})?{_CLOCK.format('a')}"
    rf"(?P<summer>{_ABBREVIATION}(?:{_CLOCK.format('b')})?(?:[,;](?P<start>{_DAY}),(?P<end>{_DAY}))?)?",
    re.ASCII | re.DOTALL,
)
_INTERVAL: Final = re.compile(r"interval[ \t\n\v\f\r]*'(?P<text>[^']*)'", re.IGNORECASE)
_INTERVAL_CLOCK: Final = re.compile(
    r"\s*(?P<sign>[-+]?)(?P<h>\d+)(?::(?P<m>[0-5]?\d)(?::(?P<s>[0-5]?\d))?|\s*h(?:ours?)?)\s*", re.ASCII
)


def canonical_zone(name: str, value: str) -> str:
    """The zone as pg_settings shows it. Raises InvalidValue where the server would refuse it."""
    refused = InvalidValue(f'invalid value for parameter "{name}": "{value}"')
    if name.lower() == "timezone":
        interval = _interval(value)
        if interval == "":
            raise refused
        value = interval or _offset(value) or value
    zone = _names().get(value.lower())
    if zone is not None:
        return zone
    if value and (not _names() or _is_rule(value.upper())):  # a machine without zone data cannot judge
        return value.upper()
    raise refused


@cache
def _names() -> dict[str, str]:
    return {name.lower(): name for name in (*zoneinfo.available_timezones(), "posixrules", "localtime")}


def _interval(value: str) -> str | None:
    """`interval '-08:00'` as the rule that the server makes of it: empty when it is none, None for anything else."""
    if value[:8].lower() != "interval":
        return None
    match = _INTERVAL.fullmatch(value)
    clock = _INTERVAL_CLOCK.fullmatch(match["text"]) if match else None
    if clock is None:
        return ""
    seconds = int(clock["h"]) * 3600 + int(clock["m"] or 0) * 60 + int(clock["s"] or 0)
    return _rule(-seconds if clock["sign"] == "-" else seconds)


def _offset(value: str) -> str | None:
    """Hours east of Greenwich as the rule that the server makes of them."""
    hours = number_at_start(value)
    if hours is None or hours[1] or not abs(hours[0]) < 2**31 / 3600:
        return None
    return _rule(int(hours[0] * 3600))


def _rule(east: int) -> str:
    hours, rest = divmod(abs(east), 3600)
    minutes, seconds = divmod(rest, 60)
    clock = f"{hours:02}" + (f":{minutes:02}" if rest else "") + (f":{seconds:02}" if seconds else "")
    return f"<-{clock}>+{clock}" if east < 0 else f"<+{clock}>-{clock}"


def _is_rule(text: str) -> bool:
    """tzparse: an abbreviation and its offset, and perhaps the same for summer with the days on which it begins."""
    match = _POSIX.fullmatch(text)
    if match is None or len(text) > 255:
        return False
    clocks = [(match[f"{k}h"], match[f"{k}m"], match[f"{k}s"]) for k in "ab" if match[f"{k}h"] is not None]
    if any(int(h) > _MOST_HOURS or int(m or 0) > 59 or int(s or 0) > 60 for h, m, s in clocks):
        return False
    return all(_is_day(match[k]) for k in ("start", "end") if match[k] is not None)


def _is_day(text: str) -> bool:
    day, _, clock = text.partition("/")
    numbers = [int(part) for part in clock.lstrip("+-").split(":")] if clock else [0]
    limits = (_MOST_HOURS, 59, 60)
    if any(number > limit for number, limit in zip(numbers, limits, strict=False)):
        return False
    if day.startswith("M"):
        month, week, weekday = (int(part) for part in day[1:].split("."))
        return 1 <= month <= 12 and 1 <= week <= 5 and weekday <= 6
    return 1 <= int(day[1:]) <= 365 if day.startswith("J") else int(day) <= 365
