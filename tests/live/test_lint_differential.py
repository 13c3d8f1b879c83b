"""Lint against servers: drawn statements over drawn schemas, each judged by lint and run where it is rolled back.

`DBKIT_TEST_RANDOM=1` draws new ones, `DBKIT_TEST_EXAMPLES=2000` draws for long, `LONG_TESTS=1` runs the open corpus too.
"""

import json
import os
import re
import secrets
from contextlib import suppress
from pathlib import Path
from random import Random

import psycopg
import pytest

from dbkit.ephemeral import postgres_databases
from dbkit.postgres import ddl
from dbkit.postgres.migrate import lint
from dbkit.postgres.migrate.source import make
from tests.fixtures.ddl_duel import Ground
from tests.fixtures.ddl_statements import Drawer
from tests.fixtures.refusals import REFUSALS

CORPUS = Path(__file__).resolve().parents[3] / "shared" / "corpora" / "migrations.jsonl"
STATEMENTS = int(os.environ.get("DBKIT_TEST_EXAMPLES", "70"))
SEEDS = [secrets.randbelow(10**6)] if os.environ.get("DBKIT_TEST_RANDOM") else [7, 21, 35]
TOLERATED = {
    "what is not there is not locked": r"^drop (trigger|policy|rule) if exists not_there",
    "not all that falls with CASCADE is followed": r"^drop (function|sequence|schema|type|domain) .* cascade|^alter type .* cascade",
    "whether partitions have the trigger too is not known": r"(enable|disable)( \w+)? trigger",
    "15 does not look at partitions for an identity": r"(identity|set (generated|increment))",
}
"""Locks of which lint says a little more, or less, than is taken."""


@pytest.fixture(scope="module")
def places():
    made = {}
    yield made
    for server, name, connection in made.values():
        connection.close()
        postgres_databases.drop(server, name)


@pytest.fixture
def address(pg, places):
    if pg.major not in places:
        name = postgres_databases.create(pg)
        places[pg.major] = (pg, name, psycopg.connect(pg.dsn_for(name), autocommit=True))
    return pg.dsn_for(places[pg.major][1])


def tolerated(sql, complaint):
    return complaint.startswith("lock:") and any(re.search(p, sql) for p in TOLERATED.values())


@pytest.mark.parametrize("seed", SEEDS)
def test_lint_says_what_servers_do(address, pg_major, seed):
    draws = Random(seed)
    ground = Ground(address, pg_major, draws)
    wrong = []
    ran = 0
    with ground:
        for number in range(STATEMENTS):
            if number % 70 == 0:
                ground.build()
            if number % 14 == 0:
                drawer = Drawer(draws, ground.look())
            sql = drawer.statement()
            duel = ground.duel(sql)
            ran += not duel.seen.error
            wrong += [f"{sql}\n    {c}" for c in duel.complaints if not tolerated(sql, c)]
            if not duel.seen.error and draws.random() < 0.15 and ground.keep(sql):
                drawer = Drawer(draws, ground.look())
        schema = ground.schema_sql
    assert ran > STATEMENTS / 4
    assert not wrong, "\n".join([f"seed {seed}", *wrong, "the schema at the end:", schema])


def test_lint_says_refused_of_what_servers_refuse(address, pg_major):
    """One test for the table: a transaction each, rolled back."""
    wrong = []
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute("drop schema if exists public cascade; create schema public")
        for before, statement, majors in REFUSALS:
            options = lint.Options(version=(pg_major, None), schema_sql=before)
            said = any(f.rule == "migrate.refused" for f in lint.lint([make("m.sql", statement)], options).findings)
            refused = False
            with suppress(psycopg.Rollback), connection.transaction(force_rollback="concurrently" not in statement):
                connection.execute(before or "select 1")
                try:
                    with connection.transaction():
                        connection.execute(statement)
                except psycopg.errors.ActiveSqlTransaction:
                    refused = None
                except psycopg.Error:
                    refused = True
                raise psycopg.Rollback
            if refused is None:
                refused = refused_outside(connection, before, statement)
            if refused != (pg_major in majors) or said != refused:
                wrong.append(f"{before} {statement}: server {refused}, lint {said}, expected {pg_major in majors}")
    assert not wrong, "\n".join(wrong)


def refused_outside(connection, before, statement):
    """What refuses a transaction block is run without one."""
    try:
        connection.execute(before)
        connection.execute(statement)
    except psycopg.Error:
        return True
    finally:
        connection.execute("drop schema public cascade; create schema public")
    return False


def pieces(text):
    return [s.sql for s in ddl.parse_loosely(text)[0]]


if os.environ.get("LONG_TESTS") and CORPUS.exists():

    def test_lint_and_servers_agree_on_the_open_corpus(address, pg_major):
        wrong = []
        ran = 0
        with Ground(address, pg_major, Random(1)) as ground:
            for line in CORPUS.read_text().splitlines():
                case = json.loads(line)
                ground.clear()
                ground.history = []
                for statement in pieces(case.get("context_sql") or ""):
                    ground.keep(statement)
                for sql in pieces(case["sql"] if isinstance(case["sql"], str) else ";\n".join(case["sql"])):
                    if re.match(r"\s*(begin|commit|start|rollback|set|end|do)\b", sql, re.IGNORECASE):
                        continue
                    ground.look()
                    duel = ground.duel(sql)
                    ran += not duel.seen.error
                    wrong += [f"{case['id']}: {sql}\n    {c}" for c in duel.complaints if not tolerated(sql, c)]
                    if duel.seen.error or not ground.keep(sql):
                        break
        assert ran > 100
        assert not wrong, "\n".join(wrong)
