"""`audit` of one pooler: its file, its console, and its fit with the servers behind it, as one report."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from dbkit.capacity import ServerFacts
from dbkit.errors import UsageError
from dbkit.exhibits import Exhibit
from dbkit.model import Finding, Fix, Json, Location, Passed, Report, Skipped, TargetInfo
from dbkit.pgbouncer import documents, reload
from dbkit.pgbouncer.documents import Connections
from dbkit.pgbouncer.exhibits import connection_bars, pool_table, settings_table
from dbkit.pgbouncer.ini import userlist
from dbkit.pgbouncer.ini.file import IniFile
from dbkit.pgbouncer.ini.parameters import Version
from dbkit.pgbouncer.ini.reader import read_file
from dbkit.pgbouncer.ini.userlist import Userlist
from dbkit.pgbouncer.live import USER_SIZES_SINCE, USERS_SHOWN_SINCE, Live, config_of
from dbkit.pgbouncer.rules import POOLER_RULES
from dbkit.pgbouncer.rules.declare import NEEDS, Blind, Edit, Verdict
from dbkit.pgbouncer.scene import Config, PoolUser, Scene, of_file
from dbkit.policy import Policy
from dbkit.printable import line, printable
from dbkit.rules import Rule, Selection
from dbkit.secrets import redact


@dataclass(frozen=True, slots=True)
class Question:
    """What is held against what."""

    policy: Policy
    selection: Selection = field(default_factory=Selection)
    connections: Connections = field(default_factory=documents.connections)
    own_figures: bool = False
    processes: int | None = None
    reload_check: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """The report, and the edits that mend its findings, by rule, object and key."""

    report: Report
    scene: Scene
    edits: Mapping[tuple[str, str, str], tuple[Edit, ...]]

    def edits_for(self, findings: Iterable[Finding]) -> list[Edit]:
        """Edits for those findings that still count, the worst first."""
        held = sorted((f for f in findings if f.suppression is None), key=lambda f: f.severity.rank)
        return [edit for f in held for edit in self.edits.get((f.rule, f.object, f.key), ())]


def scene_of_file(path: Path, version: Version, question: Question, servers: Sequence[ServerFacts] = ()) -> Scene:
    """What there is to judge about a file. Raises UsageError when it cannot be read."""
    ini = read_file(path, version)
    listed, unread = _userlist(ini)
    return Scene(
        config=of_file(ini),
        documents=documents.settings(),
        connections=question.connections,
        ini=ini,
        userlist=listed,
        userlist_unread=unread,
        servers=tuple(servers),
        processes=question.processes,
        own_figures=question.own_figures,
    )


def scene_of_console(live: Live, path: Path | None, question: Question, servers: Sequence[ServerFacts] = ()) -> Scene:
    """What there is to judge about a running pooler, with its file when that is at hand."""
    running = config_of(live)
    ini = read_file(path, live.version) if path else None
    listed, unread = _userlist(ini) if ini else (None, "")
    held = of_file(ini) if ini else None
    return Scene(
        config=_located(running, held) if held else running,
        documents=documents.settings(),
        connections=question.connections,
        ini=ini,
        userlist=listed,
        userlist_unread=unread,
        live=live,
        servers=tuple(servers),
        processes=question.processes,
        own_figures=question.own_figures,
        file_config=held,
        outcome=_outcome(path, ini, live) if question.reload_check and path and ini else None,
    )


def judge(scene: Scene, name: str, question: Question) -> Answer:
    """Every rule that is chosen, on one pooler."""
    findings: list[Finding] = []
    passed: list[Passed] = []
    skipped: list[Skipped] = []
    edits: dict[tuple[str, str, str], tuple[Edit, ...]] = {}
    for rule in POOLER_RULES:
        if not question.selection.wants(rule, switched_on=question.policy.switched_on(rule)):
            continue
        lacks = _lacks(scene, rule)
        if lacks is not None:
            skipped += [Skipped(rule.id, name, lacks)] if lacks else []
            continue
        found = list(runs(rule, scene, question.policy))
        verdicts = [v for v in found if isinstance(v, Verdict)]
        blind = [v for v in found if isinstance(v, Blind)]
        for verdict in verdicts:
            found_here = finding(rule, verdict, name, question.policy)
            findings.append(found_here)
            if verdict.edits:
                edits[rule.id, found_here.object, found_here.key] = verdict.edits
        skipped += [Skipped(rule.id, name, b.reason) for b in blind]
        if not verdicts and not blind:
            passed.append(Passed(rule.id, name, rule.ok))
    report = Report(
        command="audit",
        targets=(TargetInfo(name, "pgbouncer", str(scene.config.version)),),
        findings=tuple(findings),
        passed=tuple(passed),
        skipped=tuple(skipped),
        extra={"files": [printable(file_data(scene.ini))]} if scene.ini else {},
        exhibits=_exhibits(scene, name),
    )
    return Answer(report, scene, edits)


def file_data(ini: IniFile) -> dict[str, Json]:
    """What a daemon would read from the file: the entry of `files` in the JSON report (DESIGN.md 3)."""
    occurrences = ini.occurrences
    settings: dict[str, Json] = {}
    for setting in ini.settings:
        if setting.dead and not setting.undone:
            continue
        shown = "***" if setting.name == "auth_ldap_options" else redact(setting.raw)
        settings[setting.name] = {
            "raw": shown,
            "value": None if setting.value is None else _value(setting.name, ini.value(setting.name)),
            "unit": setting.parameter.unit if setting.parameter else None,
            "file": setting.file,
            "line": setting.line,
            "occurrences": occurrences[setting.name],
            "error": setting.error,
        }
    listed = {d.name: ini.shown(d) for d in ini.databases if d.name != "*"} if ini.loads else {}
    fallback = next((d for d in ini.databases if d.name == "*"), None)
    return {
        "path": ini.path,
        "kind": "pgbouncer.ini",
        "version": str(ini.version),
        "loads": ini.loads,
        "entries": ini.entries,
        "errors": [
            {"file": p.file, "line": _said_at(ini, n), "message": p.message, "at": p.line or None}
            for n, p in enumerate(ini.problems)
        ],
        "settings": settings,
        "databases": {name: dict(row) for name, row in listed.items()},
        "fallback": dict(ini.shown(fallback)) if fallback and ini.loads else None,
        "users": {u.name: {"pool_mode": u.pool_mode, **ini.shown_user(u)} for u in ini.users},
        "peers": sorted(p.id for p in ini.peers),
    }


def _said_at(ini: IniFile, position: int) -> int | None:
    """The line that the log names for a mistake; a key that is unknown is named with it in the message behind."""
    problem = ini.problems[position]
    behind = ini.problems[position + 1 : position + 2]
    if problem.named is None and behind and problem.message.startswith("unknown parameter"):
        return behind[0].named
    return problem.named


def _value(name: str, value: str) -> str:
    return "***" if name == "auth_ldap_options" and value else redact(value)


def runs(rule: Rule[..., Any], judged: object, policy: Policy) -> Iterable[Verdict | Blind]:
    """A rule's verdicts on what it judges: one scene, or several poolers."""
    if rule.limits is None:
        return rule(judged)
    return rule(judged, policy.limits(rule, rule.limits))


