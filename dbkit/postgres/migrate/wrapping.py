"""Whether the tool that runs a script opens a transaction around it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from dbkit.postgres import ddl
from dbkit.postgres.migrate import actions as a
from dbkit.postgres.migrate.rules.transactions import refuses_transaction
from dbkit.postgres.migrate.source import Script
from dbkit.postgres.migrate.transactions import Wrap

_Read = Callable[[ddl.Statement], list[a.Action]]
_MAY_REFUSE: Final = frozenset(
    "index_stmt drop_stmt reindex_stmt alter_table_stmt vacuum_stmt cluster_stmt createdb_stmt dropdb_stmt"
    " alter_system_stmt create_table_space_stmt drop_table_space_stmt".split()
)


def wrap(script: Script, statements: list[ddl.Statement], assume: bool | None, read: _Read) -> Wrap:
    """Whether the script's statements share a transaction that the tool opens; `assume` is what the user says."""
    if assume is not None and script.kind == "plain" and script.wrap is Wrap.UNKNOWN:
        return Wrap.YES if assume else Wrap.NO
    if script.wrap is Wrap.UNKNOWN and _manages_itself(statements, read):
        return Wrap.NO
    if script.detects and statements and all(_refuses(s, read) for s in statements):
        return Wrap.NO
    return script.wrap


def _manages_itself(statements: list[ddl.Statement], read: _Read) -> bool:
    """Whether the file has its own BEGIN, or a statement that refuses a transaction: then nobody wraps it."""
    for statement in statements:
        if statement.kind == "transaction_stmt":
            return any(isinstance(x, a.Transaction) and x.verb == "begin" for x in read(statement))
        if _refuses(statement, read):
            return True
    return False


def _refuses(statement: ddl.Statement, read: _Read) -> bool:
    return statement.kind in _MAY_REFUSE and any(refuses_transaction(x) for x in read(statement))
