"""Wanted against existing, decided by the server itself.

The wanted index is built on an empty temporary copy of its table, in a transaction that is rolled back, and its
catalogue fields are compared with those of the existing ones. Deparsed text is never compared with the author's: it is
not even a fixpoint (`x in ('a', 'b')` on varchar deparses to two different forms in turn). The real table only sees an
ACCESS SHARE lock. Needs TEMP on the database and SELECT on the table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import LiteralString, cast

import psycopg
from psycopg import errors, sql

from dbkit.errors import DbkitError
from dbkit.postgres import catalog, ddl
from dbkit.postgres.catalog import Build, Index, Partition, Relation, quote
from dbkit.postgres.connect import Connection, Server, explain, fetch
from dbkit.postgres.indexes.desired import Wanted


class State(StrEnum):
    """What is found for a wanted index."""

    OK = "ok"
    OTHER_NAME = "ok-other-name"
    MISSING = "missing"
    OTHER_DEFINITION = "other-definition"
    INVALID = "invalid"
    INVALID_ENFORCING = "invalid-enforcing"
    BUILDING = "building"
    INVALID_PARENT = "invalid-parent"
    NAME_TAKEN = "name-taken"
    CANNOT_BUILD = "cannot-build"
    NOT_VISIBLE = "not-visible"
    NOT_COMPARED = "not-compared"
    NO_TABLE = "no-table"


@dataclass(frozen=True, slots=True)
class Leaf:
    """One partition's part of a wanted index: attached, there but loose, or neither."""

    partition: Partition
    attached: Index | None
    loose: Index | None
    """An index of the same definition that is not attached yet."""
    remains: Index | None
    """An INVALID, unattached index of the same definition or of the name dbkit gives it."""
    building: bool = False

    @property
    def done(self) -> bool:
        """Attached and valid."""
        return self.attached is not None and self.attached.is_valid


@dataclass(frozen=True, slots=True)
class IndexState:
    """The verdict for one wanted index, with what is there."""

    wanted: Wanted
    state: State
    table: Relation | None = None
    actual: Index | None = None
    """The index that has the wanted name."""
    equal: Index | None = None
    """An index of the same definition, under any name."""
    detail: str = ""
    hint: str = ""
    leaves: tuple[Leaf, ...] = ()
    build: Build | None = None

    @property
    def object(self) -> str:
        """The wanted index's qualified name, as far as it is known."""
        if self.table is not None:
            return catalog.quoted(self.table.schema, self.wanted.name)
        return catalog.quoted(self.wanted.schema, self.wanted.name) if self.wanted.schema else quote(self.wanted.name)


@dataclass(frozen=True, slots=True)
class Observed:
    """One look at the server: everything `compare` judges by, taken in one transaction."""

    server: Server
    search_path: str
    """The role's own search path, under which the author's statements are meant."""
    indexes: tuple[Index, ...]
    relations: tuple[Relation, ...]
    partitions: tuple[Partition, ...]
    builds: tuple[Build, ...]
    states: tuple[IndexState, ...]


@dataclass(frozen=True, slots=True)
class _Built:
    """A wanted index on the temporary copy, or why it cannot be built or compared there."""

    index: Index | None = None
    failure: State | None = None
    detail: str = ""
    hint: str = ""


class TableLocked(DbkitError):
    """Somebody holds an ACCESS EXCLUSIVE lock on a table of this database: try again in a moment."""


def observe(connection: Connection, server: Server, wanted: Sequence[Wanted]) -> Observed:
    """Look at the server and judge every wanted index. Leaves nothing behind; changes nothing."""
    path = str(fetch(connection, "select reset_val from pg_settings where name = 'search_path'")[0]["reset_val"])
    try:
        with connection.transaction(force_rollback=True):
            connection.execute("select set_config('search_path', %s, true)", [path])
            connection.execute("set local lock_timeout = '2s'")
            tables = _resolve(connection, wanted)
            relations = {r.oid: r for r in catalog.relations(connection)}
            built = _build_all(connection, server, wanted, tables, relations)
            connection.execute("set local search_path = pg_catalog")
            indexes = catalog.indexes(connection)
            found = _Scene(
                server,
                relations,
                tuple(i for i in indexes if not i.schema.startswith("pg_temp")),
                catalog.partitions(connection),
                catalog.builds(connection),
            )
            on_copy = {i.name: i for i in indexes if i.schema.startswith("pg_temp")}
            states = tuple(
                found.judge(w, tables[n], _take(built[n], on_copy.get(_copy_name(n)))) for n, w in enumerate(wanted)
            )
    except errors.LockNotAvailable as error:
        told = explain(error, "cannot compare the wanted indexes with the server: a table is locked")
        raise TableLocked(told.what, why=told.why, hint=told.hint) from None
    except psycopg.Error as error:
        raise explain(error, "cannot compare the wanted indexes with the server") from None
    return Observed(server, path, found.indexes, tuple(relations.values()), found.partitions, found.builds, states)


