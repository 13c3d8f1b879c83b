"""The fixtures themselves: a wrong frame would make every other live test worthless."""

from __future__ import annotations


def test_db_is_empty_and_on_the_server_asked_for(db, pg_major):
    assert db.psql("select current_setting('server_version_num')::int / 10000") == str(pg_major)
    assert db.execute("select count(*) from pg_class where relnamespace = 'public'::regnamespace") == [(0,)]


def test_platform_db_has_the_documented_tables(platform_db):
    tables = {name for (name,) in platform_db.execute("select relname from pg_class where relkind in ('r', 'p')")}
    assert {"users", "jobs", "applications", "audit_logs", "alembic_version"} <= tables
    assert platform_db.execute("select datistemplate from pg_database where datname = current_database()") == [(False,)]
