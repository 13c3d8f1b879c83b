"""A database with wanted indexes on a plain and on a partitioned table, and dbkit run on it as a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import pytest

from dbkit.postgres.apply import Knobs, apply
from dbkit.postgres.connect import connect, server
from dbkit.postgres.indexes import desired, planning
from dbkit.postgres.indexes.compare import observe
from dbkit.postgres.indexes.states import State
from dbkit.postgres.indexes.watch import Limits
from dbkit.postgres.jobstore import PostgresStore
from dbkit.settings import Target

WISH = """
create index concurrently i_a on t (a);
create unique index concurrently i_b on t (b);
create index i_p on p (a);
"""
TABLES = ("t", "p", "p_1", "p_2", "p_2_0")
SCHEMA = (
    "create table t (id int primary key, a int, b int, c text)",
    "insert into t select n, n % 100, n, repeat(md5(n::text), 3) from generate_series(1, 20000) n",
    "create table p (id int, a int) partition by range (id)",
    "create table p_1 partition of p for values from (0) to (10)",
    "create table p_2 partition of p default partition by hash (id)",
    "create table p_2_0 partition of p_2 for values with (modulus 1, remainder 0)",
    "insert into p select n, n from generate_series(0, 2000) n",
)
KNOBS = Knobs(jobs=2, limits=Limits(wait=0.2, max_wait=30, deadline=60))


class Made:
    """The database under test; `dsn` is whom dbkit connects as."""

    def __init__(self, db, file, dsn=None):
        self.db, self.file = db, file
        self.target = Target(name="test", address=dsn or db.dsn)
        self.processes = []

    def seen_as(self, dsn):
        other = Made(self.db, self.file, dsn)
        other.processes = self.processes
        return other

    def wish(self, text):
        self.file.write_text(text)

    def states(self):
        with connect(self.target) as connection:
            found = observe(connection, server(connection), desired.load([self.file]))
        return {s.wanted.name: s.state for s in found.states}

    def plan(self):
        with connect(self.target) as connection:
            return planning.plan(observe(connection, server(connection), desired.load([self.file])), "test")

    def apply(self, knobs=KNOBS):
        return apply(self.plan(), self.target, knobs, lambda record, tick: None)

    def cli(self, *arguments):
        process = subprocess.Popen(
            [sys.executable, "-m", "dbkit", *arguments],
            env={**os.environ, "DBKIT_DSN": self.target.dsn(), "DBKIT_CONFIG": os.devnull},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.processes.append(process)
        return process

    def start(self, *extra):
        arguments = ("index", "apply", "--yes", "--wait", "0s", "--file", str(self.file), "--format", "json", *extra)
        return self.cli(*arguments)

    def run(self, *arguments):
        """A command to its end: exit code, stdout, stderr."""
        process = self.cli(*arguments)
        out, told = process.communicate(timeout=60)
        return process.returncode, out, told

    def role(self):
        """A login role that owns the tables and may keep dbkit's state; its name and address."""
        name, dsn = self.db.role()
        self.db.execute(f"grant create on database {self.db.name} to {name}")
        self.db.execute(f"grant create on schema public to {name}")
        for table in TABLES:
            self.db.execute(f"alter table {table} owner to {name}")
        return name, dsn

    def wait_for(self, query, seconds=30):
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            rows = self.db.execute(query)
            if rows:
                return rows
            time.sleep(0.02)
        told = [p.communicate(timeout=10) for p in self.processes if p.poll() is not None]
        raise AssertionError(f"never seen: {query}; ended processes said {told}")

    def wait_for_phase(self, phase, table="t"):
        """The pid of a build on this table that is in this phase."""
        query = f"select pid from pg_stat_progress_create_index where relid = '{table}'::regclass and datid = "
        query += "(select oid from pg_database where datname = current_database())"
        return self.wait_for(f"{query} and phase like '{phase}%'")[0][0]

    def wait_for_event(self, name):
        self.wait_for("select 1 from pg_class where relname = 'run_history'")
        return self.wait_for(f"select detail from dbkit.job_event where event = '{name}'")[0][0]

    def invalid(self):
        rows = self.db.execute("select indexrelid::regclass::text from pg_index where not indisvalid")
        return [name for (name,) in rows]

    def events(self, name):
        return [d for (d,) in self.db.execute("select detail from dbkit.job_event where event = %s order by id", name)]

    def jobs(self):
        with connect(self.target) as connection:
            return PostgresStore(connection).records()

    def whole(self, jobs=1):
        """One more run ends in the wanted state, with nothing left over and the job's row telling so."""
        applied = self.apply()
        assert applied.error is None, applied.error.lines()
        assert set(self.states().values()) == {State.OK}
        assert self.invalid() == []
        assert self.plan().steps == ()
        records = self.jobs()
        assert len(records) == jobs, records
        assert {(r.status.value, r.alive) for r in records} == {("done", False)}


def outcome(process, seconds=60):
    """What a process of dbkit ended with: its code, its report (None if it printed none), and what it said."""
    out, told = process.communicate(timeout=seconds)
    return process.returncode, json.loads(out) if out.strip() else None, told


@pytest.fixture
def ended():
    return outcome


@pytest.fixture
def made_on(tmp_path):
    """Make the tables in a database and write the wishes."""
    places = []

    def make(db):
        for statement in SCHEMA:
            db.execute(statement)
        (tmp_path / "wish.sql").write_text(WISH)
        places.append(Made(db, tmp_path / "wish.sql"))
        return places[-1]

    yield make
    for process in (p for place in places for p in place.processes):
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture
def made(db, made_on):
    return made_on(db)
