"""`--diff-base REF`: which files and lines are new since a commit, asked of git."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from dbkit.errors import UsageError
from dbkit.postgres.migrate.lint import Changed
from dbkit.postgres.migrate.source import Script

_HUNK: Final = re.compile(r"^@@ -\d+(?:,\d+)? \+(\d+)(?:,(\d+))? @@", re.MULTILINE)


def since(reference: str, scripts: Iterable[Script]) -> Changed:
    """New files as a whole, changed files by line, since the branch left `reference`. Raises UsageError."""
    lines: dict[str, frozenset[int] | None] = {}
    roots: dict[Path, tuple[Path, str, frozenset[str]]] = {}
    for script in scripts:
        if script.path is None:
            lines[script.file] = None  # standard input is what somebody is looking at now
            continue
        folder = script.path.resolve().parent
        if folder not in roots:
            roots[folder] = _repository(folder, reference)
        root, base, untracked = roots[folder]
        relative = script.path.resolve().relative_to(root).as_posix()
        if relative in untracked or not _existed(root, base, relative):
            lines[script.file] = None
            continue
        patch = _git(root, "diff", "--unified=0", "--no-color", "--no-ext-diff", base, "--", relative)
        touched = frozenset(n for m in _HUNK.finditer(patch) for n in range(int(m[1]), int(m[1]) + int(m[2] or 1)))
        if touched:
            lines[script.file] = touched
    return Changed(lines)


def _repository(folder: Path, reference: str) -> tuple[Path, str, frozenset[str]]:
    root = Path(_git(folder, "rev-parse", "--show-toplevel").strip())
    if reference.startswith("-"):
        raise UsageError(f"--diff-base {reference!r} is not a commit")
    try:
        base = _git(root, "merge-base", reference, "HEAD").strip()
    except UsageError as error:
        raise UsageError(
            f"git knows no commit {reference!r} that this branch shares",
            why=error.why,
            hint="in CI fetch it first: `git fetch origin main`, or check out with full history",
        ) from None
    untracked = _git(root, "ls-files", "--others", "--exclude-standard", "-z").split("\0")
    return root, base, frozenset(untracked)


def _existed(root: Path, base: str, relative: str) -> bool:
    command = ["git", "-C", str(root), "cat-file", "-e", f"{base}:{relative}"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _git(folder: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=False, encoding="utf-8"
        )
    except FileNotFoundError:
        raise UsageError("--diff-base needs git, which is not installed") from None
    if done.returncode:
        first = done.stderr.strip().splitlines()
        raise UsageError(f"git {arguments[0]} failed in {folder}", why=first[0] if first else None)
    return done.stdout
