"""A rehearsal from start to end: ground, seeds, calibration, and the watched run, on each version asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Final

import psycopg

from dbkit import assets
from dbkit.ephemeral import postgres_databases as databases
from dbkit.postgres import ddl
from dbkit.postgres.connect import fetch
from dbkit.postgres.migrate.found import parse
from dbkit.postgres.migrate.names import Name
from dbkit.postgres.migrate.rehearse import ground as grounds
from dbkit.postgres.migrate.rehearse import lacking, mentions, nulls, predict, recorded, state, wishes
from dbkit.postgres.migrate.rehearse.application import Application, Query
from dbkit.postgres.migrate.rehearse.choose import Choice
from dbkit.postgres.migrate.rehearse.observed import Hold, Observation, Stall, Stop
from dbkit.postgres.migrate.rehearse.probes import MOST_TABLES, Probes
from dbkit.postgres.migrate.rehearse.run import Runner
from dbkit.postgres.migrate.rehearse.seed import Seeder, Sown
from dbkit.postgres.migrate.source import Script
from dbkit.postgres.migrate.stats import Stats, TableSize

ROWS: Final = 5_000
"""Rows of a table that pending statements name, when nothing is predicted."""
MEASURED_ROWS: Final = 100_000
"""The same when times are predicted: enough that a scan takes longer than the clock's noise."""
OTHER_ROWS: Final = 100
FRACTION: Final = 4
"""The second size of a calibration is this many times smaller."""
REPEATS: Final = 2


@dataclass(slots=True)
class Options:
    """How to rehearse."""

    majors: tuple[int, ...]
    assume: bool | None = None
    schema_sql: str = ""
    schema_label: str = "the schema"
    stats: Stats | None = None
    read_rate: float | None = None
    """Bytes a second at which production reads tables from storage; None presumes them in memory."""
    rows: int | None = None
    queries: Callable[[], list[Query]] = list
    """A fresh reading of the application's queries for each version."""
    keep: float = 0.0
    """Seconds for which the server stays up afterwards, to be looked at."""
    progress: Callable[[str], None] = lambda line: None


@dataclass(slots=True)
class Outcome:
    """What a rehearsal on one version has seen."""

    major: int
    version: str
    seen: list[Observation]
    holds: list[Hold]
    stop: Stop | None
    stalls: list[Stall]
    sown: list[Sown]
    queries: list[Query]
    predictions: list[predict.Prediction | None]
    before: dict[str, state.Relation]
    """Relations that existed before, as shown."""
    touched: list[Name]
    past: list[Observation] = field(default_factory=list[Observation])
    """Statements of the history."""
    notes: list[str] = field(default_factory=list[str])
    unsized: list[str] = field(default_factory=list[str])
    """Tables that statements work on and the statistics do not know."""
    psql: str = ""

    @property
    def target(self) -> str:
        """Its name in findings."""
        return f"pg{self.major}"


def rehearse(choice: Choice, options: Options) -> list[Outcome]:
    """Rehearse on each version. Raises Unavailable without a server, UsageError when the schema cannot be built."""
    return [_on(major, choice, options) for major in options.majors]


def _on(major: int, choice: Choice, options: Options) -> Outcome:
    statements = _statements(choice.pending)
    with grounds.prepare(major) as ground:
        name = f"PostgreSQL {ground.server.version_text}"
        base = ground.database()
        everything = [*_statements(choice.history), *statements]
        ground.expect(lacking.makes(everything))
        ground.provide(lacking.roles(everything))
        past = grounds.build(ground, base, options.schema_sql, options.schema_label, choice.history, options.assume)
        before, touched = _touched(ground.dsn(base), statements)
        options.progress(
            f"{name}: schema of {sum(r.kind in 'rp' for r in before.values())} tables built"
            f"{f' from {len(choice.history)} migrations' if choice.history else ''}"
        )
        large = ground.database(base)
        sown = _seed(ground.dsn(large), statements, _wanted(touched, options, 1), options.stats)
        options.progress(f"{name}: {sum(s.rows for s in sown):,} rows in {sum(s.rows > 0 for s in sown)} tables")
        timings: list[predict.Timing] = []
        if options.stats is not None:
            small = ground.database(base)
            _seed(ground.dsn(small), statements, _wanted(touched, options, FRACTION), options.stats)
            timings = _calibrate(ground, (small, large), choice, options)
            options.progress(f"{name}: timed {len(timings)} runs at two sizes")
        outcome = _watched(ground, ground.database(large), choice, options, before, touched)
        outcome.past = past
        outcome.sown = [s for s in sown if s.wanted or s.rows]
        unknown = nulls.unknown(touched, statements, options.stats)
        without = [f"not done here: {why}" for why in ground.lacks]
        notes = [*choice.notes, *without, *ground.notes, *recorded.told(choice.pending), *outcome.notes]
        outcome.notes = [*dict.fromkeys([*notes, *unknown, *_unprobed(touched)])]
        if options.stats is not None:
            known = {shown: r.name for shown, r in before.items()}
            outcome.predictions = predict.predict(outcome.seen, timings, options.stats, known, options.read_rate)
            worked = {t for o in outcome.seen for t in o.tables if t in known}
            outcome.unsized = sorted(t for t in worked if options.stats.of(known[t]) is None)
        if options.keep and ground.server.held is not None:
            ground.server.held.linger(options.keep)
        return outcome