def same_definition(one: Index, other: Index) -> bool:
    """Whether two indexes serve the same queries the same way. All key columns flipped (ASC for DESC) count as equal:
    a b-tree is read in both directions.
    """
    return (
        one.method == other.method
        and one.is_unique == other.is_unique
        and one.nulls_not_distinct == other.nulls_not_distinct
        and one.keys == other.keys
        and sorted(one.included) == sorted(other.included)
        and one.opclasses == other.opclasses
        and one.collations == other.collations
        and _same_direction(one, other)
        and one.expressions == other.expressions
        and one.predicate == other.predicate
        and sorted(one.storage) == sorted(other.storage)
    )


def _same_direction(one: Index, other: Index) -> bool:
    return one.options == other.options or (
        one.method == "btree" and tuple(option ^ 3 for option in one.options) == other.options
    )


def _copy_name(position: int) -> str:
    return f"dbkit_wanted_{position}"


def _take(built: _Built, index: Index | None) -> _Built:
    return replace(built, index=index) if built.failure is None else built


def _resolve(connection: Connection, wanted: Sequence[Wanted]) -> list[int | None]:
    names = [catalog.quoted(w.schema, w.table) if w.schema else quote(w.table) for w in wanted]
    rows = connection.execute(
        "select to_regclass(n)::oid::bigint from unnest(%s::text[]) with ordinality t(n, p) order by p", [names]
    ).fetchall()
    return [row[0] for row in rows]


def _build_all(
    connection: Connection,
    server: Server,
    wanted: Sequence[Wanted],
    tables: list[int | None],
    relations: dict[int, Relation],
) -> list[_Built]:
    built = [_Built(failure=State.NO_TABLE) for _ in wanted]
    for oid in dict.fromkeys(t for t in tables if t is not None):
        members = [n for n, t in enumerate(tables) if t == oid]
        relation = relations.get(oid)
        if relation is None or relation.kind not in ("r", "p", "m"):
            for n in members:
                built[n] = _Built(failure=State.CANNOT_BUILD, detail=f"{wanted[n].table} is not a table")
            continue
        failed = _make_copy(connection, server, relation)
        for n in members:
            built[n] = failed or _build(connection, wanted[n], relation, n)
    return built


def _make_copy(connection: Connection, server: Server, relation: Relation) -> _Built | None:
    """The empty copy `pg_temp.dbkit_<oid>`, or why there can be none."""
    if server.in_recovery:
        return _Built(failure=State.NOT_COMPARED, detail="this is a standby: nothing can be built on it for comparison")
    statement = sql.SQL("create temp table {} (like {}) on commit drop")
    names = (sql.Identifier(f"dbkit_{relation.oid}"), sql.Identifier(relation.schema, relation.name))
    try:
        with connection.transaction():
            connection.execute(statement.format(*names))
    except errors.InsufficientPrivilege as error:
        reason = error.diag.message_primary or ""
        missing = "temporary" in reason
        grant = f"temporary on database {quote(server.database)}" if missing else f"select on {relation.qualified}"
        return _Built(failure=State.NOT_COMPARED, detail=reason, hint=f"grant {grant} to {quote(server.user)}")
    except errors.LockNotAvailable:
        return _Built(
            failure=State.NOT_COMPARED,
            detail=f"{relation.qualified} is locked by another session",
            hint="run again when the lock is gone",
        )
    return None


