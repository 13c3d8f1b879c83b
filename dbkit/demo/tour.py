"""The tour: the main job of dbkit on a real PostgreSQL, beside the same job done the plain way under equal traffic."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, LiteralString, cast

import psycopg
from psycopg import sql

from dbkit import assets
from dbkit.demo import shop
from dbkit.demo.broken import FAULTS, LongReport, break_it
from dbkit.demo.command import run
from dbkit.demo.traffic import Result, Traffic
from dbkit.ephemeral.own_way import own_way
from dbkit.ephemeral.postgres import PostgresServer, start_postgres
from dbkit.ephemeral.postgres_databases import clone, create
from dbkit.errors import Broken
from dbkit.postgres import ddl
from dbkit.sizes import format_seconds

LONG_REPORT_SECONDS = 6.0


@dataclass(frozen=True)
class Outcome:
    """What the tour saw; `before` and `after` are JSON reports of `dbkit audit`."""

    server: str
    rows: int
    plain: Result
    plain_seconds: float
    plain_statements: list[tuple[str, float]]
    ours: Result
    ours_seconds: float
    before: dict[str, Any]
    after: dict[str, Any]
    applied: dict[str, Any]
    indexes: list[dict[str, Any]]
    change_plain: shop.Side
    change_ours: shop.Side


@dataclass(frozen=True)
class Tour:
    """One run; `say` gets every line meant for the person watching."""

    say: Callable[[str], None]
    folder: Path
    """Where the commands run and leave their plans."""

    def run(self) -> Outcome:
        """Everything, from an empty machine to the verified end. Leaves no server behind."""
        self.say("Starting a throw-away PostgreSQL")
        sources = ("embedded", "local", "container")
        with own_way(), start_postgres(18, sources=sources, settings=SERVER_SETTINGS) as server:
            return self._on(server)

    def _on(self, server: PostgresServer) -> Outcome:
        base = create(server, "platform")
        rows = self._seed(server.dsn_for(base))
        self.say(f"PostgreSQL {server.version_text}: the documented platform, {rows:,} rows")
        plain_dsn, ours_dsn = clone(server, base, "plain"), clone(server, base, "ours")

        self.say("")
        self.say("1. The plain way: CREATE INDEX, one by one, with readers and writers at work")
        plain, plain_seconds, statements = self._plain(plain_dsn)
        self.say(_waits(plain, plain_seconds))

        self.say("")
        self.say("2. A database as one finds it")
        with psycopg.connect(ours_dsn, autocommit=True) as connection:
            break_it(connection, ours_dsn)
        for fault in FAULTS:
            self.say(f"   - {fault.told}")
        before = self._report(ours_dsn, "audit", "--fail-on", "never")
        self._show(ours_dsn, "audit", "--select", "pg.index-invalid,pg.index-duplicate,pg.index-other-definition")

        self.say("")
        self.say("3. Plan: what would be done, with its locks; what needs a person is not touched")
        self._show(ours_dsn, "index", "plan", "--fail-on", "never", "-o", "plan.json", head=13, tail=5)
        self.say("   The person decides: idx_jobs_posted is the wrong one and goes.")
        with psycopg.connect(ours_dsn, autocommit=True) as connection:
            connection.execute("drop index concurrently idx_jobs_posted")
        run(self.folder, ours_dsn, "index", "plan", "-o", "plan.json")

        self.say("")
        self.say("4. Apply, under the same traffic, with a report holding an old snapshot")
        ours, ours_seconds, applied = self._apply(ours_dsn)
        self.say(_waits(ours, ours_seconds))
        self.say("   The duplicate goes by a plan too:")
        self._show(ours_dsn, "audit", "--select", "pg.index-duplicate", "--fix", "fix.json")
        self._show(ours_dsn, "apply", "fix.json")

        self.say("")
        self.say("5. Verify")
        self._show(ours_dsn, "index", "status")
        status = self._report(ours_dsn, "index", "status")
        after = self._report(ours_dsn, "audit", "--fail-on", "never")
        change_plain, change_ours = self._change(server)
        return Outcome(
            server=server.version_text,
            rows=rows,
            plain=plain,
            plain_seconds=plain_seconds,
            plain_statements=statements,
            ours=ours,
            ours_seconds=ours_seconds,
            before=before,
            after=after,
            applied=applied,
            indexes=status["indexes"],
            change_plain=change_plain,
            change_ours=change_ours,
        )

    def _change(self, server: PostgresServer) -> tuple[shop.Side, shop.Side]:
        """The last chapter, on a database of its own."""
        base = create(server, "shop")
        shop.seed(server.dsn_for(base), shop.ROWS)
        self.say("")
        self.say("6. Change the schema of a busy table: orders.customer becomes buyer, orders.id becomes bigint")
        self.say(f"   {shop.ROWS:,} rows, readers and writers; the application has an old version and a new one")
        self.say("   The plain way: alembic upgrade, and the new version one second after the rename")
        plain = shop.by_alembic(clone(server, base, "shop_plain"), self.folder / "plain")
        self.say(_change_waits(plain))
        ours = shop.by_dbkit(clone(server, base, "shop_ours"), self.folder / "ours", self.say)
        self.say(_change_waits(ours))
        return plain, ours

    def _seed(self, dsn: str) -> int:
        migrate(dsn)
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(assets.query("demo/seed"))
            counted = connection.execute(assets.query("demo/rows")).fetchone()
            connection.execute("checkpoint")
        return int(counted[0]) if counted else 0

    def _plain(self, dsn: str) -> tuple[Result, float, list[tuple[str, float]]]:
        took: list[tuple[str, float]] = []
        with Traffic(dsn) as traffic, psycopg.connect(dsn, autocommit=True) as connection:
            time.sleep(1)
            began = time.monotonic()
            for name, statement in plain_statements():
                start = time.monotonic()
                connection.execute(statement)
                took.append((name, time.monotonic() - start))
            seconds = time.monotonic() - began
            time.sleep(1)
        return _result(traffic), seconds, took

    def _apply(self, dsn: str) -> tuple[Result, float, dict[str, Any]]:
        with Traffic(dsn) as traffic, LongReport(dsn, LONG_REPORT_SECONDS):
            time.sleep(1)
            began = time.monotonic()
            applied = self._report(dsn, "apply", "plan.json", "--jobs", "2", progress=True)
            seconds = time.monotonic() - began
            time.sleep(1)
        return _result(traffic), seconds, applied

    def _show(self, dsn: str, *arguments: str, head: int = 40, tail: int = 0) -> None:
        """Run a command as a user would, and print the beginning and the end of what it prints."""
        self.say(f"   $ dbkit {' '.join(arguments)}")
        lines = run(self.folder, dsn, *arguments).splitlines()
        left = len(lines) - head - tail
        if left > 1:
            lines = [*lines[:head], f"... {left} lines", *lines[len(lines) - tail :]]
        for line in lines:
            self.say(f"   {line}".rstrip())

    def _report(self, dsn: str, *arguments: str, progress: bool = False) -> dict[str, Any]:
        if progress:
            self.say(f"   $ dbkit {' '.join(arguments)}")
        return json.loads(run(self.folder, dsn, *arguments, "--format", "json", progress=progress))


SERVER_SETTINGS = {
    "shared_buffers": "256MB",
    "maintenance_work_mem": "128MB",
    "max_wal_size": "2GB",
    "checkpoint_timeout": "30min",
    "shared_preload_libraries": "pg_stat_statements",
}


def plain_statements() -> list[tuple[str, sql.SQL]]:
    """The documented statements without CONCURRENTLY, by index name: what a hurried migration would run."""
    found: list[tuple[str, sql.SQL]] = []
    for file in sorted(assets.path("sql/indexes").glob("*.sql")):
        for statement in ddl.parse(file.read_text(encoding="utf-8"), label=file.name):
            statement.node.index_stmt.concurrent = False
            # Typed as a literal: it is our own shipped statement, printed back by PostgreSQL's grammar.
            text = cast(LiteralString, ddl.deparse(statement.node))
            found.append((statement.node.index_stmt.idxname, sql.SQL(text)))
    return found


def migrate(dsn: str) -> None:
    """The chain of migrations/, in process."""
    shop.upgrade(dsn, assets.path("migrations"), "head")


def _result(traffic: Traffic) -> Result:
    if traffic.result is None:
        raise Broken("the demo's traffic gave no account of itself")
    return traffic.result


def _waits(result: Result, seconds: float) -> str:
    read, write = result.longest("read"), result.longest("write")
    return (
        f"   took {format_seconds(seconds)}; {result.count:,} statements of the application, {result.failed} failed\n"
        f"   longest wait of a reader {format_seconds(read[0])} ({read[1]}), "
        f"of a writer {format_seconds(write[0])} ({write[1]})"
    )


def _change_waits(side: shop.Side) -> str:
    waits = ", ".join(f"{format_seconds(side.longest(c))} during {c}" for c in shop.WORDS)
    return (
        f"   took {format_seconds(sum(side.took.values()))}; {side.result.count:,} statements of the application, "
        f"{side.result.failed:,} failed\n   longest wait {waits}"
    )