def _statements(scripts: Sequence[Script]) -> list[ddl.Statement]:
    return [s for script in scripts for _, found in parse(script)[0] for s in found]


def _unprobed(touched: Sequence[Name]) -> list[str]:
    left = ", ".join(map(str, touched[MOST_TABLES:]))
    return [f"readers and writers were timed on {MOST_TABLES} of {len(touched)} tables, not on {left}"] if left else []


def _touched(dsn: str, statements: Sequence[ddl.Statement]) -> tuple[dict[str, state.Relation], list[Name]]:
    """Relations that exist before, and the tables among them that pending statements name or reach."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        found = state.look(connection, inside=False).relations
        keys = fetch(connection, assets.query("postgres/seed_keys"))
    named: dict[int, None] = {}
    for statement in statements:
        for name in mentions.relations(statement):
            for relation in found.values():
                if relation.name.name == name.name and name.schema in ("", relation.name.schema):
                    oid = relation.table_oid or relation.oid
                    if oid in found:
                        named[oid] = None
    near = {row[side]: None for row in keys for side, other in (("parent", "child"), ("child", "parent"))
            if row[other] in named}  # fmt: skip
    oids = [oid for oid in (*named, *near) if found[oid].kind in "rp" and (oid in found)]
    return {str(r.name): r for r in found.values()}, [found[oid].name for oid in dict.fromkeys(oids)]


def _wanted(touched: Sequence[Name], options: Options, divisor: int) -> Callable[[Name, Name], int]:
    """Rows for each table: as many as asked for where it matters, no more than production has."""
    most = options.rows or (MEASURED_ROWS if options.stats is not None else ROWS)
    names = set(touched)

    def rows(table: Name, root: Name) -> int:
        if table not in names and root not in names:
            return min(OTHER_ROWS, most)
        real = options.stats.of(table) if options.stats is not None else None
        wanted = min(most, max(real.rows, 1000)) if real is not None and options.rows is None else most
        return max(wanted // divisor, 1)

    return rows


def _seed(
    dsn: str, statements: Sequence[ddl.Statement], wanted: Callable[[Name, Name], int], stats: Stats | None
) -> list[Sown]:
    with psycopg.connect(dsn, autocommit=True, application_name="dbkit rehearse: seeder") as connection:
        return Seeder(
            connection,
            wanted,
            lambda tables: wishes.amend(tables, statements),
            lambda table, root: nulls.wanted(table, root, statements, stats),
        ).run()


def _calibrate(
    ground: grounds.Ground, sources: Sequence[str], choice: Choice, options: Options
) -> list[predict.Timing]:
    """Time the statements without probes, each size in turn, so that a slow minute hits both alike."""
    found: list[predict.Timing] = []
    made = lacking.makes(_statements(choice.pending))
    for _ in range(REPEATS):
        for source in sources:
            name = ground.database(source)
            size = _sizes(ground.dsn(name))
            runner = Runner(ground.dsn(name), options.assume, watching=False, one_transaction=choice.one_transaction)
            runner.run(choice.pending)
            found.append(predict.timed(size, runner.ledger.seen))
            databases.drop(ground.server, name)
            ground.forget(made)
    return found


def _sizes(dsn: str) -> predict.Size:
    with psycopg.connect(dsn, autocommit=True) as connection:
        return predict.Size(
            {
                str(Name(row["schema"], row["name"])): TableSize(row["bytes"], row["rows"])
                for row in fetch(connection, assets.query("postgres/rehearsed_sizes"))
            }
        )


def _watched(
    ground: grounds.Ground,
    name: str,
    choice: Choice,
    options: Options,
    before: dict[str, state.Relation],
    touched: list[Name],
) -> Outcome:
    """The run that counts: watched, probed, with the application's queries beside it."""
    dsn = ground.dsn(name)
    queries = options.queries()
    with ExitStack() as stack:
        application = Application(dsn, queries) if queries else None
        runner = Runner(dsn, options.assume, one_transaction=choice.one_transaction, lacks=ground.lacks)
        ledger = runner.ledger
        if application is not None:
            stack.callback(application.close)
            application.once("before")
            runner.between = lambda position: application.once("during", position - 1)
            application.start(lambda: len(ledger.seen) - 1)
        probes = Probes(dsn, touched)
        stack.callback(probes.stop)
        probes.wait_for_all()
        runner.run(choice.pending)
        probes.wait_for_all()
        if application is not None:
            application.stop()
            application.once("after", len(ledger.seen) - 1)
            application.prepare_again()
        return Outcome(
            major=ground.server.major,
            version=ground.server.version_text,
            seen=ledger.seen,
            holds=ledger.holds,
            stop=runner.stop,
            stalls=probes.stalls(ledger.clock, ledger.holds, ledger.seen),
            sown=[],
            queries=queries,
            predictions=[],
            before=before,
            touched=touched,
            notes=runner.notes,
            psql=ground.server.psql_line(name),
        )
