"""The facts lint and rehearsal rest on, seen by the rehearsal itself: locks, rewrites and scans, statement by statement."""

import psycopg
import pytest

from dbkit.ephemeral import postgres_databases
from dbkit.model import Evidence
from dbkit.postgres import ddl
from dbkit.postgres.migrate import lint
from dbkit.postgres.migrate.rehearse import state, wishes
from dbkit.postgres.migrate.rehearse.compare import compare
from dbkit.postgres.migrate.rehearse.rehearsal import Outcome
from dbkit.postgres.migrate.rehearse.run import Runner
from dbkit.postgres.migrate.rehearse.seed import Seeder
from dbkit.postgres.migrate.source import make
from dbkit.rules import REGISTRY
from tests.fixtures.facts import FACTS, Fact

KNOWN = {"L53 index"}  # lint does not look whether the index is there already; the lock it names is taken all the same
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
        before = state.look(connection, inside=False).relations
    runner = Runner(dsn)
    runner.run([make("m.sql", fact.statement)])
    return Outcome(
        major=0,
        version="",
        seen=runner.ledger.seen,
        holds=runner.ledger.holds,
        stop=runner.stop,
        stalls=[],
        sown=[],
        queries=[],
        predictions=[],
        before={str(r.name): r for r in before.values()},
        touched=[],
    )


@pytest.mark.parametrize("fact", FACTS, ids=lambda f: f.id)
def test_the_server_does_what_the_table_of_facts_says(dsn, pg_major, fact):
    if pg_major not in fact.majors:
        pytest.skip(f"a fact of PostgreSQL {fact.majors[0]}")
    outcome = watch(dsn, fact)
    (seen,) = outcome.seen
    assert not seen.error
    locks = {name: mode.words for name, mode in seen.locks.items()}
    assert {name: locks.get(name) for name in fact.words} == fact.words
    others = {n: m for n, m in locks.items() if n not in fact.words and m not in HARMLESS}
    # The indexes of a table are locked with it; which of them is seen outside a transaction is luck.
    assert not {n: m for n, m in others.items() if n in {"t", "p", "m", "m1", "md", "c", "q", "mv"}}, others
    assert set(seen.rewritten) == fact.rewritten
    assert set(seen.scanned) == fact.scanned
    # And lint, told the same schema, says the same.
    options = lint.Options(version=(pg_major, None), schema_sql=fact.before)
    found = lint.examine([make("m.sql", fact.statement)], options).found
    judged = compare(found, outcome, frozenset(f.rule.id for f, _ in found))
    if fact.id not in KNOWN:
        assert judged.disagreements == ()
        hazards = [f for f in judged.findings if "cost" in f.data and REGISTRY[f.rule].category == "lock"]
        assert {f.rule for f in hazards if f.evidence is not Evidence.OBSERVED} == set()


@pytest.mark.parametrize("statement", ["reindex table m", "reindex index i"])
def test_what_commits_partition_by_partition_runs_alone(dsn, statement):
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(
            "create table m (a int) partition by range (a); create table m1 partition of m default;"
            " create index i on m (a); insert into m select generate_series(1, 40)"
        )
    runner = Runner(dsn, assume=False)
    runner.run([make("m.sql", statement)])
    (seen,) = runner.ledger.seen
    assert (seen.error, seen.bare, seen.rewritten) == ("", True, ["m1_a_idx"])
