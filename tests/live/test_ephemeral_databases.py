"""Templates are built once however many ask; clones are whole and separate."""

from __future__ import annotations

import secrets
import threading
import time

import psycopg
import pytest

from dbkit.ephemeral.postgres_databases import clone, create, drop, key_of, template


@pytest.fixture
def key(pg):
    key = key_of(secrets.token_bytes(8))
    yield key
    with psycopg.connect(pg.dsn, autocommit=True) as connection:
        name = f"template_{key[:16]}"
        if connection.execute("select 1 from pg_database where datname = %s", [name]).fetchone():
            connection.execute(
                psycopg.sql.SQL("alter database {} is_template false").format(psycopg.sql.Identifier(name))
            )
    drop(pg, f"template_{key[:16]}")


def fill(dsn):
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("create table t as select i from generate_series(1, 100) i")


def test_clones_have_the_templates_rows_and_do_not_touch_it(pg, key):
    name = template(pg, key, fill)
    first, second = clone(pg, name), clone(pg, name)
    with psycopg.connect(first, autocommit=True) as connection:
        connection.execute("delete from t")
    with psycopg.connect(second, autocommit=True) as connection:
        assert connection.execute("select count(*) from t").fetchone() == (100,)
    with pytest.raises(psycopg.OperationalError, match="not currently accepting connections"):
        psycopg.connect(pg.dsn_for(name))
    for dsn in (first, second):
        drop(pg, psycopg.conninfo.conninfo_to_dict(dsn)["dbname"])


def test_many_askers_build_once(pg, key):
    built = []

    def slow(dsn):
        built.append(dsn)
        time.sleep(0.3)
        fill(dsn)

    names: list[str] = []
    askers = [threading.Thread(target=lambda: names.append(template(pg, key, slow))) for _ in range(4)]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join()
    assert len(built) == 1
    assert len(names) == 4
    assert len(set(names)) == 1


def test_a_failed_build_is_not_taken_for_a_template(pg, key):
    def half(dsn):
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute("create table half (i int)")
        raise RuntimeError("the build broke")

    with pytest.raises(RuntimeError, match="the build broke"):
        template(pg, key, half)
    dsn = clone(pg, template(pg, key, fill))
    with psycopg.connect(dsn, autocommit=True) as connection:
        assert connection.execute("select to_regclass('half'), to_regclass('t')::text").fetchone() == (None, "t")
    drop(pg, psycopg.conninfo.conninfo_to_dict(dsn)["dbname"])


def test_drop_ends_sessions_and_may_be_repeated(pg):
    name = create(pg)
    with psycopg.connect(pg.dsn_for(name)) as open_session:
        drop(pg, name)
        drop(pg, name)
        with pytest.raises(psycopg.OperationalError):
            open_session.execute("select 1")


def test_keys_keep_their_parts_apart():
    assert key_of("ab", "c") != key_of("a", "bc")
    assert key_of("a") == key_of(b"a")
