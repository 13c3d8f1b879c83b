"""What `index apply` does when nothing goes wrong, and what it refuses before it changes anything."""

import json

import psycopg
import pytest

from dbkit.errors import Refused, Unreachable
from dbkit.postgres.apply import Knobs, apply
from dbkit.postgres.indexes.states import State


def test_from_nothing_to_everything(made):
    applied = made.apply()
    assert applied.error is None
    assert {r["outcome"] for r in applied.report.extra["results"]} == {"ok"}
    assert set(made.states().values()) == {State.OK}
    assert [p.sentence for p in applied.report.passed] == ["All 3 wanted indexes are there, valid and equal"]
    steps = applied.report.extra["steps"]
    assert {s["outcome"] for s in steps} == {"done"}
    assert [s["action"] for s in steps if s["table"] == "public.p"][:2] == ["create-parent-index"] * 2
    events = {name for (name,) in made.db.execute("select event from dbkit.job_event")}
    assert {"started", "step", "done", "verified", "outcome"} <= events
    history = made.db.execute("select role, outcome, length(plan_hash), finished is not null from dbkit.run_history")
    assert history == [("postgres", "done", 16, True)]


def test_once_more_changes_nothing(made):
    made.apply()
    before = made.db.execute("select indexrelid from pg_index order by 1")
    code, out, _ = made.run("index", "apply", "--yes", "--file", str(made.file), "--format", "json")
    assert code == 0
    assert json.loads(out)["steps"] == []
    assert made.db.execute("select indexrelid from pg_index order by 1") == before


def test_expression_indexes_get_statistics(made):
    made.wish("create index i_c on t (upper(c));")
    made.whole()
    assert made.db.execute("select count(*) from pg_stats where tablename = 'i_c'") == [(1,)]


def test_leaf_steps_that_are_done_are_skipped(made):
    made.db.execute("create index i_p on only p (a)")
    made.db.execute("create index i_p_1 on p_1 (a)")
    made.db.execute("alter index i_p attach partition i_p_1")
    applied = made.apply()
    assert applied.error is None
    assert not [s for s in applied.report.extra["steps"] if "i_p_1" in s["object"]]
    assert set(made.states().values()) == {State.OK}


def test_another_definition_is_left_alone(made):
    made.db.execute("create index i_a on t (b)")
    applied = made.apply()
    assert made.states() == {"i_a": State.OTHER_DEFINITION, "i_b": State.OK, "i_p": State.OK}
    assert [p.rule for p in made.plan().problems] == ["pg.index-other-definition"]
    assert [f.rule for f in applied.report.findings] == ["pg.index-other-definition"]
    assert made.run("index", "apply", "--yes", "--file", str(made.file))[0] == 1


def test_invalid_unique_that_already_rejects_rows(made):
    blocker = made.db.connect(autocommit=False)
    blocker.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    blocker.execute("select 1 from p")
    builder = made.db.connect()
    builder.execute("set lock_timeout = '300ms'")
    with pytest.raises(psycopg.errors.LockNotAvailable):
        builder.execute("create unique index concurrently i_b on t (b)")
    assert made.states()["i_b"] is State.INVALID_ENFORCING
    blocker.rollback()
    made.whole()


def test_a_plan_that_time_has_overtaken_is_refused(made, tmp_path):
    plan = made.plan()
    plan.save(tmp_path / "plan.json")
    made.db.execute("create index i_a on t (b)")
    with pytest.raises(Refused, match="i_a"):
        apply(plan, made.target, Knobs(), lambda record, tick: None)
    code, _, told = made.run("apply", str(tmp_path / "plan.json"))
    assert code == 4, told
    assert "stale" in told
    assert made.db.execute("select to_regclass('dbkit.job')") == [(None,)]


def test_the_table_has_gone_since(made):
    plan = made.plan()
    made.db.execute("drop table p")
    with pytest.raises(Refused, match="stale"):
        apply(plan, made.target, Knobs(), lambda record, tick: None)


def test_without_the_right_nothing_is_tried(made):
    _, dsn = made.db.role()
    made.db.execute("grant select on t, p to public")
    code, _, told = made.seen_as(dsn).run("index", "apply", "--yes", "--file", str(made.file))
    assert code == 3, told
    assert "only its owner" in told
    assert "hint: connect as a member" in told


def test_without_create_on_the_schema(made):
    name, dsn = made.role()
    made.db.execute(f"revoke create on schema public from {name}")
    code, _, told = made.seen_as(dsn).run("index", "apply", "--yes", "--file", str(made.file))
    assert code == 3, told
    assert f"grant create on schema public to {name}" in told


def test_without_a_place_for_its_state(made):
    name, dsn = made.role()
    made.db.execute(f"revoke create on database {made.db.name} from {name}")
    with pytest.raises(Unreachable) as held:
        made.seen_as(dsn).apply()
    assert held.value.hint == f"grant create on database {made.db.name} to {name}"
    made.db.execute(held.value.hint)
    assert made.seen_as(dsn).apply().error is None


def test_state_of_another_role(made):
    made.apply()
    made.wish("create index i_c on t (c);")
    _, dsn = made.role()
    with pytest.raises(Unreachable) as held:
        made.seen_as(dsn).apply()
    for grant in held.value.hint.split("; "):
        made.db.execute(grant)
    assert made.seen_as(dsn).apply().error is None
    assert [r.runner for r in made.jobs()]


def test_through_a_pooler_it_is_refused(made, pgbouncer):
    pooler = pgbouncer(made.db.server)
    code, _, told = made.seen_as(pooler.dsn_for(made.db.name)).run("index", "apply", "--yes", "--file", str(made.file))
    assert code == 4, told
    assert "PgBouncer" in told
    assert "5432" in told


def test_on_a_standby_it_is_refused(own_server, replica, database_on, made_on, tmp_path):
    primary = own_server({"wal_level": "replica"})
    made = made_on(database_on(primary))
    made.plan().save(tmp_path / "plan.json")
    standby = replica(primary)
    there = made.seen_as(standby.dsn_for(made.db.name))
    there.wait_for("select 1 from pg_class where relname = 'p_2_0'")
    wishes = ("--file", str(made.file))
    plan, build, look = ("index", "plan", *wishes), ("index", "apply", "--yes", *wishes), ("index", "status", *wishes)
    for command in (("apply", str(tmp_path / "plan.json")), plan, build, look):
        code, out, told = there.run(*command)
        assert (code, out) == (4, ""), command
        assert told.startswith("error: this server is a standby\n")
        assert told.count("error:") == 1
    # Health can be judged there; what cannot is skipped, never passed.
    code, out, told = there.run("audit", "--select", "pg.index", "--format", "json", *wishes)
    assert code == 0, told + out
    report = json.loads(out)
    assert {s["rule"] for s in report["skipped"]} >= {"pg.index-missing", "pg.index-other-definition"}
    assert {f["rule"] for f in report["findings"]} == {"pg.index-not-visible"}
    assert not {p["rule"] for p in report["passed"]} & {"pg.index-missing", "pg.index-other-definition"}
    made.whole()


def test_status_and_plan_as_json(made):
    code, out, _ = made.run("index", "status", "--format", "json", "--file", str(made.file))
    rows = json.loads(out)["indexes"]
    assert code == 1
    assert {r["state"] for r in rows} == {"missing"}
    assert {"name", "table", "state", "valid", "definition"} <= set(rows[0])
    made.apply()
    _, out, _ = made.run("index", "plan", "--format", "json", "--file", str(made.file))
    assert json.loads(out)["steps"] == []
