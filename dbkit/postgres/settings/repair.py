"""Lines the server refuses: what is wrong with them in words, and the edit that mends them where only one is right.

An edit replaces a line or comments it out; it never adds or removes one, so that line numbers stay what they are.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dbkit.postgres.conf import parameters
from dbkit.postgres.conf.reader import ConfFile, Problem, read_file

ROUNDS: Final = 4
"""A mended line may be refused for another reason: after its comment, its name."""


@dataclass(frozen=True, slots=True)
class Edit:
    """One line of a configuration file to be replaced, or commented out when `text` is None."""

    file: str
    line: int
    text: str | None = None
    reason: str = ""


def repaired(conf: ConfFile, not_settings: Mapping[str, str]) -> tuple[ConfFile, ...]:
    """The file as it would be read after each round of edits; empty when nothing can be mended."""
    found: list[ConfFile] = []
    held = conf
    for _ in range(ROUNDS):
        edits = [e for p in (*held.problems, *held.further) for e in advice(held, p, not_settings)[1]]
        if not edits:
            break
        held = read_file(Path(conf.path), conf.major, overlay=apply(held.contents, edits))
        found.append(held)
    return tuple(found)


def apply(contents: Mapping[str, bytes], edits: Iterable[Edit]) -> dict[str, bytes]:
    """The files after the edits, in order; a later edit of a line works on what the earlier one left."""
    lines = {file: text.split(b"\n") for file, text in contents.items()}
    for edit in edits:
        held = lines.get(edit.file)
        if held is None or not 0 < edit.line <= len(held):
            continue
        old = held[edit.line - 1]
        end = b"\r" if old.endswith(b"\r") else b""
        if edit.text is None:
            new = b"# " + old.removesuffix(b"\r")
        else:
            new = edit.text.rstrip("\r").encode("utf-8", "surrogateescape")
        held[edit.line - 1] = new + end
    return {file: b"\n".join(text) for file, text in lines.items()}


def advice(conf: ConfFile, problem: Problem, not_settings: Mapping[str, str]) -> tuple[str, tuple[Edit, ...]]:
    """What a refused line needs, in words, and the edit that mends it where there is a single right one."""
    text = conf.line(problem.file, problem.line)
    said = problem.message
    if problem.name is None and (dashes := re.search(r"(?:(?<=\s)|^)--(?=\s|\w|$)", text)):
        mended = f"{text[: dashes.start()]}#{text[dashes.end() :]}"
        return (
            f"{said}: comments begin with #, not with -- (that is SQL)",
            (Edit(problem.file, problem.line, mended, "comments begin with #"),),
        )
    if problem.name is None and said.startswith("syntax error"):
        return f"{said}: {_syntax(text)}", _requote(problem, text)
    if problem.name is not None and "unrecognized configuration parameter" in said:
        why = not_settings.get(problem.name.lower()) or _unknown(problem.name, conf.major)
        return f"{said}: {why}", (Edit(problem.file, problem.line, None, why),)
    return said, _unit(conf, problem)


def _syntax(text: str) -> str:
    value = text.partition("=")[2] or text
    if ";" in text:
        return "a line ends without a semicolon"
    if '"' in text:
        return "values are quoted with ', not with \""
    if re.search(r"\d\.\d+\s*[a-zA-Z]", value):
        return "a fraction with a unit must be quoted, as in '1.5GB'"
    if re.search(r"\d\s+[a-zA-Z]", value):
        return "a value with a space must be quoted, or written without it, as in 8MB"
    if re.search(r"[*/,%&:]", value):
        return "a value with such a character must be quoted with '"
    return "write: name = value"


def _requote(problem: Problem, text: str) -> tuple[Edit, ...]:
    """Quotes around a value that only lacks them."""
    match = re.fullmatch(r"(\s*[A-Za-z_][\w.]*\s*(?:=\s*|\s+))([^'#;\"]+?)(\s*;?\s*(?:#.*)?)", text.rstrip("\r\n"))
    if match is None:
        return ()
    tail = match[3].replace(";", "")
    return (Edit(problem.file, problem.line, f"{match[1]}'{match[2]}'{tail}", "the value needs quotes"),)


def _unknown(name: str, major: int) -> str:
    for version in parameters.VERSIONS:
        held = parameters.find(name, version)
        if held is not None:
            when = f"from PostgreSQL {version} on" if version > major else f"until PostgreSQL {_last(name)}"
            return f"it exists {when}, not in {major}"
    near = difflib.get_close_matches(name.lower(), parameters.load(major), n=1, cutoff=0.75)
    return f"did you mean {near[0]}?" if near else f"PostgreSQL {major} has no such setting"


def _last(name: str) -> int:
    return max(version for version in parameters.VERSIONS if parameters.find(name, version) is not None)


def _unit(conf: ConfFile, problem: Problem) -> tuple[Edit, ...]:
    """The right spelling of a unit, where only that is wrong: mb, KB, sec, m for minutes stays a question."""
    if "Valid units" not in problem.message:
        return ()
    text = conf.line(problem.file, problem.line)
    for wrong, right in ((r"(\d)\s*kb\b", r"\1kB"), (r"(\d)\s*mb\b", r"\1MB"), (r"(\d)\s*gb\b", r"\1GB"),
                         (r"(\d)\s*tb\b", r"\1TB"), (r"(\d)\s*(?:sec|secs|seconds?)\b", r"\1s"),
                         (r"(\d)\s*(?:minutes?|mins)\b", r"\1min"), (r"(\d)\s*(?:hours?|hrs?)\b", r"\1h")):  # fmt: skip
        mended = re.sub(wrong, right, text, flags=re.IGNORECASE)
        if mended != text:
            return (Edit(problem.file, problem.line, mended, "units are case-sensitive"),)
    return ()
