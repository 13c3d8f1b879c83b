"""One postgresql.conf with everything it includes, as a server of a given version would read it.

Follows ParseConfigFp, ParseConfigDirectory and ProcessConfigFileInternal (guc-file.l, guc.c): the last entry of a name
wins and earlier ones are never validated, postgresql.auto.conf is read last, included paths are relative to the file
that includes them, a directory is read in byte order and only `*.conf` without a leading dot.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from dbkit.errors import UsageError
from dbkit.postgres.conf import parameters
from dbkit.postgres.conf.checks import canonical_string
from dbkit.postgres.conf.lexer import Entry, read
from dbkit.postgres.conf.values import InvalidValue, Parameter, canonical

MAX_DEPTH: Final = 10
UNKNOWN: Final = "unrecognized configuration parameter"
"""The server looks at syntax, then at names, then at values, and each stage only when the one before is clean."""
MAX_BYTES: Final = 16 * 2**20
"""A larger file is no configuration; the server would read it, we say so instead of filling the memory."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One `name = value` of one file."""

    name: str
    raw: str
    file: str
    line: int
    parameter: Parameter | None
    """None for a name this version does not know, and for custom (dotted) names."""
    dead: bool = False
    """A later entry of the same name wins."""
    unchecked: bool = False
    """That later entry is spelt the same, in upper and lower case too: the server never looks at this one's value."""
    value: str | None = None
    """What pg_settings would show, in the base unit; None when the value is not taken."""
    error: str | None = None

    @property
    def custom(self) -> bool:
        """A dotted name, taken without question unless a loaded library owns the prefix."""
        return "." in self.name


@dataclass(frozen=True, slots=True)
class Problem:
    """A reason why the server would not start, or would ignore the whole file on reload."""

    file: str
    line: int
    message: str
    name: str | None = None


@dataclass(frozen=True, slots=True)
class ConfFile:
    """The whole configuration: every entry in reading order, and what is wrong with it."""

    path: str
    major: int
    settings: tuple[Setting, ...]
    problems: tuple[Problem, ...]
    further: tuple[Problem, ...] = ()
    """What the server would say next: after a syntax error it looks at no name, after a wrong name at no value."""
    notes: tuple[Problem, ...] = ()
    """What the server only logs, such as a file of include_if_exists that is not there."""
    contents: Mapping[str, bytes] = field(default_factory=dict[str, bytes], repr=False)
    """Every file that was read, by path, as it was."""

    def line(self, file: str, number: int) -> str:
        """A line of one of the files, without its end; empty when there is none."""
        lines = self.contents.get(file, b"").split(b"\n")
        return lines[number - 1].decode("utf-8", "surrogateescape") if 0 < number <= len(lines) else ""

    @property
    def loads(self) -> bool:
        """Whether a server of this version would take the file."""
        return not self.problems

    @property
    def effective(self) -> dict[str, Setting]:
        """The entry that counts for each name, by the name in lower case."""
        return {s.name.lower(): s for s in self.settings if not s.dead}

    def occurrences(self) -> Counter[str]:
        """How often each name is given."""
        return Counter(s.name.lower() for s in self.settings)

    def value(self, name: str) -> str | None:
        """The value in force for a parameter: the file's, or the version's default."""
        held = self.effective.get(name.lower())
        if held is not None and held.value is not None:
            return held.value
        parameter = parameters.find(name, self.major)
        return parameter.boot if parameter else None


@dataclass
class _Reading:
    major: int
    settings: list[Setting] = field(default_factory=list[Setting])
    problems: list[Problem] = field(default_factory=list[Problem])
    notes: list[Problem] = field(default_factory=list[Problem])
    contents: dict[str, bytes] = field(default_factory=dict[str, bytes])
    overlay: Mapping[str, bytes] = field(default_factory=dict[str, bytes])


def read_file(
    path: Path, major: int, *, auto_conf: Path | None = None, overlay: Mapping[str, bytes] | None = None
) -> ConfFile:
    """Read `path` and what it includes, then `auto_conf` (default: a postgresql.auto.conf beside it, if there is one).

    `overlay` holds contents that count instead of those on disk, by path.
    Raises UsageError when the file itself cannot be read; everything else is a Problem.
    """
    parameters.load(major)
    reading = _Reading(major, overlay=overlay or {})
    _read(reading, path, _content(reading, path), depth=0, chain=())
    auto = auto_conf or path.parent / "postgresql.auto.conf"
    if auto.name != path.name and auto.is_file():
        _read(reading, auto, _content(reading, auto), depth=0, chain=())
    settings, refused = _judge(_mark_dead(reading.settings), major)
    unknown = [p for p in refused if p.message.startswith(UNKNOWN)]
    stages = (reading.problems, unknown, [p for p in refused if p not in unknown])
    first: list[Problem] = next((stage for stage in stages if stage), reading.problems)
    further = [p for stage in stages if stage is not first for p in stage]
    return ConfFile(
        str(path), major, tuple(settings), tuple(first), tuple(further), tuple(reading.notes), reading.contents
    )


