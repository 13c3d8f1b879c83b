"""The looks of `dbkit audit` at poolers: a pgbouncer.ini, or a running PgBouncer with the servers behind it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dbkit.cli import targets
from dbkit.cli.audit_looks import Draft, Look, Looked
from dbkit.errors import DbkitError, UsageError
from dbkit.model import TargetInfo

if TYPE_CHECKING:
    from dbkit.capacity import ServerFacts
    from dbkit.model import Finding, Report
    from dbkit.pgbouncer.audit import Answer, Question
    from dbkit.policy import Policy
    from dbkit.rules import Selection
    from dbkit.settings import Settings, Target

NEWEST = "1.25"


@dataclass(frozen=True, slots=True)
class PoolerFlags:
    """The flags of a run that every look at a pooler heeds."""

    selection: Selection
    connections: Path | None = None
    reload_check: bool = False
    version: str | None = None
    ini: Path | None = None
    managed: str | None = None


def whose(files: Sequence[Path], poolers: Sequence[Target]) -> tuple[Sequence[Path], Path | None]:
    """The files that belong to no pooler of the run, or the one that is a running pooler's. Raises UsageError."""
    if not poolers:
        return files, None
    if len(files) > 1:
        raise UsageError("one file belongs to a running pooler", hint="give each pooler target its own `ini`")
    return (), files[0] if files else None


def looks(
    held: Settings,
    poolers: Sequence[Target],
    files: Sequence[Path],
    flags: PoolerFlags,
    beside: Sequence[Target],
    policy: str | None,
    conf: tuple[Path | None, str | None] = (None, None),
) -> list[Look]:
    """Every look at a pooler in this run: the running ones, and the files that belong to none of them."""
    if flags.ini is not None and len(poolers) > 1:
        raise UsageError(
            "--pgbouncer-ini is the file of one pooler", hint="name one, or give each target its own `ini`"
        )
    made = [pgbouncer(held, one, flags, targets.policy_of(held, one, policy), beside) for one in poolers]
    path, version = conf
    servers = facts_of_conf(path, version) if files and path is not None else []
    return made + [pgbouncer_ini(file, flags, targets.policy_of(held, None, policy), servers) for file in files]


def together(results: Sequence[Looked | DbkitError], flags: PoolerFlags, policy: Policy) -> Report | None:
    """The poolers of the run held against each other; None when there are fewer than two."""
    members = [one.pooler for one in results if not isinstance(one, DbkitError) and one.pooler is not None]
    if len(members) < 2:
        return None
    from dbkit.pgbouncer import fleet

    return fleet.judge(members, question_of(flags, policy, None, None))


def pgbouncer_ini(file: Path, flags: PoolerFlags, policy: Policy, servers: Sequence[ServerFacts]) -> Look:
    """The look at a pgbouncer.ini, with no pooler. Raises UsageError when it cannot be read."""
    from dbkit.pgbouncer import audit as engine
    from dbkit.pgbouncer.ini import parameters

    if flags.reload_check:
        raise UsageError(
            "--reload-check compares a file with a running pooler",
            hint="name its console too: dbkit audit --dsn pgbouncer://monitoring@host:6432 --pgbouncer-ini FILE",
        )
    question = question_of(flags, policy, None, None)
    version = parameters.version(flags.version or NEWEST)
    scene = engine.scene_of_file(file, version, question, servers)

    def look() -> Looked:
        return _looked(engine.judge(scene, str(file), question), file, flags.managed)

    return Look(TargetInfo(str(file), "pgbouncer", str(version)), policy, look, "pgbouncer")


def pgbouncer(held: Settings, one: Target, flags: PoolerFlags, policy: Policy, beside: Sequence[Target]) -> Look:
    """The look at a running pooler; `beside` are the PostgreSQL targets of the same run, which may stand behind it."""
    from dbkit.pgbouncer import audit as engine

    one.dsn()
    file = flags.ini or (held.directory / one.ini if one.ini else None)
    if flags.reload_check and file is None:
        raise UsageError(
            "--reload-check needs the file", hint="name it with --pgbouncer-ini, or as `ini` of the target"
        )
    if flags.version is not None:
        raise UsageError("--pgbouncer-version is for a file", hint="a running pooler says its version itself")
    question = question_of(flags, policy, held, one)
    behind = held.choose(one.servers) if one.servers else tuple(beside)

    def look() -> Looked:
        from dbkit.pgbouncer import console

        live = console.look(one)
        servers, unread = _facts(behind)
        answer = engine.judge(engine.scene_of_console(live, file, question, servers), one.name, question)
        return _looked(answer, file, flags.managed, unread)

    return Look(TargetInfo(one.name, one.engine), policy, look, "pgbouncer")


