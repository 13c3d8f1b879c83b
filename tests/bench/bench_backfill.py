"""Backfill of a table with the dual-write triggers of expand, beside what else would fill it, in one run; and what
pgbench feels of it. Prints every side and the ratios.

    python tests/bench/bench_backfill.py [rows, default 1,000,000] [major, default 18] [turns, default 3]

Sides, each on a fresh copy of the same table, in an order that turns: one plain UPDATE without triggers (the reference:
fast, and it locks every row until its end), `dbkit migrate backfill` by key and by ctid, and batches of 1,000 keys that
touch each row so that the trigger fills it (what pgroll, reshape and online_migrations do). The processor time of the
server's sessions is printed beside the time on the clock: on a busy machine it is the fairer measure.
"""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psycopg

from dbkit.ephemeral.postgres import PostgresServer, start_postgres
from dbkit.ephemeral.postgres_databases import clone, create
from dbkit.postgres.migrate.backfill.job import Knobs
from dbkit.postgres.migrate.backfill.run import fill
from dbkit.postgres.migrate.changes.spec import BackfillSpec
from dbkit.settings import Target

SETTINGS = {"shared_buffers": "1GB", "max_wal_size": "8GB", "checkpoint_timeout": "30min", "autovacuum": "off"}
TABLE = """
create table t (id int primary key, o text not null, pad text not null);
insert into t select n, 'name ' || n, repeat('x', 40) from generate_series(1, {rows}) n;
alter table t add n text;
"""
TRIGGERS = """
create schema dbkit;
create function dbkit.t_in() returns trigger language plpgsql as $$begin new.o := new.n; return new; end$$;
create function dbkit.t_out() returns trigger language plpgsql as $$begin new.n := new.o; return new; end$$;
create trigger "!dbkit_in_u" before update on t for each row
  when (new.n is distinct from old.n and new.n is distinct from new.o) execute function dbkit.t_in();
create trigger "~dbkit_out_u" before update on t for each row
  when (new.n is distinct from new.o) execute function dbkit.t_out();
alter table t enable always trigger "!dbkit_in_u", enable always trigger "~dbkit_out_u";
alter table t add constraint dbkit_same check (n is not distinct from o) not valid;
"""
SPEC = BackfillSpec("bench", "public", "t", '"n" = "o"', '"n" is distinct from "o"', ("n",))
TOUCH = 1000


def main() -> None:
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    major = int(sys.argv[2]) if len(sys.argv) > 2 else 18
    turns = int(sys.argv[3]) if len(sys.argv) > 3 else 3
    with start_postgres(major, settings=SETTINGS) as server:
        plain, expanded = create(server, "plain"), create(server, "expanded")
        for name, script in ((plain, TABLE), (expanded, TABLE + TRIGGERS)):
            with psycopg.connect(server.dsn_for(name), autocommit=True) as connection:
                connection.execute(script.format(rows=rows))
                connection.execute("vacuum analyze t")
        print(f"PostgreSQL {server.version_text}, {rows:,} rows, {turns} turns")
        sides: list[tuple[str, str, Callable[[str], None]]] = [
            ("one plain UPDATE, no triggers", plain, one_update),
            ("one plain UPDATE, with triggers", expanded, one_update),
            ("dbkit by key, 1 worker", expanded, lambda dsn: ours(dsn, "key", 1)),
            ("dbkit by ctid, 1 worker", expanded, lambda dsn: ours(dsn, "auto", 1)),
            ("dbkit, 2 workers (default)", expanded, lambda dsn: ours(dsn, "auto", 2)),
            ("touch by 1,000 keys", expanded, lambda dsn: touch(dsn, rows)),
        ]
        took: dict[str, list[float]] = {name: [] for name, _, _ in sides}
        spent: dict[str, list[float]] = {name: [] for name, _, _ in sides}
        for turn in range(turns):
            for name, base, run in sides[turn:] + sides[:turn]:
                seconds, cpu = timed(server, base, run, rows)
                took[name].append(seconds)
                spent[name].append(cpu)
        cost = {name: statistics.median(cpus) for name, cpus in spent.items()}
        reference = statistics.median(took[sides[0][0]])
        same = statistics.median(took[sides[1][0]])
        slow = statistics.median(took[sides[-1][0]])
        for name, times in took.items():
            held = statistics.median(times)
            print(
                f"{name:33} {rows / held:>9,.0f} rows/s  {reference / held:.2f} of plain, "
                f"{same / held:.2f} of plain with triggers, {slow / held:.2f} x touch"
                f"  ({', '.join(f'{t:.1f}' for t in times)} s)"
            )
            print(
                f"{'':33} {cost[name]:>9.2f} s of processor: {cost[sides[0][0]] / cost[name]:.2f} of plain, "
                f"{cost[sides[-1][0]] / cost[name]:.2f} x touch"
            )
        latency(server, expanded, rows)


