"""dbkit is killed, interrupted or steered from outside at every point; one more run ends in the wanted state."""

import json
import signal
import time

import psycopg
import pytest

from dbkit.postgres.indexes.states import State

OLD_SNAPSHOT = "waiting for old snapshots"


def hold(made, phase):
    """A session that keeps a build in this phase until its `rollback`."""
    blocker = made.db.connect(autocommit=False)
    if phase == OLD_SNAPSHOT:
        blocker.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        blocker.execute("select count(*) from pg_class")
    else:
        blocker.execute("update t set a = 1 where id = 1")
    return blocker


@pytest.mark.parametrize("phase", ["waiting for writers before build", OLD_SNAPSHOT])
@pytest.mark.parametrize("released", ["before the next run", "during the next run"])
def test_killed_while_the_build_waits(made, phase, released, ended):
    blocker = hold(made, phase)
    process = made.start()
    pid = made.wait_for_phase(phase)
    process.kill()
    process.communicate()
    assert [(r.status.value, r.alive) for r in made.jobs()] == [("running", False)]
    if released == "before the next run":
        blocker.rollback()
        made.wait_for(f"select 1 where not exists (select from pg_stat_progress_create_index where pid = {pid})")
        made.whole()
        return
    second = made.start()
    made.wait_for_event("re-attached")
    blocker.rollback()
    code, report, told = ended(second)
    assert code == 0, told
    built = [s["object"] for s in report["steps"] if s["action"] == "create-index"]
    assert "public.i_a" not in built  # the build that outlived its client was waited for, not made again
    made.whole()


def test_killed_before_the_first_build(made, ended):
    blocker = hold(made, OLD_SNAPSHOT)
    time.sleep(1.1)  # younger transactions are ordinary traffic and not waited for beforehand
    process = made.cli("index", "apply", "--yes", "--wait", "60s", "--file", str(made.file))
    made.wait_for_event("ahead")
    process.kill()
    process.communicate()
    assert made.invalid() == []
    blocker.rollback()
    made.whole()


def test_killed_while_it_builds(made):
    # An index expression slow enough to be met in the phase that reads the table.
    made.db.execute(
        "create function slow(int) returns int language plpgsql immutable as "
        "$$ begin if $1 % 100 = 0 then perform pg_sleep(0.01); end if; return $1; end $$"
    )
    made.wish("create index i_s on t (slow(id));")
    process = made.start()
    made.wait_for_phase("building index")
    process.kill()
    process.communicate()
    made.db.execute(
        "select pg_terminate_backend(pid) from pg_stat_progress_create_index where datname = current_database()"
    )
    made.wait_for("select 1 from pg_index where not indisvalid")
    made.whole()


@pytest.mark.parametrize(
    "after", ["create-parent-index public.i_p", "create-index public.i_p_1", "attach-index public.i_p_1"]
)
def test_killed_between_the_steps_of_a_partitioned_table(made, after):
    made.wish("create index i_p on p (a);")
    action, name = after.split()
    for step in made.plan().steps:
        made.db.execute(step.sql)
        if (step.action, step.object) == (action, name):
            break
    made.whole()


def test_killed_while_a_partition_is_built(made, ended):
    made.wish("create index i_p on p (a);")
    blocker = made.db.connect(autocommit=False)
    blocker.execute("update p_1 set a = 1")
    process = made.start("--max-wait", "30s")
    made.wait_for_phase("waiting for writers before build", "p_1")
    process.kill()
    process.communicate()
    second = made.start()
    made.wait_for("select 1 from pg_inherits where inhrelid = to_regclass('i_p_2_0')")
    blocker.rollback()  # the other partition did not have to wait for the one that is still being built
    code, _, told = ended(second)
    assert code == 0, told
    made.whole()


def test_killed_between_two_partitions(made):
    made.wish("create index i_p on p (a);")
    blocker = made.db.connect(autocommit=False)
    blocker.execute("update p_2_0 set a = 1")
    process = made.start("--max-wait", "30s")
    made.wait_for_phase("waiting for writers before build", "p_2_0")
    process.kill()
    process.communicate()
    blocker.rollback()
    made.wait_for(
        "select 1 where not exists (select from pg_stat_progress_create_index where relid = 'p_2_0'::regclass)"
    )
    first = made.db.execute("select 'i_p_1'::regclass::oid from pg_inherits where inhrelid = 'i_p_1'::regclass")
    assert first  # the first partition's index had been built and attached
    made.whole()
    assert made.db.execute("select 'i_p_1'::regclass::oid") == first  # and was not built again


def test_killed_before_attach(made):
    made.wish("create index i_p on p (a);")
    made.db.execute("create index i_p_1 on p_1 (a)")
    reader = made.db.connect(autocommit=False)
    reader.execute("select from p_1")  # holds ACCESS SHARE on the index; without a snapshot it keeps no build waiting
    process = made.start("--max-wait", "30s")
    made.wait_for("select 1 where to_regclass('dbkit.job_event') is not null")
    made.wait_for("select 1 from dbkit.job_event where event = 'no lock' and detail ->> 'object' = 'public.i_p_1'")
    process.kill()
    process.communicate()
    assert made.db.execute("select indisvalid from pg_index where indexrelid = 'i_p'::regclass") == [(False,)]
    reader.rollback()
    made.whole()


