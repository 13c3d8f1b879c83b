"""pg_ident.conf beside a file that is audited: found where the server would look, judged with pg_hba.conf."""

import pytest

from dbkit.policy import Policy
from dbkit.postgres.settings import documents, offline
from dbkit.postgres.settings.scene import Size
from dbkit.rules import Selection

RULES = Selection(select=("pg.ident-open", "pg.ident-broken"))


def audit(folder, hba, ident=None, conf="", major=18, given=None):
    (folder / "postgresql.conf").write_text(conf)
    (folder / "pg_hba.conf").write_text(hba)
    if ident is not None:
        (folder / "pg_ident.conf").write_text(ident)
    scene = offline.scene_of(folder / "postgresql.conf", major, Size(), documents.load(), hba=given)
    return offline.audit(scene, Policy(), RULES).report


PEER = "local all all peer map=m\n"


@pytest.mark.parametrize(
    ("hba", "ident", "said"),
    [
        (PEER, "m alice app\n", []),
        (PEER, "m /^(.*)$ \\1\n", []),
        (PEER, "m /^([a-z]+)@example\\.com$ \\1\n", []),
        (PEER, "m /.* postgres\n", ["error: pg_ident.conf:1 lets everybody be role postgres"]),
        (PEER, "m /^.*$ app\n", ["warn: pg_ident.conf:1 lets everybody be role app"]),
        (PEER, "m /.* all\n", ["error: pg_ident.conf:1 lets everybody be any role"]),
        (PEER, "m /(.*)@example.com \\1\n", ["warn: pg_ident.conf:1 fits parts of names as well"]),
        (PEER, "m alice \\1\n", ["warn: pg_ident.conf:1 asks for \\1, and alice has no part in brackets"]),
        (PEER, "m alice app\nm bob\n", ["error: pg_ident.conf:2 cannot be read: missing entry at end of line"]),
        (PEER, "other alice app\n", ["warn: pg_hba.conf:1 names the map m", "info: map other of pg_ident.conf"]),
        ("local all all peer\n", "m alice app\n", ["info: map m of pg_ident.conf is not named"]),
        ("local all all peer\n", None, []),
    ],
)  # fmt: skip
def test_maps_are_judged(tmp_path, hba, ident, said):
    report = audit(tmp_path, hba, ident)
    found = [f"{f.severity}: {f.message}" for f in report.findings]
    assert len(found) == len(said)
    assert all(any(one.startswith(start) for one in found) for start in said), found
    assert not report.skipped


def test_a_map_without_its_file_is_not_passed(tmp_path):
    report = audit(tmp_path, PEER)
    assert {s.rule for s in report.skipped} == {"pg.ident-open", "pg.ident-broken"}
    assert "pg_ident.conf" in report.skipped[0].reason


def test_the_file_is_where_the_server_looks(tmp_path):
    (tmp_path / "maps").write_text("m alice app\n")
    report = audit(tmp_path, PEER, conf="ident_file = 'maps'\n")
    assert report.extra["ident"][0]["path"].endswith("maps")
    assert report.extra["ident"][0]["maps"][0]["pg_username"] == "app"
    assert not report.findings


def test_all_is_a_name_before_16(tmp_path):
    report = audit(tmp_path, PEER, "m /.* all\n", major=15)
    assert [str(f.severity) for f in report.findings] == ["warn"]
