"""ATTACH PARTITION: what it has to look at or build while the new partition is closed."""

from __future__ import annotations

from collections.abc import Iterator

from dbkit.model import Evidence
from dbkit.postgres.migrate import actions as a
from dbkit.postgres.migrate import bounds, formulas, recipes
from dbkit.postgres.migrate.context import Context, Hazard
from dbkit.postgres.migrate.names import Name, quote
from dbkit.postgres.migrate.rules.declare import AX, BUILDS, ERROR, SCANS, also, hazard
from dbkit.postgres.migrate.schema import Index, Table
from dbkit.postgres.migrate.types import SqlType


@hazard(
    "migrate.attach-partition",
    on=a.AttachPartition,
    category="lock",
    severity=ERROR,
    lock=f"SHARE UPDATE EXCLUSIVE on the parent (from 12), {AX} on the new and on the default partition",
    cost=SCANS,
    versions=f"{AX} on the parent before 12",
    ok="Every partition is attached with its bounds proved before",
    bad="alter table m attach partition m1 for values from (0) to (100);",
    good="""
    create table m1 (like m including all);
    alter table m attach partition m1 for values from (0) to (100);
    """,
    known=also(pgls="avoidAttachingPartition banAttachPartition", pgsafe="attach-partition"),
)
def attach(ctx: Context, action: a.AttachPartition) -> Iterator[Hazard]:
    """ATTACH PARTITION scans the new partition, and the default partition, under ACCESS EXCLUSIVE.

    Why: every row has to be shown to fit the bounds, and no row of the default partition may belong to the new one.

    Fix: a CHECK equal to the bounds (with IS NOT NULL) on the new partition and the negated one on the default
    partition, each NOT VALID and then validated; ATTACH then finds the proof and does not scan. Drop them after.

    Not reported when: the new partition was created by the same file, or validated CHECKs and NOT NULLs imply its
    bounds; and there is no default partition, or its checks imply that it holds no row of the new one. Comparisons
    with constants, AND, OR, NOT, IN, BETWEEN and IS NULL are understood as the server does; a CHECK that is not
    understood, or that says less than the bounds, is no proof, and nothing proves a hash bound.
    """
    above, child = ctx.schema.table(action.table), ctx.schema.table(action.child)
    wanted = _wanted(ctx, action, above)
    default = above.default_partition if above is not None and not action.default else None
    missing: list[tuple[Name, formulas.Formula]] = []
    if not ctx.fresh(action.child) and not (child is not None and _holds(above, child, action, wanted)):
        missing.append((action.child, wanted))
    if default is not None and not ctx.fresh(default):
        held = ctx.schema.table(default)
        outside = formulas.negate(wanted)
        if held is None or not formulas.implies(_facts(held, above), outside, _types(above, held)):
            missing.append((default, outside))
    if not missing:
        return
    scanned = [name for name, _ in missing]
    yield Hazard(
        f"attaching {action.child} scans {' and '.join(map(str, scanned))} while their reads and writes wait",
        object=str(action.table),
        recipe="\n".join(_proof(action.child, name, formula) for name, formula in missing),
        tables=tuple(scanned),
        evidence=ctx.evidence(*scanned),
        data={"lock": AX, "cost": SCANS},
    )


def _wanted(ctx: Context, action: a.AttachPartition, above: Table | None) -> formulas.Formula:
    """What the rows of the new partition have to satisfy."""
    if above is None or above.partition_key is None:
        return formulas.UNCLEAR
    if not action.default:
        return bounds.condition(above.partition_key, action.bound, _types(above))
    held = [ctx.schema.table(p) for p in above.partitions]
    if not above.complete or not all(held):
        return formulas.UNCLEAR
    return formulas.Both(
        tuple(
            formulas.negate(bounds.condition(above.partition_key, t.bound, _types(above)))
            for t in held
            if t is not None
        )
    )


def _types(*tables: Table | None) -> dict[str, SqlType | None]:
    """Column types, of the first table that knows them."""
    found: dict[str, SqlType | None] = {}
    for table in tables:
        for column in table.columns.values() if table is not None else ():
            if found.get(column.name) is None:
                found[column.name] = column.type
    return found


def _facts(table: Table, above: Table | None) -> formulas.Formula:
    """What is known of every row of a table: its validated checks, and columns that are NOT NULL."""
    types = _types(table, above)
    known: list[formulas.Formula] = [
        formulas.read(c.constraint.expression, types)
        for c in table.constraints.values()
        if c.constraint.kind == "check" and c.proves
    ]
    known += [formulas.Atom(c.name, "set") for c in table.columns.values() if c.not_null]
    if above is not None:  # a column that is NOT NULL above must be so below, or ATTACH fails
        known += [formulas.Atom(c.name, "set") for c in above.columns.values() if c.not_null]
    return formulas.Both(tuple(known))


