"""recovery_target_time: a moment as the server reads it (check_recovery_target_time, datetime.c); run on 15 and 18.

`2026-11-28 10:00:00.5+02` and its like are judged to the last digit, the calendar included; of the many other ways to
write a date only so much that there is one.
"""

from __future__ import annotations

import calendar
import re
from typing import Final

from dbkit.digits import whole
from dbkit.postgres.conf.values import InvalidValue, folded
from dbkit.postgres.conf.zones import zone_names

_ISO: Final = re.compile(
    r"\s*(?P<year>\d{4,6})-(?P<month>\d{1,2})-(?P<day>\d{1,2})"
    r"(?:(?:\s+|T)(?P<h>\d{1,2}):(?P<m>\d{1,2})(?::(?P<s>\d{1,2})(?:\.(?P<part>\d*))?)?)?"
    r"(?:\s*(?P<zone>[-+]\d{1,2}(?::\d{1,2}(?::\d{1,2})?|\d{2})?|[A-Za-z][A-Za-z0-9_/+-]*))?\s*",
    re.ASCII,
)
_LIKE_ISO: Final = re.compile(r"\s*\d{4,6}-(\d{1,2})-(\d{1,2})\b", re.ASCII)
_MONTHS: Final = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*"
_DATED: Final = re.compile(
    rf".*\b\d{{1,6}}[-/.]\d{{1,2}}[-/.]\d{{1,6}}\b.*|.*\b\d{{8}}(?:\b|[TZ]).*|.*\b\d{{4}}[-.]\d{{3}}(?:\b|[TZ]).*|\s*J\d{{5,7}}.*"
    rf"|.*{_MONTHS}.*\d.*|.*\d.*{_MONTHS}.*",
    re.IGNORECASE | re.DOTALL | re.ASCII,
)
_LAST_YEAR: Final = 294276
_MOST_EAST: Final = 16 * 3600 - 1


def recovery_time(name: str, value: str, _major: int) -> str:
    """Empty, or a moment with its date; `now`, `yesterday` and the like are refused. Raises InvalidValue."""
    iso = _ISO.fullmatch(value)
    if value and not (_is_moment(iso) if iso else _is_dated(value)):
        raise InvalidValue(f'invalid value for parameter "{name}": "{value}"')
    return value


def _is_moment(iso: re.Match[str]) -> bool:
    year, month, day = (int(iso[part]) for part in ("year", "month", "day"))
    if not (1 <= year <= _LAST_YEAR and 1 <= month <= 12):
        return False
    if not 1 <= day <= calendar.monthrange(2000 + year % 400, month)[1]:  # the calendar repeats every 400 years
        return False
    clock = [int(iso[part] or 0) for part in "hms"]
    late = clock[0] == 24 and any((*clock[1:], whole(iso["part"] or "0")))
    if late or clock[0] > 24 or clock[1] > 59 or clock[2] > 60:
        return False
    if iso["h"] is None and re.search(r"\d-\d+-\d+-", iso.string):
        return False  # a minus behind the date would be a fourth number of it
    return iso["zone"] is None or _is_zone(iso["zone"])


def _is_zone(zone: str) -> bool:
    if zone[0] not in "+-":  # an abbreviation is taken on trust
        return "/" not in zone or folded(zone) in zone_names()
    parts = zone[1:].split(":") if ":" in zone or len(zone) <= 3 else [zone[1:-2], zone[-2:]]
    hours, minutes, seconds = (int(part) for part in (*parts, "0", "0")[:3])
    return minutes <= 59 and seconds <= 59 and hours * 3600 + minutes * 60 + seconds <= _MOST_EAST


def _is_dated(value: str) -> bool:
    like = _LIKE_ISO.match(value)
    if like is not None and not (1 <= int(like[1]) <= 12 and 1 <= int(like[2]) <= 31):
        return False
    return _DATED.fullmatch(value) is not None
