"""Foreign keys: two tables locked, and rows checked."""

from __future__ import annotations

from collections.abc import Iterator

from dbkit.model import Evidence
from dbkit.postgres.migrate import actions as a
from dbkit.postgres.migrate import recipes
from dbkit.postgres.migrate.context import Context, Hazard
from dbkit.postgres.migrate.given_names import constraint_name
from dbkit.postgres.migrate.names import quote
from dbkit.postgres.migrate.rules.declare import BRIEF, ERROR, INFO, SCANS, WARN, also, hazard


@hazard(
    "migrate.foreign-key-scans",
    on=(a.AddConstraint, a.AlterConstraint),
    category="lock",
    severity=ERROR,
    lock="SHARE ROW EXCLUSIVE on both tables",
    cost=SCANS,
    ok="Every foreign key on an existing table is added NOT VALID",
    bad="alter table orders add constraint fk foreign key (customer_id) references customers (id);",
    good="alter table orders add constraint fk foreign key (customer_id) references customers (id) not valid;",
    known=also(
        "adding-foreign-key-constraint constraint-missing-not-valid",
        "add_foreign_key",
        "E1",
        "addingForeignKeyConstraint constraintMissingNotValid",
        "add-fk-without-not-valid",
    ),
)
def foreign_key_scans(ctx: Context, action: a.AddConstraint | a.AlterConstraint) -> Iterator[Hazard]:
    """Adding a foreign key stops writes to both tables while every row is checked.

    Why: it holds SHARE ROW EXCLUSIVE on the referencing and the referenced table for a join over both. ALTER CONSTRAINT
    ... ENFORCED (from 18) does the same under ACCESS EXCLUSIVE on the referencing one.

    Fix: add it NOT VALID (brief, new rows are checked from then on), then VALIDATE CONSTRAINT in another transaction.

    Not reported when: the referencing table was created by the same file and not filled from a query, so that it holds
    nothing to check; or it is partitioned and the server older than 18 (see migrate.foreign-key-on-partitioned).
    """
    if isinstance(action, a.AlterConstraint):
        yield from _enforced(ctx, action)
        return
    made = action.constraint
    child = ctx.schema.table(action.table)
    filled = child is not None and child.filled and not (made.parent is not None and ctx.fresh(made.parent))
    if made.kind != "foreign" or made.not_valid or not made.enforced or (ctx.fresh(action.table) and not filled):
        return
    if ctx.partitioned(action.table) and ctx.major < 18:
        return
    name = constraint_name(action.table.name, made)
    rewrite = recipes.not_valid_then_validate(made, action.table)
    yield Hazard(
        f"foreign key {name} checks every row of {action.table} while writes to it and to {made.parent} wait",
        object=str(action.table),
        recipe=rewrite.sql + ";" if made.exact else "",
        rewrite=rewrite if ctx.alone and made.exact else None,
        tables=(action.table, made.parent) if made.parent else (action.table,),
        data={"lock": "SHARE ROW EXCLUSIVE", "cost": SCANS, "constraint": name},
    )


def _enforced(ctx: Context, action: a.AlterConstraint) -> Iterator[Hazard]:
    table = ctx.schema.table(action.table)
    held = table.constraints.get(action.name) if table is not None else None
    if not (action.enforcement and action.enforced) or ctx.fresh(action.table):
        return
    if held is not None and held.constraint.enforced:
        return
    parent = held.constraint.parent if held is not None else None
    yield Hazard(
        f"foreign key {action.name} checks every row of {action.table} while reads and writes of it wait",
        object=str(action.table),
        tables=(action.table, parent) if parent else (action.table,),
        data={"lock": "ACCESS EXCLUSIVE", "cost": SCANS, "constraint": action.name},
    )


@hazard(
    "migrate.foreign-key-on-partitioned",
    on=a.AddConstraint,
    category="lock",
    severity=ERROR,
    lock="SHARE ROW EXCLUSIVE on the parent, every partition and the referenced table",
    cost=SCANS,
    versions="NOT VALID on a partitioned table: from 18",
    ok="No foreign key is added to a partitioned table in one go",
    bad="""
    -- before
    create table m (at date, who int) partition by range (at);
    -- PostgreSQL 15
    -- migration
    alter table m add constraint fk foreign key (who) references people (id);
    """,
    good="""
    -- before
    create table m (at date, who int) partition by range (at);
    -- PostgreSQL 18
    -- migration
    alter table m add constraint fk foreign key (who) references people (id) not valid;
    """,
)
def foreign_key_partitioned(ctx: Context, action: a.AddConstraint) -> Iterator[Hazard]:
    """Before 18 a foreign key on a partitioned table cannot be NOT VALID: it scans every partition, or fails.

    Why: `ADD ... NOT VALID` on a partitioned table is an error up to 17, and without it every partition is checked
    under one lock.

    Fix: add the key NOT VALID to each partition, VALIDATE each, then add it to the parent, which finds them and does
    not scan again.
    """
    made = action.constraint
    if made.kind != "foreign" or not ctx.partitioned(action.table) or ctx.major >= 18 or ctx.fresh(action.table):
        return
    leaves = ctx.schema.leaves(action.table)
    steps: list[str] = []
    for leaf in leaves:
        own = a.Constraint(
            "foreign",
            f"{leaf.name}_{made.columns[0] if made.columns else 'x'}_fkey"[:63],
            made.columns,
            parent=made.parent,
            parent_columns=made.parent_columns,
            actions=made.actions,
        )
        steps.append(recipes.not_valid_then_validate(own, leaf).sql + ";")
    steps.append(f"ALTER TABLE {action.table.sql} {recipes.constraint_sql(made, action.table)};")
    failing = "fails: NOT VALID is refused there before PostgreSQL 18" if made.not_valid else "checks every partition"
    yield Hazard(
        f"a foreign key on the partitioned table {action.table} {failing}",
        object=str(action.table),
        recipe="\n".join(steps) if leaves else "",
        tables=(action.table, *leaves),
        evidence=Evidence.SCHEMA,
    )


