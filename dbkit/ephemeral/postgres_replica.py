"""A streaming replica of a throw-away PostgreSQL."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import psycopg

from dbkit.ephemeral import Unavailable, lease, postgres_cluster
from dbkit.ephemeral.postgres import PostgresServer, launch

if TYPE_CHECKING:
    from collections.abc import Mapping

STREAM_SECONDS = 30.0


def start_replica(primary: PostgresServer, *, settings: Mapping[str, str] | None = None) -> PostgresServer:
    """Start a hot standby of the server, made with pg_basebackup and streaming from it.

    ``settings`` go into its postgresql.conf, such as ``recovery_min_apply_delay``. :class:`Unavailable` when the
    primary's programs are not at hand (a given address or a container).
    """
    binaries = primary.binaries
    if binaries is None:
        raise Unavailable(f"{primary.origin}: its programs are not at hand", what="no replica")

    def fill(held: lease.Lease) -> None:
        data = held.subfolder("data")
        source = f"{primary.dsn_for('postgres', secret=False)}?application_name=replica"
        # -R writes primary_conninfo, password included, to a file in the data directory, which is mode 0700.
        argv = [
            str(binaries.program("pg_basebackup")),
            "-D",
            str(data),
            "-d",
            source,
        ]
        argv += ["-R", "-X", "stream", "-c", "fast", "--no-sync"]
        postgres_cluster.run(argv, cwd=data, account=held.account, what="pg_basebackup", secret=primary.password)
        postgres_cluster.configure(data, held.subfolder("s"), settings or {})

    with lease.exclusive() as place:
        lease.sweep(place)
        held = lease.Lease.create(place)
    standby = launch(binaries, held, fill, primary.password)
    try:
        _wait_until_streaming(standby, held)
    except BaseException:
        standby.stop()
        raise
    return standby


def _wait_until_streaming(standby: PostgresServer, held: lease.Lease) -> None:
    """Accepting connections comes before the stream: a test that looks at the primary would still see no replica."""
    until = time.monotonic() + STREAM_SECONDS
    with psycopg.connect(standby.dsn, autocommit=True) as connection:
        while time.monotonic() < until:
            if connection.execute("select from pg_stat_wal_receiver where status = 'streaming'").fetchone() is not None:
                return
            time.sleep(0.02)
    raise Unavailable(f"it was not streaming after {STREAM_SECONDS:.0f} s:\n{held.log_tail()}", what="no replica")
