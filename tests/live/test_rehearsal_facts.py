"""The facts lint and rehearsal rest on, seen by the rehearsal itself: locks, rewrites and scans, statement by statement."""

import psycopg
import pytest

from dbkit.ephemeral import postgres_databases
from dbkit.postgres import ddl
from dbkit.postgres.migrate.rehearse import wishes
from dbkit.postgres.migrate.rehearse.run import Runner
from dbkit.postgres.migrate.rehearse.seed import Seeder
from dbkit.postgres.migrate.source import make
from tests.fixtures.facts import FACTS, Fact

HARMLESS = {"ROW EXCLUSIVE", "ROW SHARE"}


@pytest.fixture(scope="module")
def places():
    """One database a version, emptied for each fact: a database of its own would take most of the time."""
    made = {}
    yield made
    for server, name in made.values():
        postgres_databases.drop(server, name)


@pytest.fixture
def dsn(pg, places):
    if pg.major not in places:
        places[pg.major] = (pg, postgres_databases.create(pg))
    address = pg.dsn_for(places[pg.major][1])
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute(
            "drop publication if exists z; drop schema if exists public, s cascade; create schema public"
        )
    return address


def watch(dsn, fact: Fact):
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(fact.before)
        pending = ddl.parse(fact.statement)
        Seeder(connection, lambda table, root: 40, lambda tables: wishes.amend(tables, pending)).run()
        if "mv" in fact.locks:
            connection.execute("refresh materialized view mv")
    runner = Runner(dsn)
    runner.run([make("m.sql", fact.statement)])
    return runner.seen[0]


@pytest.mark.parametrize("fact", FACTS, ids=lambda f: f.id)
def test_the_server_does_what_the_table_of_facts_says(dsn, pg_major, fact):
    if pg_major not in fact.majors:
        pytest.skip(f"a fact of PostgreSQL {fact.majors[0]}")
    seen = watch(dsn, fact)
    assert not seen.error
    locks = {name: mode.words for name, mode in seen.locks.items()}
    assert {name: locks.get(name) for name in fact.words} == fact.words
    others = {n: m for n, m in locks.items() if n not in fact.words and m not in HARMLESS}
    # The indexes of a table are locked with it; which of them is seen outside a transaction is luck.
    assert not {n: m for n, m in others.items() if n in {"t", "p", "m", "m1", "md", "c", "q", "mv"}}, others
    assert set(seen.rewritten) == fact.rewritten
    assert set(seen.scanned) == fact.scanned