def _build(connection: Connection, wanted: Wanted, relation: Relation, position: int) -> _Built:
    node = ddl.copy(wanted.node)
    node.idxname = _copy_name(position)
    node.concurrent = False
    node.relation.schemaname, node.relation.relname = "pg_temp", f"dbkit_{relation.oid}"
    # Typed as a literal although it comes from a file: it is the author's statement, printed by the server's grammar.
    statement = sql.SQL(cast(LiteralString, ddl.deparse_node(index_stmt=node)))
    try:
        with connection.transaction():
            connection.execute(statement)
    except psycopg.Error as error:
        return _Built(failure=State.CANNOT_BUILD, detail=error.diag.message_primary or str(error), hint=_hint(error))
    return _Built()


def _hint(error: psycopg.Error) -> str:
    text = error.diag.message_primary or ""
    if isinstance(error, errors.UndefinedObject) and "gin_trgm_ops" in text:
        return (
            "create extension pg_trgm; if it is there already, its schema is off the search_path: "
            "write the operator class with its schema, such as ext.gin_trgm_ops"
        )
    if isinstance(error, errors.UndefinedObject):
        return "create the extension that brings it, or write it with its schema"
    if isinstance(error, errors.InvalidObjectDefinition):
        return "an index expression may only use IMMUTABLE functions: name the text search configuration, avoid now()"
    if isinstance(error, errors.UndefinedColumn):
        return "run the migration that adds the column first"
    if isinstance(error, errors.InsufficientPrivilege):
        return "grant usage on the schema that holds the type, function or operator class"
    return error.diag.message_hint or ""