@hazard(
    "migrate.add-column-references",
    on=a.AddColumn,
    category="policy",
    severity=INFO,
    lock="ACCESS EXCLUSIVE on the table, SHARE ROW EXCLUSIVE on the referenced one",
    cost=BRIEF,
    ok="No column is added together with its foreign key",
    bad="alter table orders add column customer_id bigint references customers (id);",
    good="alter table orders add column customer_id bigint;",
    known=also(
        "adding-foreign-key-constraint",
        "add_reference add_foreign_key",
        "",
        "addingForeignKeyConstraint",
        "add-fk-without-not-valid",
    ),
)
def column_references(ctx: Context, action: a.AddColumn) -> Iterator[Hazard]:
    """A new nullable column with REFERENCES is not checked row by row, but it locks two tables at once.

    Why: the column is all NULL, so there is no scan (measured); yet the statement needs ACCESS EXCLUSIVE here and
    SHARE ROW EXCLUSIVE on the referenced table at the same time, and waits for both.

    Fix: under a lock_timeout it is fine. Or add the column first, the key NOT VALID after.

    Not reported when: the column has a default (see migrate.add-column-references-default) or the table is new.
    """
    parents = [c.parent for c in action.column.constraints if c.parent is not None]
    if parents and not _filled(ctx, action) and not ctx.fresh(action.table):
        yield Hazard(
            f"adding {action.column.name} with REFERENCES locks {action.table} and {parents[0]} together, briefly",
            object=str(action.table),
            data={"lock": "ACCESS EXCLUSIVE", "cost": BRIEF},
        )


def _filled(ctx: Context, action: a.AddColumn) -> bool:
    """Whether existing rows get a value, so that a constraint on the column has something to check."""
    from dbkit.postgres.migrate.expressions import is_null_constant

    column = action.column
    return bool(column.identity or column.generated or column.type.name.endswith("serial")) or (
        column.default is not None and not is_null_constant(column.default)
    )


@hazard(
    "migrate.add-column-references-default",
    on=a.AddColumn,
    category="lock",
    severity=ERROR,
    lock="ACCESS EXCLUSIVE on the table, SHARE ROW EXCLUSIVE on the referenced one",
    cost=SCANS,
    ok="No column with a default is added together with its foreign key",
    bad="alter table orders add column shop_id int default 1 references shops (id);",
    good="alter table orders add column shop_id int references shops (id);",
    known=also(
        "adding-foreign-key-constraint",
        "add_reference add_foreign_key",
        "E1",
        "addingForeignKeyConstraint",
        "add-fk-without-not-valid",
    ),
)
def column_references_default(ctx: Context, action: a.AddColumn) -> Iterator[Hazard]:
    """A new column with a default and REFERENCES checks every row under ACCESS EXCLUSIVE.

    Why: every existing row gets the default, and each is looked up in the referenced table before anyone may read.

    Fix: add the column with its default, then the key NOT VALID, then VALIDATE, each in its own transaction.
    """
    if not _filled(ctx, action) or ctx.fresh(action.table):
        return
    for made in action.column.constraints:
        if made.parent is not None:
            yield Hazard(
                f"every row of {action.table} gets a {action.column.name} and is looked up in {made.parent} while reads"
                " and writes wait",
                object=str(action.table),
                recipe=f"ALTER TABLE {action.table.sql} ADD COLUMN {quote(action.column.name)} {action.column.type}"
                f" DEFAULT ...;\n{recipes.not_valid_then_validate(made, action.table).sql};",
                tables=(action.table, made.parent),
                data={"lock": "ACCESS EXCLUSIVE", "cost": SCANS},
            )


@hazard(
    "migrate.foreign-key-type-differs",
    on=(a.AddConstraint, a.AddColumn),
    category="compatibility",
    severity=WARN,
    ok="Every foreign key has the type of the key it refers to",
    bad="""
    -- before
    create table p (id bigint primary key);
    -- migration
    alter table c add column pid int references p (id);
    """,
    good="""
    -- before
    create table p (id bigint primary key);
    -- migration
    alter table c add column pid bigint references p (id);
    """,
)
def type_differs(ctx: Context, action: a.AddConstraint | a.AddColumn) -> Iterator[Hazard]:
    """A foreign key column has another type than the key it refers to.

    Why: the narrower one overflows first, and comparing the two may keep the planner from using an index.

    Fix: declare the column with the type of the referenced key.
    """
    made = (action.constraint,) if isinstance(action, a.AddConstraint) else action.column.constraints
    child = ctx.schema.table(action.table)
    for constraint in made:
        parent = ctx.schema.table(constraint.parent) if constraint.parent is not None else None
        if parent is None or constraint.parent is None:
            continue
        keys = constraint.parent_columns or next(
            (c.constraint.columns for c in parent.constraints.values() if c.constraint.kind == "primary"), ()
        )
        for own, theirs in zip(constraint.columns, keys, strict=False):
            held = child.column(own) if child is not None else None
            mine = action.column.type if isinstance(action, a.AddColumn) else held.type if held is not None else None
            other = parent.column(theirs)
            if mine is None or other is None or other.type is None:
                continue
            if ctx.schema.base(mine)[0].name != ctx.schema.base(other.type)[0].name:
                yield Hazard(
                    f"{action.table}.{own} is {mine}, but {constraint.parent}.{theirs} is {other.type}",
                    object=str(action.table),
                    evidence=Evidence.SCHEMA,
                )
