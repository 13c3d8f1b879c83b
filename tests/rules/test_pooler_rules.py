"""Every rule about PgBouncer finds its bad example, finds nothing in its good one, and its edits mend what it found."""

import shutil
import subprocess

import pytest

from dbkit.capacity import ServerFacts
from dbkit.pgbouncer import audit, demand, documents
from dbkit.pgbouncer.ini import parameters
from dbkit.pgbouncer.patch import apply_edits, patch
from dbkit.pgbouncer.rules import FLEET_RULES, POOLER_RULES, reading, timeouts
from dbkit.policy import Policy
from dbkit.rules import REGISTRY
from tests.rules import pooler_example

RULES = pytest.mark.parametrize("rule", POOLER_RULES, ids=lambda r: r.id)


@RULES
def test_the_bad_example_is_found(rule, tmp_path):
    report = pooler_example.run(tmp_path, rule, rule.bad).report
    assert report.findings, (report.passed, report.skipped)
    assert {f.rule for f in report.findings} == {rule.id}
    assert not report.passed
    keys = [(f.rule, f.object, f.key) for f in report.findings]
    assert len(keys) == len(set(keys))
    assert all(f.object and f.message.strip() == f.message for f in report.findings)


@RULES
def test_the_good_example_passes(rule, tmp_path):
    report = pooler_example.run(tmp_path, rule, rule.good).report
    assert not report.findings
    assert [p.sentence for p in report.passed] == [rule.ok], report.skipped


@RULES
def test_its_edits_mend_the_file(rule, tmp_path):
    """Applied by `patch` and by us alike, the file still loads and the rule finds less."""
    answer = pooler_example.run(tmp_path, rule, rule.bad)
    edits = answer.edits_for(answer.report.findings)
    if not edits or rule.id == "pgbouncer.config-drift":
        return
    path = tmp_path / "pgbouncer.ini"
    ours = apply_edits(answer.scene.ini, edits)[str(path)]
    if shutil.which("patch"):
        diff = patch(answer.scene.ini, edits)
        subprocess.run(["patch", "-s", str(path)], input=diff, text=True, check=True, cwd=tmp_path)
        assert path.read_text() == ours
    after = pooler_example.run(tmp_path, rule, ours)
    assert after.scene.ini.loads
    assert len(after.report.findings) < len(answer.report.findings)


@pytest.mark.parametrize("rule", FLEET_RULES, ids=lambda r: r.id)
def test_several_poolers_are_held_against_each_other(rule, tmp_path):
    for name in ("bad", "good"):
        (tmp_path / name).mkdir()
    bad = pooler_example.run_fleet(tmp_path / "bad", rule, rule.bad)
    assert {f.rule for f in bad.findings} == {rule.id}
    keys = [(f.rule, f.object, f.key) for f in bad.findings]
    assert len(keys) == len(set(keys))
    good = pooler_example.run_fleet(tmp_path / "good", rule, rule.good)
    assert not good.findings
    assert [p.sentence for p in good.passed] == [rule.ok]


SCENES = {
    # S0's figures: 25 + 5 for each of 3 users, at most 100: 90. Two processes of it: 180 of 200, 90 %.
    "one pooler in two processes": (["jobs = host=db"], {"users": 3, "processes": 2}, (), 200, 3, 180, "over"),
    # 90 each and two poolers: the same sum, and 197 can be had.
    "two poolers": (["jobs = host=db", "jobs = host=db"], {"users": 3}, (), 200, 3, 180, "over"),
    # 30 + 30 on one server, 60 direct ones counted once, against 200 less 3 less Azure's 15: 120, 60 %.
    "direct clients and reserves": (
        ["jobs = host=db user=u", "jobs = host=db user=u"],
        {"provider": "azure"},
        ({"name": "batch", "pool": 20, "instances": 3, "through": "direct", "origin": "ours"},),
        200,
        3,
        120,
        "good",
    ),
    # The same with 60 instances of 2 in place of 3 of 20: 180 is within 85 % + 10, and 182 can be had.
    "direct clients over the maximum": (
        ["jobs = host=db user=u", "jobs = host=db user=u"],
        {"provider": "azure"},
        ({"name": "batch", "pool": 2, "instances": 60, "through": "direct", "origin": "ours"},),
        200,
        3,
        180,
        "over",
    ),
    # 2 x 75 = 150 of 200 is 75 %: above the target, not yet above the scaling mark.
    "exactly at the mark": (["a = host=db pool_size=70 user=u"] * 2, {}, (), 200, 3, 150, "high"),
    # One user over two databases of each of two poolers: 35 each by max_user_connections.
    "a user's limit": (["a = host=db user=u\nb = host=db user=u"] * 2, {}, (), 100, 3, 60, "good"),
}


