"""The Alembic environment and its baseline, run as a user runs them, on every PostgreSQL the tests have."""

from __future__ import annotations

import shutil

import psycopg
import pytest
from alembic import command
from alembic.config import Config
from psycopg import errors, sql
from sqlalchemy import create_engine

from tests.fixtures.databases import ROOT, Database
from tests.live.owned import Owned, alembic, hand_over

TABLES = {
    "users",
    "jobs",
    "applications",
    "resumes",
    "sessions",
    "audit_logs",
    "document_metadata",
    "audit_log",
    "api_keys",
}
CANARY = "kanarie77"

# What a schema is made of, one line a part, in an order of its own.
SCHEMA = """
select format('%s %s %s %s %s', c.relkind, c.relname, c.relrowsecurity, pg_get_partkeydef(c.oid),
              pg_get_expr(c.relpartbound, c.oid))
from pg_class c
where c.relnamespace = 'public'::regnamespace
  and c.relname !~ '^(gin|gtrgm|alembic_version)'
union all
select format('%s.%s %s %s %s %s', a.attrelid::regclass, a.attname, format_type(a.atttypid, a.atttypmod),
              a.attnotnull, a.attidentity, pg_get_expr(d.adbin, d.adrelid))
from pg_attribute a
left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
where a.attrelid in (select oid from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'p'))
  and a.attnum > 0
union all
select format('%s %s %s', conrelid::regclass, conname, pg_get_constraintdef(oid))
from pg_constraint
where connamespace = 'public'::regnamespace
union all
select format('%s %s %s %s %s', tablename, policyname, cmd, qual, with_check)
from pg_policies
union all
select format('%s %s', objoid::regclass, description)
from pg_description
where classoid = 'pg_class'::regclass
  and objoid in (select oid from pg_class where relnamespace = 'public'::regnamespace)
order by 1
"""


@pytest.fixture
def owned(db: Database) -> Owned:
    return hand_over(db)


@pytest.fixture
def platform(owned: Owned) -> Owned:
    result = owned.alembic("upgrade", "head")
    assert result.returncode == 0, result.stderr
    return owned


def schema(database: Owned) -> list[str]:
    with database.connect() as connection:
        return [row[0] for row in connection.execute(SCHEMA)]


def tables(database: Owned) -> set[str]:
    with database.connect() as connection:
        return {
            row[0]
            for row in connection.execute(
                "select relname from pg_class"
                " where relnamespace = 'public'::regnamespace and relkind in ('r', 'p') and not relispartition"
            )
        }


def test_upgrade_downgrade_upgrade_by_an_ordinary_owner(owned: Owned):
    up = owned.alembic("upgrade", "head")
    assert up.returncode == 0, up.stderr
    assert "Running upgrade  -> 0001" in up.stderr
    assert tables(owned) == TABLES | {"alembic_version"}
    first = schema(owned)

    down = owned.alembic("downgrade", "base")
    assert down.returncode == 0, down.stderr
    assert tables(owned) == {"alembic_version"}
    assert not [part for part in schema(owned) if "audit" in part], "a sequence or partition was left behind"

    again = owned.alembic("upgrade", "head")
    assert again.returncode == 0, again.stderr
    assert schema(owned) == first
    assert "0001 (head)" in owned.alembic("current").stdout


def test_every_table_says_where_it_comes_from(platform: Owned):
    with platform.connect() as connection:
        comments = dict(
            connection.execute(
                "select relname, obj_description(oid, 'pg_class') from pg_class"
                " where relnamespace = 'public'::regnamespace and relname = any(%s)",
                [sorted(TABLES)],
            ).fetchall()
        )
    assert set(comments) == TABLES
    for table, comment in comments.items():
        assert comment.startswith(("S0 4.3: ", "S4 5.1: ", "S4 1.1, 5.1: ")), table


def test_offline_script_makes_the_same_schema_and_needs_no_server(platform: Owned):
    offline = alembic("upgrade", "head", "--sql", url=None)
    assert offline.returncode == 0, offline.stderr
    online = schema(platform)
    assert platform.alembic("downgrade", "base").returncode == 0
    with platform.connect() as connection:
        connection.execute("drop table alembic_version")
        connection.execute(offline.stdout)
    assert schema(platform) == online
    assert "0001 (head)" in platform.alembic("current").stdout

    down = alembic("downgrade", "0001:base", "--sql", url=None)
    assert down.returncode == 0, down.stderr
    with platform.connect() as connection:
        connection.execute(down.stdout)
    assert not tables(platform) & TABLES


