"""Where candidates are tried: HypoPG in a session on the target, or an empty copy that knows the target's statistics.

Nothing is executed on either: plans come from EXPLAIN without ANALYZE, as generic plans, which hold for every value of
the parameters.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, LiteralString, Protocol, cast

import psycopg
from psycopg import sql

from dbkit.postgres.advise.candidate import Candidate
from dbkit.postgres.advise.plans import Plan
from dbkit.postgres.advise.statement import Statement
from dbkit.postgres.connect import Connection

GENERIC_PLAN: Final = 160000
_NAME: Final = "dbkit_advise"


class Ground(Protocol):
    """A place to try indexes in."""

    @property
    def name(self) -> str:
        """In words: with what, on what."""
        ...

    @property
    def notes(self) -> Sequence[str]:
        """What a reader should know of the place: where it is not as the target."""
        ...

    def plan(self, statement: Statement) -> Plan | str:
        """The generic plan with the indexes in use, or the server's reason why there is none."""
        ...

    def build(self, candidates: Sequence[Candidate]) -> dict[int, str]:
        """Make candidates ready, none in use; positions of those that cannot be tried, with the reason."""
        ...

    def use(self, positions: Iterable[int]) -> None:
        """Let the planner see exactly these candidates."""
        ...

    def position(self, index: str) -> int | None:
        """The candidate behind an index name of a plan."""
        ...


def prepare(connection: Connection, *, seconds: int) -> None:
    """Pin a session: read-only, limited, generic plans."""
    for key, value in (
        ("default_transaction_read_only", "on"),
        ("statement_timeout", f"{seconds}s"),
        ("lock_timeout", "2s"),
        ("plan_cache_mode", "force_generic_plan"),
    ):
        connection.execute("select /* dbkit */ set_config(%s, %s, false)", [key, value])


def explain(connection: Connection, statement: Statement) -> Plan | str:
    """The generic plan of a statement; the reason of the first variant when none is accepted."""
    reason = ""
    for text, parameters in statement.variants:
        try:
            return Plan(_explain(connection, text, parameters))
        except psycopg.Error as error:
            reason = reason or " ".join((error.diag.message_primary or str(error)).split())
            if connection.closed:
                raise
    return reason


def _explain(connection: Connection, text: str, parameters: int) -> Any:
    # Typed as a literal although it is a user's statement: the grammar has read it as exactly one query, and it is
    # only ever the object of EXPLAIN or PREPARE.
    query = sql.SQL(cast(LiteralString, text))
    if not parameters:
        return _tree(connection, sql.SQL("explain (verbose, format json) {}").format(query))
    if connection.info.server_version >= GENERIC_PLAN:
        return _tree(connection, sql.SQL("explain (verbose, generic_plan, format json) {}").format(query))
    connection.execute(sql.SQL("prepare {} as {}").format(sql.Identifier(_NAME), query))
    try:
        values = sql.SQL(", ").join([sql.SQL("null")] * parameters)
        execute = sql.SQL("explain (verbose, format json) execute {}({})").format(sql.Identifier(_NAME), values)
        return _tree(connection, execute)
    finally:
        if not connection.closed:
            connection.execute(sql.SQL("deallocate {}").format(sql.Identifier(_NAME)))


def _tree(connection: Connection, statement: sql.Composed) -> Any:
    row = connection.execute(statement).fetchone()
    return row[0][0]["Plan"] if row else {}
