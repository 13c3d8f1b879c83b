"""One command on several targets and schemas, one after the other, each with its own result."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, NoReturn

import typer

from dbkit.cli import output, targets
from dbkit.cli.migrate_options import VERSION_TABLE
from dbkit.cli.options import FailOn, Format
from dbkit.errors import DbkitError, Interrupted, UsageError
from dbkit.model import Json, Report, TargetInfo, merge

if TYPE_CHECKING:
    from dbkit.postgres.migrate.revisions import Environment
    from dbkit.settings import Target

_COMMAND: Final = re.compile(
    r"dbkit (?:(migrate) (?:expand|backfill|verify|contract|rollback|status|plan|deploy)|job [a-z]+)\b[^`]*"
)

SchemaPattern = Annotated[
    list[str] | None,
    typer.Option(
        "--schema-pattern",
        help="Do it in every schema that matches, each with its own version table (`*`, `?`); may be repeated.",
        metavar="PATTERN",
    ),
]
KeepGoing = Annotated[
    bool,
    typer.Option("--keep-going", help="Go on with the next target or schema after one that failed."),
]


@dataclass(frozen=True, slots=True)
class Place:
    """One database, or one schema of it."""

    target: Target
    environment: Environment
    schema: str = ""
    server: str = ""
    """The flags that lead to this target, with a space before each."""
    tree: str = ""
    """The flags that lead to these revisions."""
    standbys: tuple[Target, ...] = ()
    """Whose statements the gate counts, too."""

    @property
    def name(self) -> str:
        """As errors and reports call it."""
        return f"{self.target.name}/{self.schema}" if self.schema else self.target.name

    def command(self, text: str) -> str:
        """A command with the flags that make it mean this place."""
        found = _COMMAND.fullmatch(text)
        if found is None:
            return text
        schema = f" --schema-pattern {shlex.quote(self.schema)}" if self.schema else ""
        return text + self.server + (self.tree + schema if found[1] else "")

    def told(self, text: str) -> str:
        """The same for all commands in backticks."""
        parts = text.split("`")
        return "`".join(self.command(part) if n % 2 else part for n, part in enumerate(parts))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one place: a report, and the error it ended with."""

    report: Report
    error: DbkitError | None = None


@dataclass(frozen=True, slots=True)
class Fleet:
    """Where a command is to work: the flags that say so, as they were given."""

    names: list[str] | None
    dsn: str | None
    config: Path | None
    migrations: Path | None
    version_table: str
    patterns: list[str] | None = None
    keep_going: bool = False
    standbys: list[str] | None = None

    def run(self, command: str, work: Callable[[Place], Outcome]) -> Outcome:
        """Work in every place until one fails. A single place gives its own outcome, and raises its own error."""
        from dbkit.postgres.migrate import revisions

        environment = revisions.find(self.migrations, version_table=self.version_table)
        held, chosen = targets.postgres_targets(self.names, self.dsn, self.config)
        if len({t.name for t in chosen}) < len(chosen):
            raise UsageError("a target is named twice", hint="name each once with -t")
        if self.standbys and len(chosen) > 1:
            raise UsageError(
                "--standby goes with one target", hint="name the standbys in `replicas` of each target of dbkit.toml"
            )
        standbys = {t.name: targets.standbys_of(held, t, self.standbys) for t in chosen}
        if len(chosen) == 1 and not self.patterns:
            one = chosen[0]
            return self._work(Place(one, environment, "", *self.flags(one), standbys[one.name]), work)
        done: list[tuple[str, str, Outcome]] = []
        left: list[str] = []
        for target in chosen:
            if _ends(done, keep_going=self.keep_going):
                left.append(target.name)
                continue
            try:
                places = self._places(target, environment, standbys[target.name])
            except DbkitError as error:
                done.append((target.name, "", _failed(command, target, error)))
                continue
            for place in places:
                if _ends(done, keep_going=self.keep_going):
                    left.append(place.name)
                    continue
                try:
                    outcome = self._work(place, work)
                except DbkitError as error:
                    outcome = _failed(command, target, error)
                done.append((target.name, place.schema, outcome))
        return _together(command, done, left)

    def flags(self, target: Target) -> tuple[str, str]:
        """What leads to a target and to the revisions, beside what the configuration says anyway."""
        server = f" -t {shlex.quote(target.name)}" if self.names else ""
        server += f" --config {shlex.quote(str(self.config))}" if self.config else ""
        tree = f" --migrations {shlex.quote(str(self.migrations))}" if self.migrations else ""
        tree += f" --version-table {shlex.quote(self.version_table)}" if self.version_table != VERSION_TABLE else ""
        return server, tree

    def _work(self, place: Place, work: Callable[[Place], Outcome]) -> Outcome:
        """Every command that is advised means this place when it is copied."""
        try:
            outcome = work(place)
        except DbkitError as error:
            error.hint = place.told(error.hint) if error.hint else None
            raise
        if outcome.error is not None and outcome.error.hint:
            outcome.error.hint = place.told(outcome.error.hint)
        return replace(outcome, report=_addressed(outcome.report, place))

    def _places(self, target: Target, environment: Environment, standbys: tuple[Target, ...]) -> list[Place]:
        from dbkit.postgres.connect import connect
        from dbkit.postgres.migrate import tenants

        if not self.patterns:
            return [Place(target, environment, "", *self.flags(target), standbys)]
        with connect(target, purpose="migrate") as connection:
            found = tenants.schemas(connection, self.patterns)
        flags = self.flags(target)
        return [Place(target, environment.within(schema), schema, *flags, standbys) for schema in found]


