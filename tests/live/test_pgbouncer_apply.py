"""A plan for a running PgBouncer: file, RELOAD, SHOW CONFIG; refused when anything is not as audited, taken back when it
does not come out as foretold, and finished by the next run wherever it was killed."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from dbkit.pgbouncer import apply as carried
from dbkit.pgbouncer import safefile
from dbkit.pgbouncer.console import Console
from dbkit.plan import load
from dbkit.settings import Target
from tests.cli import canary
from tests.fixtures.daemons import every_program
from tests.fixtures.program import dbkit
from tests.live.test_pgbouncer_audit import FAULTS, Setup

pytestmark = pytest.mark.pg(18)
SELECT = "pgbouncer.differs,pgbouncer.state-leaks,pgbouncer.pool-over-limit,pgbouncer.wait-outlives-client"


class Planned(Setup):
    """The pooler of the audit's tests with a saved plan that mends it, all but its port."""

    def __init__(self, db, pgbouncer, folder):
        super().__init__(db, pgbouncer, folder, FAULTS)
        self.file = folder / "fix.json"
        self.environment["ADMIN"] = self.pooler.admin_dsn.replace("postgresql://", "pgbouncer://")
        self.config.write_text(self.config.read_text() + '[targets.admin]\nengine = "pgbouncer"\ndsn_env = "ADMIN"\n')
        self.before = self.ini.read_bytes()
        self.ran = self.values()
        done = self.audit("--fix", str(self.file), "--select", SELECT, "--fail-on", "never")
        assert done.returncode == 0, done.stderr

    def values(self):
        return {row["key"]: row["value"] or "" for row in self.console("show config")}

    def apply(self, *more, target="admin"):
        done = dbkit("apply", str(self.file), "-t", target, "--config", str(self.config), *more, **self.environment)
        assert not canary.traces(done)
        assert "Traceback" not in done.stderr
        return done

    def target(self):
        return Target(name="admin", engine="pgbouncer", address=self.environment["ADMIN"])

    def untouched(self):
        return self.ini.read_bytes() == self.before and self.values() == self.ran

    @property
    def settings(self):
        return json.loads(self.file.read_text())["data"]["changes"]["settings"]


@pytest.fixture
def planned(db, pgbouncer, tmp_path):
    return Planned(db, pgbouncer, tmp_path)


