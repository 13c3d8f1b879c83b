"""Edits of a pgbouncer.ini as new text, and as a unified diff that `patch` applies."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dbkit import diffs
from dbkit.errors import UsageError
from dbkit.pgbouncer.ini import lexer
from dbkit.pgbouncer.ini.file import IniFile
from dbkit.pgbouncer.ini.lexer import Entry, Section
from dbkit.pgbouncer.rules.declare import Edit


@dataclass
class _Text:
    """One file's lines with their endings, and the changes by 0-based line."""

    lines: list[str]
    replaced: dict[int, str | None] = field(default_factory=dict[int, "str | None"])
    appended: dict[int, list[str]] = field(default_factory=dict[int, list[str]])

    def result(self) -> list[str]:
        made: list[str] = []
        for number, line in enumerate(self.lines):
            held = self.replaced.get(number, line)
            if held is not None:
                made.append(held)
            more = self.appended.get(number, [])
            if more and made and not made[-1].endswith("\n"):
                made[-1] += "\n"
            made += more
        return made


def patch(ini: IniFile, edits: Iterable[Edit]) -> str:
    """A unified diff over the file and what it includes; empty when nothing changes.

    A key is changed where its effective line stands, and added at the end of the last `[pgbouncer]` otherwise. When two
    edits want one key, the first wins. A line that holds a secret is named above the diff instead of changed.
    """
    texts = _edited(ini, list(edits))
    return "".join(_diff(name, text) for name, text in texts.items())


def apply_edits(ini: IniFile, edits: Iterable[Edit]) -> Mapping[str, str]:
    """The new text of each file that changes, by its path."""
    texts = _edited(ini, list(edits))
    return {name: "".join(text.result()) for name, text in texts.items()}


def _edited(ini: IniFile, edits: list[Edit]) -> dict[str, _Text]:
    texts: dict[str, _Text] = {}
    for edit in edits:
        if edit.at is not None and edit.at.line:
            text = _text(texts, edit.at.file)
            head = _head(text.lines[edit.at.line - 1])
            kept = f"{head}\n" if head else None
            text.replaced[edit.at.line - 1] = kept if edit.line is None else f"{head}{edit.line}\n"
    done: set[str] = set()
    for edit in edits:
        if edit.at is None and edit.key not in done:
            done.add(edit.key)
            _set(texts, ini, edit)
    return texts


def _set(texts: dict[str, _Text], ini: IniFile, edit: Edit) -> None:
    line = f"{edit.key} = {edit.value}".rstrip()
    held = ini.effective.get(edit.key)
    if held is not None:
        text = _text(texts, held.file)
        old = text.lines[held.line - 1]
        ending = old[len(old.rstrip("\r\n")) :]
        if text.replaced.get(held.line - 1, "") is not None:
            text.replaced[held.line - 1] = _head(old) + line + ending
        return
    opened = [s for s in ini.sections if s.name == "pgbouncer"]
    if not opened:
        text = _text(texts, ini.path)
        text.appended.setdefault(len(text.lines) - 1, ["[pgbouncer]\n"]).append(line + "\n")
        return
    text = _text(texts, opened[-1].file)
    at = _end_of_section(text.lines, opened[-1].line)
    ending = "\r\n" if text.lines[at].endswith("\r\n") else "\n"
    text.appended.setdefault(at, []).append(line + ending)


def _head(line: str) -> str:
    """What stands before a key: an entry may follow its `[section]` in one line, and blanks are kept."""
    match = re.match(r"\s*(?:\[[^\]]*\]\s*)*", line)
    return match[0].rstrip("\r\n") if match else ""


def _end_of_section(lines: list[str], opened: int) -> int:
    """The 0-based line after which a key of the section that is opened at a 1-based line may be added."""
    last = opened - 1
    items = lexer.items("".join(lines).encode("utf-8", "surrogateescape"), quoted_names=True)
    for item in items:
        if item.line <= opened:
            continue
        if isinstance(item, Section):
            break
        if isinstance(item, Entry):
            last = item.line - 1
    return last


def _text(texts: dict[str, _Text], name: str) -> _Text:
    if name not in texts:
        try:
            raw = Path(name).read_bytes()
        except OSError as error:
            raise UsageError(f"cannot read {name}", why=error.strerror) from None
        texts[name] = _Text(diffs.lines_of(raw.decode("utf-8", "surrogateescape")) or [""])
    return texts[name]


def _diff(name: str, text: _Text) -> str:
    said = ""
    for number in [n for n in text.replaced if diffs.secret(text.lines[n])]:
        del text.replaced[number]
        said += diffs.left_alone(name, number + 1)
    return said + diffs.unified(text.lines, text.result(), f"a/{name.lstrip('/')}", f"b/{name.lstrip('/')}")
