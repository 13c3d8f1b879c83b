"""Values beyond type and range: what the server's own checks take and make of them (the check hooks of guc_tables.c).

Only checks that need no running server are here. A path, a library or a locale that may be missing on the server's
machine is not judged: the file alone cannot tell.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final

from dbkit.postgres.conf import moments, standbys
from dbkit.postgres.conf.encodings import canonical_encoding
from dbkit.postgres.conf.values import InvalidValue, Parameter, canonical, folded
from dbkit.postgres.conf.zones import canonical_zone


def shown(parameter: Parameter, value: str, major: int) -> str:
    """What pg_settings would show for a value in a file. Raises InvalidValue where the server would refuse it."""
    if parameter.kind == "string":
        check = _CHECKS.get(parameter.name.lower())
        return check(parameter.name, value, major) if check else value
    taken = canonical(parameter, value)
    refusal = _REFUSALS.get(parameter.name.lower())
    if refusal is not None and not refusal[0](taken):
        what = "" if parameter.kind == "bool" else f'invalid value for parameter "{parameter.name}": {taken}. '
        raise InvalidValue(f"{what}{refusal[1].format(name=parameter.name)}")
    least = {"wal_buffers": 4, "autovacuum_work_mem": 1024 if major <= 16 else 64}.get(parameter.name)
    return str(least) if least is not None and 0 <= int(taken) < least else taken  # -1 is the server's own choice


def split_identifiers(value: str, name: str) -> list[str]:
    """A comma-separated list by SplitIdentifierString: quoted parts keep case and commas, others are folded."""
    parts: list[str] = []
    rest = value.strip(_BLANKS)
    if not rest:
        return parts
    while True:
        match = _IDENTIFIER.match(rest)
        if match is None:
            raise InvalidValue(f'invalid value for parameter "{name}": "{value}". List syntax is invalid.')
        parts.append(match[1].replace('""', '"') if match[1] is not None else folded(match[2]))
        rest = rest[match.end() :].lstrip(_BLANKS)
        if not rest:
            return parts
        if not rest.startswith(","):
            raise InvalidValue(f'invalid value for parameter "{name}": "{value}". List syntax is invalid.')
        rest = rest[1:].lstrip(_BLANKS)


_BLANKS: Final = " \t\n\r\f\v"
_IDENTIFIER: Final = re.compile(rf'"((?:[^"]|"")*)"|([^"{_BLANKS},][^{_BLANKS},]*)', re.DOTALL)


_FOLDER: Final = r'(?:"(?:[^"]|"")*"|[^",\s][^,]*)'


def split_directories(text: str) -> list[str] | None:
    """A list of folders or libraries by SplitDirectoriesString, in the case they have; None when it is no list."""
    if not text.strip():
        return []
    if not re.fullmatch(rf"\s*{_FOLDER}\s*(?:,\s*{_FOLDER}\s*)*", text):
        return None
    found = [part.strip() for part in re.findall(_FOLDER, text)]
    return [part[1:-1].replace('""', '"') if part.startswith('"') else part for part in found]


_LOADED: Final = frozenset(
    {
        "shared_preload_libraries",
        "session_preload_libraries",
        "local_preload_libraries",
        "unix_socket_directories",
    }
)


def elements(name: str, value: str) -> list[str] | None:
    """The parts of a list as the server reads it: libraries and folders keep their case. None when it is no list."""
    if name.lower() in _LOADED:
        return split_directories(value)
    try:
        return split_identifiers(value, name)
    except InvalidValue:
        return None


def joined(parts: Sequence[str]) -> str:
    """The parts as one value, those in double quotes that need them."""
    quoted = ('"' + part.replace('"', '""') + '"' for part in parts)
    return ", ".join(
        whole if re.search(r'[",]|^\s|\s$', part) else part for part, whole in zip(parts, quoted, strict=True)
    )


def _list(name: str, value: str, _major: int) -> str:
    split_identifiers(value, name)
    return value


def _slots(name: str, value: str, _major: int) -> str:
    standbys.slots(name, value, split_identifiers(value, name))
    return value


def _words(allowed: Callable[[int], tuple[str, ...]]) -> Callable[[str, str, int], str]:
    def check(name: str, value: str, major: int) -> str:
        for word in split_identifiers(value, name):
            if folded(word) not in allowed(major):
                raise InvalidValue(f'invalid value for parameter "{name}": "{value}". Unrecognized key word: "{word}".')
        return value

    return check


def _log_connections(name: str, value: str, major: int) -> str:
    """A boolean until 17; from 18 on a list of aspects, with the old booleans kept as they are written."""
    if folded(value.strip(_BLANKS)) in ("on", "off", "true", "false", "yes", "no", "1", "0", ""):
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


def _clipped(value: str) -> str:
    """A value that is a name (GUC_IS_NAME): a start keeps 63 bytes of it, whatever character they end in."""
    return value.encode("utf-8", "surrogateescape")[:63].decode("utf-8", "surrogateescape")


def _clean_ascii(_name: str, value: str, major: int) -> str:
    """Names shown in process titles: a byte that is not printable ASCII is shown in hex from 16 on, as `?` before."""
    shown = ""
    for byte in _clipped(value).encode("utf-8", "surrogateescape"):
        plain = 32 <= byte <= 126
        shown += chr(byte) if plain else f"\\x{byte:02x}" if major >= 16 else "?"
    return shown


def _zone(name: str, value: str, _major: int) -> str:
    return canonical_zone(name, value)


def _abbreviations(name: str, value: str, _major: int) -> str:
    """The name of a file beside the server's programs: letters only, and one of those that come with it."""
    if value not in ("Default", "Australia", "India"):
        raise InvalidValue(f'invalid value for parameter "{name}": "{value}"')
    return value


