"""Throw-away PostgreSQL: a given address, the embedded wheel, an installed version, or a container."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import signal
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Self

from dbkit.ephemeral import Mode, Unavailable, guard, lease, ports, postgres_cluster
from dbkit.ephemeral.postgres_binaries import Binaries, clean_environment, find_embedded, find_local
from dbkit.secrets import redact

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path
    from types import TracebackType

Source = Literal["dsn", "embedded", "local", "container"]
SOURCES: tuple[Source, ...] = ("dsn", "embedded", "local", "container")
ADDRESS = "DBKIT_TEST_POSTGRES_DSN"
START_SECONDS = 60.0


@dataclass(frozen=True)
class PostgresServer:
    """A running throw-away PostgreSQL. Addresses carry the password; ``repr`` does not."""

    version: int
    version_text: str
    host: str
    port: int
    origin: str
    user: str
    password: str = field(repr=False)
    binaries: Binaries | None = field(default=None, repr=False)
    held: lease.Lease | None = field(default=None, repr=False, compare=False)
    closer: Callable[[], None] | None = field(default=None, repr=False, compare=False)
    engine: str = field(default="postgres", repr=False)

    @property
    def major(self) -> int:
        """Major version, such as 18."""
        return self.version // 10000

    def dsn_for(self, database: str, *, secret: bool = True) -> str:
        """Superuser address of a database as a URL; it carries the password unless told not to (for a command line)."""
        from urllib.parse import quote

        password = f":{quote(self.password, safe='')}" if secret and self.password else ""
        user, name = quote(self.user, safe=""), quote(database, safe="")
        return f"postgresql://{user}{password}@{quote(self.host, safe='')}:{self.port}/{name}"

    @property
    def dsn(self) -> str:
        """Superuser address of the database ``postgres``; it carries the password."""
        return self.dsn_for("postgres")

    def psql_line(self, database: str) -> str:
        """A command for a person, with a password file in place of the password."""
        secret = f" passfile={self.held.directory / 'pgpass'}" if self.held else ""
        return f'psql "host={self.host} port={self.port} user={self.user} dbname={database}{secret}"'

    @property
    def directory(self) -> Path | None:
        """Data directory, None for a server that is not ours."""
        return self.held.directory / "data" if self.held else None

    @property
    def sockets(self) -> Path | None:
        """Folder of the unix socket, None for a server that is not ours."""
        return self.held.directory / "s" if self.held else None

    @property
    def log_file(self) -> Path | None:
        """The server's log, None for a server that is not ours."""
        return self.held.directory / "server.log" if self.held else None

    @property
    def pid(self) -> int | None:
        """Process id of the postmaster, None while it does not run or is not ours."""
        return self.held.pid if self.held else None

    def stop(self) -> None:
        """Give the server up; the last holder ends it and removes its directory."""
        if self.held:
            self.held.release()
        if self.closer:
            self.closer()

    def restart(self, mode: Mode = "fast") -> None:
        """Stop and start again on the same port: ``fast`` ends sessions in order, ``immediate`` is a crash.

        A server that is down (killed by a test) is just started. :class:`Unavailable` for one that is not ours.
        """
        held = self._ours("restart")
        held.end(signal.SIGINT if mode == "fast" else signal.SIGQUIT, seconds=START_SECONDS)
        held.again()
        _wait_until_up(held)

    def crash(self) -> None:
        """Kill the postmaster with SIGKILL and leave it down; :meth:`restart` brings it back."""
        self._ours("crash").end(signal.SIGKILL, seconds=START_SECONDS)

    def _ours(self, what: str) -> lease.Lease:
        if self.held is None:
            raise Unavailable(f"{self.host}:{self.port} is not ours to {what}", what=f"cannot {what} the server")
        return self.held

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def start_postgres(
    major: int | None = None,
    *,
    settings: Mapping[str, str] | None = None,
    dsn: str | None = None,
    sources: tuple[Source, ...] = SOURCES,
    share: str | None = None,
    port: int | None = None,
) -> PostgresServer:
    """Start PostgreSQL, of the given major version or any, from the first source that can provide it.

    ``settings`` go into postgresql.conf. ``dsn`` (default: the environment's ``DBKIT_TEST_POSTGRES_DSN``) names a
    running server to use instead. ``share`` names a group of processes (a test run) that use one server per version
    and settings. ``port`` fixes the port; otherwise a free one is taken.
    Raises :class:`Unavailable` with the reason of every source.
    """
    wanted = dict(settings or {})
    reasons: list[str] = []
    for source in sources:
        try:
            if source == "dsn":
                return _given(major, dsn or os.environ.get(ADDRESS), wanted)
            if source == "container":
                from dbkit.ephemeral.postgres_container import start_container

                return start_container(major, wanted)
            binaries = find_embedded(major) if source == "embedded" else find_local(major)
            return start_binaries(binaries, settings=wanted, share=share, port=port)
        except Unavailable as error:
            reasons.append(f"{source}: {error.reason}")
    version = f"PostgreSQL {major}" if major else "PostgreSQL"
    raise Unavailable(
        "\n  ".join(["", *reasons]).rstrip() or "no source was allowed",
        what=f"no throw-away {version}",
        hint=f"pip install 'dbkit-cli[demo]' (18), install {version} with your package manager, or set {ADDRESS}",
    )


