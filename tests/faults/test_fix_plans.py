"""Plans made by `audit --fix`: carried out once, skipped when done, refused when the object has changed, resumed."""

import json

import psycopg
import pytest

from dbkit import plan as plans


@pytest.fixture
def broken(made):
    """A duplicate to drop, an INVALID index to build again, a foreign key without its index."""
    made.db.execute("create index i_a on t (a)")
    made.db.execute("create index i_a_again on t (a)")
    made.db.execute("create table child (id int primary key, t_id int references t)")
    made.db.execute("insert into child select n, n from generate_series(1, 5000) n")
    blocker = made.db.connect(autocommit=False)
    blocker.execute("update t set a = 1 where id = 1")
    other = made.db.connect()
    other.execute("set lock_timeout = '200ms'")
    with pytest.raises(psycopg.errors.LockNotAvailable):
        other.execute("create index concurrently i_b on t (b)")
    blocker.rollback()
    return made


def fix_plan(made, tmp_path, *select):
    made.wish("create index i_a on t (a);")
    rules = [part for name in select for part in ("--select", name)]
    file = tmp_path / "fix.json"
    code, _, told = made.run("audit", "--file", str(made.file), "--fix", str(file), *rules)
    assert code in (0, 1), told
    return file


ALL = ("pg.index-invalid", "pg.index-duplicate", "pg.index-foreign-key-unindexed")


def indexes(made):
    rows = made.db.execute(
        "select indexrelid::regclass::text, indisvalid from pg_index where indrelid::regclass::text in ('t', 'child')"
    )
    return dict(rows)


def test_a_fix_plan_is_carried_out_and_then_done(broken, tmp_path):
    file = fix_plan(broken, tmp_path, *ALL)
    steps = plans.load(file).steps
    assert {s.action for s in steps} <= {"create-index", "drop-index", "reindex"}
    assert len(steps) >= 3
    code, out, told = broken.run("apply", str(file), "--jobs", "2", "--format", "json")
    assert code == 0, told
    assert {r["outcome"] for r in json.loads(out)["results"]} == {"ok"}
    there = indexes(broken)
    assert all(there.values())
    assert len([n for n in there if n.startswith("i_a")]) == 1
    assert len([n for n in there if n.startswith("child") or "t_id" in n]) >= 2
    code, out, told = broken.run("apply", str(file), "--format", "json")
    assert code == 0, told
    assert {r["outcome"] for r in json.loads(out)["results"]} == {"already done"}
    assert indexes(broken) == there


def test_an_object_that_has_changed_is_refused(broken, tmp_path):
    file = fix_plan(broken, tmp_path, "pg.index-duplicate")
    dropped = plans.load(file).steps[0].object
    broken.db.execute(f"drop index {dropped}")
    broken.db.execute(f"create index {dropped.removeprefix('public.')} on t (b)")
    code, _, told = broken.run("apply", str(file))
    assert code == 4, told
    assert "stale" in told
    assert dropped.removeprefix("public.") in indexes(broken)


@pytest.mark.parametrize("rule", ["pg.index-duplicate", "pg.index-invalid"])
def test_killed_in_a_step_and_carried_out_again(broken, tmp_path, rule):
    file = fix_plan(broken, tmp_path, rule)
    blocker = broken.db.connect(autocommit=False)
    blocker.execute("select count(*) from t")
    blocker.execute("update t set a = 1 where id = 1")
    process = broken.cli("apply", str(file), "--wait", "0s")
    broken.wait_for(
        "select pid from pg_stat_activity where application_name = 'dbkit index build' "
        "and datname = current_database() and wait_event_type = 'Lock'"
    )
    process.kill()
    process.communicate()
    broken.db.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'dbkit%' and datname = current_database()"
    )
    blocker.rollback()
    code, _, told = broken.run("apply", str(file))
    assert code == 0, told
    there = indexes(broken)
    if rule == "pg.index-duplicate":
        assert len([n for n in there if n.startswith("i_a")]) == 1
    else:
        assert there.get("i_b", True)
    assert [n for n in there if "_cc" in n] == []


def test_a_role_that_does_not_own_the_table(broken, tmp_path):
    file = fix_plan(broken, tmp_path, "pg.index-duplicate")
    _, dsn = broken.db.role()
    code, _, told = broken.seen_as(dsn).run("apply", str(file))
    assert code == 3, told
    assert "only its owner" in told


def test_a_plan_of_an_unknown_kind(made, tmp_path):
    plan = made.plan().model_copy(update={"kind": "dance"})
    plan.save(tmp_path / "plan.json")
    code, _, told = made.run("apply", str(tmp_path / "plan.json"))
    assert code == 2, told
    assert "dance" in told