def _functions(name: str, value: str, _major: int) -> str:
    if not re.fullmatch(r"[0-9A-Za-z_, \n\t]*", value):
        raise InvalidValue(f'invalid value for parameter "{name}": "{value}". Invalid character')
    return value


def _filled(name: str, value: str, _major: int) -> str:
    if not value:
        raise InvalidValue(f'invalid value for parameter "{name}": "{value}". {name} cannot be empty.')
    return _clipped(value) if name == "default_table_access_method" else value


def _role(name: str, value: str, _major: int) -> str:
    if value != "none":  # when the file is read there is no catalogue to look a name up in
        raise InvalidValue(f'invalid value for parameter "{name}": "{value}"')
    return value


def _nobody(name: str, value: str, _major: int) -> str:
    raise InvalidValue(f'invalid value for parameter "{name}": "{value}"')


def _multiple(value: str) -> bool:
    return int(value) % 16 == 0


_SIXTEENS: Final = (_multiple, '"{name}" must be a multiple of 16.')
_REFUSALS: Final[dict[str, tuple[Callable[[str], bool], str]]] = {
    "commit_timestamp_buffers": _SIXTEENS,
    "multixact_member_buffers": _SIXTEENS,
    "multixact_offset_buffers": _SIXTEENS,
    "notify_buffers": _SIXTEENS,
    "serializable_buffers": _SIXTEENS,
    "subtransaction_buffers": _SIXTEENS,
    "transaction_buffers": _SIXTEENS,
    "io_max_concurrency": (lambda value: value != "0", "Only -1 or values bigger than 0 are valid."),
    "vacuum_buffer_usage_limit": (
        lambda value: value == "0" or int(value) >= 128,
        '"{name}" must be 0 or between 128 kB and 16777216 kB.',
    ),
    "default_with_oids": (lambda value: value == "off", "tables declared WITH OIDS are not supported"),
    "bonjour": (lambda value: value == "off", "Bonjour is not supported by this build"),  # only on macOS it is
}
"""Numbers and switches that type and range allow and the server still refuses."""

_CHECKS: Final[dict[str, Callable[[str, str, int], str]]] = {
    "datestyle": _date_style,
    "timezone": _zone,
    "log_timezone": _zone,
    "log_destination": _words(lambda major: ("stderr", "csvlog", "syslog", *(("jsonlog",) if major >= 15 else ()))),
    "createrole_self_grant": _words(lambda _: ("set", "inherit")),
    "restrict_nonsystem_relation_kind": _words(lambda _: ("view", "foreign-table")),
    "debug_io_direct": _words(lambda _: ("data", "wal", "wal_init")),
    "log_connections": _log_connections,
    "client_encoding": lambda name, value, _: canonical_encoding(name, _clipped(value)),
    "default_tablespace": lambda _, value, __: _clipped(value),
    "search_path": _list,
    "temp_tablespaces": _list,
    "output_plugin_libraries": _list,
    "synchronized_standby_slots": _slots,
    "synchronous_standby_names": standbys.synchronous,
    "primary_slot_name": standbys.slot,
    "recovery_target": standbys.recovery_target,
    "recovery_target_lsn": standbys.recovery_lsn,
    "recovery_target_name": standbys.recovery_name,
    "recovery_target_time": moments.recovery_time,
    "recovery_target_timeline": standbys.recovery_number,
    "recovery_target_xid": standbys.recovery_number,
    "timezone_abbreviations": _abbreviations,
    "backtrace_functions": _functions,
    "default_table_access_method": _filled,
    "lc_messages": _filled,
    "wal_consistency_checking": _words(
        lambda _: tuple("all heap2 heap btree hash gin gist sequence spgist brin generic".split())
    ),
    "role": _role,
    "session_authorization": _nobody,
    "application_name": _clean_ascii,
    "cluster_name": _clean_ascii,
}
