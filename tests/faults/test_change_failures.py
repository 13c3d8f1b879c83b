"""A run of a change is cut off at every statement, killed, doubled or held up; the next run ends it or takes it back."""

import itertools
import signal
import threading
import time
from contextlib import contextmanager

import psycopg
import pytest

from dbkit.errors import DbkitError, Refused, Stopped
from dbkit.postgres.connect import connect
from dbkit.postgres.jobstore import PostgresStore
from dbkit.postgres.migrate.executor.job import KEY
from dbkit.postgres.migrate.executor.session import Session
from tests.fixtures.change_cases import CASES

CASE = CASES[0]
FEW = pytest.mark.pg(18)


@pytest.fixture
def fresh(database_on, pg, tmp_path):
    """Make one place after the other, each in a database of its own."""
    from tests.fixtures.changes import Place

    numbers = itertools.count()

    def make(case=CASE):
        place = Place(database_on(pg), tmp_path / f"migrations{next(numbers)}")
        place.run(case.schema)
        columns = ", ".join(case.old.columns)
        with place.db.connect() as connection:
            connection.cursor().executemany(
                f"insert into {case.old.table} (id, {columns}) values (%s{', %s' * len(case.old.columns)})",
                [(n, *case.old.show(n)) for n in range(1, 101)],
            )
        if case.seed:
            place.run(case.seed)
        place.change = place.new(case.kind, case.place, *case.words, **case.more)
        return place

    return make


class Cut:
    """Ends the worker's connection before its n-th statement: to the server that is what kill -9 is."""

    def __init__(self, monkeypatch, number):
        self.left, self.fell = number, False
        init = Session.__init__

        def begin(session, *args, **more):
            init(session, *args, **more)
            connection, execute = session.connection, session.connection.execute

            def counted(*words, **options):
                self.left -= 1
                if self.left == 0:
                    self.fell = True
                    connection.pgconn.finish()
                return execute(*words, **options)

            connection.execute = counted

        monkeypatch.setattr(Session, "__init__", begin)


def cut_at_each(fresh, monkeypatch, what, prepare, step, case=CASE):
    """Run `what` and cut it at statement 1, 1 + step, ...; after each cut the next run has to end it."""
    whole = None
    for number in itertools.count(1, step):
        place = fresh(case)
        prepare(place)
        with monkeypatch.context() as patch:
            cut = Cut(patch, number)
            try:
                error = place.move(what, place.change).error
            except DbkitError as raised:
                error = raised
        if not cut.fell:
            assert error is None, error.lines()
        else:
            assert isinstance(error, Stopped), error.lines()
            place.done(what, place.change)
        state = (place.phase(place.change), place.facts("t"), place.db.execute("select * from t order by 1"))
        whole = whole or state
        assert state == whole, number
        assert place.db.execute("select * from dbkit.migration_part") == []
        if not cut.fell:
            return number
    raise AssertionError


def expanded(place):
    place.done("expand")


def verified(place):
    place.done("expand")
    place.fill(place.change)


@FEW
def test_expand_is_cut_at_every_statement(fresh, monkeypatch):
    assert cut_at_each(fresh, monkeypatch, "expand", lambda place: None, 4) > 30


@FEW
def test_contract_is_cut_at_every_statement(fresh, monkeypatch):
    assert cut_at_each(fresh, monkeypatch, "contract", verified, 4) > 30


@FEW
def test_rollback_is_cut_at_every_statement(fresh, monkeypatch):
    assert cut_at_each(fresh, monkeypatch, "rollback", expanded, 4) > 15


@FEW
def test_an_expand_that_was_cut_is_taken_back(fresh, monkeypatch):
    place = fresh()
    before = place.facts("t")
    with monkeypatch.context() as patch:
        Cut(patch, 40)
        assert place.move("expand").error is not None
    assert place.phase(place.change) == "expanding"
    place.done("rollback")
    assert place.phase(place.change) == "new"
    assert place.facts("t") == before
    assert place.db.execute("select * from dbkit.migration_part") == []


