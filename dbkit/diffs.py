"""Unified diffs that `patch` and `git apply` read, without a password on the lines around a change."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from typing import Final

from dbkit.secrets import of_setting, redact

CONTEXT: Final = 3
_SETTING: Final = re.compile(r"\s*([\w.]+)\s*=?\s*(.*)", re.DOTALL)


def lines_of(text: str) -> list[str]:
    """Lines with their ends, cut at line feeds only, as `patch` counts; splitlines() also cuts at form feeds."""
    return re.findall(r"[^\n]*\n|[^\n]+", text)


def secret(line: str) -> bool:
    """Whether a line, of a configuration file perhaps, holds what must not be shown."""
    setting = _SETTING.match(line)
    return redact(line) != line or (setting is not None and of_setting(setting[1], setting[2]) != setting[2])


def left_alone(file: str, line: int) -> str:
    """What a diff says of a line that wants another text and holds a secret; `patch` passes it over."""
    return f"# not changed here, because the line holds a secret: {file}:{line}\n"


def unified(before: Sequence[str], after: Sequence[str], old: str, new: str) -> str:
    """The diff of two texts' lines; empty when they are equal.

    Around the changes stand as many lines as hold no secret, three at most, as many above as below: `patch` takes a
    change with fewer below for one at the end of the file.
    """
    made: list[str] = []
    for context in range(CONTEXT, -1, -1):
        made = list(difflib.unified_diff(before, after, old, new, n=context))
        if not any(secret(line[1:]) for line in made[2:] if line.startswith(" ")):
            break
    return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in made)
