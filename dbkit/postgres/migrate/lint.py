"""Lint: migrations in, Report out. No server, no driver; the one entry that the command and rehearsal use."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Final

from dbkit.errors import UsageError
from dbkit.exhibits import Exhibit, Table
from dbkit.model import (
    Evidence,
    Finding,
    Fix,
    Json,
    Location,
    Passed,
    Report,
    Severity,
    Skipped,
    Suppression,
    TargetInfo,
)
from dbkit.postgres import ddl
from dbkit.postgres.migrate import suppress
from dbkit.postgres.migrate.actions import Action
from dbkit.postgres.migrate.context import NEWEST, OLDEST, Hazard
from dbkit.postgres.migrate.evolve import apply
from dbkit.postgres.migrate.found import Coverage, Found
from dbkit.postgres.migrate.reading import read
from dbkit.postgres.migrate.rules import DISPATCH, MIGRATION_RULES, MigrationRule
from dbkit.postgres.migrate.rules.reading import BadSuppression
from dbkit.postgres.migrate.schema import Schema
from dbkit.postgres.migrate.source import Script, blank, unread_commands
from dbkit.postgres.migrate.stats import Stats
from dbkit.postgres.migrate.walk import Walk
from dbkit.rules import Selection
from dbkit.sizes import format_bytes

TARGET: Final = "migrations"
DEFAULT_VERSION: Final = (15, None)
_ALWAYS: Final = ("migrate.syntax-error", "migrate.unreadable")
_SCALES_WITH_SIZE: Final = ("table rewrite", "table scan", "index build")


@dataclass(frozen=True, slots=True)
class Changed:
    """What `--diff-base` found new: whole files (None) or lines of them."""

    lines: Mapping[str, frozenset[int] | None]

    def touches(self, file: str, first: int, last: int) -> bool:
        """Whether a statement is new or changed."""
        if file not in self.lines:
            return False
        lines = self.lines[file]
        return lines is None or not lines.isdisjoint(range(first, last + 1))


@dataclass(slots=True)
class Options:
    """How to lint."""

    version: tuple[int, int | None] = DEFAULT_VERSION
    """PostgreSQL's major and, where it matters, minor version."""
    assume: bool | None = None
    """Whether plain files run inside a transaction; None: not known."""
    schema_sql: str = ""
    """What exists before, as `pg_dump -s` writes it."""
    schema_label: str = "the schema"
    stats: Stats | None = None
    selection: Selection = field(default_factory=Selection)
    switched_on: Callable[[MigrationRule], bool | None] = lambda rule: None
    severity: Callable[[MigrationRule, Severity | None], Severity] = lambda rule, own: own or rule.severity
    changed: Changed | None = None
    today: date = field(default_factory=date.today)


@dataclass(slots=True)
class Result:
    """The report, and what `--fix` needs."""

    report: Report
    found: list[tuple[Found, Finding]]
    coverage: Coverage


def parse_version(text: str) -> tuple[int, int | None]:
    """`15` or `14.2` as numbers. Raises UsageError for what dbkit does not know."""
    major, _, minor = text.strip().partition(".")
    known = f"versions {OLDEST} to {NEWEST} are known, such as 15 or 14.2"
    if not major.isdigit() or (minor and not minor.isdigit()):
        raise UsageError(f"{text!r} is not a PostgreSQL version", hint=known)
    if not OLDEST <= int(major) <= NEWEST:
        raise UsageError(f"PostgreSQL {text} is not a version dbkit knows", hint=known)
    return int(major), int(minor) if minor else None


def lint(scripts: Sequence[Script], options: Options | None = None) -> Report:
    """Judge scripts in the order given. Raises UsageError only for options; what cannot be read is a finding."""
    return examine(scripts, options or Options()).report


