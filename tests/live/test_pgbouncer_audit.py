"""A live audit of a real PgBouncer before real PostgreSQL, by a user without rights: planted faults, patch, RELOAD, clean."""

import contextlib
import json
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote

import psycopg
import pytest

from dbkit.pgbouncer import console
from dbkit.pgbouncer.live import config_of
from dbkit.pgbouncer.rules.sessions import followed
from dbkit.settings import Target
from tests.cli import canary
from tests.fixtures.daemons import every_program, shown
from tests.fixtures.parts import needed
from tests.fixtures.program import dbkit

FAULTS = {
    "default_pool_size": "60",
    "max_db_connections": "0",
    "query_timeout": "30",
    "server_reset_query_always": "1",
    "log_pooler_errors": "0",
    "reserve_pool_size": "3",
    "reserve_pool_timeout": "0",
}
MENDED = {
    ("pgbouncer.differs", "default_pool_size"),
    ("pgbouncer.differs", "max_db_connections"),
    ("pgbouncer.differs", "log_pooler_errors"),
    ("pgbouncer.state-leaks", "server_reset_query_always"),
    ("pgbouncer.pool-over-limit", "reserve_pool_timeout"),
    ("pgbouncer.wait-outlives-client", "query_wait_timeout"),
}

SESSION_STATEMENTS = (
    "/* app:web */ set work_mem = '256MB'",
    "listen jobs",
    "select pg_advisory_lock(7)",
    "-- of the report\nselect 1 as n into temp mine",
    "prepare one as select 1; execute one",
    "declare c cursor with hold for select 1",
    "load 'plpgsql'",
    "set session characteristics as transaction read only",
)
"""What leaves something in the session."""
MORE_SESSION_STATEMENTS = (
    'set "vacuum_cost_delay" = 7',
    "SET SESSION enable_sort TO on",
    "select pg_catalog.set_config('app.tenant', '7', false)",
    "select pg_try_advisory_lock_shared(9)",
    "create table pg_temp.also (n int)",
    'declare "d e" no scroll cursor with hold for select 2',
)
HARMLESS = (
    "set local lock_timeout = '1s'",
    "set constraints all deferred",
    "set transaction isolation level repeatable read",
    "set application_name = 'web'",
    "set time zone 'UTC'",
    "set names 'UTF8'",
    "select pg_advisory_xact_lock(8)",
    "select pg_advisory_unlock_all()",
    "unlisten *",
    "create temp table gone (n int) on commit drop",
    "begin; declare e cursor for select ' cursor with hold'; commit",
    "reset work_mem",
    "select 'listen'",
    # What pg_dump sends.
    *("SET DATESTYLE = ISO", "SET INTERVALSTYLE = POSTGRES", "SET extra_float_digits TO 3", "SET row_security = off"),
    *("SET synchronize_seqscans TO off", "SET statement_timeout = 0", "SET lock_timeout = 0"),
    "PREPARE dumpFunc(pg_catalog.oid) AS SELECT 1",
    "SELECT set_config(name, 'view', false) FROM pg_settings WHERE name = 'restrict_nonsystem_relation_kind'",
)
"""What looks like it and is not, or is followed by every PgBouncer."""


class Setup:
    """A pooler before one database, and a monitoring user that may look and no more."""

    def __init__(self, db, pgbouncer, folder, settings):
        self.db = db
        self.user, self.password = db.role()[0], canary.PASSWORD
        db.execute("create extension if not exists pg_stat_statements")
        with db.connect() as connection:
            connection.execute(f"grant pg_read_all_stats to {self.user}")
            connection.execute(
                psycopg.sql.SQL("alter role {} password {}").format(psycopg.sql.Identifier(self.user), self.password)
            )
        self.pooler = pgbouncer(db.server, settings={**settings, "stats_users": self.user})
        users = self.pooler.directory / "userlist.txt"
        users.write_text(users.read_text() + f'"{self.user}" "{self.password}"\n')
        self.ini = self.pooler.config_file
        self.ini.write_text(
            self.ini.read_text().replace("* = ", f"{db.name} = ", 1)  # one database, so that its limits can be summed
        )
        self.console("reload")
        self.config = folder / "dbkit.toml"
        self.config.write_text(
            f'[targets.pool]\nengine = "pgbouncer"\ndsn_env = "POOL"\nini = "{self.ini}"\nservers = ["main"]\n'
            '[targets.main]\ndsn_env = "MAIN"\n'
        )
        secret = quote(self.password, safe="")
        self.environment = {
            "POOL": f"pgbouncer://{self.user}:{secret}@127.0.0.1:{self.pooler.port}",
            "MAIN": f"postgresql://{self.user}:{secret}@{db.server.host}:{db.server.port}/{db.name}",
        }

    def console(self, command):
        with psycopg.connect(self.pooler.admin_dsn, autocommit=True, cursor_factory=psycopg.ClientCursor) as console:
            if command.startswith("show "):
                return shown(console, command.removeprefix("show "))
            return console.execute(command.encode())

    def audit(self, *more):
        done = dbkit("audit", "pool", "--config", str(self.config), *more, **self.environment)
        assert not canary.traces(done)
        return done

    def found(self, *more):
        done = self.audit("--format", "json", *more)
        assert done.returncode in (0, 1), done.stderr
        return json.loads(done.stdout)


