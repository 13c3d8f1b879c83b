"""Time zones as the server reads them: names of the zone data, POSIX rules, hours from Greenwich, intervals.

Follows check_timezone and check_log_timezone (variable.c), pg_tzset (pgtz.c), tzparse (localtime.c); run on 15 and 18.
"""

from __future__ import annotations

import calendar
import re
import string
import zoneinfo
from functools import cache
from typing import Final

from dbkit.digits import whole
from dbkit.postgres.conf import intervals
from dbkit.postgres.conf.values import InvalidValue, folded, number_at_start

_UPPER: Final = str.maketrans(string.ascii_lowercase, string.ascii_uppercase)
_MOST_HOURS: Final = 24 * 7 - 1
# A colon after the hours or the minutes wants a number after it; what follows the seconds is the summer's name.
_CLOCK: Final = r"(?P<{0}sign>[-+]?)(?P<{0}h>\d++)(?::(?P<{0}m>\d++)(?::(?P<{0}s>\d++)|(?!:))|(?!:))"
# Abbreviations may be anything up to a digit, a sign or a comma; the first one may be empty, the summer's may not.
_ABBREVIATION: Final = r"(?:<[^>]*>|[^-+,\d<][^-+,\d]*+)"
_SUMMER: Final = r"(?:<[^>]+>|[^-+,\d<][^-+,\d]*+)"
_DAY: Final = r"(?:J\d+|\d+|M\d+\.\d+\.\d+)(?:/[-+]?\d+(?::\d+){0,2})?"
_POSIX: Final = re.compile(
    rf"(?:{_ABBREVIATION})?{_CLOCK.format('a')}"
    rf"(?P<summer>{_SUMMER}(?:{_CLOCK.format('b')})?(?:[,;](?P<start>{_DAY}),(?P<end>{_DAY}))?)?",
    re.ASCII | re.DOTALL,
)
_YEARS: Final = range(1770, 2002)
"""Of which the server works the changes out (EPOCH_YEAR less half of YEARSPERREPEAT), as far as this needs them."""
_LOOKED_AT: Final = calendar.timegm((2000, 1, 1, 0, 0, 0))
"""The moment at which a clock must show whole minutes (pg_tz_acceptable)."""
_INTERVAL: Final = re.compile(r"interval[ \t\n\v\f\r]*'(?P<text>[^']*)'", re.IGNORECASE)


def canonical_zone(name: str, value: str) -> str:
    """The zone as pg_settings shows it. Raises InvalidValue where the server would refuse it."""
    refused = InvalidValue(f'invalid value for parameter "{name}": "{value}"')
    if folded(name) == "timezone":
        interval = _interval(value)
        if interval == "":
            raise refused
        made = interval or _offset(value)
        if made and _is_rule(made):
            return made
    zone = zone_names().get(folded(value))
    if zone is not None:
        return zone
    if not zone_names() and value:
        return value.translate(_UPPER)  # a machine without zone data cannot judge
    if value and _is_rule(value) and not _has_leaps(value):
        return value.translate(_UPPER)
    raise refused


@cache
def zone_names() -> dict[str, str]:
    """The names of the zone data, by their lower case."""
    return {name.lower(): name for name in (*zoneinfo.available_timezones(), "posixrules", "localtime")}


def _interval(value: str) -> str | None:
    """`interval '-08:00'` as the rule that the server makes of it: empty when it is none, None for anything else."""
    if value[:8].lower() != "interval":
        return None
    match = _INTERVAL.fullmatch(value)
    east = intervals.seconds(match["text"]) if match else None
    return "" if east is None else _rule(east)


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
    match = _POSIX.fullmatch(text.translate(_UPPER))
    if match is None or len(text) > 255 or text.startswith(":"):  # a colon asks for a file (pg_tzset)
        return False
    clocks = [(match[f"{k}h"], match[f"{k}m"], match[f"{k}s"]) for k in "ab" if match[f"{k}h"] is not None]
    if any(whole(h) > _MOST_HOURS or whole(m or "0") > 59 or whole(s or "0") > 60 for h, m, s in clocks):
        return False
    return all(_is_day(match[k]) for k in ("start", "end") if match[k] is not None)


def _is_day(text: str) -> bool:
    day, _, clock = text.partition("/")
    numbers = [whole(part) for part in clock.lstrip("+-").split(":")] if clock else [0]
    limits = (_MOST_HOURS, 59, 60)
    if any(number > limit for number, limit in zip(numbers, limits, strict=False)):
        return False
    if day.startswith("M"):
        month, week, weekday = (whole(part) for part in day[1:].split("."))
        return 1 <= month <= 12 and 1 <= week <= 5 and weekday <= 6
    return 1 <= whole(day[1:]) <= 365 if day.startswith("J") else whole(day) <= 365


def _has_leaps(rule: str) -> bool:
    """Whether odd seconds are in force when 2000 begins: the server takes them for leap seconds and refuses them."""
    match = _POSIX.fullmatch(rule.translate(_UPPER))
    if match is None:
        return False
    winter = _offset_of(match, "a")
    if match["summer"] is None:
        return winter % 60 != 0
    summer = winter - 3600 if match["bh"] is None else _offset_of(match, "b")
    if not winter % 60 and not summer % 60:
        return False
    days = (match["start"] or "M3.2.0", match["end"] or "M11.1.0")
    return (summer if _is_summer(days, winter, summer) else winter) % 60 != 0


def _offset_of(match: re.Match[str], clock: str) -> int:
    """Seconds west of Greenwich."""
    sign, *parts = match[f"{clock}sign"], *(match[f"{clock}{unit}"] for unit in "hms")
    seconds = sum(whole(part or "0") * unit for part, unit in zip(parts, (3600, 60, 1), strict=True))
    return -seconds if sign == "-" else seconds


def _is_summer(days: tuple[str, str], winter: int, summer: int) -> bool:
    """Which of the two the server has for the start of 2000; a year whose summer is empty or whole changes nothing."""
    now: bool | None = None
    changes = False
    for year in _YEARS:
        january = calendar.timegm((year, 1, 1, 0, 0, 0))
        begin, end = _seconds_into(days[0], year) + winter, _seconds_into(days[1], year) + summer
        length = (365 + calendar.isleap(year)) * 86400
        if end > begin + length + winter - summer - 1 or begin == end:
            continue
        changes = True
        for at, is_summer in sorted([(begin, True), (end, False)]):
            if january + at <= _LOOKED_AT:
                now = is_summer
    return not changes or bool(now)


def _seconds_into(text: str, year: int) -> int:
    """The moment of a rule's day, from the start of the year on the clock that is left (transtime)."""
    day, _, clock = text.partition("/")
    sign = -1 if clock.startswith("-") else 1
    parts = [whole(part) for part in clock.lstrip("+-").split(":")] if clock else [2]
    seconds = sign * sum(part * unit for part, unit in zip(parts, (3600, 60, 1), strict=False))
    if day.startswith("M"):
        month, week, weekday = (whole(part) for part in day[1:].split("."))
        first, length = calendar.monthrange(year, month)
        found = (weekday - first - 1) % 7  # monthrange counts from Monday, the rule from Sunday
        found += 7 * min(week - 1, (length - 1 - found) // 7)
        before = sum(calendar.monthrange(year, earlier)[1] for earlier in range(1, month))
        return (before + found) * 86400 + seconds
    if day.startswith("J"):
        number = whole(day[1:])
        return (number - 1 + (calendar.isleap(year) and number >= 60)) * 86400 + seconds
    return whole(day) * 86400 + seconds
