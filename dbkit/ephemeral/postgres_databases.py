"""Databases on a throw-away server: templates built once per schema, and quick clones of them."""

from __future__ import annotations

import hashlib
import secrets
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql

from dbkit.ephemeral import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from dbkit.ephemeral.postgres import PostgresServer

BUILD_SECONDS = 600.0


def _connect(server: PostgresServer) -> psycopg.Connection[tuple[Any, ...]]:
    return psycopg.connect(server.dsn, autocommit=True, application_name="dbkit ephemeral")


def key_of(*parts: str | bytes) -> str:
    """sha256 over the inputs of a schema: the key of its template."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(f"{len(data)}:".encode() + data)
    return digest.hexdigest()


@contextmanager
def _alone(connection: psycopg.Connection[tuple[Any, ...]], key: str) -> Generator[None]:
    """Hold an advisory lock, taken by polling: a waiting session would hold a snapshot against other tests."""
    number = int(key[:15], 16)
    until = time.monotonic() + BUILD_SECONDS
    while not (connection.execute("select pg_try_advisory_lock(%s)", [number]).fetchone() or [False])[0]:
        if time.monotonic() > until:
            raise Unavailable(f"another process has been building the same template for {BUILD_SECONDS:.0f} s")
        time.sleep(0.05)
    try:
        yield
    finally:
        connection.execute("select pg_advisory_unlock(%s)", [number])


def template(server: PostgresServer, key: str, build: Callable[[str], None]) -> str:
    """The template database of a schema, built at most once on the server however many processes ask.

    ``key`` is the sha256 of everything the schema is made of (:func:`key_of`). ``build`` gets the address of an empty
    database and fills it; it must close its connections. Returns the database's name, for :func:`clone`.
    """
    name = f"template_{key[:16]}"
    with _connect(server) as connection, _alone(connection, key):
        known = connection.execute("select datistemplate from pg_database where datname = %s", [name]).fetchone()
        if known and known[0]:
            return name
        if known:  # its builder was killed half-way
            _drop(connection, name)
        create(server, name)
        build(server.dsn_for(name))
        # Marked last: the mark says that the template is whole.
        connection.execute(
            sql.SQL("alter database {} with is_template true allow_connections false").format(sql.Identifier(name))
        )
    return name


def create(server: PostgresServer, name: str | None = None, *, source: str = "template0") -> str:
    """Create a database as a copy of another; returns its name, a random one without ``name``."""
    name = name or f"db_{secrets.token_hex(6)}"
    statement = sql.SQL("create database {} template {}").format(sql.Identifier(name), sql.Identifier(source))
    if server.version >= 150000:
        # Measured equally fast, but file_copy forces two checkpoints on a server that other tests are using.
        statement += sql.SQL(" strategy wal_log")
    with _connect(server) as connection:
        connection.execute(statement)
    return name


def clone(server: PostgresServer, source: str, name: str | None = None) -> str:
    """A new database made from a template; returns its superuser address, which carries the password."""
    return server.dsn_for(create(server, name, source=source))


def drop(server: PostgresServer, name: str) -> None:
    """Drop a database and end the sessions in it. No error when it is gone."""
    with _connect(server) as connection:
        _drop(connection, name)


def _drop(connection: psycopg.Connection[tuple[Any, ...]], name: str) -> None:
    force = sql.SQL(" with (force)") if connection.info.server_version >= 130000 else sql.SQL("")
    connection.execute(sql.SQL("drop database if exists {}").format(sql.Identifier(name)) + force)
