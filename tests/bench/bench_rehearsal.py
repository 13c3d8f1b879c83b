"""Predicted against real time under a lock, on tables 10 and 50 times the rehearsed size; and what watching costs.

    .venv/bin/python tests/bench/bench_rehearsal.py [ROWS] [FACTOR ...]

The prediction comes from a rehearsal with ROWS rows (default 50000). The real time is that of the same statement on a
table really that large, in the same run on the same machine. Prints both, their ratio, and whether the real time lay in
the interval. The last lines show the seconds a statement costs with and without the watcher.
"""

from __future__ import annotations

import sys
import time

import psycopg

from dbkit.postgres.migrate.names import Name
from dbkit.postgres.migrate.rehearse import choose, rehearsal
from dbkit.postgres.migrate.rehearse import ground as grounds
from dbkit.postgres.migrate.rehearse.run import Runner
from dbkit.postgres.migrate.rehearse.seed import Seeder
from dbkit.postgres.migrate.source import make
from dbkit.postgres.migrate.stats import Stats, TableSize
from dbkit.sizes import format_seconds

SCHEMA = """
create table users (id bigint generated always as identity primary key, mail text not null);
create table orders (id bigint generated always as identity primary key, user_id bigint, total int, status text,
  note varchar(40), created_at timestamptz not null default now());
create index on orders (user_id);
"""
STATEMENTS = (
    "alter table orders alter column total set not null",
    "alter table orders add constraint k check (total > 0)",
    "alter table orders add foreign key (user_id) references users (id)",
    "alter table orders alter column total type bigint",
    "alter table orders add column r float default random()",
    "create index on orders (created_at)",
    "create index on orders (status)",
    "alter table orders add unique (note, id)",
)
MAJOR = 18


def main() -> None:
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 50_000
    factors = [int(x) for x in sys.argv[2:]] or [10, 50]
    with grounds.prepare(MAJOR) as ground:
        base = ground.database()
        with psycopg.connect(ground.dsn(base), autocommit=True) as connection:
            connection.execute(SCHEMA)
        print(f"PostgreSQL {ground.server.version_text}, rehearsed with {rows:,} rows")
        print(f"{'statement':<70} {'rows':>10} {'predicted':>10} {'interval':>20} {'real':>8} {'ratio':>6}  inside")
        inside = total = 0
        for factor in factors:
            real = ground.database(base)
            with psycopg.connect(ground.dsn(real), autocommit=True) as connection:
                Seeder(connection, lambda table, root, n=rows * factor: n).run()
                sizes = sizes_of(connection)
                for statement in STATEMENTS:
                    predicted = predict(statement, sizes, rows)
                    connection.execute("begin")
                    began = time.perf_counter()
                    connection.execute(statement.encode())
                    took = time.perf_counter() - began
                    connection.execute("rollback")
                    total += 1
                    inside += predicted.low <= took <= predicted.high
                    interval = f"{format_seconds(predicted.low)} to {format_seconds(predicted.high)}"
                    print(
                        f"{statement:<70} {rows * factor:>10,} {format_seconds(predicted.likely):>10} {interval:>20}"
                        f" {format_seconds(took):>8} {predicted.likely / took:>6.2f}"
                        f"  {'yes' if predicted.low <= took <= predicted.high else 'NO'}",
                        flush=True,
                    )
        print(f"real time inside the interval: {inside} of {total}")
        overhead(ground, base)


def sizes_of(connection: psycopg.Connection) -> Stats:
    found = connection.execute(
        "select relname, reltuples::bigint, pg_table_size(oid) from pg_class where relname in ('users', 'orders')"
    )
    return Stats({("public", name): TableSize(size, rows) for name, rows, size in found})


def predict(statement: str, sizes: Stats, rows: int):
    options = rehearsal.Options(majors=(MAJOR,), schema_sql=SCHEMA, stats=sizes, rows=rows)
    outcome = rehearsal.rehearse(choose.Choice((), (make("m.sql", statement),)), options)[0]
    assert sizes.of(Name("public", "orders"))
    prediction = outcome.predictions[0]
    assert prediction is not None, outcome.stop
    return prediction


def overhead(ground: grounds.Ground, base: str) -> None:
    """The same brief statements with the watcher and without."""
    sql = "\n".join(f"alter table orders alter column total set statistics {n};" for n in range(1, 101))
    timed: dict[bool, float] = {}
    for watching in (False, True):
        runner = Runner(ground.dsn(ground.database(base)), watching=watching)
        began = time.perf_counter()
        runner.run([make("m.sql", sql)])
        timed[watching] = time.perf_counter() - began
    print(
        f"per statement: {timed[False] * 10:.2f} ms bare, {timed[True] * 10:.2f} ms watched,"
        f" {(timed[True] - timed[False]) * 10:.2f} ms more"
    )


if __name__ == "__main__":
    main()