@pytest.fixture
def setup(db, pgbouncer, tmp_path):
    return lambda settings: Setup(db, pgbouncer, tmp_path, settings)


def rules(report):
    return {(f["rule"], f["object"]) for f in report["findings"]}


def test_faults_are_found_patched_reloaded_and_gone(setup, tmp_path):
    held = setup(FAULTS)
    with psycopg.connect(held.pooler.dsn_for(held.db.name), autocommit=True) as client:
        for statement in (*SESSION_STATEMENTS, *MORE_SESSION_STATEMENTS, *HARMLESS):
            client.execute(statement)
    application = held.db.role()[0]
    with held.db.connect() as direct:
        name = psycopg.sql.Identifier(application)
        direct.execute(psycopg.sql.SQL("alter role {} set statement_timeout = '20s'").format(name))
    first = held.found()
    assert rules(first) >= MENDED
    assert ("pgbouncer.timeout-order", "query_timeout") in rules(first)
    (order,) = [f for f in first["findings"] if f["rule"] == "pgbouncer.timeout-order"]
    assert (order["severity"], f"{application} has a shorter one of its own" in order["message"]) == ("info", True)
    seen = [f for f in first["findings"] if f["rule"] == "pgbouncer.session-features"]
    owner = held.db.server.user
    counted = {f["object"]: f["data"]["calls"] for f in seen if f["data"]["database"] == held.db.name}
    assert counted == {
        "SET": 3,
        "LISTEN": 1,
        "advisory lock": 2,
        "temporary table": 2,
        "PREPARE": 1,
        "cursor WITH HOLD": 2,
        "SET SESSION CHARACTERISTICS": 1,
        "LOAD": 1,
        "set_config": 1,
    }
    (setting,) = [f for f in seen if (f["object"], f["data"]["database"]) == ("SET", held.db.name)]
    assert set(setting["data"]["settings"]) == {"work_mem", "vacuum_cost_delay", "enable_sort"}
    assert f"3 times by {owner}" in setting["message"]
    (file,) = first["files"]
    assert file["loads"]
    assert file["settings"]["default_pool_size"]["value"] == "60"
    assert not [s for s in first["skipped"] if s["rule"] != "pgbouncer.fallback-broken"]

    patch = tmp_path / "fix.patch"
    done = held.audit("--fix", str(patch))
    assert "then RELOAD" in done.stderr
    port = f"listen_port = {held.pooler.port}"
    text = patch.read_text().replace("+listen_port = 6432", f"+{port}")  # the port of the test stays
    subprocess.run([needed("patch"), "-s", str(held.ini)], input=text, text=True, check=True)

    foretold = held.found("--reload-check", "--select", "pgbouncer.reload-breaks,pgbouncer.reload-changes")
    assert {o for r, o in rules(foretold) if r == "pgbouncer.reload-changes"} >= {o for _, o in MENDED}
    assert "pgbouncer.reload-breaks" in {p["rule"] for p in foretold["passed"]}
    held.console("reload")
    after = held.found("--reload-check")
    assert not rules(after) & MENDED
    assert not [f for f in after["findings"] if f["rule"] in ("pgbouncer.config-drift", "pgbouncer.reload-changes")]


def test_the_sum_is_held_against_the_server_behind(setup):
    held = setup({"default_pool_size": "40", "max_db_connections": "95"})
    limit = int(held.db.execute("show max_connections")[0][0])
    report = held.found("--select", "pgbouncer.pool-over-server")
    config = held.config.read_text()
    assert not report["findings"]
    several = limit // 95 + 1
    held.config.write_text(config.replace("servers =", f"processes = {several}\nservers ="))
    (finding,) = held.found("--select", "pgbouncer.pool-over-server")["findings"]
    assert finding["severity"] == "error"
    assert finding["data"]["max_connections"] == limit
    assert finding["data"]["observed"] is True
    assert finding["data"]["total"] == 95 * several  # auth_query lets any role in: the limit counts
    assert f"x {several} processes" in finding["message"]


