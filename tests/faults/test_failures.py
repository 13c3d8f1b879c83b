"""Builds that fail on the server: each with the right exit code, a word that helps, no remains, and a way on."""

import threading
import time

import psycopg
import pytest

from dbkit.errors import Broken, Stopped
from dbkit.postgres.apply import Knobs
from dbkit.postgres.indexes.states import State
from dbkit.postgres.indexes.watch import Limits


def test_duplicate_rows_under_a_unique_build(made):
    made.db.execute("insert into t values (0, 0, 1), (-1, 0, 1), (-2, 0, 7), (-3, 0, null), (-4, 0, null)")
    applied = made.apply()
    assert isinstance(applied.error, Broken)
    assert "5 rows share 2 values" in applied.error.what
    assert "23505" in applied.error.why
    query = applied.error.hint.partition("to see them: ")[2]
    assert sorted(made.db.execute(query)) == [(1, 3), (7, 2)]
    assert made.invalid() == []
    # What does not depend on it was built all the same.
    assert made.states() == {"i_a": State.OK, "i_b": State.MISSING, "i_p": State.OK}
    assert made.run("index", "apply", "--yes", "--file", str(made.file))[0] == 6
    made.db.execute("delete from t where id <= 0")
    made.whole()


def test_duplicates_under_an_expression_and_a_predicate(made):
    made.wish("create unique index i_u on t ((a / 2), lower(c), (7)) where b < 3;")
    made.db.execute("update t set a = 1, c = 'X' where id in (1, 2)")
    applied = made.apply()
    assert "2 rows share 1 value" in applied.error.what
    assert made.db.execute(applied.error.hint.partition("to see them: ")[2]) == [(0, "x", 7, 2)]


@pytest.mark.parametrize(
    ("wish", "state", "words", "mend"),
    [
        ("create index i_x on t ((100 / a));", "22012", "expression fails", "update t set a = 1 where a = 0"),
        ("create index i_x on t (c);", "54000", "md5", "update t set c = '' where length(c) > 2000"),
    ],
)
def test_a_row_that_cannot_be_indexed(made, wish, state, words, mend):
    made.wish(wish)
    made.db.execute(
        "update t set c = (select string_agg(md5(n::text), '') from generate_series(1, 500) n) where id = 7"
    )
    made.db.execute("alter table t alter column c set storage external")
    applied = made.apply()
    assert isinstance(applied.error, Broken)
    assert state in applied.error.why
    assert words in applied.error.hint
    assert made.invalid() == []
    made.db.execute(mend)
    made.whole()


def test_cancelled_by_somebody_else(made, ended):
    blocker = made.db.connect(autocommit=False)
    blocker.execute("update t set a = 1 where id = 1")
    process = made.start()
    pid = made.wait_for_phase("waiting for writers before build")
    made.db.execute("select pg_cancel_backend(%s)", pid)
    made.wait_for_event("failed")
    blocker.rollback()
    code, report, told = ended(process)
    assert code == 5, told
    assert "57014" in told
    assert "cancelled" in told
    assert {f["rule"] for f in report["findings"]} <= {"pg.index-missing", "pg.index-invalid"}
    made.whole()


def test_terminated_by_somebody_else(made, ended):
    blocker = made.db.connect(autocommit=False)
    blocker.execute("update t set a = 1 where id = 1")
    process = made.start("--jobs", "2")
    pid = made.wait_for_phase("waiting for writers before build")
    made.db.execute("select pg_terminate_backend(%s)", pid)
    made.wait_for_event("failed")
    blocker.rollback()
    code, report, told = ended(process)
    assert code == 5, told
    assert "connection to the server was lost" in told
    # Only the one session was ended: the other indexes are there.
    assert {r["object"]: r["outcome"] for r in report["results"]} == {"i_a": "stopped", "i_b": "ok", "i_p": "ok"}
    made.whole()


def test_waiting_too_long_for_others_is_given_up(made):
    blocker = made.db.connect(autocommit=False)
    blocker.execute("set application_name = 'monthly report'")
    blocker.execute("update t set a = 1 where id = 1")
    seen = []
    threading.Timer(3.5, blocker.rollback).start()
    applied = made.apply(Knobs(jobs=1, limits=Limits(wait=0, max_wait=1, deadline=60)))
    assert isinstance(applied.error, Stopped)
    assert "monthly report" in applied.error.why
    assert {r["outcome"] for r in applied.report.extra["results"]} <= {"ok", "stopped"}
    assert max(s["waited"] for s in applied.report.extra["steps"]) >= 1
    seen = made.events("waited")
    assert seen[0]["blocker"]["application"] == "monthly report"
    made.whole()