def test_runs_from_the_folder_of_the_wheel_on_a_connection_it_is_given(owned: Owned, tmp_path, monkeypatch):
    monkeypatch.delenv("DATABASE_URL", raising=False)
    assets = tmp_path / "dbkit" / "_assets" / "migrations"
    shutil.copytree(ROOT / "migrations", assets, ignore=shutil.ignore_patterns("__pycache__"))
    config = Config()
    config.set_main_option("script_location", str(assets))
    engine = create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(owned.url))
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        assert tables(owned) == TABLES | {"alembic_version"}
        command.downgrade(config, "base")
    engine.dispose()
    assert tables(owned) == {"alembic_version"}


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_the_usual_schemes_are_understood(owned: Owned, scheme: str):
    result = owned.alembic("upgrade", "head", url=scheme + owned.url.removeprefix("postgresql"))
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    ("url", "said"),
    [
        (None, "DATABASE_URL is not set"),
        ("", "DATABASE_URL is not set"),
        (CANARY, "DATABASE_URL is no URL"),
        (f"mysql://root:{CANARY}@localhost/app", "DATABASE_URL names mysql, not PostgreSQL"),
        (f"postgresql://app:{CANARY}%zz@localhost/app", "DATABASE_URL cannot be read"),
        (f"postgresql://app:{CANARY}/x@localhost/app", "must be percent-encoded"),
        (f"postgresql://app:x@{CANARY}@localhost/app", "must be percent-encoded"),
        (f"postgresql://app@localhost/app?colour={CANARY}", "options that libpq knows"),
        (f"postgresql://app:{CANARY}@127.0.0.1:1/app", "Cannot connect to the database of DATABASE_URL"),
    ],
)
def test_a_wrong_address_gives_one_clear_error_without_the_password(url: str | None, said: str):
    result = alembic("upgrade", "head", url=url)
    assert result.returncode != 0
    assert said in result.stderr + result.stdout
    assert (result.stderr + result.stdout).count("DATABASE_URL") == 1
    assert CANARY not in result.stderr + result.stdout
    assert "Traceback" not in result.stderr


def test_extension_in_another_schema_is_reported_and_usable_once_on_the_search_path(owned: Owned):
    with owned.database.connect() as admin:
        admin.execute("create schema ext")
        admin.execute("create extension pg_trgm schema ext")
        admin.execute(sql.SQL("grant usage on schema ext to {}").format(sql.Identifier(owned.owner)))
    result = owned.alembic("upgrade", "head")
    assert result.returncode == 0, result.stderr
    assert "pg_trgm is in schema ext, which is not on the search_path" in result.stderr

    build = "create index concurrently idx_jobs_title on jobs using gin (title gin_trgm_ops)"
    with owned.connect() as connection:
        with pytest.raises(errors.UndefinedObject):
            connection.execute(build)
        database = sql.Identifier(str(connection.info.dbname))
        connection.execute(sql.SQL("alter database {} set search_path = public, ext").format(database))
    with owned.connect() as connection:
        connection.execute(build)
    quiet = owned.alembic("downgrade", "base"), owned.alembic("upgrade", "head")
    assert not [result.stderr for result in quiet if "search_path" in result.stderr]
    with owned.connect() as connection:
        assert connection.execute("select 1 from pg_extension where extname = 'pg_trgm'").fetchone()


def test_rows_go_to_the_partition_of_their_month_in_utc(owned: Owned):
    with owned.connect() as connection:
        connection.execute(sql.SQL("alter role {} set timezone = 'Asia/Tokyo'").format(sql.Identifier(owned.owner)))
    assert owned.alembic("upgrade", "head").returncode == 0
    with owned.connect() as connection:
        assert connection.execute("show timezone").fetchone() == ("Asia/Tokyo",)
        connection.execute(
            "insert into audit_logs (user_id, action, created_at) values"
            " (1, 'login', '2026-10-31 23:59:59+00'), (1, 'login', '2026-11-01 00:00:00+00'),"
            " (1, 'login', '2031-01-01 00:00:00+00')"
        )
        homes = connection.execute("select tableoid::regclass::text from audit_logs order by created_at").fetchall()
        assert homes == [("audit_logs_y2026m10",), ("audit_logs_y2026m11",), ("audit_logs_default",)]
        ids = connection.execute("select count(distinct id) from audit_logs").fetchone()
        assert ids == (3,)

        connection.execute(
            "insert into audit_log (tenant_id, action, created_at)"
            " select 'tenant' || n, 'open', '2027-01-15 12:00:00+00' from generate_series(1, 50) n"
        )
        connection.execute("insert into audit_log (tenant_id, action, created_at) values ('a', 'x', '1999-01-01')")
        filled = connection.execute("select distinct tableoid::regclass::text from audit_log order by 1").fetchall()
        assert filled == [("audit_log_default",), ("audit_log_y2027m01_0",), ("audit_log_y2027m01_1",)]

        plan = "\n".join(
            row[0]
            for row in connection.execute(
                "explain select 1 from audit_log where tenant_id = 'tenant1'"
                " and created_at >= '2027-01-01 00:00:00+00' and created_at < '2027-02-01 00:00:00+00'"
            )
        )
        assert plan.count("audit_log_y2027m01_") == 1, f"pruned neither by month nor by tenant:\n{plan}"
        assert "default" not in plan


