"""The migrations a command is given: files, folders, Alembic revisions or standard input."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dbkit.errors import UsageError

if TYPE_CHECKING:
    from dbkit.postgres.migrate.source import Script

Paths = Annotated[
    list[str] | None,
    typer.Argument(
        help="SQL files, folders, alembic.ini, an Alembic folder or revision; - for standard input.",
        metavar="[PATH]...",
        show_default=False,
    ),
]
StdinName = Annotated[
    str, typer.Option("--stdin-name", help="What to call standard input in findings.", metavar="NAME")
]
STDIN_NAME = "stdin.sql"


def read(paths: list[str] | None, stdin_name: str) -> list[Script]:
    """The scripts in the order in which they run. Raises UsageError."""
    from dbkit.postgres.migrate import source

    if not paths:
        raise UsageError("no migrations are named", hint="give files, folders, alembic.ini, or - for standard input")
    scripts: list[Script] = []
    for name in dict.fromkeys(paths):
        path = Path(name)
        if name == "-":
            scripts.append(source.make(stdin_name, source.decode(sys.stdin.buffer.read(), stdin_name)))
            continue
        from dbkit.postgres.migrate import alembic_source

        if path.exists() and alembic_source.is_alembic(path):
            scripts += alembic_source.read(path)
        else:
            scripts += source.read_paths([path])
    return _once(scripts)


def _once(scripts: list[Script]) -> list[Script]:
    """A file that was named and lies in a folder named as well runs once."""
    seen: set[Path] = set()
    kept: list[Script] = []
    for script in scripts:
        place = script.path.resolve() if script.path is not None else None
        if place is None or script.remark or place not in seen:
            kept.append(script)
        if place is not None and not script.remark:
            seen.add(place)
    return kept
