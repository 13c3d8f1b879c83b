"""Two changes of a busy table from expand to contract by dbkit, beside the same by plain Alembic on an equal table, in
one run: orders.customer is renamed to buyer, then the key orders.id goes from int to bigint.

    python tests/bench/bench_change.py [rows, default 5,000,000] [major, default 18]

Two readers and two writers per version of the application: the old version until both have been at work after
verify, then the new one alone. Prints for each phase the longest wait of a reader and of a writer and how long the
phase took, and for each side the failed statements; then the ratio of the longest waits. The plain side replaces the
application one second after the rename: what fails there is the old version, which does not know the new name.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from dbkit.demo.shop import RENAME, RETYPE, Side, by_alembic, by_dbkit, seed
from dbkit.ephemeral.postgres import start_postgres
from dbkit.ephemeral.postgres_databases import clone, create

SETTINGS = {
    "shared_buffers": "1GB",
    "max_wal_size": "8GB",
    "checkpoint_timeout": "30min",
    "shared_preload_libraries": "pg_stat_statements",
}
LIMIT_MS = 250


def main() -> None:
    rows = int(sys.argv[1].replace(",", "").replace("_", "")) if len(sys.argv) > 1 else 5_000_000
    major = int(sys.argv[2]) if len(sys.argv) > 2 else 18
    with start_postgres(major, settings=SETTINGS) as server, tempfile.TemporaryDirectory() as folder:
        base = create(server, "shop")
        seed(server.dsn_for(base), rows)
        print(f"PostgreSQL {server.version_text}, {rows:,} rows", flush=True)
        plain = by_alembic(clone(server, base, "plain"), Path(folder) / "plain")
        show("plain Alembic", plain)
        ours = by_dbkit(clone(server, base, "ours"), Path(folder) / "ours", lambda _: None, pipeline=False)
        show("dbkit", ours)
    for change in (RENAME, RETYPE):
        held, other = ours.longest(change) * 1000, plain.longest(change) * 1000
        print(f"{change}: longest wait {other:,.0f} ms plain, {held:,.0f} ms dbkit: {other / held:.1f} times as long")
    longest = ours.longest() * 1000
    print(f"dbkit, whole change: {longest:,.0f} ms; {'within' if longest <= LIMIT_MS else 'OVER'} {LIMIT_MS} ms")


def show(name: str, side: Side) -> None:
    print(f"{name}: {side.result.count:,} statements, {side.result.failed:,} failed, {sum(side.took.values()):,.1f} s")
    for phase, seconds in side.took.items():
        read, write = (side.result.longest_in(kind, phase) * 1000 for kind in ("read", "write"))
        print(f"  {phase:28} {seconds:>8.1f} s   reader {read:>8,.0f} ms   writer {write:>8,.0f} ms", flush=True)
    told = sorted({error for seen in side.result.statements.values() for error in seen.errors})
    for error in told:
        print(f"  failed: {error}", flush=True)


if __name__ == "__main__":
    main()
