"""The wheel carries all that dbkit reads: what the checkout holds is in it, and it works away from the checkout."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    """The wheel of this checkout, unpacked where nothing else is."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*build, "--wheel-dir", str(folder), str(ROOT)], check=True, cwd=folder)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def run(unpacked, folder, *arguments, **environment):
    return subprocess.run(
        [sys.executable, "-m", "dbkit", *arguments],
        env={**os.environ, "PYTHONPATH": str(unpacked), "DBKIT_CONFIG": os.devnull, **environment},
        cwd=folder,
        capture_output=True,
        text=True,
    )


def test_every_file_is_in_it(unpacked):
    inside = {p.relative_to(unpacked).as_posix() for p in unpacked.rglob("*") if p.is_file()}
    for top in ("sql", "policies", "migrations"):
        for file in (ROOT / top).rglob("*"):
            if file.is_file() and "__pycache__" not in file.parts:
                assert f"dbkit/_assets/{file.relative_to(ROOT).as_posix()}" in inside
    for file in (ROOT / "dbkit").rglob("*"):
        if file.is_file() and "__pycache__" not in file.parts:
            assert file.relative_to(ROOT).as_posix() in inside
    assert not [name for name in inside if name.startswith("tests/")]


@pytest.mark.pg(18)
def test_it_works_from_another_folder(unpacked, platform_db, tmp_path):
    where = subprocess.run(
        [sys.executable, "-c", "import dbkit; print(dbkit.__file__)"],
        env={**os.environ, "PYTHONPATH": str(unpacked)}, cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert where.stdout.startswith(str(unpacked))
    assert "INVALID" in run(unpacked, tmp_path, "explain", "pg.index-invalid").stdout
    assert run(unpacked, tmp_path, "policy", "check").returncode == 0
    done = run(unpacked, tmp_path, "index", "plan", "--format", "json", DBKIT_DSN=platform_db.dsn)
    assert done.returncode == 0, done.stderr
    plan = json.loads(done.stdout)
    assert len(plan["data"]["wanted"]) == 24
    assert {"id", "action", "object", "sql", "lock", "blocks", "undo"} <= set(plan["steps"][0])
