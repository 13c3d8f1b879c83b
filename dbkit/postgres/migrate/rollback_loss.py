"""What the way back of a hand-written revision would take away: tables and columns that hold something."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Final

import psycopg
from psycopg import sql

from dbkit.errors import Refused
from dbkit.postgres import ddl
from dbkit.postgres.connect import Connection
from dbkit.postgres.migrate import actions as a
from dbkit.postgres.migrate import reading
from dbkit.postgres.migrate.executor.job import Move
from dbkit.postgres.migrate.names import Name
from dbkit.postgres.migrate.revisions import DOWN, Environment

ACCEPT: Final = "loss"
"""The word for --accept."""
_LOOK: Final = "2s"
_SHOWN: Final = 5


def refuse(
    connection: Connection, environment: Environment, moves: Sequence[Move], applied: Collection[str],
    accepted: Sequence[str],
) -> None:  # fmt: skip
    """Raise Refused when a plain revision would drop what holds rows or values, unless that is accepted.

    The changes of dbkit say themselves what cannot be brought back; a downgrade() says nothing.
    """
    if ACCEPT in accepted:
        return
    for move in moves:
        if move.revision.change is not None or move.revision.id not in applied:
            continue
        lost = [told for name, column in _dropped(move) if (told := _held(connection, environment, name, column))]
        if lost:
            more = f" and {len(lost) - _SHOWN} more" if len(lost) > _SHOWN else ""
            raise Refused(
                f"rolling revision {move.revision.id} back would lose data; nothing was changed",
                why=f"its downgrade() drops {', '.join(lost[:_SHOWN])}{more}",
                hint=f"name the change that is to go back, or say --accept {ACCEPT} if all of that may go",
            )


def _dropped(move: Move) -> Iterator[tuple[Name, str]]:
    """Tables, and columns with theirs, that the way back drops or empties, as far as its text tells."""
    for part in move.revision.parts(DOWN):
        try:
            statements = ddl.parse(part.sql, label=move.revision.path.name)
        except ddl.SqlSyntaxError:
            continue
        for action in (action for statement in statements for action in reading.read(statement)):
            if isinstance(action, a.Drop) and action.kind == "table":
                yield from ((name, "") for name in action.names)
            elif isinstance(action, a.Truncate):
                yield from ((name, "") for name in action.tables)
            elif isinstance(action, a.DropColumn):
                yield action.table, action.column


def _held(connection: Connection, environment: Environment, name: Name, column: str) -> str:
    """What would be lost, in words; empty where there is nothing."""
    told = f"{name}.{column}, which holds values" if column else f"{name}, which holds rows"
    where = sql.SQL(" where {} is not null").format(sql.Identifier(column)) if column else sql.SQL("")
    table = sql.SQL(".").join(sql.Identifier(part) for part in name if part)
    path = sql.SQL("default") if not environment.schema else sql.Identifier(environment.schema)
    try:
        with connection.transaction():
            connection.execute(sql.SQL("set local search_path to {}").format(path))  # dbkit's own is pg_catalog only
            connection.execute("set local row_security = off")
            connection.execute(sql.SQL("set local statement_timeout = {}").format(_LOOK))
            row = connection.execute(sql.SQL("select exists (select from {}{})").format(table, where)).fetchone()
    except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn, psycopg.errors.InvalidSchemaName):
        return ""
    except psycopg.errors.QueryCanceled:
        return f"{told.replace('holds', 'may hold')} (it could not be seen within {_LOOK})"
    return told if row and row[0] else ""
