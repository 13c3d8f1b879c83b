"""Changing a file of a running daemon so that it is whole at every moment, and the earlier text is kept beside it."""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from dbkit.errors import Refused


def digest(content: bytes) -> str:
    """SHA-256 of a text."""
    return hashlib.sha256(content).hexdigest()


def kept(file: Path, before: str) -> Path:
    """Where the earlier text of a file is kept, by that text's digest."""
    return file.with_name(f"{file.name}.dbkit-{before[:8]}")


def write(file: Path, content: bytes) -> None:
    """Replace a file by a rename, with the owner and mode of the old one. Raises OSError; the old one stands then."""
    old = file.stat()
    fresh = file.with_name(f".{file.name}.dbkit-{os.getpid()}")
    try:
        handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as out:
            out.write(content)
            if (old.st_uid, old.st_gid) != (os.geteuid(), os.getegid()):
                os.fchown(out.fileno(), old.st_uid, old.st_gid)
            os.fchmod(out.fileno(), old.st_mode & 0o7777)
            out.flush()
            os.fsync(out.fileno())
        fresh.replace(file)
    except OSError:
        with suppress(OSError):
            fresh.unlink()
        raise
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def keep(file: Path, content: bytes) -> Path:
    """Put the earlier text beside the file, with its owner and mode. Raises OSError."""
    place = kept(file, digest(content))
    if not place.exists():
        old = file.stat()
        handle = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        os.close(handle)
        if (old.st_uid, old.st_gid) != (os.geteuid(), os.getegid()):
            os.chown(place, old.st_uid, old.st_gid)
        place.chmod(old.st_mode & 0o7777)
    write(place, content)
    return place


@contextmanager
def alone(file: Path) -> Generator[None]:
    """Nobody else with dbkit works on this file. Raises Refused."""
    handle = os.open(file.parent, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Refused(
                f"another dbkit is at work in {file.parent}", hint="wait until it has ended, then run this again"
            ) from None
        yield
    finally:
        os.close(handle)