def examine(scripts: Sequence[Script], options: Options) -> Result:
    """As `lint`, with what was found kept beside its findings."""
    rules = [r for r in MIGRATION_RULES if _wants(options, r)]
    wanted = {r.id for r in rules}
    dispatch: dict[type[Action], list[MigrationRule]] = {}
    for kind, held in DISPATCH.items():
        chosen = [r for r in held if r.id in wanted]
        if chosen:
            dispatch[kind] = chosen
    walk = Walk(dispatch, _schema(options), options.version[0], options.version[1], options.assume)
    unread_commands(scripts)
    # Parse trees hold no cycles, but there are millions of nodes: the collector would take a third of the time.
    collecting = gc.isenabled()
    gc.disable()
    try:
        for number, script in enumerate(scripts):
            walk.script(script, number)
        walk.end()
    finally:
        if collecting:
            gc.enable()
    judged = {s.file for s in scripts if not s.history}
    findings = _findings(walk, scripts, options, judged)
    active = [f for _, f in findings]
    report = Report(
        command="migrate lint",
        targets=(TargetInfo(TARGET, "postgres", _version_words(options.version)),),
        findings=tuple(active),
        passed=_passed(rules, active),
        skipped=_skipped(walk, wanted),
        extra=_extra(scripts, walk, options),
        exhibits=_exhibits(scripts, active),
    )
    return Result(report, findings, walk.coverage)


def _wants(options: Options, rule: MigrationRule) -> bool:
    """Whether the run uses the rule. What could not be read is told even where only other rules are selected."""
    on = options.switched_on(rule)
    if rule.id in _ALWAYS:
        return Selection(ignore=options.selection.ignore).wants(rule, switched_on=on)
    return options.selection.wants(rule, switched_on=on)


def _version_words(version: tuple[int, int | None]) -> str:
    return f"{version[0]}.{version[1]}" if version[1] is not None else str(version[0])


def _schema(options: Options) -> Schema:
    schema = Schema()
    if options.schema_sql:
        # psql's own commands and the CREATE SCHEMA of a dump mean nothing here; all else is applied as it stands.
        for statement in ddl.parse(blank(options.schema_sql), label=options.schema_label):
            for action in read(statement):
                apply(schema, action)
        schema.whole = True
    return schema


def _findings(walk: Walk, scripts: Sequence[Script], options: Options, judged: set[str]) -> list[tuple[Found, Finding]]:
    known = suppress.names_by_tool(MIGRATION_RULES)
    directives: dict[str, list[suppress.Directive]] = {}
    for script in scripts:
        held = suppress.find(script.original or script.text) if script.parts is None else _of_parts(script)
        if held:
            suppress.place(held, walk.ranges.get(script.file, []))
            directives[script.file] = held
    counted: dict[tuple[str, str, str, str], int] = {}
    made: list[tuple[Found, Finding]] = []
    for found in walk.found:
        if found.file not in judged or not _new(found, options):
            continue
        finding = _finding(found, options, counted)
        for directive in directives.get(found.file, ()):
            if found.line is None or not directive.covers(found.line):
                continue
            if directive.over(options.today):
                continue
            if suppress.matches(directive, found.rule.id, known):
                directive.used = True
                why = directive.reason or f"{directive.tool} comment on line {directive.line}"
                finding = finding.suppressed_by(Suppression("comment", why, directive.until))
                break
        made.append((found, finding))
    made += _complaints(walk, directives, known, options, judged, counted)
    return made


def _new(found: Found, options: Options) -> bool:
    if options.changed is None:
        return True
    return options.changed.touches(found.file, found.line or 1, max(found.last, found.line or 1))


def _of_parts(script: Script) -> list[suppress.Directive]:
    """Suppressions of a script in another language: its own comments, as `# dbkit: ignore ...`."""
    return suppress.find(script.original.replace("# ", "-- ")) if script.original else []


def _complaints(
    walk: Walk,
    directives: Mapping[str, list[suppress.Directive]],
    known: Mapping[tuple[str, str], frozenset[str]],
    options: Options,
    judged: set[str],
    counted: dict[tuple[str, str, str, str], int],
) -> list[tuple[Found, Finding]]:
    made: list[tuple[Found, Finding]] = []
    active = {r.id for rules in walk.dispatch.values() for r in rules}
    for file, held in directives.items():
        if file not in judged:
            continue
        for line, message in suppress.complaints(held, known, active, options.today):
            for rule in walk.dispatch.get(BadSuppression, ()):
                found = Found(rule, Hazard(message), file, line, line, message)
                if _new(found, options):
                    made.append((found, _finding(found, options, counted)))
    return made