def _lacks(scene: Scene, rule: Rule[..., Any]) -> str | None:
    """Why a rule cannot look: a reason to be shown, empty where it was simply not asked; None when it can."""
    needs = NEEDS[rule.id]
    if needs == "file" and scene.ini is None:
        return "no file was given: name it with --pgbouncer-ini, or as `ini` of the target"
    if needs == "console":
        return None if scene.live else ""
    if needs == "reload":
        return None if scene.outcome else ""
    if needs == "config" and scene.live is None and scene.ini is not None and not scene.ini.loads:
        return f"the file does not load: mend {scene.ini.problems[0].file}:{scene.ini.problems[0].line} first"
    if scene.live is not None and "config" in scene.live.hidden:
        return f"the console does not show its settings: {scene.live.hidden['config']}"
    return None


def finding(rule: Rule[..., Any], verdict: Verdict, name: str, policy: Policy) -> Finding:
    """A verdict as the report shows it, under a target's name."""
    severity = policy.severity(rule, verdict.severity)
    return Finding(
        rule=rule.id,
        severity=severity,
        evidence=rule.evidence,
        message=line(verdict.message),
        target=name,
        object=line(verdict.object),
        location=_relative(verdict.location),
        data={k: printable(v) for k, v in verdict.data.items()},
        fix=_fix(verdict),
        key=line(verdict.key),
    )


