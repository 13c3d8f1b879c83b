"""Through PgBouncer in transaction mode: what changes a schema is refused, what reads works, and nothing stays behind."""

from __future__ import annotations

import json

import psycopg
import pytest

from dbkit.errors import Refused
from dbkit.postgres.connect import connect
from dbkit.postgres.migrate import verify
from dbkit.postgres.migrate.backfill.run import fill
from dbkit.postgres.migrate.changes import standing
from dbkit.settings import Target
from tests.fixtures.program import dbkit

SETTINGS = ("search_path", "lock_timeout", "statement_timeout", "client_min_messages", "row_security", "role")
SESSIONS = {"default_pool_size": "1", "min_pool_size": "0"}
"""One session of the server for all: whatever one client leaves in it meets the next."""


@pytest.fixture
def through(place, pgbouncer):
    """A change that is expanded, the address of its database through the pool, and what the application finds there."""
    place.run("create table t (id bigint primary key, a int); insert into t select n, n from generate_series(1, 50) n")
    place.change = place.new("rename-column", "t.a", "b")
    place.done("expand")
    pooler = pgbouncer(place.db.server, settings=SESSIONS)
    place.through = pooler.dsn_for(place.db.name)

    def application():
        with psycopg.connect(place.through, autocommit=True, prepare_threshold=None) as connection:
            connection.execute("select count(a) from t")
            return {name: connection.execute(f"show {name}").fetchone() for name in SETTINGS}

    place.application = application
    return place


def test_what_changes_a_schema_is_refused_and_leaves_nothing_in_the_pool(through):
    before = through.application()
    with connect(through.target) as connection:
        fills = standing.one(connection, through.environment, through.change).backfills
    direct, through.target = through.target, Target(name="pool", address=through.through)
    for what in (
        lambda: through.move("expand"),
        lambda: through.move("contract"),
        lambda: through.move("rollback"),
        lambda: fill(fills[0], through.target),
        lambda: verify.verify(fills, through.target),
    ):
        with pytest.raises(Refused, match="pooler") as refused:
            what()
        assert "5432" in refused.value.hint
        assert through.application() == before
    through.target = direct
    assert through.phase(through.change) == "expanded"


def test_what_reads_works_and_leaves_nothing_in_the_pool(through, tmp_path):
    before = through.application()
    (tmp_path / "queries.sql").write_text("select a from t where b = 1;")
    found = {}
    for command in (
        ("doctor",),
        ("audit", "--fail-on", "never"),
        ("index", "advise", "--sql", str(tmp_path / "queries.sql"), "--fail-on", "never"),
        ("migrate", "status", "--migrations", str(through.ini)),
        ("job", "list"),
    ):
        done = dbkit(*command, "--format", "json", DBKIT_DSN=through.through)
        assert done.returncode in (0, 1), (command, done.stderr)
        found[command[:2]] = json.loads(done.stdout)
        assert through.application() == before, command
    change = found["migrate", "status"]["changes"][0]
    assert change["phase"] == "expanded"
    assert found["audit", "--fail-on"]["summary"]["passed"] > 10


def test_a_transaction_through_a_pool_begins_with_the_settings_of_a_session_of_ours(through):
    target = Target(name="pool", address=through.through)
    for autocommit in (True, False):
        with connect(target, autocommit=autocommit) as connection:
            assert connection.execute("show search_path").fetchone() == ("pg_catalog",)
            connection.execute("set row_security = off")
            with connection.transaction():
                assert connection.execute("show search_path").fetchone() == ("pg_catalog",)
                connection.execute("set local search_path = public")
                assert connection.execute("select count(*) from t").fetchone() == (50,)
            connection.rollback()
            with pytest.raises(psycopg.errors.UndefinedTable):
                connection.execute("select count(*) from t")
            connection.rollback()