def test_no_room_for_the_sort(made):
    """A disk that is full, as far as one can be had here: temp_file_limit gives the same class of error."""
    made.wish("create index i_c on t (c);")
    made.db.execute(f"alter database {made.db.name} set temp_file_limit = '64kB'")
    made.db.execute(f"alter database {made.db.name} set maintenance_work_mem = '1MB'")
    applied = made.apply()
    assert applied.error.exit_code in (5, 6)
    assert "temp_file_limit" in applied.error.why
    assert made.invalid() == []
    made.db.execute(f"alter database {made.db.name} reset temp_file_limit")
    made.whole()


def test_the_deadline_cancels(made):
    made.db.execute(
        "create function slow(int) returns int language plpgsql immutable as "
        "$$ begin if $1 % 100 = 0 then perform pg_sleep(0.05); end if; return $1; end $$"
    )
    made.wish("create index i_s on t (slow(id));")
    applied = made.apply(Knobs(limits=Limits(deadline=1)))
    assert isinstance(applied.error, Stopped)
    assert "deadline of 1.0 s" in applied.error.why
    assert made.invalid() == []
    made.db.execute("create or replace function slow(int) returns int language sql immutable as 'select $1'")
    made.whole()


def test_old_snapshots_are_waited_for_before_the_build(made):
    blocker = made.db.connect(autocommit=False)
    blocker.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    blocker.execute("select 1 from p")
    time.sleep(1.1)
    threading.Timer(2, blocker.rollback).start()
    applied = made.apply(Knobs(jobs=2, limits=Limits(wait=30)))
    assert applied.error is None
    looked = made.events("looked ahead")
    assert looked
    assert {e["then"] for e in looked} == {"they have ended"}
    assert made.events("ahead")[0]["blocker"]["state"] == "idle in transaction"


def test_ordinary_readers_of_other_tables_are_not_waited_for(made):
    blocker = made.db.connect(autocommit=False)
    blocker.execute("update p set a = 0 where id = 1")  # writes another table, and holds no snapshot afterwards
    time.sleep(1.1)
    made.wish("create index i_a on t (a);")
    applied = made.apply(Knobs(limits=Limits(wait=30)))
    assert applied.error is None
    assert made.events("ahead") == []
    blocker.rollback()


def test_a_prepared_transaction_is_named(made):
    holder = made.db.connect(autocommit=False)
    holder.execute("update t set a = 1 where id = 1")
    holder.execute("prepare transaction 'forgotten'")
    try:
        time.sleep(1.1)
        applied = made.apply(Knobs(limits=Limits(wait=1, max_wait=2)))
    finally:
        made.db.execute("rollback prepared 'forgotten'")
    assert isinstance(applied.error, Stopped)
    assert "forgotten" in str(made.events("ahead"))
    assert "prepared transaction" in applied.error.why
    made.whole()


def test_timeouts_of_the_role_do_not_end_a_build(made, ended):
    name, dsn = made.role()
    for setting in ("lock_timeout = '50ms'", "statement_timeout = '200ms'", "idle_session_timeout = '300ms'"):
        made.db.execute(f"alter role {name} set {setting}")
    if made.db.server.version >= 170000:
        made.db.execute(f"alter role {name} set transaction_timeout = '250ms'")
    made.db.execute(f"alter database {made.db.name} set idle_in_transaction_session_timeout = '100ms'")
    blocker = made.db.connect(autocommit=False)
    blocker.execute("set idle_in_transaction_session_timeout = 0")
    blocker.execute("update t set a = 1 where id = 1")
    process = made.seen_as(dsn).start()
    made.wait_for_phase("waiting for writers before build")
    time.sleep(1)
    blocker.rollback()
    code, _, told = ended(process)
    assert code == 0, told
    made.whole()


def test_rights_revoked_in_the_middle(made, ended):
    name, dsn = made.role()
    made.wish("create index i_a on t (a); create index i_c on t (c);")
    blocker = made.db.connect(autocommit=False)
    blocker.execute("update t set a = 1 where id = 1")
    process = made.seen_as(dsn).start()
    made.wait_for_phase("waiting for writers before build")
    made.db.execute(f"revoke create on schema public from {name}")
    blocker.rollback()
    code, report, told = ended(process)
    assert code == 5, told
    assert "42501" in told
    assert {r["object"]: r["outcome"] for r in report["results"]} == {"i_a": "ok", "i_c": "stopped"}
    made.db.execute(f"grant create on schema public to {name}")
    made.seen_as(dsn).whole()