@pytest.mark.pg(18)
def test_the_busy_moment_of_the_memory_sum_is_what_the_running_pools_may_take(setup):
    """One role has a pool of 33 + 2; what auth_query would let in besides does not count. A direct session does."""
    held = setup({"default_pool_size": "33", "reserve_pool_size": "2", "max_db_connections": "0"})
    more = ("main", "--memory", "1GB", "--cpus", "2", "--select", "pg.memory-overcommit")
    with psycopg.connect(held.pooler.dsn_for(held.db.name), autocommit=True) as client:
        client.execute("select 1")
        (finding,) = held.found(*more)["findings"]
        assert "35 connections x" in finding["message"]
        assert (
            f"the pools of pool, as SHOW POOLS has them, on 127.0.0.1:{held.db.server.port} (35)" in finding["message"]
        )
        assert "are open now (pg_stat_database)" in finding["message"]
    held.environment["POOL"] = "pgbouncer://nobody@127.0.0.1:1"
    lost = held.audit("--format", "json", *more)
    assert lost.returncode == 3
    assert "50 % of max_connections, for no pool is known" in lost.stdout


def test_a_queue_is_seen_while_it_stands(setup):
    held = setup({"default_pool_size": "1"})
    dsn = held.pooler.dsn_for(held.db.name)
    with psycopg.connect(dsn) as first, ThreadPoolExecutor() as pool:
        first.execute("select 1")
        second = pool.submit(lambda: held.db.connect(dsn=dsn).execute("select 2"))
        until = time.monotonic() + 30
        while not any(int(r["maxwait"]) >= 1 for r in held.console("show pools") if r["database"] == held.db.name):
            assert time.monotonic() < until
            time.sleep(0.05)
        report = held.found("--select", "pgbouncer.clients-wait")
        first.rollback()
        second.result()
    (finding,) = report["findings"]
    assert finding["object"].startswith(f"{held.db.name}/")
    assert finding["data"]["waiting"] == 1
    assert finding["evidence"] == "observed"


@pytest.mark.pg(18)
def test_a_set_on_the_console_is_drift(setup):
    held = setup({"default_pool_size": "20"})
    held.console("set default_pool_size = 33")
    (finding,) = held.found("--select", "pgbouncer.config-drift")["findings"]
    assert (finding["object"], finding["data"]["running"], finding["data"]["file"]) == ("default_pool_size", "33", "20")


@pytest.mark.pg(18)
def test_a_users_own_mode_and_limits_are_read_from_console_and_file(setup):
    """The pool is held at the user's limit; a line taken out of the file is kept by the daemon, and that is drift."""
    held = setup({"default_pool_size": "95", "max_db_connections": "0", "pool_mode": "transaction"})
    plain = held.ini.read_text()
    line = f"{held.user} = pool_mode=session max_user_connections=4\n"
    held.ini.write_text(
        plain.replace(f"{held.db.name} = ", f"{held.db.name} = user={held.user} ", 1) + f"[users]\n{line}"
    )
    held.console("reload")
    report = held.found("--fail-on", "never")
    (mode,) = [f for f in report["findings"] if f["rule"] == "pgbouncer.user-pool-mode"]
    assert (mode["object"], mode["severity"], mode["data"]["databases"]) == (held.user, "info", ["transaction"])
    assert "pgbouncer.pool-over-server" in {p["rule"] for p in report["passed"]}  # 4, and not 95 of 100
    assert not [f for f in report["findings"] if f["rule"] == "pgbouncer.config-drift"]
    held.ini.write_text(held.ini.read_text().replace(line, ""))
    held.console("reload")
    (drift,) = [
        f for f in held.found("--select", "pgbouncer.config-drift")["findings"] if f["data"].get("running") == "session"
    ]
    assert drift["object"] == f"user {held.user}"
    assert "a restart would change it" in drift["message"]


@pytest.mark.pg(18)
def test_a_broken_file_is_caught_before_reload(setup):
    held = setup({})
    held.ini.write_text(held.ini.read_text().replace("pool_mode", "verbose = on\npool_mode"))
    report = held.found("--reload-check")
    (finding,) = [f for f in report["findings"] if f["rule"] == "pgbouncer.reload-breaks"]
    assert "pool_mode transaction -> session" in finding["message"]
    with contextlib.suppress(psycopg.Error):  # from 1.25 on RELOAD says that it failed
        held.console("reload")
    config = {r["key"]: r["value"] for r in held.console("show config")}
    assert config["pool_mode"] == "session"


