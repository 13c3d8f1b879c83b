"""A change by its commands, as a pipeline runs them: backfill, verify, the gate, contract; and where it stands between."""

import json

import pytest


@pytest.fixture
def place(place):
    place.run(
        "create table users (id bigint primary key, full_name text not null, updated int not null default 0);"
        "insert into users select n, 'name ' || n from generate_series(1, 3000) n; analyze users;"
        "create function touch() returns trigger language plpgsql as $$begin new.updated := old.updated + 1; return new; end$$;"
        "create trigger touch before update on users for each row execute function touch();"
        "create extension pg_stat_statements"
    )
    return place


def run(place, *arguments, code=0):
    process = place.cli(*arguments)
    out, told = process.communicate(timeout=120)
    assert process.returncode == code, (out, told)
    return json.loads(out) if "json" in arguments else told + out


def test_backfill_verify_gate_contract(place):
    name = place.new("rename-column", "users.full_name", "display_name")
    assert "expand" in run(place, "backfill", name, code=4)
    run(place, "expand")
    assert "differ" in run(place, "verify", name, code=1)
    outline = run(place, "backfill", name, "--dry-run")
    assert "ranges of pages" in outline
    told = run(place, "backfill", name, "--format", "json")
    (facts,) = told["backfills"]
    assert (facts["change"], facts["rows_filled"], facts["complete"]) == (name, 3000, True)
    assert place.db.execute("select sum(updated) from users") == [(0,)]  # the table's own trigger was not woken
    (entry,) = place.status()
    assert (entry["phase"], entry["next"], entry["rows_done"], entry["rows_total"]) == (
        "expanded",
        "verify",
        3000,
        3000,
    )
    told = run(place, "verify", name, "--format", "json")
    assert told["verified"] is True
    assert told["verifications"][0]["rows"] == 3000
    (entry,) = place.status()
    assert (entry["phase"], entry["next"]) == ("verified", "contract")
    assert [b["what"] for b in entry["blocked_by"]] == ["observation"]
    place.db.execute("select full_name from users where id = 1")
    place.db.execute("create view v as select full_name from users")
    refused = run(place, "contract", name, "--window", "1ms", code=4)
    assert "select full_name from users where id = $1" in refused or "observation" in refused
    assert "view public.v" in refused
    assert "--accept" in refused
    place.db.execute("drop view v")
    run(place, "contract", name, "--accept", "observation", "--accept", "statement")
    (entry,) = place.status()
    assert (entry["phase"], entry["next"], entry["blocked_by"]) == ("contracted", "", [])
    accepted = {w for (w,) in place.db.execute("select split_part(what, ':', 1) from dbkit.gate_accept")}
    assert accepted == {"observation", "statement"}
    assert place.db.execute("select count(*) from users where display_name = 'name ' || id") == [(3000,)]


def test_all_that_are_due(place):
    first = place.new("rename-column", "users.full_name", "display_name")
    run(place, "expand")
    told = run(place, "backfill", "--format", "json")
    assert [b["change"] for b in told["backfills"]] == [first]
    run(place, "verify")
    told = run(place, "backfill", "--format", "json")
    assert told["summary"]["error"] == 0


@pytest.mark.pg(18)
@pytest.mark.parametrize(
    "arguments",
    [
        ("x", "--table", "t", "--set", "a = 1"),
        ("--table", "t"),
        ("--set", "a = 1"),
        ("x", "--where", "a"),
    ],
)
def test_a_backfill_fills_one_thing(place, arguments):
    assert "name a change" in run(place, "backfill", *arguments, code=2) or "--where" in arguments