def _fix(verdict: Verdict) -> Fix | None:
    lines = [f"{e.key} = {e.value}".rstrip() for e in verdict.edits if e.at is None]
    dropped = [
        f"; take out line {e.at.line} of {e.at.file}" for e in verdict.edits if e.at is not None and e.line is None
    ]
    if lines or dropped:
        head = ["[pgbouncer]"] if lines else []
        after = "; needs a restart" if verdict.restart else "; then RELOAD"
        text = "\n".join([*head, *lines, *dropped, after])
        return Fix("ini", line(text), safe=not verdict.restart)
    return Fix("ini", line(verdict.hint)) if verdict.hint else None


def _relative(place: Location | None) -> Location | None:
    if place is None:
        return None
    path = Path(place.file)
    try:
        return Location(str(path.resolve().relative_to(Path.cwd())), place.line)
    except (ValueError, OSError):
        return place


def _located(running: Config, held: Config) -> Config:
    """The running configuration with the lines of the file, for the findings to point at."""
    lines = {d.name: d for d in held.databases}
    databases = [
        replace(d, given=lines[d.name].given, location=lines[d.name].location) if d.name in lines else d
        for d in running.databases
    ]
    return Config(running.version, running.values, tuple(databases), held.where, held.place, _users(running, held))


def _users(running: Config, held: Config) -> tuple[PoolUser, ...]:
    """Users with something of their own; what the console of this version does not show is taken from their lines."""
    minor = running.version.minor
    made: list[PoolUser] = []
    for user in running.users:
        line = held.user(user.name)
        if line is None:
            made.append(user)
        elif minor < USERS_SHOWN_SINCE:
            made.append(replace(line, pool_mode=user.pool_mode))
        elif minor < USER_SIZES_SINCE:
            made.append(replace(user, pool_size=line.pool_size, reserve=line.reserve, location=line.location))
        else:
            made.append(replace(user, location=line.location))
    return tuple(made)


def _outcome(path: Path, ini: IniFile, live: Live) -> reload.Outcome:
    stopped = ini if ini.loads else read_file(path, ini.version, stop=True)
    databases = frozenset(row.get("name") or "" for row in live.databases)
    return reload.predict(ini, stopped, live.values, databases, live.defaults)


def _userlist(ini: IniFile) -> tuple[Userlist | None, str]:
    """auth_file, where it stands beside the file: elsewhere the path is one of another machine."""
    named = ini.value("auth_file")
    if not named:
        return None, ""
    beside = Path(ini.path).parent
    path = beside / named
    try:
        if path.parent.resolve() != beside.resolve() or not path.is_file():
            return None, f"auth_file {named} is not beside the file, and is taken to be on another machine"
        return userlist.read_file(path, ini.version), ""
    except (OSError, ValueError) as error:
        return None, f"auth_file {named} cannot be read: {error}"
    except UsageError as error:
        return None, f"auth_file {named} cannot be read: {error.why}"


def _exhibits(scene: Scene, name: str) -> tuple[Exhibit, ...]:
    if scene.live is None and scene.ini is not None and not scene.ini.loads:
        return ()
    made: list[Exhibit] = [*connection_bars(scene, name), settings_table(scene, name)]
    if scene.live is not None:
        made.append(pool_table(scene.live, name))
    return tuple(made)
