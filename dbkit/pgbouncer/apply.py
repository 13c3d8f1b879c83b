"""Carry out a plan for a running pooler: change its file, RELOAD, look at SHOW CONFIG, else go back.

What has been done is read from the file and the console, so a run that was killed is simply run again.
"""

from __future__ import annotations

import ipaddress
import shlex
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dbkit.errors import Broken, DbkitError, Refused, Stopped
from dbkit.model import Json, Passed, Report, TargetInfo
from dbkit.pgbouncer import console as consoles
from dbkit.pgbouncer import planning, safefile
from dbkit.pgbouncer.console import Console
from dbkit.pgbouncer.ini.file import IniFile
from dbkit.pgbouncer.ini.reader import read_file
from dbkit.pgbouncer.live import Live
from dbkit.pgbouncer.patch import apply_edits
from dbkit.pgbouncer.rules.seen import shown
from dbkit.plan import Plan
from dbkit.settings import Target

RULE = "pgbouncer.config-drift"


@dataclass
class Applied:
    """The report of a run, and the error it ended with; None when all went well."""

    report: Report
    error: DbkitError | None = None


@dataclass
class _Work:
    """What a run did, in the order in which it did it."""

    said: Callable[[str], None]
    done: list[Json] = field(default_factory=list[Json])

    def note(self, action: str, what: str, words: str) -> None:
        self.done.append({"action": action, "object": what, "outcome": words})
        self.said(f"{action} {what}: {words}")


def apply(plan: Plan, target: Target, said: Callable[[str], None]) -> Applied:
    """Carry out a plan. Raises Refused, Unreachable or UsageError when nothing was changed."""
    with consoles.opened(target) as console:
        live = console.look()
        plan.refuse_elsewhere(planning.identity(live), "pgbouncer")
        _refuse_without_rights(console, live)
        work = _Work(said)
        error: DbkitError | None = None
        try:
            sentence = _by_file(plan, console, live, work) if "path" in plan.data else _by_console(plan, console, work)
        except (Broken, Stopped) as ended:
            sentence, error = "", ended
        undo = _undo(plan, console) if error is None else []
        for command in undo:
            said(f"to take it back: {command}")
        report = Report(
            command="apply",
            targets=(TargetInfo(target.name, "pgbouncer", str(console.version)),),
            passed=(Passed(RULE, target.name, sentence),) if error is None else (),
            extra={"steps": work.done, "undo": list[Json](undo) if error is None else []},
        )
        return Applied(report, error)


def _undo(plan: Plan, console: Console) -> list[str]:
    """The shell commands that take the plan back, last step first where that matters; psql asks for the password."""
    address = f"host={console.host} port={console.port} user={console.user} dbname=pgbouncer"
    psql = f"psql {shlex.quote(address)} -c"
    if "path" not in plan.data:
        return [f"{psql} {shlex.quote(step.undo)}" for step in reversed(plan.steps)]
    audited: Mapping[str, str] = plan.data["digests"]
    files = [Path(step.object) for step in plan.steps if step.action == "edit-file"]
    places = [(file, safefile.kept(file, audited[str(file)])) for file in files]
    copies = [shlex.join(["cp", "-p", str(place), str(file)]) for file, place in places if place.exists()]
    return [*copies, f"{psql} RELOAD"] if copies else []


def _refuse_without_rights(console: Console, live: Live) -> None:
    admins = [word.strip() for word in live.values.get("admin_users", "").split(",")]
    if console.user not in admins and not (console.user == "pgbouncer" and console.host.startswith("/")):
        raise Refused(
            f"{console.user} may look at the console and not change anything",
            why="RELOAD and SET are for admin_users",
            hint="give apply an address with a user of admin_users: --dsn pgbouncer://admin@host:6432",
        )


def _by_console(plan: Plan, console: Console, work: _Work) -> str:
    values = console.look().values
    for step in plan.steps:
        now = values.get(step.data["key"], "")
        if now not in (step.before, step.data["value"]):
            raise Refused(
                f"{step.object} is {now}, and was {step.before} when the plan was made",
                hint="make a new plan: dbkit audit --fix",
            )
    for step in plan.steps:
        if values.get(step.data["key"]) == step.data["value"]:
            work.note("set-parameter", step.object, "was done before")
            continue
        complaint = console.set(step.data["key"], step.data["value"])
        now = console.look().values.get(step.data["key"])
        if complaint or now != step.data["value"]:
            raise Stopped(
                f"SET {step.object} did not take",
                why=complaint or f"SHOW CONFIG shows {now}",
                hint="what came before it is set; RELOAD takes all of it back",
            )
        work.note("set-parameter", step.object, f"{values.get(step.object)} -> {now}")
    return f"SHOW CONFIG shows all {len(plan.steps)} values; they hold until the next RELOAD or restart"