def facts_of_conf(file: Path, version: str | None) -> list[ServerFacts]:
    """What a postgresql.conf of the same run says about the servers behind the pooler."""
    from dbkit.postgres import facts
    from dbkit.postgres.conf.reader import read_file

    return [facts.of_conf(read_file(file, int((version or "18").partition(".")[0])))]


def question_of(flags: PoolerFlags, policy: Policy, held: Settings | None, one: Target | None) -> Question:
    """What a look at a pooler is held against. Raises UsageError."""
    from dbkit.pgbouncer import documents
    from dbkit.pgbouncer.audit import Question

    flags.selection.validate()
    named = flags.connections
    if named is None and held is not None and one is not None and one.connections:
        named = held.directory / one.connections
    figures = documents.connections(named)
    if flags.managed is not None:
        if flags.managed not in figures.servers.provider_reserved:
            raise UsageError(
                f"no reserve is known for the service {flags.managed!r}",
                hint=f"known: {', '.join(figures.servers.provider_reserved) or 'none'}; add it to connections.yaml",
            )
        figures = figures.model_copy(update={"poolers": figures.poolers.model_copy(update={"provider": flags.managed})})
    return Question(
        policy,
        flags.selection,
        figures,
        own_figures=named is not None,
        processes=one.processes if one else None,
        reload_check=flags.reload_check,
    )


def _facts(behind: Sequence[Target]) -> tuple[list[ServerFacts], list[str]]:
    """The servers that can be asked, and why others cannot: a pooler is judged without them, and says so."""
    from dbkit.postgres import facts

    found: list[ServerFacts] = []
    unread: list[str] = []
    for target in behind:
        try:
            found.append(facts.of_server(target, only=len(behind) == 1))
        except DbkitError as error:
            unread.append(f"{target.name} was not looked at: {error.what}" + (f": {error.why}" if error.why else ""))
    return found, unread


def _looked(answer: Answer, file: Path | None, service: str | None, unread: Sequence[str] = ()) -> Looked:
    from dataclasses import replace

    from dbkit.model import Skipped
    from dbkit.pgbouncer.rules.fleet import Member

    report = answer.report
    name = report.targets[0].name
    member = Member(name, answer.scene)
    report = replace(
        report,
        skipped=(*report.skipped, *(Skipped("pgbouncer.pool-over-server", name, why) for why in unread)),
    )

    def plan(findings: Sequence[Finding]) -> Draft:
        from dbkit.pgbouncer import planning

        made = planning.plan(answer, answer.edits_for(findings), name)
        more = f"; {len(made.problems)} need a person" if made.problems else ""
        return Draft(made.to_json(), f"{len(made.steps)} steps{more}. Review it, then: dbkit apply THE_PLAN -t {name}")

    def commands(findings: Sequence[Finding]) -> Draft:
        from dbkit.pgbouncer import managed

        if service is None:
            raise UsageError("the commands depend on the service", hint="add --managed azure")
        return Draft(managed.commands(answer.edits_for(findings), service), "review it, then run it with sh")

    if file is None:
        return Looked(report, {".json": plan, ".sh": commands}, member)

    def draft(findings: Sequence[Finding]) -> Draft:
        from dbkit.pgbouncer.patch import patch

        ini = answer.scene.ini
        text = patch(ini, answer.edits_for(findings)) if ini else ""
        restart = any("needs a restart" in f.fix.text for f in findings if f.fix and f.suppression is None)
        then = "check it with --reload-check, then RELOAD" + (" (some lines need a restart)" if restart else "")
        return Draft(text, f"{text.count('@@ -')} hunks. Review it, then: patch {file} THE_PATCH; {then}")

    written = {".patch": draft, ".sh": commands}
    return Looked(report, {**written, ".json": plan} if answer.scene.live else written, member)
