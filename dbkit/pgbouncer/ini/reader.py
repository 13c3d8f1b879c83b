"""One pgbouncer.ini with everything it includes, as a daemon of a given version would read it.

Follows cf_load_file and parse_ini_file (cfparser.c), parse_database, parse_user, parse_peer (loader.c): the last entry
of a key wins, every `[pgbouncer]` line sets all keys back to their defaults, and the first mistake ends the reading.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from dbkit.errors import UsageError
from dbkit.pgbouncer.ini import entries, parameters
from dbkit.pgbouncer.ini.connstring import without_password
from dbkit.pgbouncer.ini.entries import Database, Peer, Refused, User
from dbkit.pgbouncer.ini.file import IniFile, Opened, Problem, Setting
from dbkit.pgbouncer.ini.lexer import Entry, Include, Section, SyntaxProblem, items
from dbkit.pgbouncer.ini.parameters import Version
from dbkit.pgbouncer.ini.values import InvalidValue, canonical

MAX_DEPTH: Final = 10
MAX_FILES: Final = 1000
"""The daemon bounds the depth only; files that include each other widely would keep it, and us, busy for ever."""
MAX_BYTES: Final = 16 * 2**20


class _Halted(Exception):
    """The first mistake, where the daemon stops."""


@dataclass
class _Reading:
    version: Version
    folder: Path
    section: str | None = None
    seen_main: bool = False
    files: int = 0
    count: int = 0
    settings: list[Setting] = field(default_factory=list[Setting])
    databases: dict[str, Database] = field(default_factory=dict[str, Database])
    replaced: list[Database] = field(default_factory=list[Database])
    users: dict[str, User] = field(default_factory=dict[str, User])
    peers: dict[int, Peer] = field(default_factory=dict[int, Peer])
    sections: list[Opened] = field(default_factory=list[Opened])
    includes: list[tuple[Problem, bool]] = field(default_factory=list[tuple[Problem, bool]])
    stops: list[list[Problem]] = field(default_factory=list[list[Problem]])
    """What each mistake makes the daemon log; it never comes to the second."""
    notes: list[Problem] = field(default_factory=list[Problem])
    reset: int = 0
    """How many settings stood before the last `[pgbouncer]`."""
    halt: bool = False
    instead: Mapping[str, bytes] = field(default_factory=dict[str, bytes])
    digests: dict[str, str] = field(default_factory=dict[str, str])

    def refuse(self, setting: Setting) -> None:
        """A line that is not taken: an earlier one of its key counts where the reading ends with it."""
        if not self.halt:
            self.settings.append(setting)

    def stop(self, *problems: Problem) -> None:
        self.stops.append(list(problems))
        if self.halt:
            raise _Halted


def read_file(
    path: Path, version: Version, *, stop: bool = False, instead: Mapping[str, bytes] | None = None
) -> IniFile:
    """Read `path` and what it includes; `instead` holds texts that are not yet in the files, by path.

    Raises UsageError when the file itself cannot be read.
    """
    content = (instead or {}).get(str(path)) or _content(path)
    return read(content, version, path=str(path), folder=path.parent, stop=stop, instead=instead)


def read(
    content: bytes,
    version: Version,
    *,
    path: str = "pgbouncer.ini",
    folder: Path | None = None,
    stop: bool = False,
    instead: Mapping[str, bytes] | None = None,
) -> IniFile:
    """Read the text of a file; relative includes are looked for in `folder`, then where dbkit runs.

    With `stop` the reading ends at the first mistake, as the daemon's does: what came before is what it applied.
    """
    reading = _Reading(version, folder or Path(), halt=stop, instead=instead or {})
    with contextlib.suppress(_Halted):
        _scan(reading, content, path, depth=0)
        if not reading.seen_main:
            reading.stop(Problem(path, 0, "load_init_file: main section missing from config file"))
    first = reading.stops[0] if reading.stops else []
    return IniFile(
        path=path,
        version=version,
        settings=tuple(_mark_dead(reading)),
        databases=tuple(reading.databases.values()),
        replaced=tuple(reading.replaced),
        users=tuple(reading.users.values()),
        peers=tuple(reading.peers.values()),
        sections=tuple(reading.sections),
        includes=tuple(reading.includes),
        problems=tuple(first),
        further=tuple(p for stop in reading.stops[1:] for p in stop),
        notes=tuple(reading.notes),
        entries=reading.count,
        digests=reading.digests,
    )


def _content(path: Path) -> bytes:
    try:
        if path.is_dir():
            raise UsageError(f"{path} is a folder", hint="give the pgbouncer.ini in it")
        with path.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read {path}", why=getattr(error, "strerror", None) or str(error)) from None
    if len(content) > MAX_BYTES:
        raise UsageError(f"{path} is larger than {MAX_BYTES // 2**20} MB", hint="is this a configuration file?")
    return content


def _scan(reading: _Reading, content: bytes, path: str, *, depth: int) -> None:
    reading.digests[path] = hashlib.sha256(content).hexdigest()
    for item in items(content, quoted_names=reading.version.minor >= parameters.QUOTED_NAMES_SINCE):
        match item:
            case Section():
                _open(reading, item, path)
            case Include():
                _include(reading, item, path, depth)
            case SyntaxProblem():
                failed = "syntax error in configuration, stopping loading"
                near = without_password(item.text)
                reading.stop(Problem(path, item.line, failed, named=item.named, near=near))
            case Entry():
                reading.count += 1
                _entry(reading, item, path)


def _open(reading: _Reading, item: Section, path: str) -> None:
    known = parameters.SECTIONS.get(item.name, 99) <= reading.version.minor
    reading.section = item.name
    reading.sections.append(Opened(item.name, path, item.line))
    if item.name == "pgbouncer":
        reading.seen_main = True
        reading.reset = len(reading.settings)
    if not known:
        reading.stop(
            Problem(path, item.line, "fill_defaults fail"),
            Problem(path, item.line, f'invalid section "{item.name}" in configuration', item.name, item.line),
        )


def _include(reading: _Reading, item: Include, path: str, depth: int) -> None:
    failed = "error processing include file in configuration, stopping loading"
    stopping = Problem(path, item.line, failed, named=item.line)
    target = Path(item.path)
    if depth >= MAX_DEPTH:
        reading.stop(Problem(path, item.line, "include nesting level too deep, stopping loading", named=item.line))
        return
    reading.files += 1
    if reading.files > MAX_FILES:
        raise UsageError(f"{path} includes more than {MAX_FILES} files", hint="do files include each other?")
    try:
        if not item.path:
            raise FileNotFoundError("No such file or directory")
        beside = reading.folder / target
        found = beside if target.is_absolute() or beside.exists() or not target.exists() else target
        folder = found.is_dir()
        reading.includes.append(
            (Problem(path, item.line, item.path, near="a folder" if folder else ""), not target.is_absolute())
        )
        # The daemon reads nothing from a folder, and is content.
        content = b"" if folder else reading.instead.get(str(found)) or _content(found)
    except (UsageError, OSError, ValueError) as error:
        why = error.why if isinstance(error, UsageError) else getattr(error, "strerror", None) or str(error)
        reading.stop(Problem(path, item.line, f'could not load file "{item.path}": {why or error}'), stopping)
        return
    held = len(reading.stops)
    _scan(reading, content, str(found), depth=depth + 1)
    for stop in reading.stops[held:]:
        stop.append(stopping)


def _entry(reading: _Reading, item: Entry, path: str) -> None:
    invalid = Problem(
        path,
        item.line,
        f'invalid value "{without_password(item.value)}" for parameter {item.key} in configuration',
        item.key,
        item.named,
    )
    if reading.section is None:
        reading.stop(Problem(path, item.line, f"load_init_file: value without section: {item.key}"), invalid)
        return
    try:
        match reading.section:
            case "pgbouncer":
                _setting(reading, item, path)
            case "databases":
                _database(reading, item, path)
            case "users":
                reading.users[item.key] = entries.user(item.key, item.value, path, item.line, reading.version)
            case "peers":
                peer = entries.peer(item.key, item.value, path, item.line, reading.version)
                reading.peers[peer.id] = peer
            case _:
                pass  # of a section nobody knows, which stopped the daemon already
    except InvalidValue:
        reading.stop(invalid)
    except Refused as error:
        reading.stop(Problem(path, item.line, without_password(str(error)), item.key), invalid)


def _setting(reading: _Reading, item: Entry, path: str) -> None:
    parameter = parameters.load(reading.version).get(item.key)
    held = Setting(item.key, item.value, path, item.line, parameter)
    if parameter is None:
        message = f"unknown parameter: pgbouncer/{item.key}"
        reading.refuse(replace(held, error=message))
        raise Refused(message)
    if parameter.kind == "auth_dbname" and item.value == "pgbouncer":
        message = f'cannot use the reserved "{item.value}" database as an auth_dbname'
        reading.refuse(replace(held, error=message))
        raise Refused(message)
    try:
        value = canonical(parameter.kind, item.value, reading.version)
    except InvalidValue:
        reading.refuse(replace(held, error=f'invalid value "{without_password(item.value)}"'))
        raise
    reading.settings.append(replace(held, value=value))


def _database(reading: _Reading, item: Entry, path: str) -> None:
    held = entries.database(item.key, item.value, path, item.line, reading.version)
    before = reading.databases.get(item.key)
    if before is not None:
        reading.replaced.append(before)
        if before.forced_user and not held.forced_user and item.key != "*":
            held = replace(held, forced_user=before.forced_user)  # "losing forced user not supported, keeping old"
    if item.key == "*":
        wrong = entries.autodb_problem(item.value, reading.version)
        if wrong is not None:
            reading.notes.append(Problem(path, item.line, without_password(wrong), "*"))
    reading.databases[item.key] = held


def _mark_dead(reading: _Reading) -> list[Setting]:
    """Lines that do not count: an earlier one of a key, and all before the last `[pgbouncer]`."""
    last = {s.name: position for position, s in enumerate(reading.settings)}
    marked: list[Setting] = []
    for position, setting in enumerate(reading.settings):
        undone = position < reading.reset and last[setting.name] == position
        marked.append(replace(setting, dead=last[setting.name] != position or undone, undone=undone))
    return marked
