"""From states to a Plan: what would be done for each wanted index, one statement a step, and what needs a person.

An index of the wanted name but another definition is never dropped: it becomes a Problem.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from dbkit.plan import Plan, PlanTarget, Problem, Step
from dbkit.postgres import ddl
from dbkit.postgres.catalog import Index, quote, quoted
from dbkit.postgres.connect import Server
from dbkit.postgres.indexes.compare import Observed
from dbkit.postgres.indexes.desired import MAX_NAME_BYTES
from dbkit.postgres.indexes.states import IndexState, Leaf, State

QUIET: Final = "nobody who reads or writes; VACUUM, ANALYZE and other DDL on the table wait"
BRIEF: Final = "readers and writers of the index's table for a moment, bounded by a short lock_timeout"
RULES: Final = {
    State.OTHER_DEFINITION: "pg.index-other-definition",
    State.NAME_TAKEN: "pg.index-name-taken",
    State.CANNOT_BUILD: "pg.index-cannot-build",
    State.NO_TABLE: "pg.index-cannot-build",
    State.NOT_VISIBLE: "pg.index-not-visible",
    State.NOT_COMPARED: "pg.index-not-visible",
}


@dataclass(frozen=True, slots=True)
class _Draft:
    action: str
    object: str
    sql: str
    lock: str
    blocks: str
    undo: str
    check: str
    table: str
    index: str
    note: str = ""


def plan(observed: Observed, name: str) -> Plan:
    """The plan for one database; empty when every wanted index is there or needs a person."""
    drafts = [(s, d) for s in observed.states for d in _drafts(s)]
    steps = tuple(
        Step(
            id=str(number),
            action=d.action,
            object=d.object,
            sql=d.sql,
            lock=d.lock,
            blocks=d.blocks,
            undo=d.undo,
            check=d.check,
            table=d.table,
            note=d.note,
            before=fingerprint(s),
            data={"index": s.wanted.name, "schema": s.wanted.schema, "made": d.index},
        )
        for number, (s, d) in enumerate(drafts, start=1)
    )
    problems = tuple(
        Problem(object=s.object, rule=RULES[s.state], message=s.detail, hint=s.hint)
        for s in observed.states
        if s.state in RULES
    )
    return Plan(
        kind="index", target=target_of(observed.server, name), steps=steps, problems=problems, data=_wanted(observed)
    )


def target_of(server: Server, name: str) -> PlanTarget:
    """The database a plan is for."""
    return PlanTarget(
        name=name,
        engine="postgres",
        system=server.system,
        database=server.database,
        server_version=server.version_text,
    )


def fingerprint(state: IndexState) -> str:
    """What the plan was made from: changes when somebody else touches the index, not while we build it."""
    definition = state.actual.definition if state.actual and state.state is State.OTHER_DEFINITION else ""
    return hashlib.sha256(f"{state.object}\0{definition}".encode()).hexdigest()[:16]


def leaf_name(state: IndexState, leaf: Leaf) -> str:
    """The name of a partition's index: the wanted name and the partition's own part, at most 63 bytes."""
    table = state.table.name if state.table else ""
    suffix = leaf.partition.name.removeprefix(f"{table}_")
    full = f"{state.wanted.name}_{suffix}"
    if len(full.encode()) <= MAX_NAME_BYTES:
        return full
    digest = hashlib.sha256(full.encode()).hexdigest()[:8]
    return f"{full.encode()[: MAX_NAME_BYTES - 9].decode(errors='ignore')}_{digest}"


def _wanted(observed: Observed) -> dict[str, object]:
    """The statements the plan was made from, so that `apply` verifies against the same wishes."""
    return {"wanted": [{"sql": s.wanted.sql, "file": s.wanted.file} for s in observed.states]}


def _drafts(state: IndexState) -> Iterator[_Draft]:
    if state.table is None:
        return
    if state.table.kind == "p" and state.state in (State.MISSING, State.INVALID_PARENT):
        yield from _partitioned(state)
    elif state.state in (State.INVALID, State.INVALID_ENFORCING):
        if state.actual is not None:
            yield _drop(state.actual, state.table.qualified)
        yield _create(state)
    elif state.state is State.BUILDING and state.build is not None:
        told = f"is being built by pid {state.build.pid}: apply waits for that, and builds only if it fails"
        yield replace(_create(state), note=told)
    elif state.state is State.MISSING:
        yield _create(state)


def _create(state: IndexState) -> _Draft:
    table = state.table
    schema, relation = (table.schema, table.name) if table else ("", "")
    return _build(state, state.wanted.name, schema, relation, concurrently=True)


def _build(
    state: IndexState, name: str, schema: str, relation: str, *, concurrently: bool, only: bool = False
) -> _Draft:
    node = ddl.copy(state.wanted.node)
    node.idxname, node.concurrent = name, concurrently
    node.relation.schemaname, node.relation.relname, node.relation.inh = schema, relation, not only
    table, index = quoted(schema, relation), quoted(schema, name)
    drop = "drop index" if only else "drop index concurrently"
    return _Draft(
        action="create-parent-index" if only else "create-index",
        object=index,
        sql=ddl.deparse_node(index_stmt=node),
        lock=f"{'SHARE' if only else 'SHARE UPDATE EXCLUSIVE'} on {table}",
        blocks=BRIEF if only else QUIET,
        undo=f"{drop} {index}",
        check="the index has the wanted definition" if only else "the index is valid and has the wanted definition",
        table=state.table.qualified if state.table else table,
        index=name,
        note=state.wanted.remark if not only else "holds no rows: the partitions' indexes are attached to it",
    )


def _drop(index: Index, table: str) -> _Draft:
    return _Draft(
        action="drop-index",
        object=index.qualified,
        sql=f"drop index concurrently {index.qualified}",
        lock=f"SHARE UPDATE EXCLUSIVE on {index.table}",
        blocks=QUIET,
        undo=index.definition.replace("CREATE INDEX", "CREATE INDEX CONCURRENTLY", 1),
        check="the invalid index is gone",
        table=table,
        index=index.name,
        note="an invalid remain of a build that failed; it serves no query",
    )


def _partitioned(state: IndexState) -> Iterator[_Draft]:
    table = state.table
    if table is None:
        return
    if state.equal is None:
        yield _build(state, state.wanted.name, table.schema, table.name, concurrently=False, only=True)
    parents = {table.oid: state.equal.qualified if state.equal else quoted(table.schema, state.wanted.name)}
    middles: list[tuple[Leaf, str]] = []
    for leaf in state.leaves:
        if not leaf.partition.is_partitioned:
            continue
        held = leaf.attached or leaf.loose
        if held is None:
            name = leaf_name(state, leaf)
            yield _build(state, name, leaf.partition.schema, leaf.partition.name, concurrently=False, only=True)
            parents[leaf.partition.oid] = quoted(leaf.partition.schema, name)
        else:
            parents[leaf.partition.oid] = held.qualified
        if leaf.attached is None:
            middles.insert(0, (leaf, parents[leaf.partition.oid]))
    for leaf in state.leaves:
        if not leaf.partition.is_partitioned and not leaf.done:
            yield from _leaf(state, leaf, parents[leaf.partition.parent_oid])
    for leaf, index in middles:
        yield _attach(state, leaf, parents[leaf.partition.parent_oid], index)


def _leaf(state: IndexState, leaf: Leaf, parent: str) -> Iterator[_Draft]:
    name = leaf_name(state, leaf)
    index = quoted(leaf.partition.schema, name)
    if leaf.loose is not None:
        index = leaf.loose.qualified
    else:
        if leaf.remains is not None and not leaf.building:
            yield _drop(leaf.remains, state.table.qualified if state.table else "")
        yield _build(state, name, leaf.partition.schema, leaf.partition.name, concurrently=True)
    yield _attach(state, leaf, parent, index)


def _attach(state: IndexState, leaf: Leaf, parent: str, index: str) -> _Draft:
    return _Draft(
        action="attach-index",
        object=index,
        sql=f"alter index {parent} attach partition {index}",
        lock=f"SHARE UPDATE EXCLUSIVE on {parent}, ACCESS EXCLUSIVE on {index}",
        blocks=BRIEF,
        undo=f"none needed: an attached index goes with {parent}",
        check="the partition's index has the wanted index as its parent",
        table=state.table.qualified if state.table else leaf.partition.qualified,
        index=quote(leaf.partition.name),
    )