def _finding(found: Found, options: Options, counted: dict[tuple[str, str, str, str], int]) -> Finding:
    hazard = found.hazard
    rule = found.rule
    severity = options.severity(rule, hazard.severity)
    message, data = hazard.message, dict(hazard.data)
    size = _sized(hazard, options.stats)
    if size is not None:
        words, change = size
        message = f"{message} ({words})"
        data["size"] = words
        if _grows(data):
            severity = change(severity)
    lock = data.get("lock")
    if isinstance(lock, str) and lock not in message:
        message = f"{message} ({lock})"
    text = " ".join(found.text.split())
    identity = (rule.id, hazard.object, found.file, text)
    counted[identity] = counted.get(identity, 0) + 1
    repeat = f" #{counted[identity]}" if counted[identity] > 1 else ""
    fix = Fix("sql", _ended(hazard.recipe), safe=hazard.safe) if hazard.recipe else None
    location = Location(hazard.file or found.file, found.line) if found.file else None
    return Finding(
        rule=rule.id,
        severity=severity,
        evidence=hazard.evidence or Evidence.TEXT,
        message=message,
        target=TARGET,
        object=hazard.object,
        location=location,
        data=data,
        fix=fix,
        key=text + repeat,
    )


def _ended(sql: str) -> str:
    """The recipe with its last semicolon."""
    last = sql.rstrip().rpartition("\n")[2]
    return sql if last.endswith(";") or "--" in last else f"{sql};"


def _grows(data: Mapping[str, Json]) -> bool:
    cost = data.get("cost")
    return isinstance(cost, str) and cost.startswith(_SCALES_WITH_SIZE)


def _sized(hazard: Hazard, stats: Stats | None) -> tuple[str, Callable[[Severity], Severity]] | None:
    """The size of the tables concerned in words, and what it does to the severity."""
    if stats is None or not hazard.tables:
        return None
    sizes = [(table, stats.of(table)) for table in hazard.tables]
    known = [(table, size) for table, size in sizes if size is not None]
    if not known:
        return None
    words = ", ".join(f"{table}: {format_bytes(size.bytes)}, {_rows(size.rows)} rows" for table, size in known)
    if len(known) == len(sizes) and all(size.small for _, size in known):
        return words, lambda severity: Severity.INFO
    if any(size.large for _, size in known):
        return words, lambda severity: Severity.ERROR
    return words, lambda severity: severity


def _rows(count: int) -> str:
    for limit, unit in ((1_000_000_000, "G"), (1_000_000, "M"), (1_000, "k")):
        if count >= limit:
            return f"{count / limit:.3g} {unit}"
    return str(count)


def _passed(rules: Iterable[MigrationRule], findings: Iterable[Finding]) -> tuple[Passed, ...]:
    hit = {f.rule for f in findings if f.suppression is None}
    return tuple(Passed(r.id, TARGET, r.ok) for r in rules if r.id not in hit)


def _skipped(walk: Walk, wanted: set[str]) -> tuple[Skipped, ...]:
    del walk
    off = [r for r in MIGRATION_RULES if r.id not in wanted and not r.opt_in]
    return tuple(Skipped(r.id, TARGET, "switched off by --select, --ignore or the policy") for r in off)


def _extra(scripts: Sequence[Script], walk: Walk, options: Options) -> dict[str, Json]:
    coverage = walk.coverage
    return {
        "coverage": {
            "statements": coverage.statements,
            "analysed": coverage.statements - coverage.not_analysed,
            "not_analysed": coverage.not_analysed,
            "in_bodies": coverage.inside,
            "share": round(coverage.share, 4),
        },
        "migrations": [
            {
                "path": s.file,
                "kind": s.kind,
                "transaction": s.wrap.value,
                "statements": len(walk.ranges.get(s.file, ())),
            }
            for s in scripts
            if not s.history and not s.remark
        ],
        "pg_version": _version_words(options.version),
    }


def _exhibits(scripts: Sequence[Script], findings: Sequence[Finding]) -> tuple[Exhibit, ...]:
    counts: dict[str, dict[Severity, int]] = {}
    for finding in findings:
        if finding.location is not None and finding.suppression is None:
            mine = counts.get(finding.location.file)
            if mine is None:
                mine = counts[finding.location.file] = dict.fromkeys(Severity, 0)
            mine[finding.severity] += 1
    rows = [
        (s.file, s.kind, s.wrap.value, *(str(n) for n in counts[s.file].values())) for s in scripts if s.file in counts
    ]
    if not rows:
        return ()
    columns = ("file", "kind", "in a transaction", "errors", "warnings", "notes")
    return (Table("Migrations with findings", columns, tuple(rows), numeric=frozenset(columns[3:])),)
