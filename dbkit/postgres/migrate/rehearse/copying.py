"""COPY ... FROM stdin with the data that follows it in the file, which psql sends and other clients have to."""

from __future__ import annotations

from collections.abc import Callable
from typing import LiteralString, cast

import psycopg

from dbkit.postgres import ddl
from dbkit.postgres.migrate.source import Script

_END = "\\."


def reads_stdin(statement: ddl.Statement) -> bool:
    """Whether the statement waits for rows from its client."""
    if statement.kind != "copy_stmt":
        return False
    held = statement.node.copy_stmt
    return held.is_from and not held.filename and not held.is_program


def data(script: Script, statement: ddl.Statement) -> str | None:
    """The rows in the file below the statement; None where the script is not a plain file that shows them.

    What psql alone reads is blanked out of `script.text` letter by letter, so a place there is the place in the file.
    """
    if script.parts is not None or len(script.original) != len(script.text):
        return None
    end = len(script.text.encode()[: statement.end].decode(errors="ignore"))
    rest = script.original[end:].split("\n", 1)
    if len(rest) < 2 or rest[0].strip(" \t\r;"):
        return None
    rows: list[str] = []
    for line in rest[1].split("\n"):
        if line.rstrip("\r") == _END:
            return "".join(rows)
        rows.append(f"{line}\n")
    # psql takes what is left of the file, whose last line has an end or is empty.
    return "".join(rows).removesuffix("\n")


def sender(connection: psycopg.Connection, text: str, rows: str) -> Callable[[], None]:
    """What runs the statement and sends it its rows. It raises psycopg.Error as any statement does."""

    def send() -> None:
        with connection.cursor() as cursor, cursor.copy(cast(LiteralString, text)) as copy:
            copy.write(rows)

    return send
