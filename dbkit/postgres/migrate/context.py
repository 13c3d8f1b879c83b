"""What a rule sees of the statement it judges, and what it hands back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from dbkit.model import Evidence, Json, Severity
from dbkit.postgres.ddl import Statement, numbers
from dbkit.postgres.migrate import actions as a
from dbkit.postgres.migrate.lock_mode import Locks, Mode
from dbkit.postgres.migrate.names import Name
from dbkit.postgres.migrate.schema import Index, Schema, Table
from dbkit.postgres.migrate.transactions import Session
from dbkit.postgres.migrate.types import SqlType, TypeChange

OLDEST: Final = 11
NEWEST: Final = 18
_FOREIGN: Final = numbers("ObjectType")["OBJECT_FOREIGN_TABLE"]

BOOKKEEPING: Final = frozenset(
    "alembic_version django_migrations schema_migrations schema_version flyway_schema_history changes goose_db_version"
    " databasechangelog databasechangeloglock migrations knex_migrations ar_internal_metadata __efmigrationshistory"
    " _prisma_migrations sequelizemeta gorp_migrations atlas_schema_revisions".split()
)
"""Tables in which migration tools keep their own records."""


@dataclass(slots=True)
class Rewrite:
    """Statements that do the same safely and replace the author's; `alone` when they cannot share a transaction."""

    sql: str
    alone: bool = False


@dataclass(slots=True)
class Hazard:
    """What a rule reports; the engine adds place, evidence, suppression and size."""

    message: str
    object: str = ""
    severity: Severity | None = None
    """None: the rule's own."""
    recipe: str = ""
    """The safe way, as SQL with the user's own names."""
    safe: bool = True
    """Whether the recipe takes no lock that stalls traffic."""
    rewrite: Rewrite | None = None
    tables: tuple[Name, ...] = ()
    """Tables whose size decides how bad it is."""
    evidence: Evidence | None = None
    data: Mapping[str, Json] = field(default_factory=dict[str, Json])
    file: str = ""
    line: int | None = None
    """Where, if not at the statement being judged."""


@dataclass(slots=True)
class Context:
    """The statement, the schema before it, and the session it runs in."""

    schema: Schema
    session: Session
    number: int
    """Of the script, in order of execution."""
    file: str
    major: int
    minor: int | None
    statement: Statement
    actions: list[a.Action]
    locks: Locks
    inside: str = ""
    """`DO` or a function's name when the statement stands in a body."""
    line: int = 0
    together: bool | None = None
    """Whether statements share a transaction at this point; None when that depends on the tool that runs the file."""
    sure: bool = False
    """Whether they certainly do."""
    dropped: list[Index] = field(default_factory=list[Index])
    """Known indexes that this script dropped before this statement."""
    altered: dict[tuple[str, str], int] = field(default_factory=dict[tuple[str, str], int])
    """Tables this script altered, with the line of the last such statement that could have been joined."""
    parents: list[tuple[Name, int]] = field(default_factory=list[tuple[Name, int]])
    """Tables referenced by keys added in the open transaction, with the line."""
    new_values: dict[str, int] = field(default_factory=dict[str, int])
    """Enum values added in the open transaction, with the line."""
    changed_data: dict[str, int] = field(default_factory=dict[str, int])
    """Existing tables whose rows the open transaction has changed, with the line."""
    dropped_tables: dict[tuple[str, str], int] = field(default_factory=dict[tuple[str, str], int])
    renamed_away: dict[tuple[tuple[str, str], str], int] = field(default_factory=dict[tuple[tuple[str, str], str], int])
    """(table, column) names this script has renamed to something else, with the line."""
    created_later: frozenset[tuple[str, str]] = frozenset()
    """Views, functions and the like that the script creates anywhere."""
    attached_later: frozenset[tuple[tuple[str, str], str]] = frozenset()
    """(table, name) of triggers, policies and constraints that the script creates anywhere."""
    calls: bool = False
    """Whether a line is a call of another language that may send several statements (Alembic)."""
    only_one: bool = False
    """Whether the script holds one statement."""
    made_room: set[tuple[tuple[str, str], str]] = field(default_factory=set[tuple[tuple[str, str], str]])
    """(table, constraint) that DROP CONSTRAINT IF EXISTS of this script made room for, until it is added."""
    type_change: tuple[a.AlterType, TypeChange, SqlType | None] | None = None
    """The last type change judged, with its verdict and the old type."""
    warned_timeout: bool = False
    warned_statement: bool = False

    def fresh(self, table: Name) -> bool:
        """Whether the table was made by this very script: nobody uses it yet and it holds little."""
        found = self.schema.table(table)
        return table.schema == "pg_temp" or (found is not None and (found.temporary or found.born == self.number))

    def known(self, table: Name) -> Table | None:
        """The table if all of it is known."""
        found = self.schema.table(table)
        return found if found is not None and found.complete else None

    def evidence(self, *tables: Name) -> Evidence:
        """`schema` when every table named is wholly known, else `text`."""
        return Evidence.SCHEMA if tables and all(self.known(t) for t in tables) else Evidence.TEXT

    @property
    def strongest(self) -> Mode:
        """The strongest lock of the whole statement: each of its parts runs under it."""
        return max((mode for _, mode in self.locks), default=Mode.ACCESS_SHARE)

    @property
    def alone(self) -> bool:
        """Whether the statement does one thing, so that it can be rewritten as a whole."""
        if len(self.actions) != 1 or self.inside:
            return False
        if self.statement.kind != "alter_table_stmt":
            return True
        node = self.statement.node.alter_table_stmt
        return node.relation.inh and not node.missing_ok  # ONLY and IF EXISTS are not written anew

    def foreign(self, table: Name) -> bool:
        """Whether the table is a foreign one: its rows lie elsewhere, so nothing is rewritten, scanned or built."""
        found = self.schema.table(table)
        if found is not None and found.kind == "foreign table":
            return True
        kind = self.statement.kind
        return kind == "alter_table_stmt" and self.statement.node.alter_table_stmt.objtype == _FOREIGN

    def partitioned(self, table: Name) -> bool:
        """Whether the table is known to be partitioned."""
        found = self.schema.table(table)
        return found is not None and found.partitioned is True
