"""Questions about an expression that only the server can answer; everything is rolled back."""

from __future__ import annotations

import psycopg
from psycopg import sql

from dbkit.errors import UsageError
from dbkit.postgres.connect import Connection
from dbkit.postgres.migrate.changes import words
from dbkit.postgres.migrate.changes.facts import Table


class _Undo(Exception):
    """Ends the transaction of a look."""


def immutable(connection: Connection, table: Table, expression: str) -> bool:
    """Whether an expression over a table's columns gives the same for ever: an index on an empty copy would take it.

    Raises UsageError when the server does not take the expression at all.
    """
    try:
        with connection.transaction():
            connection.execute("set local search_path to default")
            copy = sql.SQL("create temporary table dbkit_look (like {})").format(
                sql.Identifier(table.schema, table.name)
            )
            connection.execute(copy)
            index = sql.SQL("create index on dbkit_look (({}))").format(words.trusted(expression))
            connection.execute(index)
            raise _Undo
    except _Undo:
        return True
    except psycopg.errors.InvalidObjectDefinition:
        return False
    except psycopg.errors.UndefinedObject as error:
        if "operator class" in str(error):  # a type without btree order, such as json: judged by its functions alone
            return True
        raise UsageError(f"the server does not take {expression}", why=error.diag.message_primary) from None
    except psycopg.Error as error:
        raise UsageError(f"the server does not take {expression}", why=error.diag.message_primary) from None
