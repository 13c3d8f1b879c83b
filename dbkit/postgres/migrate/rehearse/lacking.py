"""What migrations need of a server and a throw-away one lacks: roles are made; the rest is named, and passed over."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final, cast

import psycopg

from dbkit import assets
from dbkit.postgres import ddl

_STAND_INS: Final = {"uuid-ossp": "postgres/uuid_ossp_stand_in"}
"""Extensions whose functions the server can give in another way, and the SQL that does."""
_ELSEWHERE: Final = {
    "createdb_stmt": "CREATE DATABASE",
    "dropdb_stmt": "DROP DATABASE",
    "alter_system_stmt": "ALTER SYSTEM",
    "create_table_space_stmt": "CREATE TABLESPACE",
    "drop_table_space_stmt": "DROP TABLESPACE",
}
"""Statements about the whole server, by the grammar's node."""
_PLACES: Final = re.compile(r'^(tablespace|collation|text search (?:configuration|dictionary)) ".+" .*does not exist$')
_UNKNOWN: Final = ("42704", "42883", "3F000")
"""What is said of a type, a function or a schema that an extension would have brought."""


def roles(statements: Iterable[ddl.Statement]) -> list[str]:
    """Roles that statements name and none of them makes."""
    named: dict[str, None] = {}
    for statement in statements:
        for message in ddl.walk(statement.node):
            kind, held = type(message).__name__, cast(Any, message)
            if kind == "RoleSpec" and held.rolename:
                named[held.rolename] = None
            elif kind == "GrantRoleStmt":
                named.update(dict.fromkeys(str(g.access_priv.priv_name) for g in held.granted_roles))
            elif kind == "VariableSetStmt" and held.name in ("role", "session_authorization"):
                named.update(dict.fromkeys(a.a_const.sval.sval for a in held.args if a.a_const.sval.sval))
            elif kind == "CreateRoleStmt":
                named.pop(held.role, None)
    made = set(makes(statements))
    return [name for name in named if name and name not in made and name != "none"]


def makes(statements: Iterable[ddl.Statement]) -> list[str]:
    """Roles that statements make: they outlive the database of one run."""
    found = (cast(Any, s.node).create_role_stmt.role for s in statements if s.kind == "create_role_stmt")
    return list(dict.fromkeys(str(name) for name in found))


def passed_over(connection: psycopg.Connection, statement: ddl.Statement, *, inside: bool) -> str:
    """Why a statement is not run, in words; empty for one that is."""
    verb = _ELSEWHERE.get(statement.kind)
    if verb:  # in a transaction block the server refuses it, which is to be seen
        return "" if inside else f"{verb} is about the whole server, not about this database"
    if statement.kind != "create_extension_stmt":
        return ""
    name = str(cast(Any, statement.node).create_extension_stmt.extname)
    there = connection.execute("select from pg_catalog.pg_available_extensions where name = %s", [name])
    if there.rowcount:
        return ""
    if name in _STAND_INS:
        options = cast(Any, statement.node).create_extension_stmt.options
        chosen = next((o.def_elem.arg.string.sval for o in options if o.def_elem.defname == "schema"), None)
        with connection.transaction():
            connection.execute(
                "select pg_catalog.set_config('search_path', coalesce(%s, current_schema(), 'public'), true)",
                [chosen],
            )
            connection.execute(assets.query(_STAND_INS[name]))
        return f"the server's own functions stand in for extension {name}, which is not installed here"
    return f"extension {name} is not installed where the throw-away server runs"


def because(error: psycopg.Error, before: Iterable[str]) -> str:
    """Why an error says nothing about production: it comes of what this server lacks. Empty for any other."""
    text = error.diag.message_primary or ""
    if _PLACES.match(text):
        return f"the throw-away server lacks it: {text}"
    missing = [why for why in before if why.startswith("extension ")]
    return f"{text}: {missing[0]}" if missing and error.sqlstate in _UNKNOWN else ""
