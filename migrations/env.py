"""Alembic environment of the documented platforms.

It runs in three ways:

* ``DATABASE_URL=postgresql://... alembic upgrade head`` from the repository root. The address is read by libpq, so
  what works in psql works here (``postgresql://``, ``postgres://``, several hosts, ``.pgpass``, ``PGOPTIONS``).
* From a program that puts an open SQLAlchemy connection into ``config.attributes["connection"]``.
* Offline: ``alembic upgrade head --sql`` prints the script and needs no server and no DATABASE_URL.

There is no ``target_metadata``: the tables are described once, by the revisions. A second description in Python would
have to leave out what SQLAlchemy cannot say (partitions, policies) and ``alembic check`` would then report it as drift.
"""

from __future__ import annotations

import logging
import os
import re
import sys
from typing import Any

import psycopg
from alembic import context
from alembic.util import CommandError
from psycopg import conninfo
from sqlalchemy import Connection, create_engine
from sqlalchemy.pool import NullPool

EXAMPLE = "postgresql://user@host:5432/dbname"
log = logging.getLogger("alembic.env")


def database_address() -> dict[str, Any]:
    """DATABASE_URL as libpq parameters. No message repeats the value: a password may stand in it."""
    url = os.environ.get("DATABASE_URL", "").strip()
    if not url:
        raise CommandError(
            f"DATABASE_URL is not set. It is the address of the database to migrate, for example {EXAMPLE}; "
            "keep the password in ~/.pgpass or PGPASSWORD."
        )
    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in {"postgresql", "postgres", "postgresql+psycopg"}:
        named = f"names {scheme}, not PostgreSQL" if separator and re.fullmatch(r"[a-z0-9+]+", scheme) else "is no URL"
        raise CommandError(f"DATABASE_URL {named}. Write it as {EXAMPLE}.")
    malformed = CommandError(
        f"DATABASE_URL cannot be read. Write it as {EXAMPLE}, with options that libpq knows; "
        "the characters @ : / ? # % in a user or password must be percent-encoded, for example %40 for @."
    )
    try:
        address = dict(conninfo.conninfo_to_dict(f"postgresql://{rest}"))
    except psycopg.Error:
        raise malformed from None
    # An unescaped "@" or "/" moves part of the password into the host, port or database, where libpq would print it.
    ports = str(address.get("port", ""))
    if not re.fullmatch(r"[\d,]*", ports) or "@" in f"{address.get('host', '')}{address.get('dbname', '')}":
        raise malformed
    return address


def connect() -> psycopg.Connection:
    """A connection for one run. Prepared statements gain nothing here and fail behind a pooler in transaction mode."""
    address = conninfo.make_conninfo("", **{"fallback_application_name": "alembic", **database_address()})
    try:
        connection = psycopg.connect(address, prepare_threshold=None)
    except psycopg.OperationalError as error:
        raise CommandError(f"Cannot connect to the database of DATABASE_URL: {error}") from None
    connection.add_notice_handler(show_warning)
    return connection


def show_warning(notice: psycopg.errors.Diagnostic) -> None:
    """Pass on what a revision says by RAISE WARNING; notices such as "already exists, skipping" stay quiet."""
    if notice.severity_nonlocalized == "WARNING":
        log.warning("%s", " ".join(part for part in (notice.message_primary, notice.message_hint) if part))


def migrate(connection: Connection) -> None:
    # One transaction a revision, so that a later revision may leave it (autocommit_block) for CONCURRENTLY statements.
    context.configure(connection=connection, transaction_per_migration=True)
    with context.begin_transaction():
        context.run_migrations()


def run_offline() -> None:
    context.configure(
        dialect_name="postgresql",
        literal_binds=True,
        dialect_opts={"paramstyle": "named"},
        transaction_per_migration=True,
    )
    with context.begin_transaction():
        context.run_migrations()


def run_online() -> None:
    given = context.config.attributes.get("connection")
    if given is not None:
        migrate(given)
        return
    engine = create_engine("postgresql+psycopg://", creator=connect, poolclass=NullPool)
    with engine.connect() as connection:
        migrate(connection)


# The alembic command alone sets up logging; a program that embeds this environment has its own. Errors are printed by
# the command itself, so the root logger stays without a handler: it would print them twice.
if context.config.cmd_opts is not None and not logging.getLogger().handlers:
    stderr = logging.StreamHandler(sys.stderr)
    stderr.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    for name in ("alembic.runtime.migration", "alembic.env"):
        logging.getLogger(name).addHandler(stderr)
        logging.getLogger(name).setLevel(logging.INFO)

if context.is_offline_mode():
    run_offline()
else:
    run_online()
