"""The documented platform in a database of an ordinary role, made by the alembic command as a user runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import dataclass, field

import psycopg
from psycopg import sql

from dbkit.ephemeral import postgres_databases
from dbkit.ephemeral.postgres import PostgresServer
from tests.fixtures.databases import ROOT, Database


@dataclass(frozen=True)
class Owned:
    """A database and its owner, who is no superuser."""

    database: Database
    owner: str
    url: str = field(repr=False)

    def connect(self) -> psycopg.Connection:
        """As the owner, in autocommit; the test's end closes it."""
        return self.database.connect(dsn=self.url)

    def alembic(self, *arguments: str, url: str | None = None) -> subprocess.CompletedProcess[str]:
        return alembic(*arguments, url=self.url if url is None else url)

    def application(self) -> psycopg.Connection:
        """As the application connects: a role that may use the tables and owns nothing."""
        role, url = self.database.role()
        with psycopg.connect(self.url, autocommit=True) as owner:
            owner.execute(
                sql.SQL("grant select, insert, update, delete on all tables in schema public to {}").format(
                    sql.Identifier(role)
                )
            )
        return self.database.connect(dsn=url)


def hand_over(database: Database) -> Owned:
    """Make a new ordinary role the owner of a database."""
    owner, url = database.role()
    with psycopg.connect(database.dsn, autocommit=True) as admin:
        admin.execute(
            sql.SQL("alter database {} owner to {}").format(sql.Identifier(database.name), sql.Identifier(owner))
        )
    return Owned(database, owner, url)


def fresh(server: PostgresServer) -> Database:
    """An empty database that outlives one test; the caller closes it."""
    return Database(server, postgres_databases.create(server), ExitStack())


def alembic(*arguments: str, url: str | None) -> subprocess.CompletedProcess[str]:
    """Run alembic at the root of the checkout; without url there is no DATABASE_URL."""
    environment = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    if url is not None:
        environment["DATABASE_URL"] = url
    command = [sys.executable, "-m", "alembic", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False)