@pytest.mark.pg(18)
def test_what_one_client_leaves_the_next_one_finds(db, pgbouncer):
    """The harm that pgbouncer.session-features speaks of."""
    dsn = pgbouncer(db.server, settings={"default_pool_size": "1"}).dsn_for(db.name)
    with psycopg.connect(dsn, autocommit=True) as client:
        for statement in (*SESSION_STATEMENTS, HARMLESS[0]):
            client.execute(statement)
    with psycopg.connect(dsn, autocommit=True) as other:
        assert other.execute("show work_mem").fetchone() == ("256MB",)
        assert other.execute("show default_transaction_read_only").fetchone() == ("on",)
        assert other.execute("select pg_advisory_unlock(7), n from mine").fetchone() == (True, 1)
        assert other.execute("execute one").fetchone() == other.execute("fetch c").fetchone() == (1,)
        assert other.execute("show lock_timeout").fetchone() == ("0",)


@every_program()
def test_a_setting_that_is_said_to_follow_its_client_does_and_no_other(db, pgbouncer):
    """Without track_extra_parameters naming it, search_path leaks until 1.25, and from 1.26 on before 15 only."""
    pooler = pgbouncer(db.server, settings={"default_pool_size": "1"})
    live = console.look(
        Target(name="pool", engine="pgbouncer", address=pooler.admin_dsn.replace("postgresql", "pgbouncer"))
    )
    known = followed(config_of(live), db.server.version // 10000)
    values = {
        "client_encoding": "LATIN1", "datestyle": "German", "timezone": "Asia/Tokyo", "intervalstyle": "iso_8601",
        "standard_conforming_strings": "off", "search_path": "pg_catalog", "default_transaction_read_only": "on",
        "scram_iterations": "5000", "work_mem": "77MB", "row_security": "off",
    }  # fmt: skip
    if db.server.version < 160000:
        del values["scram_iterations"]
    dsn = pooler.dsn_for(db.name)
    with psycopg.connect(dsn, autocommit=True) as mine, psycopg.connect(dsn, autocommit=True) as other:
        found = {}
        for name, value in values.items():
            before = other.execute(f"show {name}").fetchone()
            mine.execute(f"set {name} = '{value}'")
            found[name] = other.execute(f"show {name}").fetchone() == before
            assert mine.execute(f"show {name}").fetchone() != before
    assert {name for name, kept in found.items() if kept} == known & set(values)


@pytest.mark.pg(18)
def test_statements_prepared_by_protocol_fail_where_the_rule_says_so(setup):
    held = setup({"default_pool_size": "1", "max_db_connections": "1"})
    report = held.found("--select", "pgbouncer.prepared-statements")
    with contextlib.ExitStack() as stack:
        dsn = held.pooler.dsn_for(held.db.name)
        clients = [stack.enter_context(psycopg.connect(dsn, autocommit=True, prepare_threshold=0)) for _ in range(2)]
        failed = False
        try:
            for client in clients:
                client.execute("select %s::int", [1])
        except psycopg.errors.DuplicatePreparedStatement:
            failed = True
    assert failed == bool(report["findings"])
    assert failed == (held.pooler.version < 12100)


@pytest.mark.pg(18)
def test_a_paused_database_is_an_error_with_its_cure(setup):
    held = setup({})
    held.console(f"disable {held.db.name}")
    (finding,) = held.found("--select", "pgbouncer.database-paused")["findings"]
    assert finding["fix"]["text"] == f"ENABLE {held.db.name}"


@pytest.mark.pg(18)
def test_what_cannot_be_reached_is_one_error_with_a_hint(setup):
    held = setup({})
    there = held.environment["POOL"]
    held.environment["POOL"] = there.replace(held.user, "stranger")
    done = held.audit()
    assert done.returncode == 3
    assert "cannot reach the console of pool" in done.stderr
    assert "hint:" in done.stderr
    for address, hint in (
        (held.environment["MAIN"], "a PostgreSQL server answers there"),
        (there.replace("@", "no@"), "check user and password"),
        (f"{there}?sslmode=require", "the pooler has client_tls_sslmode = disable"),
    ):
        held.environment["POOL"] = address
        done = held.audit()
        assert done.returncode == 3
        assert hint in done.stderr
        assert done.stderr.count("error:") == 1


@pytest.mark.pg(18)
def test_a_server_that_cannot_be_reached_leaves_the_pooler_judged(setup):
    held = setup({})
    held.environment["MAIN"] = "postgresql://nobody@127.0.0.1:1/gone"
    report = held.found()
    assert any("main was not looked at" in s["reason"] for s in report["skipped"])
    assert report["passed"]


@pytest.mark.pg(18)
def test_doctor_says_what_the_console_shows(setup):
    held = setup({})
    done = dbkit("doctor", "pool", "main", "--config", str(held.config), **held.environment)
    assert done.returncode == 0, done.stderr
    assert f"PgBouncer {held.pooler.version_text}" in done.stdout
    assert "show pools: yes" in done.stdout
    assert "servers behind: yes, main" in done.stdout
    assert not canary.traces(done)
