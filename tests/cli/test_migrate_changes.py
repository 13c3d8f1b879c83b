"""A change at the command line, as a pipeline runs it."""

import json

import pytest

from dbkit import pages
from dbkit.postgres.migrate.changes.kinds import KINDS
from tests.fixtures.program import dbkit

SCHEMA = """
create table users (id bigint primary key, full_name text not null, age int);
insert into users select n, 'n' || n, n % 90 from generate_series(1, 2000) n;
"""


@pytest.fixture
def shop(place):
    place.run(SCHEMA)
    return place


def run(place, *arguments):
    done = dbkit("migrate", *arguments, "--migrations", place.ini, DBKIT_DSN=place.db.dsn)
    assert "Traceback" not in done.stderr
    return done


def data(place, *arguments):
    done = run(place, *arguments, "--format", "json")
    return done.returncode, json.loads(done.stdout)


@pytest.mark.pg(18)
def test_a_pipeline_from_new_to_contract_and_back(shop):
    done = run(shop, "new", "rename-column", "users.full_name", "display_name")
    assert done.returncode == 0, done.stderr
    assert "next: dbkit migrate lint" in done.stdout
    assert "ACCESS EXCLUSIVE" in run(shop, "plan").stdout
    assert "users-full_name-display_name" in run(shop, "status").stdout
    code, plan = data(shop, "plan")
    assert code == 0
    assert [r["phase"] for r in plan["revisions"]] == ["expand", "contract"]
    code, report = data(shop, "deploy", "--phase", "pre")
    assert code == 0, report
    assert report["longest_wait_ms"] > 0
    assert shop.db.execute("select count(*) from users where display_name is distinct from full_name") == [(0,)]
    code, standing = data(shop, "status")
    (change,) = standing["changes"]
    assert (change["phase"], change["next"]) == ("verified", "contract")
    assert change["blocked_by"], "nothing was observed yet"
    code, report = data(shop, "deploy", "--phase", "post")
    assert code == 0
    assert [(f["rule"], f["severity"]) for f in report["findings"]] == [("migrate.contract-waits", "warn")]
    assert run(shop, "contract").returncode == 4
    accepted = [word for b in change["blocked_by"] for word in ("--accept", b["what"])]
    done = run(shop, "deploy", "--phase", "post", *accepted)
    assert done.returncode == 0, done.stdout + done.stderr
    assert data(shop, "status")[1]["changes"][0]["phase"] == "contracted"
    done = run(shop, "rollback", change["id"])
    assert done.returncode == 0, done.stderr
    assert "rollback took" in done.stdout
    assert shop.db.execute("select count(*) from users where display_name is distinct from full_name") == [(0,)]
    kinds = [k for (k,) in shop.db.execute("select kind from dbkit.job order by id desc limit 2")]
    assert "backfill" in kinds, "the old column was filled in batches"


@pytest.mark.pg(18)
@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("rename-colum", "users.age", "x"), 2, "did you mean rename-column?"),
        (("rename-column", "users", "x"), 2, "names no column"),
        (("rename-column", "users.agee", "x"), 2, "did you mean age?"),
        (("rename-column", "user.age", "x"), 2, "did you mean public.users?"),
        (("rename-column", "users.id", "age"), 4, "already"),
        (("rename-column", "users.age", "full_name"), 4, "already"),
        (("change-type", "users.age", "bigint; drop table users"), 2, "error:"),
        (("change-type", "users.age", "nosuch"), 2, "not a type here"),
        (("change-type", "users.full_name", "timestamptz"), 4, "not immutable"),
        (("add-check", "users", "age > (select 1)"), 2, "error:"),
        (("add-column", "users.token", "uuid"), 2, "without --default"),
        (("add-column", "users.seen", "timestamptz", "--default", "now()"), 4, "same for every row"),
        (("add-foreign-key", "users.age", "users"), 4, "make them the same"),
        (("split-column", "users", "--set", "a = full_name", "--back", "full_name = a"), 2, "several --set"),
        (("set-not-null", "users.full_name"), 2, "already"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_written(shop, words, code, told):
    done = run(shop, "new", *words)
    assert done.returncode == code, done.stderr
    assert told in done.stderr
    assert "hint:" in done.stderr or code == 4
    assert list((shop.folder / "versions").glob("*.py")) == []
    assert shop.db.execute("select count(*) from users") == [(2000,)]


def test_the_page_lists_every_kind():
    page = pages.page("changes")
    assert all(f"  {name} " in page for name in KINDS)
    assert not set(KINDS) & set(page.partition("Not yet covered")[2].split("\n\n")[0].split())
