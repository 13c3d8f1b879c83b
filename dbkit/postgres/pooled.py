"""A connection through a pooler, on which nothing is ever set for longer than a transaction.

Behind PgBouncer in transaction mode each transaction may meet another session of the server, and what is SET in one
stays there for whoever meets it next: a search_path of ours would break the application. So every statement runs in a
transaction that begins with SET LOCAL.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, Self

import psycopg
from psycopg.pq import TransactionStatus
from psycopg.rows import TupleRow
from psycopg.sql import SQL, Composed


class PooledCursor(psycopg.Cursor[Any]):
    """A cursor whose statements find the settings of `Pooled.local` and leave none behind."""

    def execute(
        self, query: Any, params: Any = None, *, prepare: bool | None = None, binary: bool | None = None
    ) -> Self:
        """Run a statement. A SET that is in no transaction is not sent: it would outlive us in somebody's session."""
        held = self.connection
        if isinstance(held, Pooled) and held.info.transaction_status is TransactionStatus.IDLE:
            if not held.autocommit:
                super().execute(held.local)  # begins the transaction
            elif self._lasts(query):
                return self
            else:
                with held.transaction():
                    return super().execute(query, params, prepare=prepare, binary=binary)
        return super().execute(query, params, prepare=prepare, binary=binary)

    def _lasts(self, query: Any) -> bool:
        text = query.as_string(self.connection) if isinstance(query, Composed) else str(query)
        return text.lstrip().lower().startswith(("set ", "reset "))


class Pooled(psycopg.Connection[TupleRow]):
    """What `connect` gives where a pooler stands between. `local` is what each transaction begins with."""

    local: SQL | Composed = SQL("select")

    @contextmanager
    def transaction(
        self, savepoint_name: str | None = None, force_rollback: bool = False
    ) -> Generator[psycopg.Transaction]:
        """A transaction that begins with the settings, or a savepoint in one."""
        outermost = self.info.transaction_status is TransactionStatus.IDLE
        with super().transaction(savepoint_name, force_rollback) as made:
            if outermost:
                self.execute(self.local)
            yield made
