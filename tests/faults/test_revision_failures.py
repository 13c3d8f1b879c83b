"""Plain Alembic revisions, one of them on a connection of its own, are cut off at their statements; the next run ends
them, and what they write is written once."""

import copy
import random
import threading
import time
from contextlib import contextmanager

import psycopg
import pytest

from dbkit.ephemeral import postgres_databases
from dbkit.postgres.migrate.executor import session
from dbkit.settings import Target
from tests.fixtures import census
from tests.fixtures.change_scenes import FAULTS, SEED, run
from tests.fixtures.interruptions import Interruption

HEAD = '''"""{name}

Revision ID: {name}
Revises: {down}
"""
import sqlalchemy as sa
from alembic import op

revision = "{name}"
down_revision = {down!r}
branch_labels = None
depends_on = None


def upgrade():
{up}

def downgrade():
{undo}
'''
CHAIN = {
    "a": (
        """
    op.create_table("t", sa.Column("id", sa.Integer, primary_key=True), sa.Column("a", sa.Text))
    op.execute("insert into t select n, 'x' || n from generate_series(1, 5) n")
    op.execute("insert into tally values ('a')")
""",
        '    op.drop_table("t")\n    op.execute("delete from tally")',
    ),
    "b": (
        """
    op.add_column("t", sa.Column("b", sa.Integer))
    op.execute("insert into tally values ('b before')")
    with op.get_context().autocommit_block():
        op.create_index("t_a", "t", ["a"], postgresql_concurrently=True, if_not_exists=True)
    op.execute("update t set b = coalesce(b, 0) + 1")
    op.execute("insert into tally values ('b after')")
""",
        """
    op.execute("insert into tally values ('b taken back')")
    with op.get_context().autocommit_block():
        op.drop_index("t_a", "t", postgresql_concurrently=True, if_exists=True)
    op.drop_column("t", "b")
""",
    ),
    "c": (
        """
    bind = op.get_bind()
    for key, words in bind.execute(sa.text("select id, a from t where id > :n"), {"n": 1}).all():
        bind.execute(sa.text("update t set a = :a, b = b + 1 where id = :id"), {"a": words + words, "id": key})
    op.add_column("t", sa.Column("c", sa.Integer, server_default="7"))
    bind.execute(sa.text("insert into tally values ('c')"))
    if op.get_context().as_sql:
        raise RuntimeError("needs a connection")
""",
        """
    bind = op.get_bind()
    for (key,) in bind.execute(sa.text("select id from t where b > 1")).all():
        bind.execute(sa.text("update t set b = b - 1 where id = :id"), {"id": key})
    op.drop_column("t", "c")
    op.execute("insert into tally values ('c taken back')")
    if op.get_context().as_sql:
        raise RuntimeError("needs a connection")
""",
    ),
}


def write(place):
    down = None
    for name, (up, undo) in CHAIN.items():
        text = HEAD.format(name=name, down=down, up=up.strip("\n"), undo=undo.strip("\n"))
        (place.folder / "versions" / f"{name}.py").write_text(text)
        down = name


def state(place):
    with psycopg.connect(place.db.dsn, autocommit=True) as connection:
        return census.catalogue(connection), census.rows(connection)


@pytest.fixture
def at(place_in, database_on, pg, pg_major):
    """The environment on a clone of a database, gone afterwards. On 15 its env.py asks for one transaction over all."""
    first = place_in(database_on(pg))
    env = first.folder / "env.py"
    if pg_major == 15:
        env.write_text(env.read_text().replace("transaction_per_migration=True", "transaction_per_migration=False"))
        assert "transaction_per_migration=False" in env.read_text()
    write(first)
    first.change = None
    first.run("create table tally (what text)")
    first.done("expand")  # makes dbkit's schema and the version table, which a kill before the first unit leaves out
    first.done("rollback")
    first.run("truncate tally")

    @contextmanager
    def clone(source):
        place = copy.copy(source or first)
        place.db = database_on(pg, template=place.db.name)
        place.target = Target(name="test", address=place.db.dsn)
        yield place
        place.db.stack.close()

    return clone


