"""Lists of libraries and folders on their way into a patch or a statement: what was there keeps its case and its place."""

import pytest

from dbkit.plan import Plan, PlanTarget
from dbkit.policy import Policy
from dbkit.postgres.conf import parameters
from dbkit.postgres.conf.checks import elements, joined
from dbkit.postgres.settings import dialects, documents, offline, steps
from dbkit.postgres.settings.rules.declare import Change
from dbkit.postgres.settings.scene import Held, Scene, Size
from dbkit.rules import Selection

WHERE = PlanTarget(name="x", engine="postgres", system="1", database="x", server_version="18.0")
LIBRARIES = "shared_preload_libraries"


@pytest.mark.parametrize(
    ("value", "parts"),
    [
        ("", []),
        ("a, b", ["a", "b"]),
        ("$libdir/MyLib,b", ["$libdir/MyLib", "b"]),
        ('"a,b", c', ["a,b", "c"]),
        ("a b, c ", ["a b", "c"]),
        ("a,,b", None),
        ("a,", None),
        ('"a', None),
    ],
)
def test_libraries_are_split_as_the_server_splits_them(value, parts):
    assert elements(LIBRARIES, value) == parts
    if parts is not None:
        assert elements(LIBRARIES, joined(parts)) == parts


def test_names_are_folded():
    assert elements("search_path", '"$user", Public') == ["$user", "public"]


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ("$libdir/MyLib", "$libdir/MyLib, pg_stat_statements"),
        ('"a,b"', '"a,b", pg_stat_statements'),
        ("a,,pg_stat_statements", "a, pg_stat_statements"),
    ],
)
def test_the_patch_keeps_what_was_there(value, wanted, tmp_path):
    file = tmp_path / "postgresql.conf"
    file.write_text(f"{LIBRARIES} = '{value}'\n")
    scene = offline.scene_of(file, 18, Size(16 * 2**30, 4), documents.load())
    answer = offline.audit(scene, Policy(), Selection(select=("pg.setting-off-policy",)))
    assert f"+{LIBRARIES} = '{wanted}'" in answer.patch(answer.report.findings)


def test_a_statement_keeps_the_case():
    said = dialects.statement(18, Change(LIBRARIES, "$libdir/MyLib, b"))
    assert said == f"alter system set {LIBRARIES} = '$libdir/MyLib', 'b'"


@pytest.mark.parametrize(
    ("file", "undo"),
    [
        ("/data/postgresql.auto.conf", "alter system set work_mem = '8MB'"),
        ("/data/postgresql.conf", "alter system reset work_mem"),
        (None, "alter system reset work_mem"),
    ],
)
def test_what_alter_system_had_set_comes_back(file, undo):
    held = Held(parameters.load(18)["work_mem"], "8192", "configuration file", file, 1)
    scene = Scene("x", 18, Size(), {"work_mem": held}, documents.load())
    plan = steps.extend(Plan(kind="fix", target=WHERE), scene, [Change("work_mem", "4096")])
    assert plan.steps[0].undo == undo
