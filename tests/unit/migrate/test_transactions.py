"""Who opens the transaction, what is held in it, and what may not run there."""

import pytest

from dbkit.model import Severity
from dbkit.postgres.migrate.source import make, read_paths
from dbkit.postgres.migrate.transactions import Wrap
from tests.fixtures.migrations import hazards, report


@pytest.mark.parametrize(
    ("name", "text", "kind", "wrap", "one_message"),
    [
        ("m.sql", "select 1", "plain", Wrap.UNKNOWN, False),
        ("V2__x.sql", "select 1", "flyway", Wrap.YES, False),
        ("1_x.sql", "-- migrate:up\nselect 1;\n-- migrate:down\ndrop table t;", "dbmate", Wrap.YES, False),
        ("1_x.sql", "-- migrate:up transaction:false\nselect 1;", "dbmate", Wrap.NO, True),
        ("1_x.sql", "-- +goose Up\nselect 1;\n-- +goose Down\ndrop table t;", "goose", Wrap.YES, False),
        ("1_x.sql", "-- +goose NO TRANSACTION\n-- +goose Up\nselect 1;", "goose", Wrap.NO, False),
        ("0001_x.up.sql", "select 1", "golang-migrate", Wrap.NO, True),
        ("1_x.sql", "-- no-transaction\nselect 1", "sqlx", Wrap.NO, True),
        ("d.sql", "BEGIN;\n--\n-- Create model A\n--\nCREATE TABLE a (id int);\nCOMMIT;", "django", Wrap.NO, False),
        ("m.sql", "-- dbkit: no-transaction\nselect 1", "plain", Wrap.NO, False),
        ("m.sql", "-- squawk-disable-assume-in-transaction\nselect 1", "plain", Wrap.NO, False),
    ],
)
def test_each_tool_is_known_by_its_marks(tmp_path, name, text, kind, wrap, one_message):
    file = tmp_path / name
    file.write_text(text)
    script = make(str(file), text, file)
    assert (script.kind, script.wrap, script.one_message) == (kind, wrap, one_message)
    assert "drop table" not in script.text
    assert script.text.count("\n") == text.count("\n")


@pytest.mark.parametrize(
    ("folder", "settings", "kind", "wrap"),
    [
        ("migrations/2026-01-02-030405_users", "", "diesel", Wrap.YES),
        ("migrations/20260102030405_users", "run_in_transaction = false\n", "diesel", Wrap.NO),
        ("migrations/default/1767322800000_users", "", "hasura", Wrap.YES),
    ],
)
def test_a_folder_with_up_and_down_runs_up(tmp_path, folder, settings, kind, wrap):
    place = tmp_path / folder
    place.mkdir(parents=True)
    (place / "up.sql").write_text("select 1;")
    (place / "down.sql").write_text("drop table users;")
    if settings:
        (place / "metadata.toml").write_text(settings)
    (script,) = read_paths([tmp_path])
    assert (script.path.name, script.kind, script.wrap, script.one_message) == ("up.sql", kind, wrap, wrap is Wrap.NO)


CIC = "create index concurrently i on t (a);"


@pytest.mark.parametrize(
    ("text", "options", "refused"),
    [
        (CIC, {}, False),
        (CIC, {"assume": True}, True),
        (f"begin; {CIC} commit;", {"assume": False}, True),
        (f"begin; select 1; commit; {CIC}", {}, False),
        (f"-- migrate:up\n{CIC}", {}, True),
        (f"-- migrate:up transaction:false\n{CIC}", {}, False),
        (f"-- migrate:up transaction:false\n{CIC}\nselect 1;", {}, True),
        ("do $$ begin execute 'vacuum t'; end $$;", {}, True),
        (f"-- dbkit: no-transaction\n{CIC} select 1;", {"assume": True}, False),
        ("vacuum t;", {"assume": True}, True),
        ("drop index concurrently i;", {"assume": True}, True),
        ("alter table m detach partition p concurrently;", {"assume": True}, True),
        ("create database x;", {"assume": True}, True),
    ],
)
def test_what_refuses_a_transaction(text, options, refused):
    assert ("not-in-transaction" in hazards(text, **options)) is refused


def test_flyway_leaves_its_transaction_out_only_if_every_statement_refuses_one(tmp_path):
    alone, mixed = tmp_path / "V1__a.sql", tmp_path / "V2__b.sql"
    for file, text in ((alone, CIC), (mixed, f"{CIC} alter table t add column b int;")):
        file.write_text(text)
        found = hazards(text, name=str(file))
        assert ("not-in-transaction" in found) is (file is mixed)
    (tmp_path / "V2__b.sql.conf").write_text("executeInTransaction=false\n")
    assert "not-in-transaction" not in hazards(mixed.read_text(), name=str(mixed))


LONG = "alter table t add column b int; update t set b = 1 where a = 2;"


@pytest.mark.parametrize(
    ("options", "severity"), [({}, Severity.INFO), ({"assume": True}, Severity.WARN), ({"assume": False}, None)]
)
def test_a_file_of_unknown_runner_is_judged_more_mildly(options, severity):
    found = [f for f in report(LONG, **options).active if f.rule == "migrate.statement-under-access-exclusive"]
    assert [f.severity for f in found] == ([severity] if severity else [])


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("begin; alter table t add a int; update alembic_version set version_num = 'b'; commit;", False),
        ("begin; alter table t add a int; alter table t add constraint k check (a > 0) not valid; commit;", False),
        ("begin; create table t (a int); insert into t select 1; commit;", False),
        ("begin; alter table t add a int; create index on t (a); commit;", True),
        ("begin; alter table t add a int; savepoint s; select count(*) from u; commit;", True),
        ("begin; alter table t add a int; commit; update u set a = 1 where a = 2;", False),
        ("begin; alter table t validate constraint c; update t set a = 1 where a = 2; commit;", False),
    ],
)
def test_what_runs_under_access_exclusive(text, found):
    assert ("statement-under-access-exclusive" in hazards(text)) is found


def test_nesting_and_endings():
    assert "nested-begin" in hazards("begin; begin; commit;")
    assert "nested-begin" in hazards("begin; select 1; commit;", assume=True)
    assert "commit-without-begin" in hazards("begin; commit; commit;")
    assert "transaction-left-open" in hazards("select 1; begin; select 2;")
    (open_,) = [f for f in report("select 1;\nbegin;\nselect 2;").active if f.rule == "migrate.transaction-left-open"]
    assert open_.location.line == 2
    assert hazards("start transaction; savepoint s; rollback to s; release s; end;") == set()


def test_a_limit_set_for_the_transaction_ends_with_it():
    from tests.fixtures.migrations import rules

    local = "begin; set local lock_timeout = '2s'; alter table t add a int; commit;"
    assert "no-lock-timeout" not in rules(local)
    assert "no-lock-timeout" in rules(local + "alter table t add b int;")
    assert "no-lock-timeout" not in rules("set lock_timeout to 2000; alter table t add a int;")
    assert "no-lock-timeout" in rules("set lock_timeout = 0; alter table t add a int;")
    assert "no-lock-timeout" in rules("set lock_timeout = '1s'; reset lock_timeout; alter table t add a int;")