def _by_file(plan: Plan, console: Console, live: Live, work: _Work) -> str:
    path = Path(plan.data["path"])
    _refuse_other_file(path, live, console)
    with safefile.alone(path):
        now = read_file(path, console.version)
        wanted = {step.object: str(step.data["after"]) for step in plan.steps if step.action == "edit-file"}
        texts = _texts(plan, now, wanted)
        after = read_file(path, console.version, instead=texts)
        foretold = planning.outcome(live, after)
        if not foretold.changes and not foretold.added and not foretold.removed and not texts:
            work.note("reload", str(path), "was done before")
            return _verified(plan, console, after)
        if planning.changes(foretold) != plan.data["changes"]:
            raise Refused(
                f"RELOAD of {path} would do something else than when the plan was made",
                why="; ".join(_differences(plan.data["changes"], planning.changes(foretold))),
                hint="somebody changed a setting on the console, or the pooler was restarted: make a new plan",
            )
        earlier = _write(path, texts, work)
        return _reload(plan, console, live, after, earlier, work)


def _differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What RELOAD would do now and would not have done then, and the other way round."""
    said: list[str] = []
    for name in sorted({*then["settings"], *now["settings"]}):
        one, other = then["settings"].get(name), now["settings"].get(name)
        if one != other:
            said.append(f"{name} " + (f"{other[0]} -> {other[1]}" if other else "would not change any more"))
    for key in ("added", "removed"):
        said += [f"database {name} is {key}" for name in sorted({*then[key]} ^ {*now[key]})]
    return said


def _refuse_other_file(path: Path, live: Live, console: Console) -> None:
    """RELOAD reads the file on the daemon's own machine: only there is it the one that was audited."""
    runs = live.values.get("conffile", "")
    if not _is_here(console.host):
        raise Refused(
            f"{console.host} is another machine, and RELOAD reads the file that lies there",
            hint="run apply where the pooler runs, or take --fix fix.patch there",
        )
    if not runs or Path(runs).resolve() != path.resolve():
        raise Refused(
            f"the pooler runs with {runs or 'a file that it does not name'}, and the plan is for {path}",
            hint="audit with --pgbouncer-ini naming the file of SHOW CONFIG's conffile",
        )


def _is_here(host: str) -> bool:
    """Whether an address is one of this machine: a socket folder, or an address that can be listened on."""
    if host.startswith(("/", "@")) or host in ("", "localhost"):
        return True
    try:
        address = ipaddress.ip_address(host)
        family = socket.AF_INET if address.version == 4 else socket.AF_INET6
        with socket.socket(family) as probe:
            probe.bind((host, 0))
    except (ValueError, OSError):
        return False
    return True


def _texts(plan: Plan, now: IniFile, wanted: Mapping[str, str]) -> dict[str, bytes]:
    """The new texts that are still to be written. Raises Refused for a file that is neither as audited nor done."""
    audited: Mapping[str, str] = plan.data["digests"]
    changed = [p for p, held in now.digests.items() if held not in (audited.get(p), wanted.get(p))]
    gone = [p for p in audited if p not in now.digests]
    if changed or gone:
        raise Refused(
            f"{(changed or gone)[0]} is not as it was audited",
            why="it was changed since the plan was made",
            hint="audit it again, and review the new plan",
        )
    undone = {p for p in wanted if now.digests[p] != wanted[p]}
    if not undone:
        return {}
    if any(now.digests[p] != audited[p] for p in audited):
        # Some of several files were written: put the earlier texts together from what was kept.
        before = {p: _kept(Path(p), audited[p]) for p in wanted if now.digests[p] != audited[p]}
        now = read_file(Path(plan.data["path"]), now.version, instead=before)
    made = apply_edits(now, planning.edits_of(plan.data["edits"]))
    texts = {p: text.encode("utf-8", "surrogateescape") for p, text in made.items() if p in undone}
    if {p: safefile.digest(text) for p, text in texts.items()} != {p: wanted[p] for p in undone}:
        raise Refused("the plan's edits give another text than it foretold", hint="make the plan again")
    return texts