ROWS = {
    "document_metadata": "insert into document_metadata (tenant_id, title) values (%s, 'a document')",
    "audit_log": "insert into audit_log (tenant_id, action, created_at) values (%s, 'open', '2027-01-15 12:00:00+00')",
    "api_keys": "insert into api_keys (tenant_id, name, key_hash) values (%s, 'ci', 'digest of ' || %s)",
}


def add_row(connection: psycopg.Connection, table: str, tenant: str) -> None:
    statement = ROWS[table]
    connection.execute(statement, [tenant] * statement.count("%s"))


@pytest.mark.parametrize("table", sorted(ROWS))
def test_a_tenant_reads_and_writes_only_its_own_rows(platform: Owned, table: str):
    name = sql.Identifier(table)
    seen = sql.SQL("select distinct tenant_id from {} order by 1").format(name)
    with platform.connect() as owner:
        for tenant in ("acme", "bolt"):
            add_row(owner, table, tenant)
        assert owner.execute(seen).fetchall() == [("acme",), ("bolt",)], "the owner runs backfills and sees all"

    with platform.application() as app:
        assert app.execute(seen).fetchall() == [], "no tenant set, no rows"
        with app.transaction():
            app.execute("set local app.tenant_id = 'acme'")
            assert app.execute(seen).fetchall() == [("acme",)]
            add_row(app, table, "acme")
        assert app.execute(seen).fetchall() == [], "the setting ended with the transaction"

        app.execute("set app.tenant_id = 'acme'")
        with pytest.raises(errors.InsufficientPrivilege, match="row-level security"):
            add_row(app, table, "bolt")
        foreign = sql.SQL("where tenant_id = 'bolt'")
        assert app.execute(sql.SQL("delete from {} {}").format(name, foreign)).rowcount == 0
        # Without a WHERE nothing is read, so that the policy for reading cannot stand in for the one for writing.
        update = sql.SQL("update {} set tenant_id = 'bolt'").format(name)
        if table == "audit_log":
            assert app.execute(update).rowcount == 0, "append-only"
            assert app.execute(sql.SQL("delete from {}").format(name)).rowcount == 0, "append-only"
        else:
            with pytest.raises(errors.InsufficientPrivilege, match="row-level security"):
                app.execute(update)
            assert app.execute(sql.SQL("delete from {}").format(name)).rowcount == 2

    with platform.connect() as owner:
        left = owner.execute(sql.SQL("select count(*) from {} {}").format(name, foreign)).fetchone()
        assert left == (1,)


def test_partitions_show_nothing_to_the_application_by_their_own_name(platform: Owned):
    with platform.connect() as owner:
        add_row(owner, "audit_log", "acme")
        owner.execute("insert into audit_log (tenant_id, action, created_at) values ('acme', 'x', '1999-01-01')")
        parts = [
            row[0] for row in owner.execute("select relid::text from pg_partition_tree('audit_log') where level > 0")
        ]
    assert len(parts) == 22
    with platform.application() as app:
        app.execute("set app.tenant_id = 'acme'")
        assert app.execute("select count(*) from audit_log").fetchone() == (2,)
        for part in parts:
            count = app.execute(sql.SQL("select count(*) from {}").format(sql.Identifier(part))).fetchone()
            assert count == (0,), part


def test_a_presented_key_finds_its_row_before_the_tenant_is_known(platform: Owned):
    with platform.connect() as owner:
        for tenant in ("acme", "bolt"):
            add_row(owner, "api_keys", tenant)
    with platform.application() as app, app.transaction():
        app.execute("set local app.api_key_hash = 'digest of bolt'")
        assert app.execute("select tenant_id from api_keys").fetchall() == [("bolt",)]
        assert app.execute("update api_keys set last_used_at = now()").rowcount == 0
