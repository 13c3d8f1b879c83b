"""Wanted against existing, decided by the server itself.

The wanted index is built on an empty temporary copy of its table, in a transaction that is rolled back, and its
catalogue fields are compared with those of the existing ones. Deparsed text is never compared with the author's: it is
not even a fixpoint (`x in ('a', 'b')` on varchar deparses to two different forms in turn). The real table only sees an
ACCESS SHARE lock. Needs TEMP on the database and SELECT on the table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, cast

import psycopg
from psycopg import errors

from dbkit.errors import DbkitError
from dbkit.postgres import catalog
from dbkit.postgres.catalog import Build, Index, Partition, Relation, quote
from dbkit.postgres.connect import Connection, Server, explain, fetch
from dbkit.postgres.indexes.copies import Built, build_all, name_on_copy
from dbkit.postgres.indexes.desired import Wanted
from dbkit.postgres.indexes.states import IndexState, Leaf, State

_ALIASES: Final = {
    "pg_catalog.varchar_ops": "pg_catalog.text_ops",
    "pg_catalog.varchar_pattern_ops": "pg_catalog.text_pattern_ops",
    "pg_catalog.cidr_ops": "pg_catalog.inet_ops",
}
"""Operator classes that are another one under a second name: same family, same input type (pg_opclass)."""


@dataclass(frozen=True, slots=True)
class Observed:
    """One look at the server: everything `compare` judges by, taken in one transaction."""

    server: Server
    search_path: str
    """The role's own search path, under which the author's statements are meant."""
    indexes: tuple[Index, ...]
    """Those of the wanted indexes' tables and their partitions."""
    relations: tuple[Relation, ...]
    partitions: tuple[Partition, ...]
    builds: tuple[Build, ...]
    states: tuple[IndexState, ...]


class TableLocked(DbkitError):
    """Somebody holds an ACCESS EXCLUSIVE lock on a table of this database: try again in a moment."""


def observe(connection: Connection, server: Server, wanted: Sequence[Wanted]) -> Observed:
    """Look at the server and judge every wanted index. Leaves nothing behind; changes nothing."""
    path = str(fetch(connection, "select reset_val from pg_settings where name = 'search_path'")[0]["reset_val"])
    try:
        with connection.transaction(force_rollback=True):
            connection.execute("select /* dbkit */ set_config('search_path', %s, true)", [path])
            connection.execute("set local lock_timeout = '2s'")
            tables = _resolve(connection, wanted)
            relations = {r.oid: r for r in catalog.relations(connection)}
            built = build_all(connection, server, wanted, tables, relations)
            connection.execute("set local search_path = pg_catalog")
            partitions = catalog.partitions(connection)
            roots = {table for table in tables if table is not None}
            trees = roots | {p.root_oid for p in partitions if p.oid in roots}
            indexes = catalog.indexes(connection, roots | {p.oid for p in partitions if p.root_oid in trees})
            found = _Scene(
                server,
                relations,
                tuple(i for i in indexes if not i.schema.startswith("pg_temp")),
                partitions,
                catalog.builds(connection),
            )
            on_copy = {i.name: i for i in indexes if i.schema.startswith("pg_temp")}
            states = tuple(
                found.judge(w, tables[n], _take(built[n], on_copy.get(name_on_copy(n)))) for n, w in enumerate(wanted)
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
        and _plain(one.opclasses) == _plain(other.opclasses)
        and one.collations == other.collations
        and _same_direction(one, other)
        and one.expressions == other.expressions
        and one.predicate == other.predicate
        and sorted(one.storage) == sorted(other.storage)
    )


def _plain(opclasses: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(_ALIASES.get(name, name) for name in opclasses)


def _same_direction(one: Index, other: Index) -> bool:
    return one.options == other.options or (
        one.method == "btree" and tuple(option ^ 3 for option in one.options) == other.options
    )


def _take(built: Built, index: Index | None) -> Built:
    return replace(built, index=index) if built.failure is None else built


def _resolve(connection: Connection, wanted: Sequence[Wanted]) -> list[int | None]:
    names = [catalog.quoted(w.schema, w.table) if w.schema else quote(w.table) for w in wanted]
    rows = connection.execute(
        "select to_regclass(n)::oid::bigint from unnest(%s::text[]) with ordinality t(n, p) order by p", [names]
    ).fetchall()
    return [row[0] for row in rows]


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

    def judge(self, wanted: Wanted, table_oid: int | None, built: Built) -> IndexState:
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
        if parent is None or not parent.is_valid:
            foreign = next((p for p in self.partitions if p.root_oid == wanted_table(verdict) and p.is_foreign), None)
            if foreign is not None:
                return replace(verdict, state=State.CANNOT_BUILD, **_beside_foreign(foreign, wanted))
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

    def _without_comparison(self, verdict: IndexState, built: Built) -> IndexState:
        state = built.failure or State.NOT_COMPARED
        return replace(verdict, state=state, detail=built.detail, hint=built.hint)

    def _whose(self, owner: Relation) -> str:
        kinds = {
            "r": "a table",
            "i": "an index on another table",
            "I": "an index on another table",
            "v": "a view",
            "m": "a materialized view",
            "S": "a sequence",
            "p": "a partitioned table",
        }
        return f"the name belongs to {kinds.get(owner.kind, 'another relation')}"


def _beside_foreign(foreign: Partition, wanted: Index) -> dict[str, str]:
    """Why dbkit does not build it: an index made ON ONLY stays invalid, as the server counts that partition too."""
    if wanted.is_unique:
        return {
            "detail": f"its partition {foreign.qualified} is a foreign table: the server makes no unique index over it",
            "hint": "build a unique index on each of the other partitions, under names of their own",
        }
    return {
        "detail": f"its partition {foreign.qualified} is a foreign table: an index made in steps would stay invalid",
        "hint": "build it concurrently on each other partition, then `create index` on the table: it takes those, and "
        "leaves the foreign one out",
    }


def wanted_table(verdict: IndexState) -> int:
    """The oid of the table a verdict is about (0 when there is none)."""
    return verdict.table.oid if verdict.table else 0


def _same(one: Index, wanted: Index, author: Wanted) -> bool:
    """Equal definition; the tablespace counts only where the author names one."""
    tablespace = author.node.table_space
    return same_definition(one, wanted) and (not tablespace or one.tablespace == tablespace)