@every_program()
def test_a_plan_is_carried_out_verified_and_not_done_twice(planned):
    plan = json.loads(planned.file.read_text())
    assert [s["action"] for s in plan["steps"]] == ["edit-file", "reload"]
    assert [p["object"] for p in plan["problems"]] == ["listen_port"]  # which takes a restart
    assert "default_pool_size = 25" in planned.apply("--dry-run").stdout
    assert planned.untouched()
    mode = stat.S_IMODE(planned.ini.stat().st_mode), planned.ini.stat().st_uid
    done = planned.apply("--format", "json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert [s["action"] for s in report["steps"]] == ["edit-file", "reload"]
    assert "nothing else has changed" in done.stdout or report["passed"]
    now = planned.values()
    assert {k: v for k, v in now.items() if v != planned.ran[k]} == {k: v[1] for k, v in planned.settings.items()}
    assert (stat.S_IMODE(planned.ini.stat().st_mode), planned.ini.stat().st_uid) == mode
    (kept,) = planned.ini.parent.glob("pgbouncer.ini.dbkit-*")
    assert kept.read_bytes() == planned.before
    assert stat.S_IMODE(kept.stat().st_mode) == mode[0]
    after = planned.ini.read_bytes()
    assert report["undo"] == [line.removeprefix("to take it back: ") for line in done.stderr.splitlines()[-2:]]
    again = planned.apply()
    assert again.returncode == 0
    assert "was done before" in again.stderr
    assert planned.ini.read_bytes() == after
    left = planned.found("--select", SELECT)
    assert {f["object"] for f in left["findings"]} == {"listen_port"}
    take_back(planned, report["undo"])
    assert planned.untouched()
    assert (stat.S_IMODE(planned.ini.stat().st_mode), planned.ini.stat().st_uid) == mode


def take_back(planned, commands):
    """The commands that the report prints, as a person would paste them."""
    for command in commands:
        password = planned.db.server.password
        subprocess.run(["sh", "-c", command], check=True, env={**os.environ, "PGPASSWORD": password})


def test_who_may_not_reload_changes_nothing(planned):
    done = planned.apply(target="pool")
    assert done.returncode == 4
    assert "admin_users" in done.stderr
    assert planned.untouched()


def test_a_plan_that_time_has_overtaken_is_refused(planned):
    """Each on its own: another pooler, another file, edits that give another text, a SET since, a changed file."""
    plan = planned.file.read_text()
    other = planned.ini.with_name("other.ini")
    other.write_bytes(planned.before)

    def refused(change=lambda _: None):
        made = json.loads(plan)
        change(made)
        planned.file.write_text(json.dumps(made))
        done = planned.apply()
        assert done.returncode == 4, done.stderr
        assert "hint:" in done.stderr
        assert planned.untouched()
        assert not list(planned.ini.parent.glob("pgbouncer.ini.dbkit-*"))

    refused(lambda made: made["target"].update(system="/etc/pgbouncer/pgbouncer.ini on port 6432"))
    refused(lambda made: made["data"].update(path=str(other)))
    refused(lambda made: made["steps"][0]["data"].update(after="0" * 64))
    planned.console("set query_wait_timeout = 17")
    planned.ran = planned.values()
    refused()
    planned.ini.write_text(planned.ini.read_text() + "; somebody was here\n")
    planned.before = planned.ini.read_bytes()
    refused()


@every_program()
@pytest.mark.parametrize("moment", ["kept", "reloaded"])
def test_a_killed_run_is_finished_by_the_next(planned, monkeypatch, moment):
    """Killed after each thing that it does: the next run finds the same end."""

    class Killed(BaseException):
        pass

    def die(*_):
        raise Killed

    with monkeypatch.context() as patched:
        if moment == "kept":
            real = safefile.keep
            patched.setattr(safefile, "keep", lambda file, content: (real(file, content), die())[0])
        else:
            reload = Console.reload
            patched.setattr(Console, "reload", lambda console: (reload(console), die())[0])
        with pytest.raises(Killed):
            carried.apply(load(planned.file), planned.target(), lambda _: None)
    assert planned.apply().returncode == 0
    assert planned.values() == {**planned.ran, **{k: v[1] for k, v in planned.settings.items()}}
    (kept,) = planned.ini.parent.glob("pgbouncer.ini.dbkit-*")
    assert kept.read_bytes() == planned.before
    assert not list(planned.ini.parent.glob(".pgbouncer.ini.dbkit-*"))


def test_kill_9_between_file_and_reload(planned):
    """The process itself, at the moment at which it says that the file is written."""
    command = [
        sys.executable,
        "-m",
        "dbkit",
        "apply",
        str(planned.file),
        "-t",
        "admin",
        "--config",
        str(planned.config),
    ]
    environment = {**os.environ, "DBKIT_CONFIG": os.devnull, **planned.environment}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as run:
        assert any("edit-file" in line for line in run.stderr)
        run.kill()
    assert planned.ini.read_bytes() != planned.before
    assert planned.apply().returncode == 0
    assert planned.values() == {**planned.ran, **{k: v[1] for k, v in planned.settings.items()}}


def test_two_runs_at_once_are_one(planned):
    with safefile.alone(planned.ini):
        done = planned.apply()
    assert done.returncode == 4
    assert "another dbkit is at work" in done.stderr
    assert planned.untouched()


@every_program()
def test_what_does_not_come_out_as_foretold_is_taken_back(planned, monkeypatch):
    """Here the daemon is made to read another text than was written, as one on another machine would."""
    reload, calls = Console.reload, []

    def elsewhere(console):
        calls.append(1)
        if len(calls) == 1:
            text = planned.ini.read_bytes()
            planned.ini.write_bytes(text.replace(b"default_pool_size = 25", b"default_pool_size = 26"))
        return reload(console)

    monkeypatch.setattr(Console, "reload", elsewhere)
    applied = carried.apply(load(planned.file), planned.target(), lambda _: None)
    assert applied.error is not None
    assert applied.error.exit_code == 5
    assert "default_pool_size is 26 instead of 25" in applied.error.why
    assert not applied.report.passed
    assert planned.untouched()


def test_a_file_that_cannot_be_written_changes_nothing(planned, monkeypatch):
    def full(file, content):
        del content
        raise OSError(28, os.strerror(28), str(file))

    monkeypatch.setattr(safefile, "write", full)
    with pytest.raises(carried.Refused, match="cannot be written"):
        carried.apply(load(planned.file), planned.target(), lambda _: None)
    assert planned.untouched()


def test_another_machine_is_not_this_one():
    assert carried._is_here("127.0.0.1")
    assert carried._is_here("/tmp")
    assert not carried._is_here("192.0.2.7")


@every_program()
def test_without_the_file_the_console_is_set_until_the_next_reload(planned):
    planned.config.write_text(planned.config.read_text().replace(f'ini = "{planned.ini}"\n', ""))
    done = planned.audit("--fix", str(planned.file), "--select", SELECT, "--fail-on", "never")
    assert done.returncode == 0, done.stderr
    plan = json.loads(planned.file.read_text())
    assert {s["action"] for s in plan["steps"]} == {"set-parameter"}
    done = planned.apply("--format", "json")
    assert done.returncode == 0
    wanted = {s["object"]: s["data"]["value"] for s in plan["steps"]}
    assert wanted["default_pool_size"] == "25"
    assert {k: v for k, v in planned.values().items() if v != planned.ran[k]} == wanted
    assert Path(planned.ini).read_bytes() == planned.before
    assert "was done before" in planned.apply().stderr
    take_back(planned, json.loads(done.stdout)["undo"])
    assert planned.values() == planned.ran
    assert planned.apply().returncode == 0
    planned.console("reload")
    assert planned.values() == planned.ran