def finish(outcome: Outcome, *, fmt: Format, outputs: list[Path] | None, fail_on: FailOn = FailOn.ERROR) -> NoReturn:
    """Show the report and leave with the exit code, by raising the error where there is one."""
    code = output.deliver(outcome.report, fmt=fmt, outputs=outputs, fail_on=fail_on, verbose=True)
    if outcome.error is not None:
        raise outcome.error
    raise typer.Exit(code)


def _addressed(report: Report, place: Place) -> Report:
    """The commands that findings and the list of changes advise."""
    findings = tuple(
        replace(f, fix=replace(f.fix, text=(place.command if f.fix.kind == "command" else place.told)(f.fix.text)))
        if f.fix
        else f
        for f in report.findings
    )
    extra = dict(report.extra)
    changes = extra.get("changes")
    if isinstance(changes, list):
        extra["changes"] = [_hinted(change, place) for change in changes]
    return replace(report, findings=findings, extra=extra)


def _hinted(change: Json, place: Place) -> Json:
    if not isinstance(change, Mapping):
        return change
    blocks = change.get("blocked_by")
    if not isinstance(blocks, list):
        return change
    told: list[Json] = [
        {**b, "hint": place.told(str(b["hint"]))} if isinstance(b, Mapping) and "hint" in b else b for b in blocks
    ]
    return {**change, "blocked_by": told}


def _ends(done: Sequence[tuple[str, str, Outcome]], *, keep_going: bool) -> bool:
    """Whether nothing more is to be begun: something failed, or a person wants us to stop."""
    errors = [o.error for _, _, o in done if o.error is not None]
    return bool(errors) and (not keep_going or any(isinstance(e, Interrupted) for e in errors))


def _failed(command: str, target: Target, error: DbkitError) -> Outcome:
    return Outcome(Report(command=command, targets=(TargetInfo(target.name, "postgres"),)), error)


def _together(command: str, done: Sequence[tuple[str, str, Outcome]], left: Sequence[str]) -> Outcome:
    merged = merge(command, [_labelled(*one) for one in done])
    infos = {info.name: info for info in merged.targets}
    runs: list[Json] = [_run(*one) for one in done]
    lists = {key: value for key, value in merged.extra.items() if isinstance(value, list)}
    report = replace(merged, targets=tuple(infos.values()), extra={**lists, "runs": runs, "not_tried": list(left)})
    failed = sorted(
        ((_name(target, schema), o.error) for target, schema, o in done if o.error is not None),
        key=lambda one: -one[1].exit_code,
    )
    if not failed:
        return Outcome(report)
    worst, error = failed[0]
    for name, other in failed[1:]:
        output.note(f"{name}: {'; '.join(other.lines())}")
    error.what = f"{worst}: {error.what}"
    if left:
        output.note(f"not tried after that: {', '.join(left)}; --keep-going goes on with them")
    return Outcome(report, error)


def _name(target: str, schema: str) -> str:
    return f"{target}/{schema}" if schema else target


def _run(target: str, schema: str, outcome: Outcome) -> dict[str, Json]:
    """What the command's report says of one place beside its lists."""
    error = outcome.error
    told: Json = None if error is None else {"what": error.what, "why": error.why, "hint": error.hint}
    single = {key: value for key, value in outcome.report.extra.items() if not isinstance(value, list)}
    code = 0 if error is None else error.exit_code
    return {"target": target, "schema": schema or None, "exit_code": code, "error": told, **single}


def _labelled(target: str, schema: str, outcome: Outcome) -> Report:
    """The report of one place with its name on everything, so that it can stand beside others."""
    name, report = _name(target, schema), outcome.report
    extra: dict[str, Json] = {}
    labels: dict[str, Json] = {"target": target, **({"schema": schema} if schema else {})}
    for key, value in report.extra.items():
        entries = value if isinstance(value, list) else []
        labelled: list[Json] = [{**labels, **entry} if isinstance(entry, dict) else entry for entry in entries]
        extra[key] = labelled if isinstance(value, list) else value
    passed = tuple(replace(p, sentence=f"{schema}: {p.sentence}" if schema else p.sentence) for p in report.passed)
    exhibits = tuple(replace(e, title=f"{e.title}: {name}") for e in report.exhibits)
    return replace(report, extra=extra, passed=passed, exhibits=exhibits)
