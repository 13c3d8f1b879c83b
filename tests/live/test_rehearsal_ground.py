"""On a server that outlives the rehearsal nothing stays behind, and what a killed one left is swept."""

import psycopg
import pytest

from dbkit.ephemeral import postgres_databases
from dbkit.ephemeral.postgres import ADDRESS
from dbkit.errors import UsageError
from dbkit.postgres.migrate.rehearse import ground as grounds
from dbkit.postgres.migrate.source import make


@pytest.fixture
def on(pg18, monkeypatch):
    monkeypatch.setenv(ADDRESS, pg18.dsn)
    return pg18


def names(server):
    with psycopg.connect(server.dsn) as connection:
        return {row[0] for row in connection.execute("select datname from pg_database")}


def test_databases_and_roles_are_dropped(on):
    dump = "create table t (a int); alter table t owner to somebody_unknown;"
    with grounds.prepare(18) as ground:
        name = ground.database()
        grounds.build(ground, name, dump, "schema.sql", [], None)
        assert name in names(on)
        assert ground.roles == ["somebody_unknown"]
    assert name not in names(on)
    with psycopg.connect(on.dsn) as connection:
        assert not connection.execute("select 1 from pg_roles where rolname = 'somebody_unknown'").fetchall()


def test_what_a_killed_rehearsal_left_is_swept_and_what_runs_is_not(on):
    left = postgres_databases.create(on, f"{grounds.PREFIX}0123456789ab")
    with grounds.prepare(18) as first:
        running = first.database()
        with grounds.prepare(18):
            assert left not in names(on)
            assert running in names(on)


def test_a_dump_of_a_newer_server_loads(on):
    dump = (
        "\\restrict abc\nset transaction_timeout = 0;\nset no_such_setting = on;\n"
        "select pg_catalog.set_config('search_path', '', false);\ncreate schema public;\n"
        "create table public.t (a int);\ncopy public.t (a) from stdin;\n1\n\\.\n"
    )
    with grounds.prepare(18) as ground:
        name = ground.database()
        grounds.build(ground, name, dump, "schema.sql", [make("m.sql", "alter table t add column b int")], None)
        with psycopg.connect(ground.dsn(name)) as connection:
            assert connection.execute("select count(*) from public.t").fetchone() == (0,)


@pytest.mark.parametrize(
    ("dump", "words"),
    [
        ("create table t (a no_such_type);", "schema.sql:1: the schema cannot be built"),
        ("create table t (a int);\ncreate extension no_such_extension;", "schema.sql:2"),
    ],
)  # fmt: skip
def test_a_schema_that_cannot_be_built_names_its_line(on, dump, words):
    with grounds.prepare(18) as ground, pytest.raises(UsageError, match=words):
        grounds.build(ground, ground.database(), dump, "schema.sql", [], None)