def test_killed_before_it_has_verified(made):
    """The build has ended on the server; dbkit dies before it has looked at the outcome."""
    made.wish("create index i_a on t (a);")
    made.db.execute("create table other (x int)")
    writer = hold(made, "waiting for writers")
    process = made.start()
    made.wait_for_phase("waiting for writers before build")
    holder = made.db.connect(autocommit=False)
    holder.execute("lock table other in access exclusive mode")  # while it lasts, the catalogue cannot be compared
    writer.rollback()
    made.wait_for("select 1 from pg_index where indexrelid = to_regclass('i_a') and indisvalid")
    made.wait_for("select 1 from dbkit.job where note like '%cannot be looked at%'")
    process.kill()
    process.communicate()
    built = made.db.execute("select 'i_a'::regclass::oid")
    holder.rollback()
    made.apply()
    assert made.db.execute("select 'i_a'::regclass::oid") == built  # not built a second time
    assert set(made.states().values()) == {State.OK}
    assert made.plan().steps == ()


def test_parent_steps_never_queue_writers(made, ended):
    """A reader's lock keeps the parent's step from its own; it tries again and never stands in the queue for long."""
    made.wish("create index i_p on p (a);")
    blocker = made.db.connect(autocommit=False)
    blocker.execute("insert into p values (1, 1)")
    process = made.start("--max-wait", "20s")
    made.wait_for_event("no lock")
    longest = 0.0
    for _ in range(40):
        began = time.monotonic()
        made.db.execute("insert into p values (2, 2)")
        longest = max(longest, time.monotonic() - began)
    blocker.rollback()
    assert longest < 1
    assert ended(process)[0] == 0
    made.whole()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_tidies_up(made, number, code, ended):
    blocker = hold(made, "waiting for writers")
    process = made.start()
    pid = made.wait_for_phase("waiting for writers")
    process.send_signal(number)
    made.wait_for(f"select 1 where not exists (select from pg_stat_progress_create_index where pid = {pid})")
    blocker.rollback()
    returned, report, told = ended(process)
    assert returned == code, told
    assert "interrupted" in told
    assert made.invalid() == []
    assert {r["outcome"] for r in report["results"]} <= {"stopped", "pending", "ok"}
    assert [(r.status.value, r.alive) for r in made.jobs()] == [("paused", False)]
    assert made.events("cancelled")
    made.whole()


def test_a_second_signal_leaves_at_once(made, ended):
    blocker = hold(made, "waiting for writers")
    process = made.start()
    made.wait_for_phase("waiting for writers")
    process.send_signal(signal.SIGINT)
    made.wait_for_event("failed")
    process.send_signal(signal.SIGINT)
    code, _, told = ended(process, seconds=10)
    assert code == 130, told
    blocker.rollback()
    made.whole()


@pytest.mark.parametrize("what", ["pause", "abort"])
def test_steered_by_another_process(made, what, ended):
    blocker = hold(made, "waiting for writers")
    process = made.start()
    pid = made.wait_for_phase("waiting for writers")
    number = str(made.jobs()[0].id)
    code, said, told = made.run("job", what, number)
    assert code == 0, told
    assert "was asked to" in said
    made.wait_for(f"select 1 where not exists (select from pg_stat_progress_create_index where pid = {pid})")
    blocker.rollback()
    returned, _, told = ended(process)
    assert returned == 5, told
    assert made.invalid() == []
    code, _, told = made.run("job", "resume", number)
    if what == "abort":
        assert code == 4, told
        assert "aborted" in told
        made.wish(made.file.read_text() + "create index i_c on t (c);")
        made.apply()
        return
    assert code == 0, told
    _, out, _ = made.run("job", "show", number, "--format", "json")
    story = json.loads(out)
    assert [run["outcome"] for run in story["runs"]] == ["paused", "done"]
    assert any(run["blockers"] for run in story["runs"])
    made.apply()
    assert made.invalid() == []


def test_a_job_that_nobody_runs_can_be_resumed_or_aborted(made):
    blocker = hold(made, "waiting for writers")
    process = made.start()
    made.wait_for_phase("waiting for writers")
    process.kill()
    process.communicate()
    blocker.rollback()
    _, out, _ = made.run("job", "list")
    assert "interrupted" in out
    code, _, told = made.run("job", "pause", "1")
    assert code == 4
    assert "nobody runs it" in told
    code, out, told = made.run("job", "resume", "1", "--format", "json")
    assert code == 0, told
    assert json.loads(out)["job"]["id"] == 1
    code, _, told = made.run("job", "abort", "1")
    assert code == 4
    assert "done" in told
    made.whole()


def test_a_second_runner_is_refused_and_told_who_works(made, ended):
    blocker = hold(made, "waiting for writers")
    first = made.start()
    made.wait_for_phase("waiting for writers")
    code, report, told = ended(made.start())
    assert code == 4, told
    assert report is None
    assert f"pid {first.pid}" in told
    assert "job 1, run by" in told
    assert "since 2" in told
    blocker.rollback()
    assert ended(first)[0] == 0
    made.whole()


def test_two_first_users_at_once(made, ended):
    both = [made.start(), made.start()]
    codes = sorted(ended(process)[0] for process in both)
    assert codes in ([0, 0], [0, 4])
    made.apply()
    assert made.invalid() == []
    assert {r.status.value for r in made.jobs()} == {"done"}


def test_a_lost_lock_stops_the_run(made, ended):
    blocker = hold(made, "waiting for writers")
    process = made.start()
    made.wait_for_phase("waiting for writers")
    made.db.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity "
        "where application_name = 'dbkit apply' and datname = current_database()"
    )
    code, _, told = ended(process)
    assert code == 5, told
    assert "lost" in told
    assert [(r.status.value, r.alive) for r in made.jobs()] == [("running", False)]
    blocker.rollback()
    made.whole()
