"""A directory with a server in it that lives as long as somebody holds it.

A holder is a process with a shared POSIX lock on the file ``alive``; see :mod:`dbkit.ephemeral.guard` for the other
half. Several processes may hold the same directory (the workers of one test run), and the last to go ends the server.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import fcntl
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from dbkit.ephemeral import Unavailable, guard
from dbkit.ephemeral.account import Account, owner, unprivileged

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

FOLDER = "DBKIT_TEST_FOLDER"
_held: dict[Path, Lease] = {}
_YOUNG_SECONDS = 60.0
_UNUSED_SECONDS = 30 * 86400.0


def _open_to(path: Path, account: Account | None) -> bool:
    """Whether the account may walk into the folder: every folder above must let others through."""
    return account is None or all(part.stat().st_mode & stat.S_IXOTH for part in (path, *path.parents))


def root() -> Path:
    """The folder below which all throw-away servers and caches of this user live; made on first use.

    It lies in the folder that ``DBKIT_TEST_FOLDER`` names, a file system in memory perhaps, else in that of TMPDIR.
    Others may walk through it (the server's own account must) but not list or change it. A folder somebody else has
    put there is refused: they could plant binaries in it.
    """
    account = unprivileged()
    named = os.environ.get(FOLDER) or tempfile.gettempdir()
    for base in (Path(named).resolve(), Path("/tmp")):  # noqa: S108 - only a folder of ours is used, see below
        if base.is_dir() and _open_to(base, account):
            break
    else:
        raise Unavailable("no temporary folder is open to the account the server runs as", hint="set TMPDIR")
    place = base / f"dbkit-{os.geteuid()}"
    with contextlib.suppress(FileExistsError):
        place.mkdir(mode=0o711)
        place.chmod(0o711)  # mkdir's mode is cut by the umask
    found = place.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise Unavailable(
            f"{place} belongs to somebody else or others may write to it", hint=f"remove {place}, or set TMPDIR"
        )
    return place


@contextlib.contextmanager
def exclusive() -> Generator[Path]:
    """Hold the lock under which directories are made, joined, swept and caches filled."""
    place = root()
    handle = os.open(place / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield place
    finally:
        os.close(handle)


def _lock(handle: int, kind: int) -> bool:
    try:
        fcntl.lockf(handle, kind | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EACCES):
            return False
        raise
    return True


def sweep(place: Path) -> list[Path]:
    """Remove directories that nobody holds and no guardian watches (both were killed), and caches long unused.

    Call under :func:`exclusive`. Returns the removed directories.
    """
    gone: list[Path] = []
    for cache in (*place.glob("initdb-*"), *place.glob("bin-*")):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - cache.stat().st_mtime > _UNUSED_SECONDS:
                shutil.rmtree(cache) if cache.is_dir() else cache.unlink()
    for rest in place.glob("gone-*"):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - rest.stat().st_mtime > _YOUNG_SECONDS:
                shutil.rmtree(rest, ignore_errors=True)
    for directory in place.glob("srv-*"):
        # Opening and closing a file drops this process's own lock on it (POSIX), so what we hold is left alone.
        if directory in _held or not directory.is_dir():
            continue
        try:
            handle = os.open(directory / "alive", os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            with contextlib.suppress(FileNotFoundError):
                if time.time() - directory.stat().st_mtime > _YOUNG_SECONDS:
                    guard.clear(directory)
                    gone.append(directory)
            continue
        try:
            if _lock(handle, fcntl.LOCK_EX):
                guard.clear(directory)
                gone.append(directory)
        finally:
            os.close(handle)
    return gone


class Lease:
    """This process's hold on one server directory. ``release`` gives it up; the process ending does so too."""

    def __init__(self, directory: Path, handle: int, account: Account | None) -> None:
        self.directory = directory
        self.account = account
        self._handle = handle
        self._pid = os.getpid()
        self._uses = 1
        _held[directory] = self

    @classmethod
    def create(cls, place: Path, name: str | None = None) -> Lease:
        """Make a directory (``srv-NAME``, random without a name) and hold it. Call under :func:`exclusive`."""
        account = unprivileged()
        if name is None:
            directory = Path(tempfile.mkdtemp(prefix="srv-", dir=place))
        else:
            directory = place / f"srv-{name}"
            directory.mkdir()
        directory.chmod(0o711)
        handle = os.open(directory / "alive", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.lockf(handle, fcntl.LOCK_SH)
        return cls(directory, handle, account)

    @classmethod
    def join(cls, place: Path, name: str) -> Lease | None:
        """Hold a directory that another process made, or None when there is none in use. Under :func:`exclusive`."""
        directory = place / f"srv-{name}"
        known = _held.get(directory)
        if known is not None and known.use_again():
            return known
        until = time.monotonic() + 4 * guard.STOP_SECONDS
        while directory.exists() and time.monotonic() < until:
            try:
                handle = os.open(directory / "alive", os.O_RDWR | os.O_CLOEXEC)
            except FileNotFoundError:
                time.sleep(0.02)  # it is being removed
                continue
            if _lock(handle, fcntl.LOCK_SH):
                same = (directory / "alive").exists() and os.fstat(handle).st_ino == (directory / "alive").stat().st_ino
                if same and (directory / "server.json").exists():
                    return cls(directory, handle, unprivileged())
                if same and _lock(handle, fcntl.LOCK_EX):
                    guard.clear(directory)  # its maker was killed half-way
            os.close(handle)
            time.sleep(0.02)
        if directory.exists():
            raise Unavailable(f"{directory} neither goes away nor can be used", hint=f"remove {directory}")
        return None

    def use_again(self) -> bool:
        """Count one more use in this process; False in a forked child, which holds nothing."""
        if self._pid != os.getpid():
            return False
        self._uses += 1
        return True

    def subfolder(self, name: str) -> Path:
        """A folder inside that only the server's account can use."""
        folder = self.directory / name
        folder.mkdir(mode=0o700)
        if self.account is not None:
            os.chown(folder, *owner(self.account))
        return folder

    def save(self, name: str, text: str) -> Path:
        """Write a file only this user can read, in one step."""
        part = self.directory / f"{name}.part"
        handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "w") as file:
            file.write(text)
        return part.rename(self.directory / name)

    def launch(self, argv: Sequence[str], *, env: Mapping[str, str], cwd: Path, stop: int = signal.SIGQUIT) -> None:
        """Start the guardian, which starts the server; :meth:`exited` and :attr:`pid` tell how it went.

        ``stop`` is the signal that ends this server at once.
        """
        account = self.account
        spec = {
            "argv": list(argv),
            "env": dict(env),
            "cwd": str(cwd),
            "uid": None if account is None else account.uid,
            "gid": None if account is None else account.gid,
            "stop": int(stop),
        }
        self.save("command.json", json.dumps(spec))
        self.again()

    def again(self) -> None:
        """Start the server with the command it was launched with. Its guardian does; a killed one is replaced."""
        for name in ("exited", "child.pid"):
            (self.directory / name).unlink(missing_ok=True)
        pid = guard.read_pid(self.directory / "guard.pid")
        if pid is not None and guard.alive(pid) and guard.belongs(pid, self.directory):
            os.kill(pid, signal.SIGUSR1)
            return
        # -I and -S: nothing of the caller's environment or site-packages reaches the guardian, and it starts faster.
        subprocess.run([sys.executable, "-I", "-S", guard.__file__, str(self.directory)], check=True)

    def end(self, how: int, *, seconds: float) -> None:
        """Send the server a signal and wait until it has ended; no error when it does not run."""
        pid = self.pid
        if pid is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, how)
        until = time.monotonic() + seconds
        while guard.alive(pid):
            if time.monotonic() > until:
                raise Unavailable(f"process {pid} did not end within {seconds:.0f} s", what="the server does not stop")
            time.sleep(0.01)

    def log_tail(self) -> str:
        """The last lines of the server's log."""
        try:
            return "\n".join((self.directory / "server.log").read_text(errors="replace").splitlines()[-12:])
        except FileNotFoundError:
            return "(no log)"

    @property
    def pid(self) -> int | None:
        """Process id of the server, None while it does not run."""
        pid = guard.read_pid(self.directory / "child.pid")
        return pid if pid is not None and guard.alive(pid) else None

    def exited(self) -> str | None:
        """The exit status of the server started last when it has ended, else None.

        After a restart the guardian may note the end of the server before, so the process id must agree.
        """
        try:
            pid, _, status = (self.directory / "exited").read_text().partition(" ")
        except FileNotFoundError:
            return None
        return status if int(pid) in (0, guard.read_pid(self.directory / "child.pid")) else None

    def linger(self, seconds: float) -> None:
        """Let the server outlive its last holder by this many seconds."""
        self.save("linger", str(seconds))

    def release(self, *, wholly: bool = False) -> None:
        """Give the directory up. The last holder ends the server here and now; otherwise its guardian will.

        ``wholly`` also gives up what other parts of this process hold: the process is about to end.
        """
        if self._handle < 0 or self._pid != os.getpid():
            return
        self._uses = 0 if wholly else self._uses - 1
        if self._uses > 0:
            return
        handle, self._handle = self._handle, -1
        # Turning our shared lock into the exclusive one works only for the last holder. Two that try at once both
        # fail and both let go, and then the guardian gets the lock.
        if not (self.directory / "linger").exists() and _lock(handle, fcntl.LOCK_EX):
            guard.clear(self.directory)
        os.close(handle)
        _held.pop(self.directory, None)


@atexit.register
def _release_all() -> None:
    for lease in list(_held.values()):
        lease.release(wholly=True)