def timed(server: PostgresServer, base: str, run: Callable[[str], None], rows: int) -> tuple[float, float]:
    """Seconds on the clock and of processor of one side on a fresh copy, begun after a checkpoint; the copy must be whole
    in the end.
    """
    dsn = clone(server, base, "turn")
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("checkpoint")
        connection.execute("select count(*) from t")
    before = sessions_cpu(server)
    began = time.monotonic()
    run(dsn)
    seconds = time.monotonic() - began
    time.sleep(0.2)  # until the last session was reaped
    cpu = sessions_cpu(server) - before
    with psycopg.connect(dsn, autocommit=True) as connection:
        found = connection.execute("select count(*) from t where n = o").fetchone()
        assert found == (rows,), found
    with psycopg.connect(server.dsn, autocommit=True) as connection:
        connection.execute("drop database turn with (force)")
    return seconds, cpu


def sessions_cpu(server: PostgresServer) -> float:
    """Processor seconds of all sessions that have ended."""
    assert server.pid is not None
    fields = Path(f"/proc/{server.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")


def one_update(dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("update t set n = o where n is distinct from o")


def ours(dsn: str, by: str, workers: int) -> None:
    done = fill(SPEC, Target(name="bench", address=dsn), Knobs(by=by, workers=workers), ours=True)
    assert done.error is None, done.error.lines()


def touch(dsn: str, rows: int) -> None:
    """Batches by key that set a column to itself; the trigger does the rest."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        for start in range(0, rows, TOUCH):
            connection.execute("update t set o = o where id > %s and id <= %s", [start, start + TOUCH])


SCRIPT = r"""
\set id random(1, {rows})
update t set pad = pad where id = :id;
select o from t where id = :id;
"""


def latency(server: PostgresServer, base: str, rows: int) -> None:
    """pgbench with two clients at 200 transactions a second, idle and during the backfill: average, p99 and longest."""
    dsn = clone(server, base, "traffic")
    seconds = max(8, rows // 60_000)
    idle = pgbench(server, dsn, rows, seconds)
    busy: list[list[float]] = []
    for workers in (1, 2):
        thread = threading.Thread(target=ours, args=(dsn, "auto", workers))
        thread.start()
        busy.append(pgbench(server, dsn, rows, seconds, until=thread))
        thread.join()
        dsn = clone(server, base, f"traffic{workers}")
    for name, held in (("idle", idle), ("1 worker", busy[0]), ("2 workers", busy[1])):
        p99 = held[int(len(held) * 0.99)]
        print(
            f"pgbench {name:20} {len(held):>6} statements, average {statistics.mean(held):.1f} ms, p99 {p99:.1f}, longest {held[-1]:.1f}"
        )


def pgbench(
    server: PostgresServer, dsn: str, rows: int, seconds: int, *, until: threading.Thread | None = None
) -> list[float]:
    """Latencies in milliseconds, sorted, by pgbench's own log; stopped when the thread ends."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "script.sql"
        script.write_text(SCRIPT.format(rows=rows))
        program = server.binaries.program("pgbench")
        command = [str(program), "-n", "-c", "2", "-j", "1", "-R", "200", "-T", str(seconds if until is None else 3600)]
        command += ["-l", "--log-prefix", f"{folder}/log", "-f", str(script), dsn]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        if until is not None:
            until.join()
            process.terminate()
        process.wait()
        lines = [line for file in Path(folder).glob("log*") for line in file.read_text().splitlines()]
    whole = [line.split() for line in lines if re.fullmatch(r"\d+ \d+ \d+ \d+ \d+ \d+ \d+", line)]
    return sorted(float(parts[2]) / 1000 for parts in whole)


if __name__ == "__main__":
    main()
