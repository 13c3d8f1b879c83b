"""Indexes that nobody wrote down."""

from __future__ import annotations

from collections.abc import Iterator

from dbkit.model import Severity
from dbkit.postgres.indexes.rules.declare import Blind, Limits, Verdict, index_rule
from dbkit.postgres.indexes.rules.overlap import duplicates
from dbkit.postgres.indexes.rules.scene import Scene
from dbkit.sizes import format_bytes


class UndocumentedLimits(Limits):
    """Knobs of pg.index-undocumented."""

    all_tables: bool = False
    """Also judge tables for which the wanted set names no index at all."""


@index_rule(
    "index-undocumented",
    Severity.INFO,
    ok="Every index of the documented tables is in the wanted set",
    bad="""
    -- wanted: create index t_a on t (a);
    create table t (id bigint primary key, a int, b int);
    create index t_a on t (a);
    create index somebody_tried on t (b);
    """,
    good="""
    -- wanted: create index t_a on t (a);
    create table t (id bigint primary key, a int, b int unique);
    create index t_a on t (a);
    create table undocumented_as_a_whole (b int);
    create index its_own on undocumented_as_a_whole (b);
    """,
    limits=UndocumentedLimits,
)
def undocumented(scene: Scene, limits: UndocumentedLimits) -> Iterator[Verdict | Blind]:
    """An index is not in the wanted set.

    Why: nobody wrote down why it is there; the next database that is built from the documents will not have it.

    Fix: write it into the wanted set with its reason, or drop it.

    Not reported when: it backs a constraint, belongs to a partitioned index, is INVALID or a duplicate (reported as
    such), or the wanted set says nothing about its table (limit `all_tables`).

    See: `dbkit index status` lists the wanted set.
    """
    tables = {s.table.oid for s in scene.states if s.table}
    if not tables and not limits.all_tables:
        yield Blind("no table of the wanted set is here: name this target's own files in `indexes` of dbkit.toml")
        return
    doubled = duplicates(scene)
    for index in scene.indexes:
        if index.constraint_name or index.parent_oid is not None or not index.is_valid or index.oid in doubled:
            continue
        if index.oid in scene.unfinished or scene.wanted(index) is not None:
            continue
        if index.table_oid in tables or limits.all_tables:
            usage = scene.usage(index)
            yield Verdict(
                f"it is on {index.table} but not in the wanted set; {format_bytes(usage.bytes)}, {usage.scans:,} scans",
                index.qualified,
                fix=f"-- to keep it, add to the wanted set with its reason:\n{index.definition};",
                data={"bytes": usage.bytes, "scans": usage.scans, "definition": index.definition},
            )
