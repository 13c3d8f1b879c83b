"""Plans as files: they survive a round trip, refuse other databases, and print as a script psql accepts."""

import json

import pytest

from dbkit import plan
from dbkit.errors import Refused, UsageError

TARGET = plan.PlanTarget(name="prod", engine="postgres", system="7", database="app", server_version="18.6")
STEP = plan.Step(
    id="1",
    action="create-index",
    object="public.i",
    sql="create index concurrently i on public.t (a)",
    lock="SHARE UPDATE EXCLUSIVE on public.t",
    blocks="nobody who reads or writes",
    undo="drop index concurrently public.i",
    note="two\nlines",
)


def test_round_trip(tmp_path):
    made = plan.Plan(kind="index", target=TARGET, steps=(STEP,))
    made.save(tmp_path / "p.json")
    assert plan.load(tmp_path / "p.json") == made
    data = json.loads((tmp_path / "p.json").read_text())
    assert data["schema"] == 1
    assert {"id", "action", "object", "sql", "lock", "blocks", "undo"} <= set(data["steps"][0])


def test_an_empty_plan_has_an_empty_list():
    assert plan.Plan(kind="index", target=TARGET).json_data()["steps"] == []


def test_script_has_statements_and_commented_undo(tmp_path):
    made = plan.Plan(kind="index", target=TARGET, steps=(STEP,))
    made.save(tmp_path / "p.sql")
    script = (tmp_path / "p.sql").read_text()
    runnable = [line for line in script.splitlines() if line and not line.startswith(("--", "\\"))]
    assert runnable == [f"{STEP.sql};"]
    assert f"-- {STEP.undo};" in script


def test_another_database_is_refused():
    made = plan.Plan(kind="index", target=TARGET)
    made.refuse_elsewhere("7", "app")
    for place in (("8", "app"), ("7", "other")):
        with pytest.raises(Refused, match="another database"):
            made.refuse_elsewhere(*place)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        "3",
        '{"schema": 9}',
        '{"schema": 1, "kind": "index"}',
        "not json",
        '{"schema":1,"kind":"x","target":{},"steps":{}}',
    ],
)
def test_what_is_no_plan_is_refused(tmp_path, text):
    (tmp_path / "p.json").write_text(text)
    with pytest.raises(UsageError):
        plan.load(tmp_path / "p.json")


def test_binary_and_missing_files(tmp_path):
    (tmp_path / "p.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="not a plan"):
        plan.load(tmp_path / "p.json")
    with pytest.raises(UsageError, match="cannot read"):
        plan.load(tmp_path / "q.json")
