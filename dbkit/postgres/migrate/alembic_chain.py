"""The revisions behind a path, opened as Alembic's own configuration says, and the one head a new one follows.

Where there is an alembic.ini or pyproject.toml that names the environment, all its settings hold: `version_locations`
with the separator it names, `recursive_version_locations`, the names of files. Nothing of env.py runs.
"""

from __future__ import annotations

import shlex
import warnings
from collections.abc import Iterable, Iterator, Mapping
from configparser import Error as IniError
from pathlib import Path
from typing import Any

from dbkit.errors import UsageError
from dbkit.postgres.migrate.alembic_places import configuration, directory, settings, versions


def opened(path: Path) -> Any:
    """Alembic's ScriptDirectory; no revision is read yet. To be called inside `importable`. Raises UsageError."""
    from alembic.script import ScriptDirectory
    from alembic.util.exc import CommandError

    folder, _ = directory(path)
    file = configuration(path, folder)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Alembic's advice on its configuration is not ours to give
            if file is None:
                return ScriptDirectory(str(folder), version_locations=list(_found(folder, path)))
            config = settings(file)
            config.set_main_option("script_location", str(folder.resolve()).replace("%", "%%"))
            script = ScriptDirectory.from_config(config)
            script.version_locations = list(map(str, versions(file, config)))
    except (CommandError, IniError, ValueError, KeyError, TypeError) as error:
        why = str(error).splitlines()[0]
        raise UsageError(f"{file or folder}: Alembic cannot read its configuration", why=why) from None
    beside = _given(path, script)
    if beside is not None:
        script.version_locations = [*(script.version_locations or [str(folder.resolve() / "versions")]), str(beside)]
    return script


def places(script: Any) -> list[Path]:
    """The folders that hold, or may hold, the revisions of a ScriptDirectory."""
    return [Path(p).resolve() for p in script.version_locations or [Path(script.dir) / "versions"]]


def within(folder: Path, script: Any) -> bool:
    """Whether Alembic looks for revisions in a folder."""
    here = folder.resolve()
    return any(here == p or (script.recursive_version_locations and here.is_relative_to(p)) for p in places(script))


def _given(path: Path, script: Any) -> Path | None:
    """The folder of revisions that was named though no configuration names it."""
    folder = (path if path.is_dir() else path.parent).resolve()
    return folder if holds_revisions(folder) and not within(folder, script) else None


def _found(folder: Path, path: Path) -> Iterator[str]:
    given = path if path.is_dir() else path.parent
    for place in dict.fromkeys(f.resolve() for f in (folder / "versions", given)):
        if place.is_dir() and holds_revisions(place):
            yield str(place)


def holds_revisions(folder: Path) -> bool:
    """Whether a folder holds Python files that name a revision."""
    return any(_is_revision(f) for f in folder.glob("*.py"))


def _is_revision(file: Path) -> bool:
    text = file.read_text(encoding="utf-8", errors="replace")
    return "down_revision" in text and "def upgrade" in text


def one_head(script: Any, docs: Mapping[str, str], config: str = "") -> str | None:
    """The head a new revision follows, None for an empty chain; `docs` say what each head does.

    Raises UsageError when there are several, with the command that joins them; `config` is the alembic.ini it needs.
    """
    heads: Iterable[str] = script.get_heads()
    heads = tuple(heads)
    if len(heads) > 1:
        told = [f"{h} ({docs[h]})" if docs.get(h) else h for h in heads]
        named = f" -c {shlex.quote(config)}" if config else ""
        raise UsageError(
            f"{script.dir} has {len(heads)} heads: {', '.join(told)}",
            why="a change is written behind one head, and which one this is cannot be guessed",
            hint=f'join them, then run this again: `alembic{named} merge -m "join heads" {" ".join(heads)}`',
        )
    return heads[0] if heads else None
