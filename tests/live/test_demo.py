"""The demo as a user runs it: it ends well, its report says so, and README shows what it prints."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

README = (Path(__file__).resolve().parents[2] / "README.md").read_text(encoding="utf-8")


def masked(line):
    """A line without what differs from run to run: figures, which statement waited longest, the report's name."""
    line = re.sub(r"\(.*?\)|Report: .*", "", line)
    return re.sub(r"[\d.,]*\d(?: (?:ms|s|min)\b)?", "N", " ".join(line.split()))


@pytest.mark.usefixtures("pg18")  # skipped, with the reason, where there is no PostgreSQL 18
def test_the_demo_from_beginning_to_end(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "dbkit", "demo", "-o", "demo.json"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["demo.json"]

    data = json.loads((tmp_path / "demo.json").read_text())
    # Everything that was broken is mended, the duplicate too; what the audit says of the throw-away server's settings stays.
    assert [f for f in data["findings"] if f["rule"].startswith("pg.index-")] == []
    assert {p["rule"] for p in data["passed"]} >= {"pg.index-missing", "pg.index-invalid", "pg.index-duplicate"}
    assert {side["failed"] for side in data["traffic"].values()} == {0}
    assert min(side["statements"] for side in data["traffic"].values()) > 100

    change = data["change"]
    assert change["dbkit"]["failed"] == 0, "two versions at work, and none of their statements failed"
    assert change["plain"]["failed"] > 0, "the old version does not know the renamed column"
    assert min(side["statements"] for side in change.values()) > 100

    printed = iter([masked(line) for line in done.stdout.splitlines()])
    block = README.partition("<!-- demo -->\n")[2].partition("<!-- /demo -->")[0]
    for line in filter(None, map(masked, block.splitlines())):
        assert line in printed, f"README shows a line the demo does not print there: {line}"