@pytest.mark.parametrize("what", ["expand", "rollback"])
def test_plain_revisions_meet_every_fault(at, pg, pg_major, monkeypatch, what):
    chance = random.Random(f"{what} {pg_major}")
    with at(None) as before:
        if what == "rollback":
            before.done("expand")
    with at(before) as whole, Interruption(monkeypatch, 0, lambda fall: None) as fall:
        assert run(whole, what) is None
    most, wanted = fall.count, state(whole)
    stride, reached = 11, set()
    faults = [
        f for f in FAULTS if not f.second
    ]  # of two runs in one process each would take Alembic's `op` for its own
    for turn, number in enumerate(range(1 + chance.randrange(stride), most, stride)):
        fault = faults[turn % 2]
        with at(before) as place:
            untouched = state(place)
            with Interruption(monkeypatch, number, fault.deed(place, what)) as fall:
                error = run(place, what)
            told = (
                f"{fault.name} at statement {number} of {most} ({fall.at}); then {error.lines() if error else 'done'}"
            )
            reached |= {fault.name} if fall.fell else set()
            if error is not None:
                assert error.exit_code in (3, 4, 5), told
                if error.exit_code in (3, 4):
                    assert state(place) == untouched, told
                assert run(place, what) is None, told
            assert state(place) == wanted, told
        postgres_databases.drop(pg, place.db.name)
    assert len(reached) == 2
    with at(whole) as place:  # and plain Alembic goes on from there
        done = place.alembic(*(("downgrade", "a") if what == "expand" else ("upgrade", "b")))
        assert done.returncode == 0, done.stderr


@pytest.mark.pg(18)
def test_the_first_use_of_a_database_meets_every_fault(place_in, database_on, pg, monkeypatch):
    """There is no schema of dbkit's yet, and no version table."""
    first = place_in(database_on(pg))
    first.change = None
    write(first)
    for name in "bc":
        (first.folder / "versions" / f"{name}.py").unlink()
    first.run("create table tally (what text)")

    def clone():
        place = copy.copy(first)
        place.db = database_on(pg, template=first.db.name)
        place.target = Target(name="test", address=place.db.dsn)
        return place

    with Interruption(monkeypatch, 0, lambda fall: None) as fall:
        whole = clone()
        whole.done("expand")
    stride = 5
    for number in range(1 + SEED % stride, fall.count, stride):
        fault, place = FAULTS[number // stride % 3], clone()
        with Interruption(monkeypatch, number, fault.deed(place, "expand")) as fell:
            error = run(place, "expand")
        told = f"{fault.name} at statement {number} ({fell.at}); then {error.lines() if error else 'done'}"
        assert error is None or error.exit_code in (3, 4, 5), told
        again = run(place, "expand")
        assert again is None, (told, again.lines())
        assert state(place) == state(whole), told
        place.db.stack.close()
        postgres_databases.drop(pg, place.db.name)


SLOW = """
    op.get_bind()
    op.execute("insert into tally values ('c')")
    op.execute("select pg_sleep(60) from tally where what = 'held' limit 1")
"""


@pytest.fixture
def held(at, monkeypatch, pg):
    """The third revision killed by SIGKILL while the server is at a statement of it that goes on."""
    with at(None) as place:
        (place.folder / "versions" / "c.py").write_text(HEAD.format(name="c", down="b", up=SLOW, undo="    pass"))
        place.run("insert into tally values ('held')")
        process = place.cli("expand")
        busy = "select pid from pg_stat_activity where query like '%%pg_sleep%%' and wait_event = 'PgSleep' "
        busy += "and application_name = 'dbkit migrate online' and datname = current_database()"
        until = time.monotonic() + 60
        while not (found := place.db.execute(busy)):
            assert time.monotonic() < until, process.poll()
            time.sleep(0.02)
        process.kill()
        process.communicate()
        place.pid = found[0][0]
        place.run("delete from tally where what = 'held'")
        yield place
        place.db.execute("select pg_terminate_backend(%s)", place.pid)


@pytest.mark.pg(18)
def test_the_next_run_waits_for_a_killed_one_that_the_server_still_works_for(held):
    def end():
        time.sleep(0.3)
        held.db.execute("select pg_terminate_backend(%s)", held.pid)

    thread = threading.Thread(target=end)
    thread.start()
    held.done("expand")
    thread.join()
    told = "select what, count(*) from tally where what = 'c' group by 1"
    assert held.db.execute(told) == [("c", 1)]


@pytest.mark.pg(15)
def test_it_is_named_when_it_does_not_end(held, monkeypatch):
    monkeypatch.setattr(session, "WAIT_FOR_DEAD", 0.3)
    error = run(held, "expand")
    assert error.exit_code == 5
    assert f"server process {held.pid}, dbkit migrate online, since" in error.why
    assert "pg_terminate_backend" in error.hint
