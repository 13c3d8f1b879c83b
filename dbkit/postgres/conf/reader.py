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
from dbkit.postgres.conf.checks import shown
from dbkit.postgres.conf.lexer import Entry, read
from dbkit.postgres.conf.together import Together
from dbkit.postgres.conf.values import InvalidValue, Parameter, folded
from dbkit.printable import utf8

MAX_DEPTH: Final = 10
UNKNOWN: Final = "unrecognized configuration parameter"
"""The server looks at syntax, then at names, then at values, and each stage only when the one before is clean."""
WHERE: Final = "on the server, `show config_file` tells where its postgresql.conf is"
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
    beyond: bool = False
    """It stands after a syntax error of its file, where pg_file_settings and a reload stop reading; a start goes on."""

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
    beyond: bool = False
    """It stands after another syntax error of its file: a start says both, a reload only the first."""


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
        return {folded(s.name): s for s in self.settings if not s.dead}

    def occurrences(self) -> Counter[str]:
        """How often each name is given."""
        return Counter(folded(s.name) for s in self.settings)

    def value(self, name: str) -> str | None:
        """The value in force for a parameter: the file's, or the version's default."""
        parameter = parameters.find(name, self.major)
        if parameter is None:
            held = self.effective.get(folded(name))
            return held.value if held is not None else None
        taken = [s.value for s in self.settings if s.value is not None and s.parameter == parameter]
        return taken[-1] if taken else parameter.boot


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
    _read(reading, path, _content(reading, path), depth=0)
    auto = auto_conf or path.parent / "postgresql.auto.conf"
    if auto.name != path.name and auto.is_file():
        _read(reading, auto, _content(reading, auto), depth=0)
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
            raise UsageError(f"{utf8(str(path))} is a folder", hint="give the postgresql.conf in it")
        if path.is_fifo() and path.parts[1:2] not in (
            ("dev",),
            ("proc",),
        ):  # <(command) of a shell is one too, and good
            raise UsageError(f"{utf8(str(path))} is a named pipe", why="nobody may ever write to it", hint=WHERE)
        with path.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise UsageError(f"cannot read {utf8(str(path))}", why=error.strerror, hint=WHERE) from None
    if len(content) > MAX_BYTES:
        raise UsageError(
            f"{utf8(str(path))} is larger than {MAX_BYTES // 2**20} MB", hint="is this a configuration file?"
        )
    return content


def _read(reading: _Reading, path: Path, content: bytes, *, depth: int) -> bool:
    """Take in one file and what it includes; whether all of it was without fault."""
    reading.contents[str(path)] = content
    entries, syntax = read(content)
    end = syntax[0].line if syntax else len(content)
    clean = not syntax
    reading.problems += [Problem(str(path), s.line, s.message, beyond=s.line > end) for s in syntax]
    for entry in entries:
        directive = folded(entry.name)
        found = len(reading.settings), len(reading.problems)
        if directive == "include_dir":
            clean &= _directory(reading, path, entry, depth)
        elif directive in ("include", "include_if_exists"):
            clean &= _include(reading, path, entry, depth, strict=directive == "include")
        else:
            parameter = parameters.find(entry.name, reading.major)
            reading.settings.append(Setting(entry.name, entry.value, str(path), entry.line, parameter))
        if entry.line > end:
            reading.settings[found[0] :] = [replace(s, beyond=True) for s in reading.settings[found[0] :]]
            reading.problems[found[1] :] = [replace(p, beyond=True) for p in reading.problems[found[1] :]]
    return clean


def _include(reading: _Reading, path: Path, entry: Entry, depth: int, *, strict: bool) -> bool:
    def problem(message: str) -> bool:
        reading.problems.append(Problem(str(path), entry.line, message))
        return False

    if not entry.value.strip(" \t\n\v\f\r"):
        return problem(f'empty configuration file name: "{entry.value}"')
    target = _beside(path, entry.value)
    if depth >= MAX_DEPTH:
        return problem(f'could not open configuration file "{target}": maximum nesting depth exceeded')
    if target.absolute() == path.absolute():
        return problem(f'configuration file recursion in "{path}"')
    if target.is_dir():
        return problem(f'could not read file "{target}": it is a folder')
    if not target.is_file():
        if strict:
            return problem(f'could not open file "{target}"')
        reading.notes.append(Problem(str(path), entry.line, f'skipping missing configuration file "{target}"'))
        return True
    return _nested(reading, target, problem, depth)


def _directory(reading: _Reading, path: Path, entry: Entry, depth: int) -> bool:
    """The files of a folder in byte order, up to the first with a fault in it: there the server leaves the folder."""

    def problem(message: str) -> bool:
        reading.problems.append(Problem(str(path), entry.line, message))
        return False

    if not entry.value.strip(" \t\n\v\f\r"):
        return problem(f'empty configuration directory name: "{entry.value}"')
    folder = _beside(path, entry.value)
    try:
        names = sorted(os.fsencode(held.name) for held in folder.iterdir())
    except OSError:
        return problem(f'could not open directory "{folder}"')
    for raw in names:
        name = os.fsdecode(raw)
        if name.startswith(".") or len(name) < 6 or not name.endswith(".conf") or (folder / name).is_dir():
            continue
        if depth >= MAX_DEPTH:
            return problem(f'could not open configuration file "{folder / name}": maximum nesting depth exceeded')
        if not _nested(reading, folder / name, problem, depth):
            return False
    return True


def _nested(reading: _Reading, target: Path, problem: Callable[[str], bool], depth: int) -> bool:
    try:
        content = _content(reading, target)
    except UsageError as error:
        return problem(f'could not open file "{target}": {error.why or error.what}')
    return _read(reading, target, content, depth=depth + 1)


def _beside(path: Path, value: str) -> Path:
    return Path(os.path.normpath(path.parent / value))  # an absolute value stands for itself


def _mark_dead(settings: list[Setting]) -> list[Setting]:
    """Earlier entries of a name are dead; the server skips only those spelt exactly as a later one (guc.c, strcmp)."""
    last = {folded(s.name): position for position, s in enumerate(settings)}
    spelt = {s.name: position for position, s in enumerate(settings)}
    return [
        replace(s, dead=last[folded(s.name)] != n, unchecked=spelt[s.name] != n and s.parameter is not None)
        for n, s in enumerate(settings)
    ]


def _judge(settings: list[Setting], major: int) -> tuple[list[Setting], list[Problem]]:
    """Values of the entries that count, and a problem for each that the server would not take."""
    judged: list[Setting] = []
    refused: list[Problem] = []
    together = Together()
    for setting in settings:
        if setting.unchecked:
            judged.append(setting)
            continue
        value, error = _value(setting, major)
        if value is not None and setting.parameter is not None:
            error = together.refusal(setting.parameter.name, value) or None
            value = None if error else value
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
    if parameter.context == "internal":
        return None, f'parameter "{parameter.name}" cannot be changed'
    try:
        return shown(parameter, setting.raw, major), None
    except InvalidValue as error:
        return None, str(error)
