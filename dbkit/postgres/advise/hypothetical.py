"""Tries indexes with HypoPG in a session on the target: hypothetical indexes that only this session's EXPLAIN sees."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, LiteralString

import psycopg
from psycopg import sql

from dbkit.postgres.advise import ground
from dbkit.postgres.advise.candidate import Candidate
from dbkit.postgres.advise.facts import Facts, path_sql
from dbkit.postgres.advise.plans import Plan
from dbkit.postgres.advise.statement import Statement
from dbkit.postgres.connect import Connection

METHODS: Final = ("btree", "brin", "hash")
"""Access methods HypoPG can pretend (hash from PostgreSQL 10); GIN and GiST are not among them."""


class Hypothetical:
    """HypoPG on the target."""

    def __init__(self, connection: Connection, facts: Facts) -> None:
        schema, version = facts.extensions["hypopg"]
        self.name = f"HypoPG {version} on the target"
        self.notes: Sequence[str] = ()
        self._connection = connection
        self._schema = schema
        self._candidates: Sequence[Candidate] = ()
        self._oids: dict[int, int] = {}
        self._names: dict[str, int] = {}
        ground.prepare(connection, seconds=10)
        connection.execute("select /* dbkit */ set_config('search_path', %s, false)", [path_sql(facts.search_path)])
        self._call("hypopg_reset()")

    def plan(self, statement: Statement) -> Plan | str:
        """See Ground."""
        return ground.explain(self._connection, statement)

    def build(self, candidates: Sequence[Candidate]) -> dict[int, str]:
        """See Ground. Each is created once, so that what HypoPG refuses is known before the trials."""
        self._candidates = candidates
        refused: dict[int, str] = {}
        for position, candidate in enumerate(candidates):
            if candidate.method not in METHODS:
                refused[position] = f"HypoPG has no {candidate.method} indexes"
                continue
            try:
                self._create(position)
            except psycopg.Error as error:
                refused[position] = " ".join((error.diag.message_primary or str(error)).split())
        self.use(())
        return refused

    def use(self, positions: Iterable[int]) -> None:
        """See Ground."""
        wanted = set(positions)
        for position in set(self._oids) - wanted:
            self._call("hypopg_drop_index(%s::bigint::oid)", self._oids.pop(position))
        for position in sorted(wanted - set(self._oids)):
            self._create(position)

    def position(self, index: str) -> int | None:
        """See Ground."""
        return self._names.get(index)

    def _create(self, position: int) -> None:
        statement = self._candidates[position].statement("dbkit", concurrently=False)
        oid, name = self._call("hypopg_create_index(%s)", statement)
        self._oids[position] = oid
        self._names[name] = position

    def _call(self, function: LiteralString, *arguments: str | int) -> Sequence[Any]:
        name, _, rest = function.partition("(")
        text = sql.SQL("select * from {}").format(sql.Identifier(self._schema, name)) + sql.SQL("(") + sql.SQL(rest)
        return self._connection.execute(text, list(arguments) or None).fetchone() or ()
