"""What only a rehearsal can find. Each check gets one outcome with all that belongs to it, and yields hazards."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from dbkit.model import Evidence, Severity
from dbkit.postgres.migrate.locks import Mode
from dbkit.postgres.migrate.rehearse import predict
from dbkit.postgres.migrate.rehearse.observed import Hold, Observation
from dbkit.rules import Rule, rule
from dbkit.sizes import format_seconds

if TYPE_CHECKING:  # the pages of these rules are printed without a driver
    from dbkit.postgres.migrate.rehearse.compare import Disagreement
    from dbkit.postgres.migrate.rehearse.rehearsal import Outcome


@dataclass(frozen=True, slots=True)
class Scene:
    """One outcome, the stall allowed in seconds (None: any), and where lint and the server said different things."""

    outcome: Outcome
    max_stall: float | None
    disagreements: tuple[Disagreement, ...]
    others: tuple[Outcome, ...]
    """Outcomes on the versions rehearsed before this one."""


@dataclass(frozen=True, slots=True)
class Sight:
    """What a rule reports: a sentence about a statement (by position), a query's place, or a relation."""

    message: str
    object: str = ""
    statement: int | None = None
    file: str = ""
    line: int | None = None
    severity: Severity | None = None
    key: str = ""
    fix: str = ""


RehearsalRule: TypeAlias = Rule[[Scene], Iterator[Sight]]
_DATA_CLASSES: Final = ("22", "23")
"""SQLSTATE classes that speak of the rows, not of the schema."""


@rule(
    "migrate.rehearsal-failed",
    engine="postgres",
    category="compatibility",
    severity=Severity.ERROR,
    evidence=Evidence.OBSERVED,
    ok="Every pending statement ran to its end on a throw-away server",
    bad="""
    -- before
    create table orders (id bigint primary key);
    -- migration
    alter table orders drop column note;
    """,
    good="""
    -- before
    create table orders (id bigint primary key, note text);
    -- migration
    alter table orders drop column note;
    """,
)
def rehearsal_failed(scene: Scene) -> Iterator[Sight]:
    """A pending statement fails on a real server, so the deploy would stop there.

    Why: what ran before it in other transactions is already committed; a person would have to finish the migration by
    hand while the application waits for it.

    Fix: the server's own text says what is wrong. If it speaks of rows (a duplicate, a violated check), they are
    seeded ones: ask production whether it holds such rows, and clean them in a migration of their own.

    Not reported when: every statement ran.

    See: dbkit explain rehearse
    """
    for position, seen in enumerate(scene.outcome.seen):
        if not seen.error:
            continue
        left = "" if scene.outcome.stop is None else "; the rehearsal stopped here"
        rows = " on seeded rows: production's may differ" if seen.sqlstate[:2] in _DATA_CLASSES else ""
        state = f" (SQLSTATE {seen.sqlstate})" if seen.sqlstate else ""
        yield Sight(f"fails: {seen.error}{state}{rows}{left}", statement=position)


@rule(
    "migrate.stall-over-budget",
    engine="postgres",
    category="lock",
    severity=Severity.ERROR,
    evidence=Evidence.OBSERVED,
    ok="No lock would keep readers or writers waiting longer than allowed",
    bad="""
    -- before
    create table orders (id bigint primary key, total int);
    -- migration
    alter table orders alter column total set not null;
    """,
    good="""
    -- before
    create table orders (id bigint primary key, total int);
    -- migration
    alter table orders alter column total set default 0;
    """,
    facts={"lock": "SHARE or stronger"},
)
def stall_over_budget(scene: Scene) -> Iterator[Sight]:
    """Readers or writers of a table would wait longer than --max-stall allows.

    Why: a lock is held to the end of its transaction, so a scan, a rewrite or an index build under it is time in which
    the application stands still, and its requests pile up behind.

    Fix: do the long part under a weaker lock (`dbkit migrate lint` shows how), or put it into a transaction of its own,
    away from the statement that takes the lock.

    Not reported when: no statement in the transaction does work that grows with the table, or, with --stats, the
    predicted time at production size is within the budget.

    See: dbkit explain rehearse
    """
    if scene.max_stall is None:
        return
    outcome = scene.outcome
    reported: set[tuple[str, int]] = set()
    for hold in sorted(outcome.holds, key=lambda h: -h.mode):
        if hold.mode < Mode.SHARE or hold.relation not in outcome.before or not 0 <= hold.statement < len(outcome.seen):
            continue
        if outcome.before[hold.relation].is_index or not _works(outcome, hold):
            continue
        transaction = outcome.seen[hold.statement].transaction
        if (hold.relation, transaction) in reported:
            continue
        words = _over(outcome, hold, scene.max_stall)
        if words:
            reported.add((hold.relation, transaction))
            whom = hold.mode.blocks
            yield Sight(
                f"{whom} of {hold.relation} would wait {words}, {format_seconds(scene.max_stall)} are allowed"
                f" ({hold.mode.words})",
                object=hold.relation,
                statement=_heaviest(outcome, hold),
            )


