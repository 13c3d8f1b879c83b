"""Where an Alembic environment lies: by alembic.ini, pyproject.toml, its folder, or one of its revisions.

Nothing is imported and no env.py runs. A `script_location` is found beside the file that names it, where dbkit runs, or
in the package it names (`app:migrations`); what `prepend_sys_path` names can be imported while revisions are read.
"""

from __future__ import annotations

import sys
import tomllib
import warnings
from collections.abc import Generator, Iterator
from configparser import ConfigParser
from configparser import Error as IniError
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from dbkit.errors import UsageError


def is_configuration(path: Path) -> bool:
    """Whether a path is called as a file is that configures Alembic."""
    return path.suffix == ".ini" or path.name == "pyproject.toml"


def directory(path: Path) -> tuple[Path, Path | None]:
    """The script directory, and the one revision asked for, if it is one. Raises UsageError."""
    if is_configuration(path):
        return _named_by(path), None
    if path.is_dir():
        if (path / "alembic.ini").is_file() and not (path / "env.py").is_file():
            return _named_by(path / "alembic.ini"), None
        for folder in (path, path.parent):
            if (folder / "env.py").is_file():
                return folder, None
        return _named_afar(path) or path, None
    for folder in path.resolve().parents:
        if (folder / "env.py").is_file():
            return folder, path
    return _named_afar(path.parent) or path.parent, path


def _named_afar(folder: Path) -> Path | None:
    """The environment whose configuration, somewhere above, has this folder among its version_locations."""
    here = folder.resolve()
    for file in _configurations(here):
        with suppress(UsageError, IniError, ValueError, KeyError, TypeError), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            config = settings(file)
            named = versions(file, config)
            below = config.get_alembic_boolean_option("recursive_version_locations")
            if any(here == place or (below and here.is_relative_to(place)) for place in named):
                return _named_by(file)
    return None


def _configurations(folder: Path) -> Iterator[Path]:
    """Files that may configure Alembic, the nearest above a folder first."""
    for up in (folder, *folder.parents):
        for file in (up / "alembic.ini", up / "pyproject.toml"):
            if file.is_file():
                yield file


@contextmanager
def importable(path: Path, folder: Path) -> Generator[None]:
    """Import as Alembic would while revisions are read: from prepend_sys_path first, and leave no bytecode behind."""
    held, bytecode = list(sys.path), sys.dont_write_bytecode
    sys.path[:0] = imports(path, folder)
    sys.dont_write_bytecode = True
    try:
        yield
    finally:
        sys.path[:], sys.dont_write_bytecode = held, bytecode


def imports(path: Path, folder: Path) -> list[str]:
    """The folders of prepend_sys_path, which are meant from where the configuration lies."""
    file = configuration(path, folder)
    if file is None:
        return []
    with _readable(file):
        given: list[str] = settings(file).get_prepend_sys_paths_list() or []
    return list(dict.fromkeys(str(base / name) for name in given for base in (file.resolve().parent, Path.cwd())))


@contextmanager
def _readable(file: Path) -> Generator[None]:
    """Raise UsageError for a configuration that Alembic rejects."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Alembic's advice on its configuration is not ours to give
            yield
    except (IniError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{file}: Alembic cannot read this configuration", why=str(error).splitlines()[0]) from None


def settings(file: Path) -> Any:
    """Alembic's Config of a file; alembic.ini and the pyproject.toml beside it are read together, as Alembic does."""
    from alembic.config import Config

    project = file.with_name("pyproject.toml")
    ini = file if file.suffix == ".ini" else file.with_name("alembic.ini")
    return Config(ini if ini.is_file() else None, toml_file=project if project.is_file() else None)


def versions(file: Path, config: Any) -> list[Path]:
    """The folders that version_locations means, each found as a script_location is; none where it is left out."""
    named: list[str] = config.get_version_locations_list() or []
    return [next((p for p in _meant(file, name) if p.is_dir()), file.parent / name).resolve() for name in named if name]


def configuration(path: Path, folder: Path) -> Path | None:
    """The file that names the environment: the one given, or the nearest above it that does."""
    if is_configuration(path):
        return path
    here, seen = folder.resolve(), path.resolve()
    above = (here, *here.parents[:3])
    for file in (*_configurations(here), *_configurations(seen)):
        if file.parent not in above and not seen.is_relative_to(file.parent):
            continue
        with suppress(UsageError):
            if _named_by(file).resolve() == here:
                return file
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
        with suppress(UsageError):  # Alembic, too, asks the pyproject.toml beside it
            return parser.get("alembic", "script_location", fallback="") or _from_pyproject(
                file.with_name("pyproject.toml")
            )
        return parser.get("alembic", "script_location")
    except OSError as error:
        raise UsageError(f"cannot read {file}", why=error.strerror) from None
    except (IniError, UnicodeDecodeError) as error:
        raise UsageError(
            f"{file} names no script_location", why=str(error).splitlines()[0], hint="[alembic] script_location = ..."
        ) from None


def _from_pyproject(file: Path) -> str:
    try:
        return str(tomllib.loads(file.read_text(encoding="utf-8"))["tool"]["alembic"]["script_location"])
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, KeyError, TypeError):
        raise UsageError(f"{file} has no [tool.alembic] script_location") from None
