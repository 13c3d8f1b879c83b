"""What `--reload-check` predicts is what RELOAD does, on every daemon that can be had, for good files and broken ones."""

import os
import re
from pathlib import Path

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings

from dbkit.pgbouncer import reload
from dbkit.pgbouncer.ini import parameters
from dbkit.pgbouncer.ini.reader import read
from tests.fixtures.daemons import shown
from tests.live.test_pgbouncer_ini import ENVIRONMENT, FILES, NOT_OURS

BEFORE = (
    b"[databases]\na = host=x\nold = host=y\n[pgbouncer]\npool_mode = transaction\ndefault_pool_size = 7\n"
    b"query_timeout = 9\nauth_user = somebody\nlisten_backlog = 100" + ENVIRONMENT
)
AFTER = {
    "nothing": BEFORE,
    "a value": BEFORE.replace(b"= 7", b"= 8"),
    "a key taken out": BEFORE.replace(b"query_timeout = 9\n", b""),
    "a key without a default taken out": BEFORE.replace(b"auth_user = somebody\n", b""),
    "a restart key": BEFORE.replace(b"backlog = 100", b"backlog = 90"),
    "a database": BEFORE.replace(b"old = host=y", b"new = host=z"),
    "a mistake before pool_mode": BEFORE.replace(b"pool_mode", b"verbose = on\npool_mode"),
    "a mistake after pool_mode": BEFORE.replace(b"default_pool", b"log_pool_errors = 1\ndefault_pool"),
    "a mistake in the second line of a key": BEFORE.replace(b"= 7", b"= 8\ndefault_pool_size = 9x"),
    "a mistake among databases": BEFORE.replace(b"old = host=y", b"old = host=y sslmode=require"),
    "a syntax error": BEFORE.replace(b"query_timeout", b"-- c\nquery_timeout"),
    "an unknown section": BEFORE + b"[more]\n",
    "opened again": BEFORE + b"[pgbouncer]\n" + ENVIRONMENT,
    "no main section": b"[databases]\na = host=x\n",
    "an empty file": b"",
}


def compare(daemon, text):
    with daemon.running(BEFORE) as (_, port, log), daemon.console(port) as console:
        rows = shown(console, "config")
        running = {row["key"]: row["value"] or "" for row in rows}
        defaults = {row["key"]: row["default"] for row in rows}
        databases = frozenset(row["name"] for row in shown(console, "databases")) - {"pgbouncer"}
        ready = text.replace(b"@PORT@", str(port).encode())
        version = parameters.version(daemon.version)
        file, stopped = read(ready, version), read(ready, version, stop=True)
        outcome = reload.predict(file, stopped, running, databases, defaults)
        Path(log.parent / "pgbouncer.ini").write_bytes(ready)
        said_no = False
        try:
            console.execute("reload")
        except psycopg.Error:
            said_no = True
        if "_tls_" in text.decode(errors="replace") and re.search(
            r"ERROR invalid \w+_tls_", log.read_text(errors="replace")
        ):
            return outcome  # what TLS makes of a word is its library's to say
        assert said_no == (not outcome.ok and outcome.reports_error)
        try:
            now = {row["key"]: row["value"] or "" for row in shown(console, "config")}
        except psycopg.Error:
            return outcome  # the daemon no longer lets us in
        changed = {c.name: c.after for c in outcome.changes}
        for name, before in running.items():
            if name not in NOT_OURS - {"auth_user", "listen_backlog"}:
                assert now[name] == changed.get(name, before), (name, log.read_text(errors="replace")[-400:])
        after = frozenset(row["name"] for row in shown(console, "databases")) - {"pgbouncer"}
        assert frozenset(outcome.added) <= after
        return outcome


@pytest.mark.parametrize("what", AFTER)
def test_a_file_is_reloaded_as_foretold(daemon, what):
    outcome = compare(daemon, AFTER[what])
    lost = {c.name for c in outcome.changes if c.by_accident}
    match what:
        case "nothing":
            assert outcome == reload.Outcome(True, outcome.reports_error, (), (), (), (), ())
        case "a restart key":
            assert [(c.name, c.after) for c in outcome.ignored] == [("listen_backlog", "90")]
        case "a key without a default taken out":
            assert outcome.kept == ("auth_user",)
        case "a database":
            assert (outcome.added, outcome.removed) == (("new",), ("old",))
        case "a mistake in the second line of a key":
            assert {c.name: c.after for c in outcome.changes}["default_pool_size"] == "8"
        case "a mistake before pool_mode":
            assert "pool_mode" in lost
        case "a mistake after pool_mode":
            assert "pool_mode" not in lost
            assert "query_timeout" in lost


@settings(
    max_examples=int(os.environ.get("DBKIT_TEST_EXAMPLES", "30")),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(FILES)
def test_a_random_file_is_reloaded_as_foretold(daemon, text):
    compare(daemon, text + ENVIRONMENT)
