"""Changes and edits of configuration files as one unified diff, which `patch` applies and a pull request shows."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from dbkit import diffs
from dbkit.postgres.conf.reader import ConfFile, Setting
from dbkit.postgres.settings import dialects, repair
from dbkit.postgres.settings.repair import Edit
from dbkit.postgres.settings.rules.declare import Change
from dbkit.postgres.settings.scene import Scene

HEADER: Final = "# Added by dbkit audit"
_LINE: Final = re.compile(
    r"(?P<head>\s*(?P<name>[A-Za-z_][\w.$]*)(?:\s*=\s*|\s+))(?P<value>'(?:[^'\\]|\\.|'')*'|[^\s#']+)"
)


def unified(scene: Scene, edits: Sequence[Edit], changes: Sequence[Change]) -> str:
    """The diff; empty when nothing changes. Paths are relative to the audited file's folder: `patch -d DIR -p0`.

    A line that holds a secret is named above the diff of its file instead of changed.
    """
    if scene.conf is None:
        return ""
    mended = scene.repaired[-1] if scene.repaired else scene.conf
    contents = repair.apply(scene.conf.contents, edits)
    in_place: list[Edit] = []
    added: list[Change] = []
    for change in changes:
        setting = _setting(mended, change.name)
        if setting is not None and setting.file in contents:
            lines = contents[setting.file].split(b"\n")
            old = lines[setting.line - 1].decode("utf-8", "surrogateescape")
            in_place.append(Edit(setting.file, setting.line, _rewritten(scene, old, change)))
        elif change.value is not None:
            added.append(change)
    contents = repair.apply(contents, in_place)
    if added:
        contents[scene.conf.path] = _append(contents[scene.conf.path], [dialects.conf(scene, c) for c in added])
    folder = Path(scene.conf.path).parent
    return "".join(
        _diff(scene.conf.contents[file], after, os.path.relpath(file, folder)) for file, after in contents.items()
    )


def _setting(conf: ConfFile, name: str) -> Setting | None:
    """The entry that counts for a parameter, whatever old name it is written under."""
    for setting in conf.effective.values():
        if setting.parameter is not None and setting.parameter.name.lower() == name.lower():
            return setting
    return None


def _rewritten(scene: Scene, old: str, change: Change) -> str | None:
    """The line with another value; indentation and comment stay. None comments it out."""
    match = _LINE.match(old)
    if change.value is None or match is None:
        return None if change.value is None else dialects.conf(scene, change)
    head = match["head"].replace(match["name"], change.name, 1) if match["name"] != change.name else match["head"]
    return f"{head}{dialects.quoted(scene, change)}{old[match.end() :]}"


def _append(content: bytes, lines: Iterable[str]) -> bytes:
    end = b"\r\n" if b"\r\n" in content else b"\n"
    start = content if not content or content.endswith(b"\n") else content + end
    head = b"" if HEADER.encode() in content else end + HEADER.encode() + end
    return start + head + b"".join(line.encode("utf-8", "surrogateescape") + end for line in lines)


def _diff(before: bytes, after: bytes, path: str) -> str:
    old, new = (diffs.lines_of(text.decode("utf-8", "surrogateescape")) for text in (before, after))
    said = ""
    for number, (was, line) in enumerate(zip(old, new, strict=False)):  # edits keep the lines' numbers
        if was != line and was.rstrip("\r\n") != line.rstrip("\r\n") and diffs.secret(was):
            new[number] = was
            said += diffs.left_alone(path, number + 1)
    return said + diffs.unified(old, new, path, path)