def _over(outcome: Outcome, hold: Hold, budget: float) -> str:
    """How long the lock is held, if that is over the budget: as predicted, else as seen."""
    if outcome.predictions:
        found = predict.of_hold(hold, outcome.seen, outcome.predictions)
        if found is not None:
            if found.likely <= budget:
                return ""
            return f"{interval(found)} at production size"
    seconds = hold.end - hold.start
    return f"{format_seconds(seconds)} at the rehearsed size" if seconds > budget else ""


def interval(found: predict.Prediction) -> str:
    """A prediction in words."""
    low, high = format_seconds(found.low), format_seconds(found.high)
    return f"about {format_seconds(found.likely)} ({low} to {high})"


def _under(outcome: Outcome, hold: Hold) -> list[int]:
    """Positions of the statements that run while the lock is held."""
    transaction = outcome.seen[hold.statement].transaction
    return [
        n for n, s in enumerate(outcome.seen) if n >= hold.statement and s.transaction == transaction
    ]


def _works(outcome: Outcome, hold: Hold) -> bool:
    return any(outcome.seen[n].work for n in _under(outcome, hold))


def _heaviest(outcome: Outcome, hold: Hold) -> int:
    def weight(position: int) -> float:
        one = outcome.predictions[position] if position < len(outcome.predictions) else None
        return one.likely if one is not None else outcome.seen[position].seconds

    return max(_under(outcome, hold), key=weight)


@rule(
    "migrate.lint-disagrees",
    engine="postgres",
    category="policy",
    severity=Severity.WARN,
    evidence=Evidence.OBSERVED,
    ok="Lint and the server say the same of every statement",
    bad="""
    -- before
    create function slow() returns int language sql immutable as 'select 1';
    create table orders (id bigint primary key);
    create function add_total() returns void language plpgsql as $$
    begin
      execute 'alter table orders ' || 'add column total int default (random() * 10)::int';
    end $$;
    -- migration
    select add_total();
    """,
    good="""
    -- before
    create table orders (id bigint primary key);
    -- migration
    alter table orders add column total int default (random() * 10)::int;
    """,
)
def lint_disagrees(scene: Scene) -> Iterator[Sight]:
    """Lint named work that the server did not do, or the server did work that lint did not name.

    Why: one of the two is wrong for your case, and you should know before you trust either. Lint reads text: it cannot
    see into dynamic SQL, extensions or event triggers, and without --schema not the schema either. A rehearsal sees
    only what happens with the seeded rows.

    Fix: give lint the schema (--schema FILE). If it is still wrong, report it with the statement.

    Not reported when: both name a rewrite, a scan or an index build for the statement, or neither does; suppressed
    findings count as named. Tables that could not be seeded are left out.

    See: dbkit explain rehearse
    """
    for found in scene.disagreements:
        yield Sight(found.message, object=found.relation, statement=found.statement, key=found.rule)


@rule(
    "migrate.application-query-fails",
    engine="postgres",
    category="compatibility",
    severity=Severity.ERROR,
    evidence=Evidence.OBSERVED,
    ok="The application's queries work before, during and after the migration",
    bad="""
    -- before
    create table orders (id bigint primary key, note text);
    -- application
    select note from orders;
    -- migration
    alter table orders rename column note to remark;
    """,
    good="""
    -- before
    create table orders (id bigint primary key, note text);
    -- application
    select note from orders;
    -- migration
    alter table orders add column remark text;
    """,
)
def application_query_fails(scene: Scene) -> Iterator[Sight]:
    """A query of the running application fails because of the migration.

    Why: while a deploy is under way both versions run at once: the old one must work until its last process is gone,
    the new one from its first request on. A prepared `select *` fails for good once a column was added or dropped
    ("cached plan must not change result type"), until its session prepares it again.

    Fix: expand first, contract after the old version is gone; name columns instead of `*`.

    Not reported when: a query of --app-sql works in every phase, one of --app-sql-new after the migration.

    See: dbkit explain rehearse
    """
    for query in scene.outcome.queries:
        tallies = query.tallies
        place = f"{query.file}:{query.line}"
        if query.version == "old":
            if tallies["before"].failed:
                yield Sight(
                    f"fails before the migration already: {tallies['before'].error}",
                    file=query.file,
                    line=query.line,
                    object=place,
                    key=query.sql,
                    severity=Severity.WARN,
                )
                continue
            phase = next((p for p in ("during", "after") if tallies[p].failed), "")
        else:
            phase = "after" if tallies["after"].failed else ""
        if not phase:
            continue
        tally = tallies[phase]
        cause = ""
        if 0 <= tally.statement < len(scene.outcome.seen):
            cause = f", first at {_place(scene.outcome.seen[tally.statement])}"
        again = "; it was prepared before, and works once prepared again" if query.cached_plan else ""
        yield Sight(
            f"the {query.version} application's query fails {phase} the migration{cause}: {tally.error}{again}"
            f" ({tally.failed} of {tally.runs} runs)",
            file=query.file,
            line=query.line,
            object=place,
            key=query.sql,
        )


