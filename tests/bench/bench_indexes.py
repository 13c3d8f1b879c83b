"""All documented indexes on some two million rows: `dbkit index apply --jobs 2` beside psql running the same statements
one by one, in one run; and the start-up of two commands. Prints both sides and the ratio.

    python tests/bench/bench_indexes.py [copies of the seed, default 3: 2.3 million rows]
"""

from __future__ import annotations

import os
import subprocess
import sys
import time

import psycopg

from dbkit import assets
from dbkit.demo.tour import SERVER_SETTINGS, migrate, plain_statements
from dbkit.ephemeral.postgres import PostgresServer, start_postgres
from dbkit.ephemeral.postgres_databases import clone, create
from dbkit.postgres import ddl


def main() -> None:
    copies = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    with start_postgres(18, settings=SERVER_SETTINGS) as server:
        base = create(server, "platform")
        dsn = server.dsn_for(base)
        migrate(dsn)
        with psycopg.connect(dsn, autocommit=True) as connection:
            for _ in range(copies):
                connection.execute(assets.query("demo/seed"))
            rows = connection.execute(assets.query("demo/rows")).fetchone()
        print(f"PostgreSQL {server.version_text}, {rows[0] if rows else 0:,} rows, no other load asked for")
        by_psql, by_dbkit = 0.0, 0.0
        for turn in range(TURNS):  # each side goes first once: the second finds caches warm and WAL segments made
            ours, theirs = clone(server, base, f"ours_{turn}"), clone(server, base, f"theirs_{turn}")
            psql = [str(server.binaries.program("psql")), "-qX", "-v", "ON_ERROR_STOP=1", "-d", theirs]
            dbkit = [*DBKIT, "index", "apply", "--yes", "-q", "--jobs", "2", "--dsn", ours]
            sides = [(psql, script()), (dbkit, "")]
            took = {command[0]: timed(server, command, text) for command, text in (sides if turn else sides[::-1])}
            by_psql, by_dbkit = by_psql + took[psql[0]], by_dbkit + took[dbkit[0]]
            print(f"turn {turn + 1}: psql {took[psql[0]]:.1f} s, dbkit {took[dbkit[0]]:.1f} s")
        print(f"psql, one by one, CONCURRENTLY where PostgreSQL allows it: {by_psql / TURNS:.1f} s")
        print(f"dbkit index apply --jobs 2, verified:                      {by_dbkit / TURNS:.1f} s")
        print(f"ratio dbkit / psql: {by_dbkit / by_psql:.2f}")
        for arguments in (["--help"], ["index", "status", "--dsn", ours]):
            best = min(timed(server, [*DBKIT, *arguments]) for _ in range(5))
            print(f"dbkit {' '.join(arguments[:2] if len(arguments) > 2 else arguments)}: {best:.2f} s, best of 5")


TURNS = 2
DBKIT = [sys.executable, "-m", "dbkit"]


def script() -> str:
    """The shipped statements; those on partitioned tables are written without CONCURRENTLY, which is refused there."""
    plain = dict(plain_statements())
    texts: list[str] = []
    for file in sorted(assets.path("sql/indexes").glob("*.sql")):
        texts += [
            f"{s.sql};" for s in ddl.parse(file.read_text(encoding="utf-8")) if s.node.index_stmt.idxname in plain
        ]
    return "\n".join(texts)


def timed(server: PostgresServer, command: list[str], stdin: str = "") -> float:
    """Wall time of a command, begun after a checkpoint."""
    with psycopg.connect(server.dsn, autocommit=True) as connection:
        connection.execute("checkpoint")
    began = time.monotonic()
    subprocess.run(
        command,
        input=stdin,
        text=True,
        check=True,
        stdout=subprocess.DEVNULL,
        env={**os.environ, "DBKIT_CONFIG": os.devnull},
    )
    return time.monotonic() - began


if __name__ == "__main__":
    main()
