"""Every postgresql.conf of the corpus through the command itself: entries, errors, values and verdict per version."""

import json
from pathlib import Path

import pytest

from tests.fixtures.program import dbkit
from tests.unit.conf.test_corpus import BUILD, CORPUS, RECORDS

CONFS = [r for r in RECORDS if r["kind"] == "postgresql.conf"]


@pytest.mark.skipif(not RECORDS, reason="the corpus is not beside this checkout")
@pytest.mark.parametrize("record", CONFS, ids=lambda r: r["file"])
def test_the_command_says_what_the_server_read(record, tmp_path):
    for name in (record["file"], *record["includes"]):
        (tmp_path / name).write_bytes((CORPUS / name).read_bytes())
    for version, expected in record["expect"].items():
        major, _, more = version.removeprefix("pg").partition("_")
        if more:
            (tmp_path / "conf.d").mkdir()
        done = dbkit("audit", "--pg-conf", str(tmp_path / record["file"]), "--pg-version", major, "--format", "json")
        assert done.returncode in (0, 1), done.stderr
        (file,) = json.loads(done.stdout)["files"]
        if more:
            (tmp_path / "conf.d").rmdir()
        assert (file["kind"], file["version"], file["entries"]) == ("postgresql.conf", major, expected["entries"])
        assert file["loads"] == (not expected["errors"])
        assert [(e["line"], e["name"]) for e in file["errors"]] == [(e["line"], e["name"]) for e in expected["errors"]]
        known = {name for name, held in file["settings"].items() if held["error"] or "." in name}
        assert set(expected["not_in_this_server"]) - {"ssl_ecdh_curve", "stats_temp_directory"} <= known
        for name, key in expected["keys"].items():
            mine = file["settings"][name]
            assert (mine["raw"], mine["line"], mine["occurrences"]) == (key["raw"], key["line"], key["occurrences"])
            assert Path(mine["file"]).name == key.get("file", record["file"])
            if BUILD not in key.get("value_error", ""):
                assert (mine["value"], mine["unit"]) == (key["canonical"], key["unit"]), name