@FEW
def test_a_rollback_that_was_cut_is_ended_before_anything_else(fresh, monkeypatch):
    """Half of it is gone: doing nothing would call it whole; and the way back is open when another change was moved."""
    place = fresh()
    verified(place)
    place.done("contract")
    cut_after_its_first_unit(place, monkeypatch, "rollback")
    refused_until_rolled_back(place)
    (held,) = place.status()
    assert held["next"] == "rollback"
    assert held["blocked_by"][0]["what"] == "a rollback that was cut off half way"
    place.run("update dbkit.job set status = 'done'")  # as where the newest run is that of another change
    place.done("rollback", place.change)
    assert place.phase(place.change) == "verified"
    assert place.db.execute("select * from dbkit.migration_part") == []


@FEW
def test_an_expand_cut_off_on_its_way_and_on_its_way_back(fresh, monkeypatch):
    """What the first run did is half undone: the next expand must not go on where the first one stopped."""
    place = fresh(next(c for c in CASES if c.name == "add-foreign-key"))
    cut_after_its_first_unit(place, monkeypatch, "expand")
    cut_after_its_first_unit(place, monkeypatch, "rollback")
    refused_until_rolled_back(place)
    place.done("rollback")
    assert place.phase(place.change) == "new"
    place.done("expand")


def cut_after_its_first_unit(place, monkeypatch, what):
    run, units = Session.run, []

    def counted(session, unit, done, book):
        units.append(unit)
        if len(units) == 2:
            session.connection.pgconn.finish()
        run(session, unit, done, book)

    with monkeypatch.context() as patch:
        patch.setattr(Session, "run", counted)
        assert isinstance(place.move(what, place.change).error, Stopped)
    assert len(units) == 2


def refused_until_rolled_back(place):
    for step in ("expand", "contract"):
        for name in (place.change, None):
            with pytest.raises(Refused, match="was cut off half way") as raised:
                place.move(step, name)
            assert f"`dbkit migrate rollback {place.change}`" in raised.value.hint


def test_killed_while_it_asks_for_its_lock(fresh):
    place = fresh()
    with busy(place):
        process = place.cli("expand", "--max-stall", "1s")
        query = "select 1 from pg_locks l join pg_stat_activity a using (pid) where not granted"
        wait_for(place, f"{query} and relation = 't'::regclass and application_name like 'dbkit%'")
        process.send_signal(signal.SIGKILL)
        process.communicate()
    place.done("expand")
    assert place.phase(place.change) == "expanded"


def test_interrupted_while_it_waits(fresh):
    place = fresh()
    blocker = place.db.connect(autocommit=False)
    blocker.execute("select count(*) from t")
    time.sleep(0.6)
    process = place.cli("expand")
    wait_for(place, "select 1 from pg_class where relname = 'migration_part'")
    wait_for(place, "select 1 from dbkit.job_event where event = 'blocked'")
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=30)
    assert process.returncode == 130, told
    assert "Traceback" not in told
    blocker.rollback()
    assert place.phase(place.change) == "new"
    place.done("expand")


def test_a_second_runner_is_refused(fresh):
    place = fresh()
    blocker = place.db.connect(autocommit=False)
    blocker.execute("select count(*) from t")
    process = place.cli("expand")
    try:
        wait_for(place, "select 1 from pg_class where relname = 'migration_part'")
        wait_for(place, "select 1 from dbkit.job where status = 'running'")
        with pytest.raises(Refused, match="another dbkit"):
            place.move("expand")
    finally:
        blocker.rollback()
        process.communicate(timeout=30)
    assert process.returncode == 0
    assert place.phase(place.change) == "expanded"


@FEW
def test_a_rollback_that_had_to_wait_for_another_run_is_refused(fresh):
    """Decided before the other ended it would take back something else than was meant; after it, one phase too many."""
    place = fresh()
    place.done("expand")
    seen = []
    with connect(place.target, purpose="other") as other:
        store = PostgresStore(other)
        assert store.try_lock(KEY)
        thread = threading.Thread(target=lambda: seen.append(refusal(place, "rollback")))
        thread.start()
        waits = "query like '%%pg_try_advisory_lock%%' and application_name = 'dbkit migrate'"
        wait_for(place, f"select 1 from pg_stat_activity where datname = current_database() and {waits}")
        place.run(
            "insert into dbkit.run (job, runner, tool, plan_hash, finished) "
            "select job, 'somebody', tool, plan_hash, now() from dbkit.run limit 1"
        )
    thread.join()
    assert "another run has just moved" in seen[0].what
    assert place.phase(place.change) == "expanded"
    place.done("rollback")
    assert place.phase(place.change) == "new"


