"""The guardian of one throw-away server: starts it, reaps it, and removes it when nobody holds it any more.

Run as a script (``python -I guard.py DIRECTORY``) by :mod:`dbkit.ephemeral.lease`, so it imports nothing of dbkit.
Holders keep a shared POSIX lock on ``DIRECTORY/alive``. The kernel drops that lock when a holder ends, also by
``kill -9``, and a forked child does not inherit it. The guardian asks for the exclusive lock: getting it means that
the last holder is gone. Files it keeps in the directory: ``guard.pid``, ``child.pid`` (the server) and ``exited`` (the
process id and exit status of a server that ended, or 0 and why none was started). Signals: SIGUSR1 starts the server
again, SIGTERM ends everything.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

STOP_SECONDS = 5.0


def alive(pid: int) -> bool:
    """Whether the process runs; a zombie counts as ended."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        if Path("/proc/self/stat").exists():
            return False
    else:
        return stat.rpartition(")")[2].split()[0] not in ("Z", "X")
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def belongs(pid: int, directory: Path) -> bool:
    """Whether the process was started for this directory: a process id from a file may have been used again."""
    place = str(directory)
    try:
        folder = str(Path(f"/proc/{pid}/cwd").readlink()).removesuffix(" (deleted)")
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        if Path("/proc/self/stat").exists():
            return False
    else:
        return f"{folder}{os.sep}".startswith(place + os.sep) or os.fsencode(place) in arguments
    found = subprocess.run(["ps", "-o", "args=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return place in found.stdout


def leftovers(directory: Path, program: str) -> list[int]:
    """Processes of the server's own program that work in its directory: children that outlived a killed parent."""
    found: list[int] = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            runs = str((entry / "exe").readlink()).removesuffix(" (deleted)")
            place = str((entry / "cwd").readlink()).removesuffix(" (deleted)")
            if runs == program and f"{place}{os.sep}".startswith(f"{directory}{os.sep}"):
                found.append(int(entry.name))
    return found


def read_pid(path: Path) -> int | None:
    """The process id on the first line of a file, or None."""
    try:
        return int(path.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return None


def end(pid: int, how: int) -> None:
    """End the server at once: its own signal for that, then SIGKILL to its whole process group."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, how)
    until = time.monotonic() + STOP_SECONDS
    while alive(pid) and time.monotonic() < until:
        time.sleep(0.01)
    if alive(pid):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)
        while alive(pid) and time.monotonic() < until + STOP_SECONDS:
            time.sleep(0.01)


def clear(directory: Path) -> None:
    """End the server of a directory, and remove the directory. The caller holds the exclusive lock on ``alive``."""
    spec: dict[str, Any] = {}
    with contextlib.suppress(OSError, ValueError):
        spec = json.loads((directory / "command.json").read_text())
    pid = read_pid(directory / "child.pid")
    if pid is not None and alive(pid) and belongs(pid, directory):
        end(pid, int(spec.get("stop", signal.SIGQUIT)))
    for rest in leftovers(directory, os.path.realpath(spec["argv"][0])) if "argv" in spec else []:
        with contextlib.suppress(ProcessLookupError):
            os.kill(rest, signal.SIGKILL)
    # Renamed first: the name may be taken again while the tree goes.
    gone = directory.with_name(f"gone-{os.getpid()}-{directory.name}")
    try:
        directory.rename(gone)
    except FileNotFoundError:
        return
    # Late children of the server may still write, so a second and third try are normal.
    for _ in range(50):
        shutil.rmtree(gone, ignore_errors=True)
        if not gone.exists():
            return
        time.sleep(0.02)


class Guardian:
    """Runs the server named in ``command.json`` and waits until it may go."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.child: int | None = None

    def start(self, *_: object) -> None:
        """Start the server as the command file says: argv, environment, working directory, user and group."""
        spec = json.loads((self.directory / "command.json").read_text())
        log = os.open(self.directory / "server.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        # A new session: ^C in the terminal of a holder must not reach the server, and one signal reaches all of it.
        server = subprocess.Popen(
            spec["argv"],
            env=spec["env"],
            cwd=spec["cwd"],
            user=spec["uid"],
            group=spec["gid"],
            extra_groups=[] if spec["uid"] is not None else None,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            umask=0o077,
        )
        os.close(log)
        self.child = server.pid
        server.returncode = 0  # reaped in `reap`, not by Popen
        self.write("child.pid", str(server.pid))

    def write(self, name: str, text: str) -> None:
        """Write a small file in one step, so that a reader never sees half of it."""
        part = self.directory / f"{name}.part"
        part.write_text(text)
        part.replace(self.directory / name)

    def reap(self, *_: object) -> None:
        """Collect ended children; the server's exit status goes to ``exited``."""
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                if pid == self.child:
                    self.child = None
                    with contextlib.suppress(OSError):
                        self.write("exited", f"{pid} {os.waitstatus_to_exitcode(status)}")

    def leave(self, *_: object) -> None:
        """Stop waiting: the machine goes down, or somebody wants this server gone."""
        sys.exit(0)

    def watch(self) -> None:
        """Start the server, wait for the last holder to go, end the server, remove the directory."""
        with (self.directory / "alive").open("r+") as lock:
            signal.signal(signal.SIGCHLD, self.reap)
            signal.signal(signal.SIGUSR1, self.start)
            signal.signal(signal.SIGTERM, self.leave)
            try:
                self.write("guard.pid", str(os.getpid()))
                self.start()
                self.reap()  # a server that ended before its pid was noted
                fcntl.lockf(lock, fcntl.LOCK_EX)
                self.linger()
            except Exception as error:
                with contextlib.suppress(OSError):
                    self.write("exited", f"0 {type(error).__name__}: {error}")
            finally:
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
                signal.signal(signal.SIGUSR1, signal.SIG_IGN)
                # No name left: the last holder has cleared up itself, and the path may be another server's by now.
                if os.fstat(lock.fileno()).st_nlink > 0:
                    clear(self.directory)

    def linger(self) -> None:
        """Stay up for the seconds a holder asked for in the file ``linger``: somebody wants to look at a failure."""
        with contextlib.suppress(OSError, ValueError):
            time.sleep(float((self.directory / "linger").read_text()))


def main() -> None:
    """Leave the caller's session, then watch. The caller's own child exits at once, so it has nothing to reap."""
    directory = Path(sys.argv[1])
    if os.fork() > 0:
        os._exit(0)
    os.setsid()
    os.umask(0o077)
    os.chdir("/")
    for number in (0, 1, 2):
        target = os.open(os.devnull, os.O_RDWR)
        os.dup2(target, number)
        if target > 2:
            os.close(target)
    Guardian(directory).watch()


if __name__ == "__main__":
    main()
