"""A column's type changed, or a table partitioned, under readers and writers: by `dbkit migrate` and by plain Alembic.

    python tests/bench/bench_changes.py [rows, default 5,000,000] [major, default 18] [change-type | partition-table]

Prints for each side the longest wait of a reader and of a writer, phase by phase, and how many statements failed. The
bar (DESIGN.md 9): under dbkit no statement waits over 250 ms.
"""

from __future__ import annotations

import sys
import tempfile
import threading
import time
from collections import defaultdict
from pathlib import Path

import psycopg

from dbkit.ephemeral.postgres import start_postgres
from dbkit.ephemeral.postgres_databases import create
from dbkit.postgres.connect import connect
from dbkit.postgres.migrate import deploy, revisions
from dbkit.postgres.migrate.backfill.job import Knobs as FillKnobs
from dbkit.postgres.migrate.backfill.run import fill
from dbkit.postgres.migrate.changes import kinds, standing, write
from dbkit.postgres.migrate.verify import verify
from dbkit.settings import Target

SETTINGS = {"shared_buffers": "1GB", "max_wal_size": "8GB", "checkpoint_timeout": "30min"}
TABLE = """
create table t (id bigint primary key, n int not null, pad text not null);
insert into t select i, i, repeat('x', 40) from generate_series(1, {rows}) i;
create index t_n_idx on t (n);
"""
CHANGES = {
    "change-type": (("t.n", ["bigint"], {}), ["alter table t alter column n type bigint"]),
    "partition-table": (
        ("t", [], {"by": "id", "every": "10000000"}),
        [
            "alter table t rename to t_old",
            "create table t (like t_old including all) partition by range (id)",
            "create table t_rest partition of t default",
            "insert into t select * from t_old",
            "drop table t_old",
        ],
    ),
}
"""What `dbkit migrate new` is told, and what a plain revision does in one transaction."""


class Clients:
    """A reader and a writer, and the longest that each waited in each phase."""

    def __init__(self, dsn: str, rows: int) -> None:
        self.dsn, self.rows, self.phase = dsn, rows, "before"
        self.longest: dict[tuple[str, str], float] = defaultdict(float)
        self.failed: dict[str, int] = defaultdict(int)
        self.statements = 0
        self.leave = threading.Event()
        self.threads = [threading.Thread(target=self.work, args=(who,)) for who in ("reader", "writer")]
        for thread in self.threads:
            thread.start()

    def work(self, who: str) -> None:
        text = "select n from t where id = %s" if who == "reader" else "update t set n = n, pad = pad where id = %s"
        with psycopg.connect(self.dsn, autocommit=True, prepare_threshold=None) as connection:
            key = 1
            while not self.leave.is_set():
                key = (key * 48271) % 2147483647
                phase, began = self.phase, time.monotonic()
                try:
                    connection.execute(text, [key % self.rows + 1])
                except psycopg.Error:
                    self.failed[phase] += 1
                place = (phase, who)
                self.longest[place] = max(self.longest[place], time.monotonic() - began)
                self.statements += 1
                time.sleep(0.001)

    def stop(self) -> None:
        self.leave.set()
        for thread in self.threads:
            thread.join()


def by_dbkit(kind: str, dsn: str, clients: Clients, folder: Path) -> None:
    target = Target(name="bench", address=dsn)
    (folder / "versions").mkdir(parents=True)
    root = Path(__file__).resolve().parents[2]
    for name in ("env.py", "script.py.mako"):
        (folder / name).write_text((root / "migrations" / name).read_text())
    ini = folder / "alembic.ini"
    ini.write_text(f"[alembic]\nscript_location = {folder}\n")
    with connect(target) as connection:
        place, words, options = CHANGES[kind][0]
        design = kinds.make(connection, kinds.kind(kind), place, words, options, [], [], ["unique"])
    write.write(revisions.find(ini), design)
    environment = revisions.find(ini)

    def step(phase: str, applied: deploy.Applied) -> None:
        if applied.error is not None:
            raise SystemExit("\n".join(applied.error.lines()))
        clients.phase = f"after {phase}"

    def silent(record: object, tick: object) -> None:
        del record, tick

    clients.phase = "expand"
    step("expand", deploy.expand(target, environment, deploy.Options(), silent))
    with connect(target) as connection:
        change = standing.one(connection, environment, design.id)
    clients.phase = "backfill"
    for spec in change.backfills:
        filled = fill(spec, target, FillKnobs())
        if filled.error is not None:
            raise SystemExit("\n".join(filled.error.lines()))
    clients.phase = "verify"
    if change.backfills:
        verify(change.backfills, target)
    clients.phase = "contract"
    accept = ("observation", "pg_stat_statements")
    step("contract", deploy.contract(target, environment, deploy.Options(accept=accept), silent))


def by_alembic(kind: str, dsn: str, clients: Clients, folder: Path) -> None:
    """What a plain revision sends, such as one with `op.alter_column(type_=BigInteger)`."""
    del folder
    clients.phase = "alter"
    with psycopg.connect(dsn) as connection:
        for statement in CHANGES[kind][1]:
            connection.execute(statement)
    clients.phase = "after"


def main() -> None:
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 5_000_000
    major = int(sys.argv[2]) if len(sys.argv) > 2 else 18
    kind = sys.argv[3] if len(sys.argv) > 3 else "change-type"
    worst: dict[str, float] = {}
    with start_postgres(major, settings=SETTINGS) as server:
        for name, side in (("dbkit", by_dbkit), ("plain Alembic", by_alembic)):
            dsn = server.dsn_for(create(server))
            with psycopg.connect(dsn, autocommit=True) as connection:
                for statement in TABLE.format(rows=rows).split(";"):
                    if statement.strip():
                        connection.execute(statement)
                connection.execute("vacuum analyze t")
            clients = Clients(dsn, rows)
            time.sleep(2)
            began = time.monotonic()
            with tempfile.TemporaryDirectory() as folder:
                side(kind, dsn, clients, Path(folder) / "migrations")
            took = time.monotonic() - began
            time.sleep(2)
            clients.stop()
            print(
                f"{name}: {kind}, {rows:,} rows on PostgreSQL {major} in {took:.1f} s, {clients.statements:,} statements"
            )
            for (phase, who), longest in clients.longest.items():
                failed = f", {clients.failed[phase]} failed" if clients.failed[phase] else ""
                print(f"  {phase:15} {who:7} longest {longest * 1000:8.1f} ms{failed}")
            worst[name] = max(v for (phase, _), v in clients.longest.items() if phase != "before")
    ratio = worst["plain Alembic"] / worst["dbkit"]
    print(f"longest wait: dbkit {worst['dbkit'] * 1000:.0f} ms, plain Alembic {worst['plain Alembic'] * 1000:.0f} ms")
    print(f"ratio {ratio:.1f}; bar 250 ms: {'met' if worst['dbkit'] < 0.25 else 'not met'}")


if __name__ == "__main__":
    main()