def _given(major: int | None, dsn: str | None, settings: Mapping[str, str]) -> PostgresServer:
    if not dsn:
        raise Unavailable(f"{ADDRESS} is not set")
    import psycopg
    from psycopg import conninfo

    # Not one word of the address is repeated: in a malformed one, any part may be a piece of the password.
    malformed = Unavailable(f"the address in {ADDRESS} cannot be read; @ : / ? # % in a password must be %-encoded")
    try:
        parts = conninfo.conninfo_to_dict(dsn)
    except psycopg.Error:
        raise malformed from None
    names = f"{parts.get('host', '')}{parts.get('dbname', '')}"
    if re.search(r"[^\d,]", str(parts.get("port", ""))) or "@" in names:
        raise malformed
    try:
        with psycopg.connect(dsn, autocommit=True, connect_timeout=10) as connection:
            info = connection.info
            version = info.server_version
            text = f"{version // 10000}.{version % 10000}"
            if major is not None and version // 10000 != major:
                raise Unavailable(f"the server of {ADDRESS} is {text}")
            for name, value in settings.items():
                row = connection.execute("select current_setting(%s, true)", [name]).fetchone()
                if row is None or value not in (row[0] or ""):
                    raise Unavailable(f"the server of {ADDRESS} has {name} = {row[0] if row else None}, not {value}")
            return PostgresServer(version, text, info.host, info.port, "given address", info.user, info.password)
    except psycopg.Error as error:
        raise Unavailable(f"the server of {ADDRESS} cannot be used: {redact(str(error).strip())}") from None


def start_binaries(
    binaries: Binaries, *, settings: Mapping[str, str], share: str | None = None, port: int | None = None
) -> PostgresServer:
    """Start a server from installed programs; with ``share``, join the one another process has started."""
    source, password = postgres_cluster.archive(binaries)

    def fill(held: lease.Lease) -> None:
        data = held.subfolder("data")
        postgres_cluster.unpack(source, data)
        postgres_cluster.configure(data, held.subfolder("s"), settings)

    with lease.exclusive() as place:
        lease.sweep(place)
        if share is not None:
            # Under the lock to the end: the next worker must find a server that is up.
            key = json.dumps([share, str(binaries.folder), binaries.version, sorted(settings.items())])
            name = hashlib.sha256(key.encode()).hexdigest()[:12]
            if (held := lease.Lease.join(place, name)) is not None:
                told = json.loads((held.directory / "server.json").read_text())
                return _server(binaries, held, told["port"], told["password"])
            return launch(binaries, lease.Lease.create(place, name), fill, password, port)
        held = lease.Lease.create(place)
    return launch(binaries, held, fill, password, port)


def launch(
    binaries: Binaries, held: lease.Lease, fill: Callable[[lease.Lease], None], password: str, port: int | None = None
) -> PostgresServer:
    """Let ``fill`` make the data directory in ``data`` and the folder ``s``, then start the server on a free port."""
    user = postgres_cluster.SUPERUSER

    def start(chosen: int) -> int:
        argv = [str(binaries.program("postgres")), "-D", str(held.directory / "data"), "-p", str(chosen)]
        held.launch(argv, env=clean_environment(held.directory), cwd=held.directory / "data")
        _wait_until_up(held)
        return chosen

    try:
        fill(held)
        chosen = ports.on_free_port(start, port)
        held.save("pgpass", f"127.0.0.1:{chosen}:*:{user}:{password}\n")
        held.save("server.json", json.dumps({"port": chosen, "password": password}))
    except BaseException:
        held.release()
        raise
    return _server(binaries, held, chosen, password)


def _wait_until_up(held: lease.Lease) -> None:
    """Wait until the server accepts connections: the last line of postmaster.pid says so, no login is spent."""
    until = time.monotonic() + START_SECONDS
    state = held.directory / "data" / "postmaster.pid"
    while time.monotonic() < until:
        if (code := held.exited()) is not None:
            log = held.log_tail()
            if "pre-existing shared memory block" in log.rsplit("FATAL:", 1)[-1] and time.monotonic() < until - 1:
                time.sleep(0.1)  # children of a killed postmaster are still on their way out
                held.again()
                continue
            kind = ports.PortTaken if "could not create any TCP/IP sockets" in log else Unavailable
            raise kind(f"the server ended with status {code}:\n{log}")
        child = guard.read_pid(held.directory / "child.pid")
        with contextlib.suppress(FileNotFoundError):
            lines = state.read_text().splitlines()
            if len(lines) >= 8 and lines[0] == str(child) and lines[7].strip() == "ready":
                return
        time.sleep(0.01)
    raise Unavailable(f"the server was not up after {START_SECONDS:.0f} s:\n{held.log_tail()}")


def _server(binaries: Binaries, held: lease.Lease, port: int, password: str) -> PostgresServer:
    return PostgresServer(
        version=binaries.version,
        version_text=binaries.version_text,
        host="127.0.0.1",
        port=port,
        origin=binaries.origin,
        user=postgres_cluster.SUPERUSER,
        password=password,
        binaries=binaries,
        held=held,
    )