def _holds(above: Table | None, child: Table, action: a.AttachPartition, wanted: formulas.Formula) -> bool:
    facts, types = _facts(child, above), _types(above, child)
    if above is not None and above.partition_key is not None:
        return formulas.implies(facts, wanted, types)
    # The parent is not known: a check that ties one column to the very bounds can hardly mean another key.
    for column in sorted({name for c in child.constraints.values() for name in _read(c.constraint)}):
        key = bounds.PartitionKey("", (column,))
        if formulas.implies(facts, bounds.condition(key, action.bound, types), types):
            return True
    return False


def _read(made: a.Constraint) -> frozenset[str]:
    from dbkit.postgres.migrate.expressions import columns

    return columns(made.expression)


def _proof(child: Name, table: Name, formula: formulas.Formula) -> str:
    name = quote(f"{table.name}_{'bounds' if table == child else 'without_' + child.name}"[:63])
    check = bounds.words(formula) or "...the bounds, and IS NOT NULL..."
    return (
        f"ALTER TABLE {table.sql} ADD CONSTRAINT {name} CHECK ({check}) NOT VALID;\n"
        f"-- in a transaction of its own:\nALTER TABLE {table.sql} VALIDATE CONSTRAINT {name};"
    )


@hazard(
    "migrate.attach-partition-builds",
    on=a.AttachPartition,
    category="lock",
    severity=ERROR,
    lock=f"{AX} on the new partition, SHARE ROW EXCLUSIVE on tables it refers to",
    cost=BUILDS,
    ok="Every partition is attached with the indexes and foreign keys of its parent",
    bad="""
    -- before
    create table m (a int not null, b int) partition by range (a);
    create index m_b on m (b);
    create table m1 (a int not null check (a >= 0 and a < 100), b int);
    -- migration
    alter table m attach partition m1 for values from (0) to (100);
    """,
    good="""
    -- before
    create table m (a int not null, b int) partition by range (a);
    create index m_b on m (b);
    create table m1 (a int not null check (a >= 0 and a < 100), b int);
    create index m1_b on m1 (b);
    -- migration
    alter table m attach partition m1 for values from (0) to (100);
    """,
)
def attach_builds(ctx: Context, action: a.AttachPartition) -> Iterator[Hazard]:
    """ATTACH PARTITION builds the indexes and checks the foreign keys that the parent has and the new partition lacks.

    Why: both happen at once under ACCESS EXCLUSIVE on the new partition, whatever its checks prove.

    Fix: build each index on the new partition concurrently, add each foreign key NOT VALID and validate it, then
    attach: what matches is taken over.

    Not reported when: the new partition was created by the same file; one of the two tables is not wholly known, or the
    indexes are on expressions.
    """
    above, child = ctx.schema.table(action.table), ctx.known(action.child)
    if above is None or child is None or ctx.fresh(action.child):
        return
    held = ctx.schema.indexes_on(action.child)
    lacking = [i for i in ctx.schema.indexes_on(action.table) if not any(_same_index(i, other) for other in held)]
    steps = [_build(i, action.child) for i in lacking]
    what = [f"builds {i.name}" for i in lacking]
    mine = [k.constraint for k in child.foreign_keys() if k.validated]
    for key in above.foreign_keys():
        made = key.constraint
        if not any((k.columns, k.parent, k.actions) == (made.columns, made.parent, made.actions) for k in mine):
            what.append(f"checks {key.name}")
            steps.append(recipes.not_valid_then_validate(made, action.child).sql + ";")
    if what:
        yield Hazard(
            f"attaching {action.child} {' and '.join(what)} while its reads and writes wait",
            object=str(action.table),
            recipe="\n".join(steps),
            tables=(action.child,),
            evidence=Evidence.SCHEMA,
            data={"lock": AX, "cost": BUILDS if lacking else SCANS},
        )


def _same_index(wanted: Index, held: Index) -> bool:
    if not all(wanted.columns):  # expressions are not compared
        return not all(held.columns) or bool(held.reads)
    same = (wanted.columns, wanted.unique, wanted.partial) == (held.columns, held.unique, held.partial)
    return same and bool(held.constraint) >= bool(wanted.constraint)


def _build(index: Index, child: Name) -> str:
    unique = "UNIQUE " if index.unique else ""
    name = quote(f"{child.name}_{index.name}"[:63])
    keys = recipes.columns(tuple(c for c in index.columns if c)) or "..."
    built = f"CREATE {unique}INDEX CONCURRENTLY {name} ON {child.sql} ({keys});"
    return built + (f"  -- then ADD CONSTRAINT ... USING INDEX {name}" if index.constraint else "")
