"""String parameters whose value the server checks when it reads the file (the check hooks of guc_tables.c).

Only checks that need no running server are here. A path, a library or a locale that may be missing on the server's
machine is not judged: the file alone cannot tell.
"""

from __future__ import annotations

import re
import zoneinfo
from collections.abc import Callable
from functools import cache
from typing import Final

from dbkit.postgres.conf.values import InvalidValue


def canonical_string(name: str, value: str, major: int) -> str:
    """What pg_settings would show for a string value. Raises InvalidValue where the server would refuse it."""
    check = _CHECKS.get(name.lower())
    return check(name, value, major) if check else value


def split_identifiers(value: str, name: str) -> list[str]:
    """A comma-separated list by SplitIdentifierString: quoted parts keep case and commas, others are folded."""
    if not value.strip():
        return []
    parts: list[str] = []
    rest = value.strip()
    while True:
        match = re.match(r'"((?:[^"]|"")*)"|([^\s,"]+)', rest)
        if match is None:
            raise InvalidValue(f'invalid value for parameter "{name}": "{value}". List syntax is invalid.')
        parts.append(match[1].replace('""', '"') if match[1] is not None else match[2].lower())
        rest = rest[match.end() :].lstrip()
        if not rest:
            return parts
        if not rest.startswith(","):
            raise InvalidValue(f'invalid value for parameter "{name}": "{value}". List syntax is invalid.')
        rest = rest[1:].lstrip()


def _words(allowed: Callable[[int], tuple[str, ...]]) -> Callable[[str, str, int], str]:
    def check(name: str, value: str, major: int) -> str:
        for word in split_identifiers(value, name):
            if word.lower() not in allowed(major):
                raise InvalidValue(f'invalid value for parameter "{name}": "{value}". Unrecognized key word: "{word}".')
        return value

    return check


def _log_connections(name: str, value: str, major: int) -> str:
    """A boolean until 17; from 18 on a list of aspects, with the old booleans kept as they are written."""
    if value.lower() in ("on", "off", "true", "false", "yes", "no", "1", "0", ""):
        return value
    return _words(lambda _: ("receipt", "authentication", "authorization", "setup_durations", "all"))(
        name, value, major
    )


def _date_style(name: str, value: str, _major: int) -> str:
    style, order, seen_style, seen_order = "ISO", "MDY", False, False
    for word in split_identifiers(value, name):
        upper = word.upper()
        if upper in ("ISO", "SQL", "POSTGRES", "GERMAN") or upper.startswith("POSTGRES"):
            new = {"SQL": "SQL", "ISO": "ISO", "GERMAN": "German"}.get(upper, "Postgres")
            if seen_style and new != style:
                raise InvalidValue(
                    f'invalid value for parameter "{name}": "{value}". Conflicting "DateStyle" specifications.'
                )
            style, seen_style = new, True
            if upper == "GERMAN" and not seen_order:
                order = "DMY"
        elif upper in ("YMD", "DMY", "MDY") or upper.startswith(("EURO", "NONEURO")) or upper == "US":
            new = upper if upper in ("YMD", "DMY", "MDY") else ("DMY" if upper.startswith("EURO") else "MDY")
            if seen_order and new != order:
                raise InvalidValue(
                    f'invalid value for parameter "{name}": "{value}". Conflicting "DateStyle" specifications.'
                )
            order, seen_order = new, True
        elif upper != "DEFAULT":
            raise InvalidValue(f'invalid value for parameter "{name}": "{value}". Unrecognized key word: "{word}".')
    return f"{style}, {order}"


def _clean_ascii(_name: str, value: str, major: int) -> str:
    """Names shown in process titles: a byte that is not printable ASCII is shown in hex from 16 on, as `?` before."""
    shown = ""
    for byte in value.encode("utf-8", "surrogateescape"):
        plain = 32 <= byte <= 126
        shown += chr(byte) if plain else f"\\x{byte:02x}" if major >= 16 else "?"
    return shown


@cache
def _zones() -> dict[str, str]:
    return {name.lower(): name for name in zoneinfo.available_timezones()}


# A POSIX zone: letters (or anything in <>), then an offset, then perhaps a summer-time part.
_POSIX_ZONE: Final = re.compile(
    r"(?:[A-Za-z]{3,}|<[^>]+>)[-+]?\d{1,3}(?::\d{1,2}){0,2}(?:(?:[A-Za-z]{3,}|<[^>]+>).*)?", re.ASCII
)
_OFFSET: Final = re.compile(r"[-+]?\d{1,2}(?:\.\d+)?|[-+]?\d{1,2}:\d{2}(?::\d{2})?", re.ASCII)


def _zone(name: str, value: str, _major: int) -> str:
    zone = _zones().get(value.lower())
    if zone is not None:
        return zone
    blind = not _zones()  # a machine without zone data cannot judge
    if blind or _POSIX_ZONE.fullmatch(value) or (name.lower() == "timezone" and _OFFSET.fullmatch(value)):
        return value
    raise InvalidValue(f'invalid value for parameter "{name}": "{value}"')


_CHECKS: Final[dict[str, Callable[[str, str, int], str]]] = {
    "datestyle": _date_style,
    "timezone": _zone,
    "log_timezone": _zone,
    "log_destination": _words(lambda major: ("stderr", "csvlog", "syslog", *(("jsonlog",) if major >= 15 else ()))),
    "createrole_self_grant": _words(lambda _: ("set", "inherit")),
    "restrict_nonsystem_relation_kind": _words(lambda _: ("view", "foreign-table")),
    "debug_io_direct": _words(lambda _: ("data", "wal", "wal_init")),
    "log_connections": _log_connections,
    "application_name": _clean_ascii,
    "cluster_name": _clean_ascii,
}
