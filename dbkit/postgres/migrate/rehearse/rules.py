"""What only a rehearsal can find. Each check gets one outcome with all that belongs to it, and yields sights."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from dbkit.model import Evidence, Severity
from dbkit.postgres.migrate.rehearse.budget import stall_over_budget
from dbkit.postgres.migrate.rehearse.observed import Observation
from dbkit.postgres.migrate.rehearse.scene import RehearsalRule, Scene, Sight
from dbkit.postgres.migrate.rehearse.versions import versions_differ
from dbkit.rules import rule

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
        if not seen.error or seen.caught or seen.unrehearsed:
            continue
        left = "" if scene.outcome.stop is None else "; the rehearsal stopped here"
        rows = " on seeded rows: production's may differ" if seen.sqlstate[:2] in _DATA_CLASSES else ""
        state = f" (SQLSTATE {seen.sqlstate})" if seen.sqlstate else ""
        yield Sight(f"fails: {seen.error}{state}{rows}{left}", statement=position)


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
        if query.version == "old":
            if tallies["before"].failed:
                yield Sight(
                    f"fails before the migration already: {tallies['before'].error}",
                    file=query.file,
                    line=query.line,
                    object=_short(query.sql),
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
            cause = f", first seen around {_place(scene.outcome.seen[tally.statement])}"
        again = "; it was prepared before, and works once prepared again" if query.again else ""
        yield Sight(
            f"the {query.version} application's query fails {phase} the migration{cause}: {tally.error}{again}"
            f" ({tally.failed} of {tally.runs} runs)",
            file=query.file,
            line=query.line,
            object=_short(query.sql),
            key=query.sql,
        )


def _short(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= 60 else f"{flat[:57]}..."


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
    "migrate.not-rehearsed",
    engine="postgres",
    category="policy",
    severity=Severity.WARN,
    evidence=Evidence.OBSERVED,
    ok="The throw-away server has everything that the pending statements need",
    bad="""
    -- before
    create table orders (id bigint primary key);
    -- migration
    create extension an_extension_of_your_own;
    """,
    good="""
    -- before
    create table orders (id bigint primary key);
    -- migration
    create extension citext;
    """,
)
def not_rehearsed(scene: Scene) -> Iterator[Sight]:
    """A statement needs what the throw-away server lacks, or is about a whole server: nothing is known of it.

    Why: an extension, a tablespace or a collation that production has may be missing where the rehearsal runs. That is
    no fault of the migration, and no sign that it is safe.

    Fix: install it there, or rehearse on a server that has it: DBKIT_TEST_POSTGRES_DSN.

    Not reported when: every statement could be run. Roles that are only named are made and need nothing.

    See: dbkit explain rehearse
    """
    for position, seen in enumerate(scene.outcome.seen):
        if seen.unrehearsed:
            left = "; the rehearsal stopped here" if seen.error else ""
            yield Sight(f"not rehearsed: {seen.unrehearsed}{left}", statement=position)


REHEARSAL_RULES: Final[tuple[RehearsalRule, ...]] = (
    application_query_fails,
    lint_disagrees,
    not_rehearsed,
    rehearsal_failed,
    stall_over_budget,
    table_not_seeded,
    versions_differ,
)