class _Scene:
    """The server as read once, and the verdict on each wanted index."""

    def __init__(
        self,
        server: Server,
        relations: dict[int, Relation],
        indexes: tuple[Index, ...],
        partitions: tuple[Partition, ...],
        builds: tuple[Build, ...],
    ) -> None:
        self.server = server
        self.relations = relations
        self.indexes = indexes
        self.partitions = partitions
        self.builds = builds
        self._by_table: dict[int, list[Index]] = {}
        for index in indexes:
            self._by_table.setdefault(index.table_oid, []).append(index)
        self._names = {(r.schema, r.name): r for r in relations.values()}

    def judge(self, wanted: Wanted, table_oid: int | None, built: _Built) -> IndexState:
        """The state of one wanted index."""
        if table_oid is None:
            hint = "run the migration that creates it, or write its schema: it may be off the search_path"
            return IndexState(wanted, State.NO_TABLE, detail=f"there is no table {wanted.written_table}", hint=hint)
        table = self.relations.get(table_oid)
        if table is None:
            return IndexState(wanted, State.NO_TABLE, detail=f"{wanted.written_table} is not in a user's schema")
        verdict = IndexState(wanted, State.MISSING, table)
        owner = self._names.get((table.schema, wanted.name))
        actual = next((i for i in self._by_table.get(table_oid, []) if i.name == wanted.name), None)
        if owner is not None and actual is None:
            return replace(verdict, state=State.NAME_TAKEN, detail=self._whose(owner), hint="rename one of the two")
        if built.failure is not None:
            return self._without_comparison(replace(verdict, actual=actual), built)
        return self._compared(verdict, actual, cast(Index, built.index))

    def _compared(self, verdict: IndexState, actual: Index | None, wanted: Index) -> IndexState:
        if actual is not None and not _same(actual, wanted, verdict.wanted):
            return self._other(replace(verdict, actual=actual), actual)
        equal = actual or next(
            (
                i
                for i in self._by_table.get(wanted_table(verdict), [])
                if i.is_valid and _same(i, wanted, verdict.wanted)
            ),
            None,
        )
        verdict = replace(verdict, actual=actual, equal=equal)
        if verdict.table is not None and verdict.table.kind == "p":
            return self._partitioned(verdict, wanted)
        if actual is None:
            return replace(verdict, state=State.OTHER_NAME if equal else State.MISSING)
        return self._validity(verdict, actual)

    def _other(self, verdict: IndexState, actual: Index) -> IndexState:
        return replace(
            verdict,
            state=State.OTHER_DEFINITION,
            detail=f"it is {actual.definition}",
            hint=f"if it is no longer needed: drop index concurrently {actual.qualified}; or rename one of the two",
        )

    def _validity(self, verdict: IndexState, actual: Index) -> IndexState:
        if actual.is_valid:
            return replace(verdict, state=State.OK)
        build = next((b for b in self.builds if b.index_oid == actual.oid), None)
        if build is not None:
            return replace(verdict, state=State.BUILDING, build=build, detail=f"pid {build.pid}, {build.phase}")
        if any(b.table_oid is None for b in self.builds) and not self.server.reads_all_stats:
            return replace(
                verdict,
                state=State.NOT_VISIBLE,
                detail="it is invalid, and whether somebody is building it is hidden from this role",
                hint=f"grant pg_read_all_stats to {quote(self.server.user)}",
            )
        if actual.is_unique and actual.is_ready:
            detail = "it is INVALID, serves no query, and already rejects duplicate rows"
            return replace(verdict, state=State.INVALID_ENFORCING, detail=detail)
        return replace(verdict, state=State.INVALID, detail="a build failed half-way; it serves no query")

    def _partitioned(self, verdict: IndexState, wanted: Index) -> IndexState:
        parent = verdict.equal
        leaves = self._leaves(verdict, wanted, parent)
        verdict = replace(verdict, leaves=leaves)
        if parent is None:
            return verdict
        if verdict.actual is None:
            return replace(verdict, state=State.OTHER_NAME)
        wrong = [x.partition.qualified for x in leaves if x.attached and not _same(x.attached, wanted, verdict.wanted)]
        if wrong:
            detail = f"the parent matches, but its partition {wrong[0]} has another order or definition attached"
            return replace(verdict, state=State.OTHER_DEFINITION, detail=detail, hint="rebuild the index as a whole")
        if parent.is_valid and all(leaf.done for leaf in leaves):
            return replace(verdict, state=State.OK)
        done = sum(leaf.done for leaf in leaves)
        return replace(verdict, state=State.INVALID_PARENT, detail=f"{done} of {len(leaves)} partitions are attached")

    def _leaves(self, verdict: IndexState, wanted: Index, parent: Index | None) -> tuple[Leaf, ...]:
        root = wanted_table(verdict)
        index_of: dict[int, Index | None] = {root: parent}
        leaves: list[Leaf] = []
        for partition in (p for p in self.partitions if p.root_oid == root and not p.is_foreign):
            above = index_of.get(partition.parent_oid)
            here = self._by_table.get(partition.oid, [])
            attached = next((i for i in here if above is not None and i.parent_oid == above.oid), None)
            loose = next(
                (i for i in here if i.parent_oid is None and i.is_valid and _same(i, wanted, verdict.wanted)), None
            )
            if partition.is_partitioned and attached is None:
                loose = next((i for i in here if i.parent_oid is None and _same(i, wanted, verdict.wanted)), None)
            remains = next(
                (
                    i
                    for i in here
                    if i.parent_oid is None
                    and not i.is_valid
                    and not i.is_partitioned
                    and _same(i, wanted, verdict.wanted)
                ),
                None,
            )
            index_of[partition.oid] = attached or (loose if partition.is_partitioned else None)
            building = remains is not None and any(b.index_oid == remains.oid for b in self.builds)
            leaves.append(Leaf(partition, attached, loose, remains, building))
        return tuple(leaves)

    def _without_comparison(self, verdict: IndexState, built: _Built) -> IndexState:
        state = built.failure or State.NOT_COMPARED
        return replace(verdict, state=state, detail=built.detail, hint=built.hint)

    def _whose(self, owner: Relation) -> str:
        index = next((i for i in self.indexes if i.oid == owner.oid), None)
        if index is not None:
            return f"the name belongs to an index on {index.table}"
        kinds = {
            "r": "a table",
            "v": "a view",
            "m": "a materialized view",
            "S": "a sequence",
            "p": "a partitioned table",
        }
        return f"the name belongs to {kinds.get(owner.kind, 'another relation')}"


def wanted_table(verdict: IndexState) -> int:
    """The oid of the table a verdict is about (0 when there is none)."""
    return verdict.table.oid if verdict.table else 0


def _same(one: Index, wanted: Index, author: Wanted) -> bool:
    """Equal definition; the tablespace counts only where the author names one."""
    tablespace = author.node.table_space
    return same_definition(one, wanted) and (not tablespace or one.tablespace == tablespace)
