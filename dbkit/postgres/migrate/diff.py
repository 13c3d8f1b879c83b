"""`--diff-base REF`: which files and lines are new since a commit, asked of git."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dbkit.errors import UsageError
from dbkit.postgres.migrate.lint import Changed
from dbkit.postgres.migrate.source import Script

_HUNK: Final = re.compile(r"^@@ -\d+(?:,\d+)? \+(\d+)(?:,(\d+))? @@", re.MULTILINE)


def since(reference: str, scripts: Iterable[Script]) -> Changed:
    """New files as a whole, changed files by line, since the branch left `reference`. Raises UsageError."""
    lines: dict[str, frozenset[int] | None] = {}
    folders: dict[Path, Path] = {}
    trees: dict[Path, _Tree] = {}
    for script in scripts:
        if script.path is None:
            lines[script.file] = None  # standard input is what somebody is looking at now
            continue
        path = script.path.resolve()
        if path.parent not in folders:
            folders[path.parent] = Path(_git(path.parent, "rev-parse", "--show-toplevel").strip())
        root = folders[path.parent]
        if root not in trees:
            trees[root] = _tree(root, reference)
        tree, relative = trees[root], path.relative_to(root).as_posix()
        if relative not in tree.held:
            lines[script.file] = None
        elif relative in tree.changed:
            patch = _git(root, "diff", "--unified=0", "--no-color", "--no-ext-diff", tree.base, "--", relative)
            touched = frozenset(n for m in _HUNK.finditer(patch) for n in range(int(m[1]), int(m[1]) + int(m[2] or 1)))
            if touched:
                lines[script.file] = touched
    return Changed(lines)


@dataclass(frozen=True, slots=True)
class _Tree:
    """A repository at the commit where the branch left: three questions to git, however many files there are."""

    base: str
    held: frozenset[str]
    """Files that were there and are not untracked now."""
    changed: frozenset[str]


def _tree(root: Path, reference: str) -> _Tree:
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
    held = _git(root, "ls-tree", "-r", "-z", "--name-only", base).split("\0")
    untracked = _git(root, "ls-files", "--others", "--exclude-standard", "-z").split("\0")
    changed = _git(root, "diff", "-z", "--name-only", "--no-renames", "--no-ext-diff", base).split("\0")
    return _Tree(base, frozenset(held).difference(untracked), frozenset(changed))


def _git(folder: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=False, encoding="utf-8"
        )
    except FileNotFoundError:
        raise UsageError("--diff-base needs git, which is not installed") from None
    if done.returncode:
        first = done.stderr.strip().splitlines()
        outside = bool(first) and "not a git repository" in first[0]
        hint = "--diff-base compares with a commit of the repository that holds the migrations" if outside else None
        raise UsageError(f"git {arguments[0]} failed in {folder}", why=first[0] if first else None, hint=hint)
    return done.stdout
