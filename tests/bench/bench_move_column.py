"""The backfill of move-column beside one plain UPDATE that copies the column over, on tables of the same rows.

    python tests/bench/bench_move_column.py [rows, default 200,000] [major, default 18]

Each row costs more than one UPDATE: its pair is locked and read first.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from pathlib import Path

import psycopg

from dbkit.ephemeral.postgres import start_postgres
from dbkit.ephemeral.postgres_databases import create
from dbkit.postgres.connect import connect
from dbkit.postgres.migrate import deploy, revisions
from dbkit.postgres.migrate.backfill.job import Knobs
from dbkit.postgres.migrate.backfill.run import fill
from dbkit.postgres.migrate.changes import kinds, standing, write
from dbkit.settings import Target

ROOT = Path(__file__).resolve().parents[2]
TABLES = """
create table users (id int primary key, bio text);
create table profiles (user_id int primary key references users);
insert into users select n, 'bio ' || n from generate_series(1, {rows}) n;
insert into profiles select id from users;
create table plain (user_id int primary key, bio text);
insert into plain select id from users;
"""
PLAIN = "update plain set bio = u.bio from users u where u.id = plain.user_id"


def main(rows: int, major: int) -> None:
    with start_postgres(major) as server, tempfile.TemporaryDirectory() as folder:
        dsn = server.dsn_for(create(server))
        target = Target(name="bench", address=dsn)
        place = Path(folder)
        (place / "versions").mkdir()
        for name in ("env.py", "script.py.mako"):
            shutil.copy(ROOT / "migrations" / name, place)
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(TABLES.format(rows=rows))
            connection.execute("analyze")
            began = time.monotonic()
            connection.execute(PLAIN)
            plain = time.monotonic() - began
        with connect(target) as connection:
            design = kinds.make(
                connection, kinds.kind("move-column"), "users.bio", ["profiles"], {"match": "id=user_id"}, [], [], []
            )
        write.write(revisions.find(place), design)
        environment = revisions.find(place)
        expanded = deploy.expand(target, environment, deploy.Options(), lambda record, tick: None)
        assert expanded.error is None, expanded.error
        with connect(target) as connection:
            specs = standing.one(connection, environment, design.id).backfills
        for workers in (1, 2):
            with psycopg.connect(dsn, autocommit=True) as connection:
                connection.execute("set session_replication_role = replica")
                connection.execute("alter table profiles disable trigger user")
                connection.execute("update profiles set bio = null")
                for name in ("~dbkit_bio_push", "~dbkit_bio_push_u", "!dbkit_bio_own", "!dbkit_bio_own_u"):
                    connection.execute(f'alter table profiles enable always trigger "{name}"')
            began = time.monotonic()
            for spec in specs:
                filled = fill(spec, target, Knobs(workers=workers))
                assert filled.error is None, filled.error
            took = time.monotonic() - began
            print(
                f"{rows:,} rows, {workers} worker(s): plain UPDATE {plain:.1f} s, backfill {took:.1f} s, "
                f"throughput {plain / took:.2f} of it"
            )


if __name__ == "__main__":
    numbers = [int(argument.replace(",", "")) for argument in sys.argv[1:]]
    main(*(numbers + [200_000, 18][len(numbers) :]))