def _kept(file: Path, before: str) -> bytes:
    place = safefile.kept(file, before)
    try:
        content = place.read_bytes()
    except OSError as error:
        raise Refused(
            f"the earlier text of {file} cannot be read from {place}", why=error.strerror, hint="restore it by hand"
        ) from None
    if safefile.digest(content) != before:
        raise Refused(f"{place} does not hold the earlier text of {file}", hint="restore it by hand")
    return content


def _write(path: Path, texts: Mapping[str, bytes], work: _Work) -> dict[Path, bytes]:
    """Write every text, or none. Gives the earlier ones."""
    earlier: dict[Path, bytes] = {}
    try:
        for name, text in texts.items():
            file = Path(name).resolve()
            held = file.read_bytes()
            place = safefile.keep(file, held)
            earlier[file] = held
            safefile.write(file, text)
            work.note("edit-file", name, f"written; the earlier text is {place}")
    except OSError as error:
        for file, held in earlier.items():
            if file.read_bytes() != held:
                safefile.write(file, held)
        raise Refused(
            f"{error.filename or path} cannot be written", why=error.strerror, hint="nothing was changed"
        ) from None
    return earlier


def _reload(
    plan: Plan, console: Console, live: Live, after: IniFile, earlier: Mapping[Path, bytes], work: _Work
) -> str:
    complaint = console.reload()
    wrong = [complaint] if complaint else []
    wrong += _differing(console.look(), live, plan)
    if not wrong:
        work.note("reload", after.path, "done, and SHOW CONFIG shows what was foretold")
        return _verified(plan, console, after)
    work.note("reload", after.path, f"not as foretold: {'; '.join(wrong)}")
    _go_back(plan, console, live, earlier, after, work)
    raise Stopped(
        f"RELOAD of {after.path} did not do what was foretold, and was taken back",
        why="; ".join(wrong),
        hint="the earlier file is in force again; look at the pooler's log, then audit again",
    )


def _go_back(
    plan: Plan, console: Console, live: Live, earlier: Mapping[Path, bytes], after: IniFile, work: _Work
) -> None:
    audited: Mapping[str, str] = plan.data["digests"]
    back = dict(earlier) or {
        Path(step.object): _kept(Path(step.object), audited[step.object])
        for step in plan.steps
        if step.action == "edit-file"
    }
    for file, held in back.items():
        safefile.write(file, held)
        work.note("undo", str(file), "the earlier text is in its place again")
    complaint = console.reload()
    now = console.look().values
    left = {name: value for name, value in now.items() if value != live.values.get(name)}
    if complaint or left:
        lines = ", ".join(f"{n} {shown(n, live.values.get(n, ''))} -> {shown(n, v)}" for n, v in left.items())
        raise Broken(
            f"the earlier {after.path} was put back, and the pooler still runs otherwise",
            why=complaint or lines,
            hint="the values above were set on the console before: SET them again, or restart the pooler",
        )


def _differing(now: Live, before: Live, plan: Plan) -> list[str]:
    """What SHOW CONFIG and SHOW DATABASES show that was not foretold."""
    foretold: Mapping[str, Any] = plan.data["changes"]
    wrong: list[str] = []
    for name, value in now.values.items():
        held = foretold["settings"].get(name)
        wanted = held[1] if held else shown(name, before.values.get(name, ""))
        if shown(name, value) != wanted:
            wrong.append(f"{name} is {shown(name, value)} instead of {wanted}")
    listed = {row.get("name") for row in now.databases}
    wrong += [f"database {name} is missing" for name in foretold["added"] if name not in listed]
    return wrong


def _verified(plan: Plan, console: Console, after: IniFile) -> str:
    now = console.look()
    wrong = [
        f"{name} is {shown(name, now.values.get(name, ''))} instead of {held[1]}"
        for name, held in plan.data["changes"]["settings"].items()
        if shown(name, now.values.get(name, "")) != held[1]
    ]
    if wrong:
        raise Stopped(f"{after.path} is loaded and the pooler runs otherwise", why="; ".join(wrong))
    count = len(plan.data["changes"]["settings"])
    return f"SHOW CONFIG shows all {count} changes, and nothing else has changed"