def refusal(place, what):
    try:
        return place.move(what).error
    except Refused as error:
        return error


def test_nobody_queues_behind_a_long_transaction(fresh):
    """While somebody holds the table for long dbkit stays away; a reader never has to wait for it."""
    place = fresh()
    blocker = place.db.connect(autocommit=False)
    blocker.execute("select count(*) from t")
    time.sleep(0.6)
    process = place.cli("expand", "--patience", "2s", "--format", "json")
    wait_for(place, "select 1 from pg_class where relname = 'migration_part'")
    wait_for(place, "select 1 from dbkit.job_event where event = 'blocked'")
    waiting = place.db.execute("select count(*) from pg_locks where not granted and relation = 't'::regclass")
    assert waiting == [(0,)]
    _, told = process.communicate(timeout=30)
    assert process.returncode == 5
    assert f"pid {blocker.info.backend_pid}" in told
    assert "idle in transaction" in told
    blocker.rollback()
    assert place.phase(place.change) == "new"


def test_blockers_that_match_are_removed(fresh):
    place = fresh()
    idle = place.db.connect(autocommit=False, application_name="nightly report")
    idle.execute("select count(*) from t")
    time.sleep(0.6)
    place.done("expand", cancel_blockers="nightly")
    with pytest.raises(psycopg.OperationalError):
        idle.execute("select 1")
    removed = place.db.execute("select detail ->> 'what' from dbkit.job_event where event = 'blocker removed'")
    assert removed == [("ended",)]


def test_the_budget_ends_the_run(fresh):
    """A table that is always taken for a moment: attempts fail until the budget is spent, and nothing has changed."""
    place = fresh()
    with busy(place):
        process = place.cli("expand", "--budget", "60ms", "--max-stall", "20ms")
        _, told = process.communicate(timeout=60)
    assert process.returncode == 5, told
    assert "the stall budget of 60 ms is used up" in told
    assert "in the way: pid" in told
    assert place.phase(place.change) == "new"
    failed = place.db.execute("select detail -> 'holders' from dbkit.job_event where event = 'attempt failed'")
    assert failed
    assert any(holders for (holders,) in failed)


def test_a_failed_expand_is_rolled_back(place):
    """The copy of a constraint cannot be made: nothing of the change is left, and the pipeline sees exit 6."""
    place.run("create table t (id int primary key, a text); create index i on t (a)")
    change = place.new("rename-column", "t.a", "b")
    before = place.facts("t")
    place.run("create table i_b (id int)")  # takes the name of the copied index
    applied = place.move("expand")
    assert applied.error is not None
    assert applied.error.exit_code == 6, applied.error.lines()
    assert "rolled back" in applied.error.what
    assert place.phase(change) == "new"
    assert place.facts("t") == before


def test_a_rollback_after_a_failed_deploy_leaves_the_one_before(place):
    """`dbkit migrate deploy || dbkit migrate rollback`: the failed one is gone already, the one before is at work."""
    place.run("create table t (id int primary key, a text, c text); create index i on t (a)")
    before = place.new("rename-column", "t.c", "d")
    place.done("expand")
    place.fill(before)
    place.done("contract")
    change = place.new("rename-column", "t.a", "b")
    place.run("create table i_b (id int)")  # takes the name of the copied index
    assert place.move("expand").error.exit_code == 6
    applied = place.done("rollback")
    assert applied.report.extra["statements"] == []
    assert (place.phase(before), place.phase(change)) == ("contracted", "new")


@FEW
def test_what_the_server_goes_on_with_after_a_kill_is_taken_back(place, monkeypatch):
    """The first statement of the change builds an index; its server process outlives the runner."""
    place.run("create table t (id bigint primary key, n int); create table p (id int primary key)")
    change = place.new("add-foreign-key", "t.n", "p")
    writer = place.db.connect(autocommit=False)
    writer.execute("insert into t values (1, null)")  # the build waits for it
    process = place.cli("expand")
    wait_for(place, "select 1 from pg_stat_progress_create_index where relid = 't'::regclass")
    process.kill()
    process.communicate()
    assert place.phase(change) == "expanding"
    thread = threading.Thread(target=lambda: (time.sleep(0.3), writer.rollback()))
    thread.start()
    place.done("rollback")
    thread.join()
    assert place.phase(change) == "new"
    assert place.db.execute("select count(*) from pg_index where indrelid = 't'::regclass") == [(1,)]
    assert place.db.execute("select * from dbkit.migration_part") == []