def _content(reading: _Reading, path: Path) -> bytes:
    held = reading.overlay.get(str(path))
    if held is not None:
        return held
    try:
        if path.is_dir():
            raise UsageError(f"{path} is a folder", hint="give the postgresql.conf in it")
        with path.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise UsageError(f"cannot read {path}", why=error.strerror) from None
    if len(content) > MAX_BYTES:
        raise UsageError(f"{path} is larger than {MAX_BYTES // 2**20} MB", hint="is this a configuration file?")
    return content


def _read(reading: _Reading, path: Path, content: bytes, *, depth: int, chain: tuple[Path, ...]) -> None:
    reading.contents[str(path)] = content
    entries, syntax = read(content)
    reading.problems += [Problem(str(path), s.line, s.message) for s in syntax]
    for entry in entries:
        directive = entry.name.lower()
        if directive == "include_dir":
            _directory(reading, path, entry, depth, (*chain, path))
        elif directive in ("include", "include_if_exists"):
            _include(reading, path, entry, depth, (*chain, path), strict=directive == "include")
        else:
            parameter = parameters.find(entry.name, reading.major)
            reading.settings.append(Setting(entry.name, entry.value, str(path), entry.line, parameter))


def _include(reading: _Reading, path: Path, entry: Entry, depth: int, chain: tuple[Path, ...], *, strict: bool) -> None:
    def problem(message: str) -> None:
        reading.problems.append(Problem(str(path), entry.line, message))

    if not entry.value.strip(" \t\n\v\f\r"):
        problem(f'empty configuration file name: "{entry.value}"')
        return
    target = _beside(path, entry.value)
    if depth >= MAX_DEPTH:
        problem(f'could not open configuration file "{target}": maximum nesting depth exceeded')
    elif target.absolute() == path.absolute():
        problem(f'configuration file recursion in "{path}"')
    elif not target.is_file():
        if strict:
            problem(f'could not open file "{target}"')
        else:
            reading.notes.append(Problem(str(path), entry.line, f'skipping missing configuration file "{target}"'))
    else:
        _nested(reading, target, problem, depth, chain)


def _directory(reading: _Reading, path: Path, entry: Entry, depth: int, chain: tuple[Path, ...]) -> None:
    def problem(message: str) -> None:
        reading.problems.append(Problem(str(path), entry.line, message))

    if not entry.value.strip(" \t\n\v\f\r"):
        problem(f'empty configuration directory name: "{entry.value}"')
        return
    folder = _beside(path, entry.value)
    try:
        names = sorted(os.fsencode(held.name) for held in folder.iterdir())
    except OSError:
        problem(f'could not open directory "{folder}"')
        return
    for raw in names:
        name = os.fsdecode(raw)
        if name.startswith(".") or len(name) < 6 or not name.endswith(".conf") or (folder / name).is_dir():
            continue
        if depth + 1 >= MAX_DEPTH:
            problem(f'could not open configuration file "{folder / name}": maximum nesting depth exceeded')
            return
        _nested(reading, folder / name, problem, depth + 1, chain)


def _nested(
    reading: _Reading, target: Path, problem: Callable[[str], None], depth: int, chain: tuple[Path, ...]
) -> None:
    try:
        content = _content(reading, target)
    except UsageError as error:
        problem(f'could not open file "{target}": {error.why or error.what}')
        return
    _read(reading, target, content, depth=depth + 1, chain=chain)


def _beside(path: Path, value: str) -> Path:
    return path.parent / value  # an absolute value stands for itself


def _mark_dead(settings: list[Setting]) -> list[Setting]:
    """Earlier entries of a name are dead; the server skips only those spelt exactly as a later one (guc.c, strcmp)."""
    last = {s.name.lower(): position for position, s in enumerate(settings)}
    spelt = {s.name: position for position, s in enumerate(settings)}
    return [
        replace(s, dead=last[s.name.lower()] != n, unchecked=spelt[s.name] != n and s.parameter is not None)
        for n, s in enumerate(settings)
    ]


def _judge(settings: list[Setting], major: int) -> tuple[list[Setting], list[Problem]]:
    """Values of the entries that count, and a problem for each that the server would not take."""
    judged: list[Setting] = []
    refused: list[Problem] = []
    for setting in settings:
        if setting.unchecked:
            judged.append(setting)
            continue
        value, error = _value(setting, major)
        if error is not None:
            refused.append(Problem(setting.file, setting.line, error, setting.name))
        judged.append(replace(setting, value=value, error=error))
    return judged, refused


def _value(setting: Setting, major: int) -> tuple[str | None, str | None]:
    parameter = setting.parameter
    if parameter is None:
        if setting.custom:
            return setting.raw, None
        return None, f'{UNKNOWN} "{setting.name}"'
    if parameter.context == "internal" or parameter.name.lower() in parameters.NOT_IN_FILE:
        return None, f'parameter "{parameter.name}" cannot be changed'
    try:
        if parameter.kind == "string":
            return canonical_string(parameter.name, setting.raw, major), None
        return canonical(parameter, setting.raw), None
    except InvalidValue as error:
        return None, str(error)


def printable(text: str) -> str:
    """The text with bytes that are not UTF-8 replaced, so that it can be printed and written as JSON."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