def test_without_seeing_other_sessions(made, ended):
    """A role without pg_read_all_stats builds all the same, and says what it could not see."""
    _, dsn = made.role()
    blocker = made.db.connect(autocommit=False)
    blocker.execute("set application_name = 'importer'")
    blocker.execute("update t set a = 1 where id = 1")
    process = made.seen_as(dsn).start("--max-wait", "1s")
    made.wait_for_event("cancelled")
    blocker.rollback()
    code, _, told = ended(process)
    assert code == 5, told
    assert "importer" in told
    assert "hidden from this role" in told
    made.seen_as(dsn).whole()


def test_a_deadlock_is_tried_again(made, ended):
    made.wish("create index i_a on t (a);")
    writer = made.db.connect(autocommit=False)
    writer.execute("update t set a = 1 where id = 1")
    process = made.start()
    made.wait_for_phase("waiting for writers before build")
    # Now the writer wants a lock that the build holds: one of the two is the victim.
    try:
        writer.execute("alter table t alter column a set statistics 10")
        writer.commit()
    except psycopg.errors.DeadlockDetected:
        writer.rollback()
    code, _, told = ended(process)
    assert code == 0, told
    made.whole()


def test_the_name_is_taken_in_the_middle(made, ended):
    made.wish("create index i_a on t (a); create index i_c on t (c);")
    blocker = made.db.connect(autocommit=False)
    blocker.execute("update t set a = 1 where id = 1")
    process = made.start()
    made.wait_for_phase("waiting for writers before build")
    made.db.execute("create table i_c (x int)")
    blocker.rollback()
    code, _, told = ended(process)
    assert code == 6, told
    assert "i_c" in told
    assert made.db.execute("select relkind::text from pg_class where relname = 'i_c'") == [("r",)]
    made.db.execute("drop table i_c")
    made.whole()


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_the_server_restarts_during_a_build(own_server, database_on, made_on, mode, ended):
    running = own_server({})
    made = made_on(database_on(running))
    blocker = psycopg.connect(made.db.dsn)
    blocker.execute("insert into t values (-1, 1, -1)")
    process = made.start("--jobs", "2")
    made.wait_for_phase("waiting for writers before build")
    running.restart(mode)
    code, _, told = ended(process)
    assert code == 5, told
    assert "lost" in told
    assert "Traceback" not in told
    blocker.close()
    made.whole()


def test_leftovers_of_a_reindex_are_named(made):
    made.db.execute("create index i_a on t (a)")
    blocker = made.db.connect(autocommit=False)
    blocker.execute("update t set a = 1 where id = 1")
    other = made.db.connect()
    other.execute("set lock_timeout = '200ms'")
    with pytest.raises(psycopg.errors.LockNotAvailable):
        other.execute("reindex index concurrently i_a")
    blocker.rollback()
    applied = made.apply()
    assert applied.report.extra["leftovers"] == [
        "public.i_a_ccnew: an unfinished copy of i_a; drop index concurrently public.i_a_ccnew"
    ]
    assert made.invalid() == ["i_a_ccnew"]  # not ours: named, never dropped silently


def test_a_table_locked_by_somebody_is_waited_for(made, ended):
    made.db.execute("create table other (x int)")
    plan = made.plan()
    writer = made.db.connect(autocommit=False)
    writer.execute("update t set a = 1 where id = 1")
    plan.save(made.file.with_suffix(".json"))
    process = made.cli("apply", str(made.file.with_suffix(".json")), "--wait", "0s", "--format", "json")
    made.wait_for_phase("waiting for writers before build")
    holder = made.db.connect(autocommit=False)
    holder.execute("lock table other in access exclusive mode")
    writer.rollback()
    made.wait_for("select 1 from dbkit.job where note like '%cannot be looked at%'")
    holder.rollback()
    code, _, told = ended(process)
    assert code == 0, told
    holder.execute("lock table other in access exclusive mode")
    code, _, told = made.run("apply", str(made.file.with_suffix(".json")))
    holder.rollback()
    assert code == 4, told
    assert "locked" in told


def test_no_row_and_no_output_holds_a_password(made, ended):
    name, dsn = made.role()
    made.db.execute(f"grant pg_read_all_stats to {name}")
    secret = dsn.split(":")[2].split("@")[0]
    blocker = made.db.connect(autocommit=False)
    blocker.execute("update t set a = 1 where id = 1")
    blocker.execute(f"alter role {name} valid until 'infinity' connection limit 20 password '{secret}'")
    process = made.seen_as(dsn).start("--max-wait", "1s")
    made.wait_for_event("cancelled")
    blocker.rollback()
    _, report, told = ended(process)
    _, shown, _ = made.run("job", "show", "1")
    rows = [made.db.execute(f"select * from dbkit.{table}") for table in ("job", "run", "job_event", "run_history")]
    assert "alter role" in str(rows)  # the blocker's statement is told, without its secret
    for text in (str(rows), str(report), told, shown):
        assert secret not in text