def test_a_backup_that_fails_stops_contract(fresh):
    place = fresh()
    verified(place)
    with pytest.raises(Refused, match="backup"):
        place.move("contract", backup_command="false")
    assert place.phase(place.change) == "verified"
    place.done("contract", backup_command="true")
    assert place.phase(place.change) == "contracted"


@FEW
def test_what_is_gone_names_the_backup(fresh, monkeypatch):
    """The way back of a dropped column is its backup: what was run, when, and what it said."""
    for command, wanted in (
        (
            "sh -c 'echo busy; echo wrote /backups/base.tar'",
            "by `sh -c 'echo busy; echo wrote /backups/base.tar'`; it said:",
        ),
        (None, "dbkit was told of none (`contract --backup-command` takes one)"),
    ):
        place = fresh(next(c for c in CASES if c.name == "drop-column"))
        place.done("expand")
        with monkeypatch.context() as patch:
            Cut(patch, 12)
            assert place.move("contract", backup_command=command).error is not None
        place.done("contract")  # the run that goes on was told of no backup: the first one's stands
        with pytest.raises(Refused) as raised:
            place.move("rollback", place.change)
        assert "cannot be rolled back; nothing was changed" in raised.value.what
        assert raised.value.why == "the values of public.t.n are gone with the column"
        assert wanted in raised.value.hint
        assert ("wrote /backups/base.tar" in raised.value.hint.partition("it said")[2]) == bool(command)


def test_a_changed_file_is_refused_half_way(fresh, monkeypatch):
    place = fresh()
    with monkeypatch.context() as patch:
        Cut(patch, 40)
        assert place.move("expand").error is not None
    file = place.environment.revisions[0].path
    file.write_text(file.read_text().replace("display_name text", "display_name varchar"))
    applied = place.move("expand")
    assert isinstance(applied.error, Refused)
    assert "was changed" in applied.error.what


def test_the_last_deploy_is_rolled_back(fresh):
    place = fresh()
    other = place.new("rename-column", "t.kept", "stays")
    place.done("expand", place.change)
    with pytest.raises(Refused, match="cannot run yet"):
        place.move("expand", other)
    place.done("rollback")
    assert {s["phase"] for s in place.status()} == {"new"}


@contextmanager
def busy(place):
    """Short transactions that overlap, so that the table is never free, and none of them is old."""
    leave = threading.Event()

    def work(first):
        with psycopg.connect(place.db.dsn, application_name="busy") as connection:
            time.sleep(first)
            while not leave.is_set():
                connection.execute("select count(*) from t")
                time.sleep(0.2)
                connection.commit()

    threads = [threading.Thread(target=work, args=(n * 0.07,)) for n in range(3)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        leave.set()
        for thread in threads:
            thread.join()


def wait_for(place, query, seconds=90):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            if place.db.execute(query):
                return
        except psycopg.errors.UndefinedTable:
            pass
        time.sleep(0.01)
    raise AssertionError(f"never seen: {query}")


@FEW
def test_the_server_restarts_meanwhile(own_server, database_on, tmp_path):
    from tests.fixtures.changes import Place

    server = own_server()
    place = Place(database_on(server), tmp_path / "migrations")
    place.run(CASE.schema)
    place.change = place.new(CASE.kind, CASE.place, *CASE.words)
    blocker = place.db.connect(autocommit=False)
    blocker.execute("select count(*) from t")
    time.sleep(0.6)
    process = place.cli("expand")
    wait_for(place, "select 1 from pg_class where relname = 'migration_part'")
    wait_for(place, "select 1 from dbkit.job_event where event = 'blocked'")
    server.crash()
    blocker.close()
    _, told = process.communicate(timeout=60)
    assert process.returncode == 5, told
    assert "Traceback" not in told
    server.restart()
    place.done("expand")
    assert place.phase(place.change) == "expanded"
