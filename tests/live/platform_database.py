"""A database of the documented platform that belongs to an ordinary role, made by Alembic as a user runs it."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlencode

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Owned:
    """A database and its owner, who may create roles for a test but is no superuser."""

    admin: str
    owner: str
    url: str

    def connect(self, role: str | None = None) -> psycopg.Connection:
        """As the owner, or as another role of the server."""
        connection = psycopg.connect(self.admin if role else self.url, autocommit=True)
        if role:
            connection.execute(sql.SQL("set session authorization {}").format(sql.Identifier(role)))
        return connection

    def alembic(self, *arguments: str, url: str | None = None) -> subprocess.CompletedProcess[str]:
        return alembic(*arguments, url=self.url if url is None else url)


def alembic(*arguments: str, url: str | None) -> subprocess.CompletedProcess[str]:
    """Run alembic at the root of the checkout; without url there is no DATABASE_URL."""
    environment = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    if url is not None:
        environment["DATABASE_URL"] = url
    command = [sys.executable, "-m", "alembic", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)


def url_of(dsn: str, *, user: str, password: str, database: str | None = None, scheme: str = "postgresql") -> str:
    """The address of a server as another user, as a URL whatever form it came in."""
    parts = conninfo_to_dict(dsn)
    query = urlencode({"host": parts["host"], "port": parts.get("port", "5432")}, quote_via=quote)
    return f"{scheme}://{quote(user)}:{quote(password)}@/{quote(str(database or parts['dbname']))}?{query}"


@contextmanager
def owned_by_ordinary_role(dsn: str) -> Iterator[Owned]:
    """Hand the database of dsn to a new role that owns nothing else. The role goes with what it owns."""
    owner, password = f"owner_{secrets.token_hex(6)}", secrets.token_hex(12)
    name = sql.Identifier(owner)
    with psycopg.connect(dsn, autocommit=True) as admin:
        admin.execute(sql.SQL("create role {} login password {}").format(name, sql.Literal(password)))
        database = sql.Identifier(str(admin.info.dbname))
        admin.execute(sql.SQL("alter database {} owner to {}").format(database, name))
        try:
            yield Owned(dsn, owner, url_of(dsn, user=owner, password=password))
        finally:
            admin.execute(sql.SQL("reassign owned by {} to current_user").format(name))
            admin.execute(sql.SQL("drop owned by {}").format(name))
            admin.execute(sql.SQL("drop role {}").format(name))
