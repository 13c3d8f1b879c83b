"""docs/ci.md works as written: every command of every recipe is taken from the page and run."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "ci.md").read_text(encoding="utf-8")
BIN = str(Path(sys.executable).parent)
GIT = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]


def block(heading, language):
    section = PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    return re.search(rf"```{language}\n(.*?)```", section, re.DOTALL)[1]


@pytest.fixture
def project(tmp_path):
    """A clone on a branch whose second migration is new and hazardous."""
    origin, clone = tmp_path / "origin", tmp_path / "clone"
    (origin / "migrations").mkdir(parents=True)
    (origin / "migrations" / "0001_users.sql").write_text("create table users (id bigint primary key, email text);\n")
    (origin / "migrations" / "0000_old.sql").write_text("create index old on elsewhere (a);\n")
    (origin / "schema.sql").write_text("create table elsewhere (a int);\n")
    for command in (["init", "-b", "main"], ["add", "."], ["commit", "-m", "one"]):
        subprocess.run([*GIT, *command], cwd=origin, check=True, capture_output=True)
    subprocess.run(["git", "clone", str(origin), str(clone)], check=True, capture_output=True)
    subprocess.run([*GIT, "checkout", "-b", "feature"], cwd=clone, check=True, capture_output=True)
    (clone / "migrations" / "0002_index.sql").write_text("create index users_email on users (email);\n")
    subprocess.run([*GIT, "add", "."], cwd=clone, check=True, capture_output=True)
    subprocess.run([*GIT, "commit", "-m", "two"], cwd=clone, check=True, capture_output=True)
    return clone


def shell(script, folder, **environment):
    return subprocess.run(
        ["bash", "-c", script],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", "DBKIT_CONFIG": os.devnull, **environment},
    )


def test_github_annotates_and_writes_sarif(project):
    recipe = yaml.safe_load(block("GitHub Actions", "yaml"))
    steps = recipe["jobs"]["lint"]["steps"]
    (command,) = [s["run"] for s in steps if "dbkit migrate lint" in s.get("run", "")]
    done = shell(command, project, GITHUB_BASE_REF="main")
    assert done.returncode == 1, done.stderr
    assert "::error file=migrations/0002_index.sql,line=1,title=migrate.index-not-concurrent" in done.stdout
    assert "0000_old.sql" not in done.stdout
    (upload,) = [s["with"]["sarif_file"] for s in steps if "upload-sarif" in s.get("uses", "")]
    run = json.loads((project / upload).read_text())["runs"][0]
    assert {r["ruleId"] for r in run["results"]} >= {"migrate.index-not-concurrent"}
    assert all(r["locations"] for r in run["results"])


def test_the_upload_waits_for_a_file_and_a_token_that_may_write():
    steps = yaml.safe_load(block("GitHub Actions", "yaml"))["jobs"]["lint"]["steps"]
    (upload,) = [s for s in steps if "upload-sarif" in s.get("uses", "")]
    assert f"hashFiles('{upload['with']['sarif_file']}') != ''" in upload["if"]
    assert "head.repo.full_name == github.repository" in upload["if"]


def test_gitlab_gets_its_code_quality_report(project):
    job = yaml.safe_load(block("GitLab", "yaml"))["migrations"]
    script = "set -eo pipefail\n" + "\n".join(job["script"])
    base = subprocess.run(
        ["git", "merge-base", "origin/main", "HEAD"], cwd=project, capture_output=True, text=True, check=True
    )
    done = shell(script, project, CI_MERGE_REQUEST_DIFF_BASE_SHA=base.stdout.strip())
    assert done.returncode == 1, done.stderr
    assert "0002_index.sql" in done.stdout
    assert "0000_old.sql" not in done.stdout
    report = project / job["artifacts"]["reports"]["codequality"]
    issues = json.loads(report.read_text())
    found = [i for i in issues if i["check_name"] == "migrate.index-not-concurrent"]
    assert {i["location"]["path"] for i in found} == {"migrations/0000_old.sql", "migrations/0002_index.sql"}
    (issue,) = [i for i in found if "0002" in i["location"]["path"]]
    assert issue["location"] == {"path": "migrations/0002_index.sql", "lines": {"begin": 1}}
    assert issue["severity"] == "critical"
    assert len({i["fingerprint"] for i in issues}) == len(issues)
    assert all(i["description"] for i in issues)

    # the target branch: nothing fails, and what both have bears the same fingerprint, by which the widget tells them apart
    subprocess.run([*GIT, "checkout", "main"], cwd=project, check=True, capture_output=True)
    done = shell(script, project, CI_MERGE_REQUEST_DIFF_BASE_SHA="")
    assert done.returncode == 0, done.stderr
    before = {i["fingerprint"] for i in json.loads(report.read_text())}
    fresh = {i["location"]["path"] for i in issues if i["fingerprint"] not in before}
    assert before < {i["fingerprint"] for i in issues}
    assert fresh == {"migrations/0002_index.sql"}


def test_every_shell_command_runs(project):
    commands = [line for line in block("Any shell", "sh").splitlines() if line and not line.startswith("#")]
    codes = {command: shell(command, project) for command in commands}
    assert len(commands) == 6
    assert [done.returncode for done in codes.values()] == [1, 0, 0, 0, 0, 0], [d.stderr for d in codes.values()]
    assert json.loads((project / "baseline.json").read_text())["findings"]
    assert "migrate.index-not-concurrent" in (project / "lint.xml").read_text()
    fixed = (project / "migrations" / "0002_index.sql").read_text()
    assert "create index concurrently users_email on users (email);" in fixed


def test_a_wrong_branch_is_a_usage_error(project):
    done = shell("dbkit migrate lint migrations --diff-base origin/nowhere", project)
    assert done.returncode == 2
    assert "hint:" in done.stderr
