"""Where an Alembic environment lies: by alembic.ini, pyproject.toml, its folder, or one of its revisions.

Nothing is imported and no env.py runs. A `script_location` is found beside the file that names it, where dbkit runs, or
in the package it names (`app:migrations`); what `prepend_sys_path` names can be imported while revisions are read.
"""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterator
from configparser import ConfigParser
from configparser import Error as IniError
from contextlib import contextmanager
from pathlib import Path

from dbkit.errors import UsageError


def directory(path: Path) -> tuple[Path, Path | None]:
    """The script directory, and the one revision asked for, if it is one. Raises UsageError."""
    if path.name in ("alembic.ini", "pyproject.toml"):
        return _named_by(path), None
    if path.is_dir():
        if (path / "alembic.ini").is_file() and not (path / "env.py").is_file():
            return _named_by(path / "alembic.ini"), None
        for folder in (path, path.parent):
            if (folder / "env.py").is_file():
                return folder, None
        return path, None
    for folder in path.resolve().parents:
        if (folder / "env.py").is_file():
            return folder, path
    return path.parent, path


@contextmanager
def importable(path: Path, folder: Path) -> Generator[None]:
    """Import as Alembic would while revisions are read: from prepend_sys_path first, and leave no bytecode behind."""
    held, bytecode = list(sys.path), sys.dont_write_bytecode
    sys.path[:0] = _first(path, folder)
    sys.dont_write_bytecode = True
    try:
        yield
    finally:
        sys.path[:], sys.dont_write_bytecode = held, bytecode


def _first(path: Path, folder: Path) -> list[str]:
    """The folders of prepend_sys_path, which are meant from where the configuration lies."""
    file = _configuration(path, folder)
    if file is None:
        return []
    from alembic.config import Config

    config = Config(toml_file=file) if file.suffix == ".toml" else Config(file)
    given = config.get_prepend_sys_paths_list() or []
    return list(dict.fromkeys(str(base / name) for name in given for base in (file.resolve().parent, Path.cwd())))


def _configuration(path: Path, folder: Path) -> Path | None:
    """The file that names the environment: the one given, or the nearest above it that does."""
    if path.name in ("alembic.ini", "pyproject.toml"):
        return path
    for up in (folder.resolve(), *folder.resolve().parents[:3]):
        for file in (up / "alembic.ini", up / "pyproject.toml"):
            try:
                if file.is_file() and _named_by(file).resolve() == folder.resolve():
                    return file
            except UsageError:
                continue
    return None


def _named_by(file: Path) -> Path:
    location = _from_pyproject(file) if file.name == "pyproject.toml" else _from_ini(file)
    for folder in _meant(file, location):
        if (folder / "env.py").is_file():
            return folder
    raise UsageError(
        f"{file}: no Alembic environment at {location}",
        why="env.py is missing",
        hint="`alembic init` makes one; or give the folder with the revisions",
    )


def _meant(file: Path, location: str) -> Iterator[Path]:
    """Folders that a script_location may mean, the likeliest first."""
    package, colon, inside = location.partition(":")
    if colon and len(package) > 1:  # one letter would be a drive
        parts = [*package.split("."), *inside.split(":")]
        for root in (*file.resolve().parents, Path.cwd(), *map(Path, sys.path)):
            yield root.joinpath(*parts)
    here = location.replace("%(here)s", str(file.resolve().parent))
    yield file.parent / here
    yield Path(here)


def _from_ini(file: Path) -> str:
    parser = ConfigParser(interpolation=None)
    try:
        parser.read_string(file.read_text(encoding="utf-8"))
        return parser.get("alembic", "script_location")
    except OSError as error:
        raise UsageError(f"cannot read {file}", why=error.strerror) from None
    except (IniError, UnicodeDecodeError) as error:
        raise UsageError(
            f"{file} names no script_location", why=str(error).splitlines()[0], hint="[alembic] script_location = ..."
        ) from None


def _from_pyproject(file: Path) -> str:
    import tomllib

    try:
        return str(tomllib.loads(file.read_text(encoding="utf-8"))["tool"]["alembic"]["script_location"])
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, KeyError, TypeError):
        raise UsageError(f"{file} has no [tool.alembic] script_location") from None
