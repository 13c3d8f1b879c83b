"""On a server that outlives the rehearsal nothing stays behind, and what a killed one left is swept."""

import errno

import psycopg
import pytest

from dbkit.ephemeral import Unavailable, postgres_databases
from dbkit.ephemeral.postgres import ADDRESS
from dbkit.errors import UsageError
from dbkit.postgres.migrate.rehearse import ground as grounds
from dbkit.postgres.migrate.rehearse import rehearsal
from dbkit.postgres.migrate.rehearse.choose import Choice
from dbkit.postgres.migrate.source import make
from dbkit.postgres.migrate.stats import Stats, TableSize


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
        ("create table t (a int);\ncreate extension no_such;\ncreate table u (a geometry);", "schema.sql:3"),
    ],
)  # fmt: skip
def test_a_schema_that_cannot_be_built_names_its_line(on, dump, words):
    with grounds.prepare(18) as ground, pytest.raises(UsageError, match=words):
        grounds.build(ground, ground.database(), dump, "schema.sql", [], None)


LACKING = [
    # Roles that are only named are made; those a script makes can be made by every run of it.
    (
        "",
        "create role r_made; grant r_named to r_made; grant select on t to r_other; set role r_third; reset role",
        [],
        "",
    ),
    # What the history lacks is told and passed over.
    ("create extension no_such;", "alter table t add b int", [""], ""),
    ("comment on table t is 'x'", "create extension no_such", ["extension no_such is not installed"], ""),
    (
        "create extension no_such",
        "alter table t add g geometry",
        ['type "geometry" does not exist: extension no_such is not'],
        'type "geometry" does not exist',
    ),
    ("", "alter table t set tablespace no_such", ["lacks it: tablespace"], 'tablespace "no_such" does not exist'),
    ("", "create database no_such", ["about the whole server"], ""),
    ("", "alter system set work_mem = '1GB'", ["about the whole server"], ""),
    ('create extension "uuid-ossp"', "alter table t add g uuid default uuid_generate_v4()", [""], ""),
    # Without an extension in play a type that is not there is the migration's own mistake.
    ("", "alter table t add g geometry", [""], 'type "geometry" does not exist'),
    ("", "begin; create database no_such; commit", [""], "cannot run inside a transaction block"),
]


@pytest.mark.parametrize(("history", "pending", "unrehearsed", "error"), LACKING)
def test_what_the_server_lacks_is_no_verdict(on, history, pending, unrehearsed, error):
    choice = Choice((make("1.sql", f"create table t (a int);{history}"),), (make("2.sql", pending),))
    stats = Stats({("public", "t"): TableSize(1 << 20, 4000)})
    (outcome,) = rehearsal.rehearse(choice, rehearsal.Options(majors=(18,), stats=stats, rows=40))
    seen = outcome.seen[-1]
    assert error in seen.error
    assert bool(seen.error) is bool(error)
    for words in unrehearsed:
        assert words in seen.unrehearsed
        assert bool(words) is bool(seen.unrehearsed)
    if "r_made" in pending:
        with psycopg.connect(on.dsn) as connection:
            assert not connection.execute("select from pg_roles where rolname like 'r\\_%'").fetchall()


def test_a_dump_with_an_extension_that_is_not_here_loads(on):
    dump = (
        "select pg_catalog.set_config('search_path', '', false);"
        "create extension no_such; comment on extension no_such is 'x'; create extension \"uuid-ossp\" with schema public;"
        "create table public.t (a uuid default public.uuid_generate_v4());"
    )
    with grounds.prepare(18) as ground:
        grounds.build(ground, ground.database(), dump, "schema.sql", [], None)
        assert ground.lacks[0] == "extension no_such is not installed where the throw-away server runs"


def test_a_full_disk_is_named(tmp_path):
    def begin():
        with grounds._roomy():
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(Unavailable, match="run out of disk") as raised:
        begin()
    assert "TMPDIR" in (raised.value.hint or "")
    log = tmp_path / "server.log"
    assert not grounds._is_full(log)
    log.write_text('PANIC:  could not write to file "pg_wal/xlogtemp.9": No space left on device\n')
    assert grounds._is_full(log)