def _place(seen: Observation) -> str:
    return f"{seen.file}:{seen.line}"


@rule(
    "migrate.table-not-seeded",
    engine="postgres",
    category="policy",
    severity=Severity.WARN,
    evidence=Evidence.OBSERVED,
    ok="Every table that pending statements touch held rows in the rehearsal",
    bad="""
    -- before
    create table orders (id bigint primary key check (id > 5 and id < 3));
    -- migration
    alter table orders add column note text;
    """,
    good="""
    -- before
    create table orders (id bigint primary key check (id > 3));
    -- migration
    alter table orders add column note text;
    """,
)
def table_not_seeded(scene: Scene) -> Iterator[Sight]:
    """A table that pending statements touch stayed empty, because no rows were found that its constraints accept.

    Why: on an empty table every statement is quick, and what would fail on rows does not; times and failures of this
    table say nothing.

    Fix: let the migration history insert some rows, or loosen the schema given by --schema where it cannot be met.

    Not reported when: the table holds rows, or no pending statement touches it.

    See: dbkit explain rehearse
    """
    touched = set(scene.outcome.touched)
    for sown in scene.outcome.sown:
        if not sown.rows and sown.wanted and sown.table in touched:
            yield Sight(f"holds no rows: {sown.reason}", object=str(sown.table))


@rule(
    "migrate.versions-differ",
    engine="postgres",
    category="compatibility",
    severity=Severity.INFO,
    evidence=Evidence.OBSERVED,
    ok="The versions rehearsed do the same with every statement",
    bad="""
    -- before
    create table parents (id bigint primary key);
    create table orders (id bigint, parent_id bigint) partition by range (id);
    -- migration
    alter table orders add foreign key (parent_id) references parents not valid;
    """,
    good="""
    -- before
    create table orders (id bigint primary key, note text);
    -- migration
    alter table orders drop column note;
    """,
    facts={"versions": "only when --pg names several"},
)
def versions_differ(scene: Scene) -> Iterator[Sight]:
    """A statement locks, rewrites or reads other things on one version than on another.

    Why: a migration rehearsed on the version of the laptop may lock more, or fail, on that of production.

    Fix: rehearse on production's version; where both are in use, write for the older one.

    Not reported when: only one version is rehearsed, or all do the same.

    See: dbkit explain rehearse
    """
    mine = scene.outcome
    for other in scene.others:
        for position, (here, there) in enumerate(zip(mine.seen, other.seen, strict=False)):
            parts = [words for words in _differences(mine, here, other, there) if words]
            if parts:
                yield Sight("; ".join(parts), statement=position, key=other.target)


def _differences(mine: Outcome, here: Observation, other: Outcome, there: Observation) -> Iterator[str]:
    new, old = f"PostgreSQL {mine.major}", f"PostgreSQL {other.major}"
    if bool(here.error) != bool(there.error):
        fails, runs, why = (new, old, here.error) if here.error else (old, new, there.error)
        yield f"fails on {fails} ({why}), runs on {runs}"
        return
    for name in sorted(here.locks.keys() | there.locks.keys()):
        a, b = here.locks.get(name), there.locks.get(name)
        # Brief index locks of a statement outside a transaction are seen by luck.
        if a is not b and not (here.bare and (name not in mine.before or mine.before[name].is_index)):
            yield f"{name}: {a.words if a else 'no lock'} on {new}, {b.words if b else 'no lock'} on {old}"
    for label, ours, theirs in (
        ("rewritten", here.rewritten, there.rewritten),
        ("read from end to end", here.scanned, there.scanned),
    ):
        only_new, only_old = sorted(set(ours) - set(theirs)), sorted(set(theirs) - set(ours))
        if only_new:
            yield f"{', '.join(only_new)} {label} on {new} only"
        if only_old:
            yield f"{', '.join(only_old)} {label} on {old} only"


REHEARSAL_RULES: Final[tuple[RehearsalRule, ...]] = (
    application_query_fails,
    lint_disagrees,
    rehearsal_failed,
    stall_over_budget,
    table_not_seeded,
    versions_differ,
)
