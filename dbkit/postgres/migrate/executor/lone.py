"""A statement that cannot share a transaction with its bookkeeping, and therefore must bear to be run again."""

from __future__ import annotations

import re
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import LiteralString, cast

import psycopg
from psycopg import errors, sql

from dbkit.postgres import ddl
from dbkit.postgres.connect import Connection, fetch
from dbkit.postgres.indexes import desired, failure, wishes
from dbkit.postgres.indexes.build import Builder
from dbkit.postgres.indexes.outcome import Outcome
from dbkit.postgres.indexes.watch import Limits, Running, Watch
from dbkit.postgres.migrate.executor.done import Done
from dbkit.postgres.migrate.executor.units import Sentence, Unit
from dbkit.postgres.migrate.names import Name

Fill = Callable[[Sentence], bool]
"""Fills rows in batches instead of the statement; False leaves it to the statement."""


@dataclass(frozen=True, slots=True)
class Lone:
    """Carries out such statements on the connection of its builder: an index is built as `index apply` builds it."""

    builder: Builder
    watch: Watch
    limits: Limits
    fill: Fill

    @property
    def _connection(self) -> Connection:
        return self.builder.connection

    def run(self, sentence: Sentence, unit: Unit, done: Done) -> None:
        """One statement to its end. Raises psycopg.Error, or Stopped or Broken when dbkit itself cancelled it."""
        done.attempts += 1
        if sentence.fill and self.fill(sentence):
            return
        if sentence.index == "create":
            outcome = Outcome(unit.told, "")
            wanted = desired.read(self._qualified(_plain(sentence.sql)), f"line {sentence.line}")[0]
            wishes.settle(self.builder, wanted, outcome)
            done.waited += outcome.waited
            if self._called(wanted):
                return
            self._connection.execute("reset search_path")
        running = Running(self._connection, unit.told, self.limits)
        try:
            with self._watched(running):
                self._connection.execute(statement(sentence.sql))
        except errors.UndefinedObject:
            if sentence.index != "drop":
                raise
        finally:
            done.waited += running.waited

    def _called(self, wanted: desired.Wanted) -> bool:
        """Whether the index is there under its own name, which later statements of a revision may go by.

        Its equal under another name is enough for a wish, but not here. An invalid one is removed.
        """
        name = Name(wanted.schema or "", wanted.name).sql
        rows = fetch(
            self._connection,
            "select indisvalid as valid from pg_catalog.pg_index where indexrelid = pg_catalog.to_regclass(%s)",
            [name],
        )
        if rows and not rows[0]["valid"]:
            self._connection.execute(statement(f"drop index concurrently {name}"))
            return False
        return bool(rows)

    def _qualified(self, text: str) -> str:
        """The index on the table that the revision's search_path means: the builder looks with its own."""
        node = ddl.copy(ddl.parse(text)[0].node)
        relation = node.index_stmt.relation
        if not relation.schemaname:
            rows = fetch(
                self._connection,
                "select n.nspname::text as schema "
                "from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace "
                "where c.oid = pg_catalog.to_regclass(%s)",
                [Name("", relation.relname).sql],
            )
            if rows:
                relation.schemaname = rows[0]["schema"]
        return ddl.deparse(node)

    @contextmanager
    def _watched(self, running: Running) -> Generator[None]:
        try:
            with self.watch.over(running):
                yield
        except psycopg.Error as error:
            if running.reason:
                raise failure.of_build(error, running.object, running.reason) from None
            raise


def _plain(text: str) -> str:
    """The statement without IF NOT EXISTS: an index of that name is judged by its definition, not by its name."""
    return re.sub(r"(?i)\bif\s+not\s+exists\s+", "", text, count=1)


def statement(text: str) -> sql.SQL:
    """A statement of a revision: the user's own program, sent as it stands."""
    return sql.SQL(cast(LiteralString, text))
