"""A throw-away PgBouncer in front of a throw-away PostgreSQL."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from dbkit.ephemeral import Mode, Unavailable, lease, ports
from dbkit.ephemeral.account import owner
from dbkit.ephemeral.postgres_binaries import clean_environment

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from types import TracebackType

    from dbkit.ephemeral.postgres import PostgresServer

START_SECONDS = 20.0
FOLDERS = ("/usr/sbin", "/usr/local/sbin", "/opt/homebrew/bin")


@dataclass(frozen=True)
class PgBouncer:
    """A running PgBouncer. ``dsn_for`` goes through the pool, ``admin_dsn`` to its console."""

    version: int
    version_text: str
    port: int
    backend: PostgresServer
    held: lease.Lease = field(repr=False, compare=False)
    engine: str = field(default="pgbouncer", repr=False)

    def dsn_for(self, database: str) -> str:
        """Address of a database through the pool, as the server's superuser; it carries the password."""
        return self.through(self.backend.dsn_for(database))

    def through(self, dsn: str) -> str:
        """The same role and database as in the server's address, but through the pool."""
        return dsn.replace(f"@{self.backend.host}:{self.backend.port}/", f"@127.0.0.1:{self.port}/")

    @property
    def dsn(self) -> str:
        """Address of the database ``postgres`` through the pool; it carries the password."""
        return self.dsn_for("postgres")

    @property
    def admin_dsn(self) -> str:
        """Address of the console (SHOW POOLS, RELOAD): connect with autocommit. It carries the password."""
        return self.dsn_for("pgbouncer")

    @property
    def directory(self) -> Path:
        """Folder with pgbouncer.ini and userlist.txt."""
        return self.held.directory / "conf"

    @property
    def config_file(self) -> Path:
        """The pgbouncer.ini it runs with; RELOAD on the console reads it again."""
        return self.directory / "pgbouncer.ini"

    @property
    def log_file(self) -> Path:
        """PgBouncer's log."""
        return self.held.directory / "server.log"

    @property
    def pid(self) -> int | None:
        """Process id, None while it does not run."""
        return self.held.pid

    def stop(self) -> None:
        """End it and remove its directory."""
        self.held.release()

    def restart(self, mode: Mode = "fast") -> None:
        """Stop and start again. Both modes end all sessions at once: a waiting stop may wait for ever."""
        del mode
        self.held.end(_stop_signal(self.version), seconds=START_SECONDS)
        self.held.again()
        _wait_until_up(self.held, self.port)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def start_pgbouncer(
    server: PostgresServer, *, pool_mode: str = "transaction", settings: Mapping[str, str] | None = None
) -> PgBouncer:
    """Start PgBouncer in front of the server, for every database and role of it.

    ``settings`` go into the section ``[pgbouncer]`` of pgbouncer.ini. Roles log in with their own password: PgBouncer
    looks it up in the server. Raises :class:`Unavailable` when the program is not installed or does not start.
    """
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), *FOLDERS])
    program = shutil.which("pgbouncer", path=path)
    if program is None:
        raise Unavailable("pgbouncer is not on PATH", what="no PgBouncer", hint="apt-get install pgbouncer")
    version, text = _version(program)
    with lease.exclusive() as place:
        lease.sweep(place)
        held = lease.Lease.create(place)
    try:
        folder = held.subfolder("conf")

        def start(port: int) -> int:
            ini = _config(server, folder, port, {"pool_mode": pool_mode, **(settings or {})})
            for name, content in (("pgbouncer.ini", ini), ("userlist.txt", _userlist(server))):
                file = folder / name
                file.unlink(missing_ok=True)
                handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
                with os.fdopen(handle, "w") as out:
                    out.write(content)
                os.chown(file, *owner(held.account))
            argv = [program, str(folder / "pgbouncer.ini")]
            held.launch(argv, env=clean_environment(folder), cwd=folder, stop=_stop_signal(version))
            _wait_until_up(held, port)
            return port

        return PgBouncer(version, text, ports.on_free_port(start), server, held)
    except BaseException:
        held.release()
        raise


def _stop_signal(version: int) -> int:
    # SIGTERM ends at once up to 1.22; from 1.23 on it waits for the clients and SIGQUIT ends at once.
    return signal.SIGTERM if version < 12300 else signal.SIGQUIT


def _version(program: str) -> tuple[int, str]:
    told = subprocess.run([program, "--version"], capture_output=True, text=True, check=False, timeout=30).stdout
    found = re.search(r"PgBouncer (\d+)\.(\d+)(?:\.(\d+))?", told)
    if found is None:
        raise Unavailable(f"{program} --version says {told.strip()!r}", what="no PgBouncer")
    major, minor, patch = (int(part or 0) for part in found.groups())
    return major * 10000 + minor * 100 + patch, found[0].removeprefix("PgBouncer ")


def _userlist(server: PostgresServer) -> str:
    name, secret = (text.replace('"', '""') for text in (server.user, server.password))
    return f'"{name}" "{secret}"\n'


def _config(server: PostgresServer, folder: Path, port: int, settings: Mapping[str, str]) -> str:
    own = {
        "listen_addr": "127.0.0.1",
        "listen_port": str(port),
        "unix_socket_dir": "",
        "auth_type": "scram-sha-256",
        "auth_file": str(folder / "userlist.txt"),
        "auth_user": server.user,
        "admin_users": server.user,
        "stats_users": server.user,
        "max_client_conn": "200",
        "default_pool_size": "20",
        "ignore_startup_parameters": "extra_float_digits",
    }
    lines = [f"{name} = {value}" for name, value in {**own, **settings}.items()]
    return "\n".join(["[databases]", f"* = host={server.host} port={server.port}", "", "[pgbouncer]", *lines, ""])


def _wait_until_up(held: lease.Lease, port: int) -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        if (code := held.exited()) is not None:
            log = held.log_tail()
            kind = ports.PortTaken if "Address already in use" in log else Unavailable
            raise kind(f"pgbouncer ended with status {code}:\n{log}", what="no PgBouncer")
        try:
            # The log names the port, so a stranger that listens there is not taken for ours.
            if f"listening on 127.0.0.1:{port}" in held.log_tail():
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                return
        except OSError:
            pass
        time.sleep(0.01)
    raise Unavailable(f"pgbouncer was not up after {START_SECONDS:.0f} s:\n{held.log_tail()}", what="no PgBouncer")
