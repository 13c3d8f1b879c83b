"""Every postgresql.conf of the corpus is read exactly as the servers read it, for each version in its index.

The corpus lies beside the checkout and is not part of it; without it these tests skip.
"""

import json
from pathlib import Path

import pytest

from dbkit.postgres.settings import documents, offline
from dbkit.postgres.settings.scene import Size

CORPUS = Path(__file__).resolve().parents[3].parent / "shared" / "corpora" / "confs"
INDEX = CORPUS / "index.jsonl"
RECORDS = [json.loads(line) for line in INDEX.read_text().splitlines()] if INDEX.exists() else []
CASES = [
    pytest.param((record, version), id=f"{record['file']}-{version}")
    for record in RECORDS
    if record["kind"] == "postgresql.conf"
    for version in record["expect"]
]
BUILD = "not supported by this build"


@pytest.fixture(params=CASES)
def case(request, tmp_path):
    record, version = request.param
    for name in (record["file"], *record["includes"]):
        (tmp_path / name).write_bytes((CORPUS / name).read_bytes())
    if version.endswith("with_empty_conf.d"):
        (tmp_path / "conf.d").mkdir()
    main = tmp_path / record["file"]
    main.rename(tmp_path / "postgresql.conf")
    major = int(version.partition("_")[0].removeprefix("pg"))
    scene = offline.scene_of(tmp_path / "postgresql.conf", major, Size(), documents.load())
    return offline.as_data(scene, scene.conf), record["expect"][version], tmp_path


@pytest.mark.skipif(not RECORDS, reason="the corpus is not beside this checkout")
def test_the_file_is_read_as_the_server_read_it(case):
    data, expected, folder = case
    assert data["entries"] == expected["entries"]
    assert [(e["line"], e["name"]) for e in data["errors"]] == [(e["line"], e["name"]) for e in expected["errors"]]
    for mine, theirs in zip(data["errors"], expected["errors"], strict=True):
        assert theirs["error"].replace("DATADIR", str(folder)) in mine["message"]
    assert data["loads"] == (not expected["errors"])
    settings = data["settings"]
    assert sorted(n for n, s in settings.items() if s["occurrences"] > 1) == sorted(expected["duplicates"])
    for name, key in expected["keys"].items():
        mine = settings[name]
        assert (mine["raw"], mine["line"], mine["occurrences"]) == (key["raw"], key["line"], key["occurrences"]), name
        if key.get("file"):
            assert Path(mine["file"]).name in (key["file"], "postgresql.conf"), name
        if BUILD in key.get("value_error", ""):
            continue  # the server of the index was built without TLS; those from packages are not
        assert mine["value"] == key["canonical"], name
        assert mine["unit"] == key["unit"], name