@pytest.mark.parametrize("name", SCENES)
def test_sums_worked_out_by_hand(name, tmp_path):
    files, poolers, drivers, most, reserved, total, band = SCENES[name]
    shipped = documents.connections().model_dump()
    figures = documents.Connections.model_validate({**shipped, "poolers": poolers, "drivers": drivers})
    question = audit.Question(Policy(), connections=figures)
    facts = [ServerFacts("main", (("db", 5432),), most, reserved)]
    scenes = []
    for number, lines in enumerate(files):
        limit = "max_user_connections = 30\n" if name == "a user's limit" else ""
        text = f"[databases]\n{lines}\n[pgbouncer]\ndefault_pool_size = 25\nreserve_pool_size = 5\n{limit}"
        path = tmp_path / f"{number}.ini"
        path.write_text(text + ("max_db_connections = 100\n" if not limit else ""))
        scenes.append((path.name, audit.scene_of_file(path, parameters.version("1.24"), question, facts)))
    (held,) = [t.sum for t in demand.together(scenes)] if len(scenes) > 1 else demand.demands(scenes[0][1])
    assert (held.total, held.band(figures.servers.bands)) == (total, band)


def test_a_timeout_that_the_auditor_cannot_see_is_skipped(tmp_path):
    text = timeouts.timeout_order.bad.replace("statement_timeout=60", "hidden=statement_timeout")
    report = pooler_example.run(tmp_path, timeouts.timeout_order, text).report
    assert not report.findings
    assert not report.passed
    assert "not visible" in report.skipped[0].reason


@pytest.mark.parametrize(
    ("lines", "version", "found"),
    [
        ("server_tls_sslmode = prefer\nserver_tls_protocols = tlsv1.2, tlsv1.3", "1.24", 0),
        ("server_tls_sslmode = prefer\nserver_tls_protocols = all:!TLSv1.1", "1.24", 0),
        ("server_tls_sslmode = prefer\nserver_tls_protocols = legacy", "1.18", 0),
        ("server_tls_sslmode = prefer\nserver_tls_protocols = legacy", "1.24", 1),
        ("server_tls_sslmode = prefer\nserver_tls_protocols = tlsv1.4", "1.24", 1),
        ("server_tls_sslmode = disable\nserver_tls_protocols = tlsv1.4", "1.24", 0),
    ],
)
def test_protocols_that_do_not_exist_end_the_start(tmp_path, lines, version, found):
    text = f";; version {version}\n[pgbouncer]\n{lines}\n"
    assert len(pooler_example.run(tmp_path, reading.tls_incomplete, text).report.findings) == found


def test_every_rule_is_listed():
    assert {r.id for r in (*POOLER_RULES, *FLEET_RULES)} == {r for r in REGISTRY if r.startswith("pgbouncer.")}


def test_the_documented_settings_are_known_and_accept_themselves():
    known = parameters.load(parameters.version("1.26"))
    for name, wanted in documents.settings().settings.items():
        assert name in known
        assert wanted.want is None or wanted.accepts(str(wanted.want))
