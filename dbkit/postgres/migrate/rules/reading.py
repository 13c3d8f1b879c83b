"""What goes wrong while reading: files, statements and suppressions that cannot be taken at their word."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dbkit.postgres.migrate.actions import Action
from dbkit.postgres.migrate.context import Context, Hazard
from dbkit.postgres.migrate.rules.declare import ERROR, WARN, hazard


@dataclass(slots=True)
class SyntaxProblem(Action):
    """A statement the grammar rejects."""

    message: str
    line: int
    detail: str = ""


@dataclass(slots=True)
class Unreadable(Action):
    """A file or revision that could not be read or rendered at all, or a part that only runs online."""

    message: str
    line: int | None = None


@dataclass(slots=True)
class BadSuppression(Action):
    """A suppression comment that is unused, expired, without a reason, or names no rule."""

    message: str
    line: int


@hazard(
    "migrate.syntax-error",
    on=SyntaxProblem,
    category="policy",
    severity=ERROR,
    ok="Every statement is valid PostgreSQL",
    bad="create indx i on t (a);",
    good="create index concurrently i on t (a);",
)
def syntax_error(ctx: Context, problem: SyntaxProblem) -> Iterator[Hazard]:
    """PostgreSQL's grammar rejects the statement: it would fail, and what it does is not known.

    Why: the grammar is that of PostgreSQL 18; older servers accept less. The other statements of the file are judged.

    Fix: correct it. psql's own commands (those with a backslash) are skipped; templates have to be filled in before.
    """
    yield Hazard(problem.message, line=problem.line, data={"detail": problem.detail})


@hazard(
    "migrate.unreadable",
    on=Unreadable,
    category="policy",
    severity=ERROR,
    ok="Every migration could be read",
    bad="""
    --
    -- Raw Python operation
    --
    -- THIS OPERATION CANNOT BE WRITTEN AS SQL
    """,
    good="select 1;",
)
def unreadable(ctx: Context, problem: Unreadable) -> Iterator[Hazard]:
    """A migration, or a part of it, exists only as code that was not or could not be run here.

    Why: a binary file, an Alembic revision that needs a connection (`op.get_bind()`), a Django RunPython: what they
    lock is not known.

    Fix: write SQL that runs offline; or `dbkit migrate rehearse`, which runs the migration on a throw-away server.
    """
    yield Hazard(problem.message, line=problem.line)


@hazard(
    "migrate.bad-suppression",
    on=BadSuppression,
    category="policy",
    severity=WARN,
    ok="Every suppression is used, dated and has its reason",
    bad="""
    -- dbkit: ignore migrate.index-not-concurrent reason="small table"
    select 1;
    """,
    good="""
    -- dbkit: ignore migrate.index-not-concurrent reason="small table"
    create index i on t (a);
    """,
)
def bad_suppression(ctx: Context, problem: BadSuppression) -> Iterator[Hazard]:
    """A suppression matches nothing, has ended, gives no reason, or names no rule.

    Why: one that matches nothing today would silence a real hazard tomorrow.

    Fix: `-- dbkit: ignore RULE reason="why" until=2027-01-01` on the line above the statement or behind it; delete it
    when it is no longer needed.

    Not reported when: the comment is another tool's (squawk, eugene, pgsafe, postgres-language-server), whose rules
    dbkit may not know.
    """
    yield Hazard(problem.message, line=problem.line)
