"""Foreign keys whose own columns have no index."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from dbkit.model import Severity
from dbkit.postgres.indexes import naming
from dbkit.postgres.indexes.rules import remedies
from dbkit.postgres.indexes.rules.declare import Limits, Verdict, index_rule
from dbkit.postgres.indexes.rules.scene import Scene
from dbkit.sizes import format_bytes

if TYPE_CHECKING:
    from dbkit.postgres.catalog import ForeignKey, Index

_LARGE_UNANALYZED: Final = 8 * 2**20


class ForeignKeyLimits(Limits):
    """Knobs of pg.index-foreign-key-unindexed."""

    warn_rows: int = 10_000
    """From this many rows of the referencing table on, and with changes on the referenced one, it is a warning."""


@index_rule(
    "index-foreign-key-unindexed",
    Severity.WARN,
    ok="Every foreign key has an index on its own columns",
    bad="""
    create table parent (id bigint primary key);
    create table child (parent_id bigint references parent, deleted_at timestamptz);
    create index child_parent on child (parent_id) where deleted_at is null;
    """,
    good="""
    create table parent (id bigint primary key, tenant int, unique (id, tenant));
    create table child (parent_id bigint, tenant int, foreign key (parent_id, tenant) references parent (id, tenant));
    create index child_parent on child (tenant, parent_id);
    create table note (parent_id bigint references parent);
    create index note_parent on note (parent_id) where parent_id is not null;
    """,
    equivalents={
        "pg-index-health": ("FOREIGN_KEYS_WITHOUT_INDEX",),
        "postgres-checkup": ("H003",),
        "eugene": ("E15",),
        "splinter": ("unindexed_foreign_keys",),
        "pg-extras": ("missing_fk_indexes",),
    },
    limits=ForeignKeyLimits,
)
def foreign_key_unindexed(scene: Scene, limits: ForeignKeyLimits) -> Iterator[Verdict]:
    """A foreign key has no index on its own columns.

    Why: every delete of a referenced row, and every update of its key, reads the whole referencing table, and with ON
    DELETE CASCADE once for each row; joins from the parent do the same.

    Fix: build one concurrently; for a partitioned table write it into the wanted indexes and run `dbkit index apply`.

    Not reported when: a valid b-tree begins with the key's columns in any order (for one column, a hash index will do).
    A partial index does not count, unless its predicate only says that a column of the key is not null. It is an info,
    not a warning, below `warn_rows` or when nobody has changed the referenced table since statistics began.

    See: "Foreign Keys" in the PostgreSQL manual, which does not make that index by itself.
    """
    for key in scene.foreign_keys:
        if not covered(scene, key):
            yield _verdict(scene, key, limits)


def covered(scene: Scene, key: ForeignKey) -> bool:
    """Whether an index, or one on every partition, finds the referencing rows."""
    if any(serves(index, key) for index in scene.by_table.get(key.table_oid, ())):
        return True
    parts = [p for p in scene.partitions if p.root_oid == key.table_oid and not p.is_partitioned]
    return bool(parts) and all(any(serves(i, key) for i in scene.by_table.get(p.oid, ())) for p in parts)


def serves(index: Index, key: ForeignKey) -> bool:
    """Whether the index, on the key's table or a partition of it, finds rows by the key's columns."""
    from dbkit.postgres.catalog import quote

    count = len(key.columns)
    if not index.is_valid or not index.is_live or sorted(index.keys[:count]) != sorted(key.columns):
        return False
    if index.method != "btree" and not (index.method == "hash" and count == 1):
        return False
    # `column = $1` implies `column is not null`, and the planner knows.
    return index.predicate is None or index.predicate in {f"({quote(c)} IS NOT NULL)" for c in key.columns}


def _verdict(scene: Scene, key: ForeignKey, limits: ForeignKeyLimits) -> Verdict:
    from dbkit.postgres.catalog import quote, quoted

    rows, size = scene.table_size(key.table_oid)
    large = rows >= limits.warn_rows if rows is not None else size >= _LARGE_UNANALYZED
    many = f"about {rows:,.0f} rows" if rows is not None else f"{format_bytes(size)}, never analyzed"
    parent = quoted(key.parent_schema, key.parent_name)
    changed = (
        f"{key.parent_changes:,} updates and deletes of {parent} since statistics began"
        if key.parent_changes
        else f"no update or delete of {parent} since statistics began"
    )
    columns = ", ".join(quote(c) for c in key.columns)
    name = _free_name(scene, key)
    remedy, fix = None, ""
    if any(p.root_oid == key.table_oid for p in scene.partitions) or _is_partitioned(scene, key):
        fix = (
            "-- partitioned: write this into the wanted indexes and run `dbkit index apply`\n"
            f"create index {quote(name)} on {key.table} ({columns});"
        )
    else:
        remedy = remedies.create(quote(name), quoted(key.table_schema, name), key.table, columns)
    return Verdict(
        f"foreign key {key.name} ({columns}) to {parent} has no index: deleting a row of {parent} reads all of "
        f"{key.table} ({many}); {changed}",
        f"{key.table}.{quote(key.name)}",
        fix=fix,
        severity=Severity.WARN if large and key.parent_changes else Severity.INFO,
        remedy=remedy,
        data={"columns": list(key.columns), "rows": rows, "bytes": size, "parent_changes": key.parent_changes},
    )


def _is_partitioned(scene: Scene, key: ForeignKey) -> bool:
    table = scene.relation.get(key.table_oid)
    return table is not None and table.kind == "p"


def _free_name(scene: Scene, key: ForeignKey) -> str:
    taken = (r.name for r in scene.relations if r.schema == key.table_schema)
    return naming.free(key.table_name, key.columns, taken, spare="dbkit")
