"""Data, queries, transactions, settings, maintenance, and what is not judged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dbkit.postgres.migrate.actions.base import Action, OnTable
from dbkit.postgres.migrate.names import Name


@dataclass(slots=True, eq=False, repr=False)
class Vacuum(Action):
    full: bool = False
    analyze_only: bool = False
    tables: tuple[Name, ...] = ()


@dataclass(slots=True, eq=False, repr=False)
class Cluster(Action):
    table: Name | None = None


@dataclass(slots=True, eq=False, repr=False)
class Truncate(Action):
    tables: tuple[Name, ...] = ()
    cascade: bool = False
    only: tuple[Name, ...] = ()
    """Of the tables, those named with ONLY."""


@dataclass(slots=True, eq=False, repr=False)
class LockTable(Action):
    tables: tuple[Name, ...] = ()
    mode: int = 8
    only: tuple[Name, ...] = ()


@dataclass(slots=True, eq=False, repr=False)
class Dml(OnTable):
    verb: Literal["insert", "update", "delete", "merge", "copy"] = "insert"
    narrowed: bool = True
    """False without WHERE, or with one that is always true."""
    columns: tuple[str, ...] = ()
    rows: int = 0
    """Rows of a VALUES list; 0 when the statement reads them from elsewhere."""


@dataclass(slots=True, eq=False, repr=False)
class Query(Action):
    """A SELECT; `tables` it reads, `calls` the functions it calls by name."""

    tables: tuple[Name, ...] = ()
    calls: tuple[Name, ...] = ()


@dataclass(slots=True, eq=False, repr=False)
class Transaction(Action):
    verb: Literal["begin", "commit", "rollback", "savepoint", "rollback-to", "release", "prepare"] = "begin"
    chain: bool = False


@dataclass(slots=True, eq=False, repr=False)
class SetVariable(Action):
    name: str = ""
    value: str | None = None
    """None for RESET or DEFAULT."""
    local: bool = False


@dataclass(slots=True, eq=False, repr=False)
class Code(Action):
    """A DO block or a CALL: what runs inside is in other statements, listed by `bodies`."""

    language: str = "plpgsql"
    body: str = ""
    calls: Name | None = None


@dataclass(slots=True, eq=False, repr=False)
class OutsideTransaction(Action):
    """CREATE DATABASE, CREATE TABLESPACE, ALTER SYSTEM and others that refuse a transaction block."""

    what: str = ""


@dataclass(slots=True, eq=False, repr=False)
class Harmless(Action):
    """A statement that locks no table against anyone: COMMENT, GRANT, ANALYZE, CREATE EXTENSION ..."""

    what: str = ""


@dataclass(slots=True, eq=False, repr=False)
class Unread(Action):
    """A statement, or a part of one, that is not judged, and why."""

    what: str = ""
    why: str = "dbkit does not judge this kind of statement"
