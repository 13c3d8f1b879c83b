"""Unique constraints, primary keys and exclusions: each rests on an index, which is built first or under the lock."""

from __future__ import annotations

from collections.abc import Iterator

from dbkit.model import Evidence
from dbkit.postgres.migrate import actions as a
from dbkit.postgres.migrate import recipes
from dbkit.postgres.migrate.context import Context, Hazard
from dbkit.postgres.migrate.names import Name, quote
from dbkit.postgres.migrate.rules.declare import BRIEF, BUILDS, ERROR, INFO, SCANS, also, hazard


def _only_parent(ctx: Context, action: a.OnTable) -> bool:
    """ONLY a partitioned table: its index is made without those of the partitions, which are attached later."""
    return action.only and ctx.partitioned(action.table)


@hazard(
    "migrate.unique-builds-index",
    on=(a.AddConstraint, a.AddColumn),
    category="lock",
    severity=ERROR,
    lock="ACCESS EXCLUSIVE",
    cost=BUILDS,
    ok="Every unique constraint on an existing table takes over an index built before",
    bad="alter table users add constraint users_email unique (email);",
    good="""
    create unique index concurrently users_email on users (email);
    alter table users add constraint users_email unique using index users_email;
    """,
    known=also(
        "disallowed-unique-constraint",
        "add_index add_unique_constraint",
        "E7 E6",
        "disallowUniqueConstraint",
        "add-unique-constraint",
    ),
)
def unique_builds(ctx: Context, action: a.AddConstraint | a.AddColumn) -> Iterator[Hazard]:
    """A unique constraint builds its index while reads and writes of the table wait.

    Why: ADD CONSTRAINT ... UNIQUE holds ACCESS EXCLUSIVE for the whole build; so does ADD COLUMN ... UNIQUE.

    Fix: CREATE UNIQUE INDEX CONCURRENTLY, then ADD CONSTRAINT ... UNIQUE USING INDEX, which is brief.

    Not reported when: USING INDEX is given, the table was created by the same file, or it is ONLY a partitioned table.
    """
    made = (action.constraint,) if isinstance(action, a.AddConstraint) else action.column.constraints
    for constraint in made:
        if constraint.kind != "unique" or constraint.index or ctx.fresh(action.table) or _only_parent(ctx, action):
            continue
        rewrite = recipes.unique_by_index(constraint, action.table)
        recipe = rewrite.sql + ";"
        if isinstance(action, a.AddColumn):
            column = quote(action.column.name)
            recipe = f"ALTER TABLE {action.table.sql} ADD COLUMN {column} {action.column.type};\n{recipe}"
        usable = constraint.exact and not ctx.partitioned(action.table)
        yield Hazard(
            f"unique constraint on {action.table} ({', '.join(constraint.columns)}) builds its index while reads and"
            " writes wait",
            object=str(action.table),
            recipe=recipe if usable else "",
            rewrite=rewrite if usable and ctx.alone and isinstance(action, a.AddConstraint) else None,
            tables=(action.table,),
            data={"lock": "ACCESS EXCLUSIVE", "cost": BUILDS},
        )


@hazard(
    "migrate.primary-key-builds-index",
    on=(a.AddConstraint, a.AddColumn),
    category="lock",
    severity=ERROR,
    lock="ACCESS EXCLUSIVE",
    cost=f"{BUILDS}, and a scan for NOT NULL if a column is nullable",
    ok="Every primary key on an existing table takes over an index built before",
    bad="alter table users add primary key (id);",
    good="""
    -- before
    create table users (id bigint not null);
    -- migration
    create unique index concurrently users_pkey on users (id);
    alter table users add constraint users_pkey primary key using index users_pkey;
    """,
    known=also(
        "adding-serial-primary-key-field",
        "",
        "E6 E7",
        "addingPrimaryKeyConstraint",
        "add-primary-key-without-index",
    ),
)
def primary_builds(ctx: Context, action: a.AddConstraint | a.AddColumn) -> Iterator[Hazard]:
    """A primary key builds its index, and maybe checks for NULLs, while reads and writes wait.

    Why: ADD PRIMARY KEY holds ACCESS EXCLUSIVE for the build; a nullable column is scanned as well.

    Fix: make the columns NOT NULL first (see migrate.not-null-scans), CREATE UNIQUE INDEX CONCURRENTLY, then
    ADD CONSTRAINT ... PRIMARY KEY USING INDEX.

    Not reported when: USING INDEX is given or the table was created by the same file.
    """
    made = (action.constraint,) if isinstance(action, a.AddConstraint) else action.column.constraints
    for constraint in made:
        if constraint.kind != "primary" or constraint.index or ctx.fresh(action.table) or _only_parent(ctx, action):
            continue
        table = ctx.known(action.table)
        nullable = [
            c for c in constraint.columns if table is not None and (held := table.column(c)) and not held.not_null
        ]
        rewrite = recipes.unique_by_index(constraint, action.table)
        first = "".join(recipes.set_not_null(action.table, c, ctx.major).sql + ";\n" for c in nullable)
        alone = (
            ctx.alone and constraint.exact and isinstance(action, a.AddConstraint) and not ctx.partitioned(action.table)
        )
        yield Hazard(
            f"primary key on {action.table} ({', '.join(constraint.columns)}) builds its index while reads and writes"
            " wait",
            object=str(action.table),
            recipe="" if isinstance(action, a.AddColumn) or not constraint.exact else first + rewrite.sql + ";",
            rewrite=rewrite if alone and table is not None and not nullable else None,
            tables=(action.table,),
            data={"lock": "ACCESS EXCLUSIVE", "cost": BUILDS},
        )


@hazard(
    "migrate.primary-key-over-nullable",
    on=a.AddConstraint,
    category="lock",
    severity=ERROR,
    lock="ACCESS EXCLUSIVE",
    cost=SCANS,
    ok="No primary key takes over an index of nullable columns",
    bad="""
    -- before
    create table t (id bigint);
    create unique index i on t (id);
    -- migration
    alter table t add primary key using index i;
    """,
    good="""
    -- before
    create table t (id bigint not null);
    create unique index i on t (id);
    -- migration
    alter table t add primary key using index i;
    """,
    known=also(eugene="W14"),
)
def primary_over_nullable(ctx: Context, action: a.AddConstraint) -> Iterator[Hazard]:
    """PRIMARY KEY USING INDEX over a nullable column scans the whole table under ACCESS EXCLUSIVE.

    Why: the columns become NOT NULL on the way, and without a proof every row is read for that.

    Fix: make the columns NOT NULL first, by a validated CHECK (see migrate.not-null-scans).

    Not reported when: the columns are NOT NULL, a validated CHECK proves it, or the columns are not known.
    """
    made = action.constraint
    if made.kind != "primary" or not made.index or ctx.fresh(action.table):
        return
    table = ctx.schema.table(action.table)
    index = ctx.schema.index(Name(action.table.schema, made.index))
    if table is None or index is None:
        return
    for name in index.columns:
        column = table.column(name)
        if column is not None and column.not_null is False and not table.proof_of_not_null(name):
            yield Hazard(
                f"{action.table}.{name} is nullable: the primary key scans the table under ACCESS EXCLUSIVE",
                object=str(action.table),
                recipe=recipes.set_not_null(action.table, name, ctx.major).sql + ";",
                tables=(action.table,),
                evidence=Evidence.SCHEMA,
                data={"lock": "ACCESS EXCLUSIVE", "cost": SCANS},
            )


@hazard(
    "migrate.primary-key-undecided",
    on=a.AddConstraint,
    category="policy",
    severity=INFO,
    lock="ACCESS EXCLUSIVE",
    cost=f"{BRIEF} or {SCANS}",
    ok="Of every index that becomes a primary key it is known whether its columns may be NULL",
    bad="alter table t add primary key using index i;",
    good="""
    -- before
    create table t (id bigint not null);
    create unique index i on t (id);
    -- migration
    alter table t add primary key using index i;
    """,
    known=also(eugene="W14"),
)
def primary_undecided(ctx: Context, action: a.AddConstraint) -> Iterator[Hazard]:
    """Whether PRIMARY KEY USING INDEX scans the table depends on columns that are not known here.

    Why: over columns that are NOT NULL it is brief; a nullable one is read row by row under ACCESS EXCLUSIVE.

    Fix: give the schema (`--schema dump.sql`, or the earlier migrations), or make the columns NOT NULL before.

    Not reported when: the index and its columns are known.
    """
    made = action.constraint
    if made.kind != "primary" or not made.index or ctx.fresh(action.table):
        return
    table = ctx.schema.table(action.table)
    index = ctx.schema.index(Name(action.table.schema, made.index))
    columns = [table.column(c) for c in index.columns] if table is not None and index is not None else []
    if not columns or any(c is None or c.not_null is None for c in columns):
        yield Hazard(
            f"{action.table} is scanned under ACCESS EXCLUSIVE if a column of {quote(made.index)} is nullable, which is"
            " not known here",
            object=str(action.table),
            tables=(action.table,),
            data={"missing": "schema"},
        )


@hazard(
    "migrate.exclusion-builds-index",
    on=(a.AddConstraint, a.AddColumn),
    category="lock",
    severity=ERROR,
    lock="ACCESS EXCLUSIVE",
    cost=BUILDS,
    ok="No exclusion constraint is added to an existing table",
    bad="alter table bookings add constraint no_overlap exclude using gist (during with &&);",
    good="create table bookings2 (during tsrange, constraint no_overlap exclude using gist (during with &&));",
    known=also(
        "",
        "add_exclusion_constraint",
        "E8",
        "avoidAddingExclusionConstraint banAddExclusionConstraint",
        "add-exclusion-constraint",
        "ADD_CONSTRAINT_EXCLUDE",
    ),
)
def exclusion(ctx: Context, action: a.AddConstraint | a.AddColumn) -> Iterator[Hazard]:
    """An exclusion constraint builds its index while reads and writes wait, and there is no online form.

    Why: it holds ACCESS EXCLUSIVE; neither NOT VALID nor USING INDEX exists for it.

    Fix: a new table with the constraint, filled by triggers and a backfill and swapped in, or a maintenance window.
    """
    made = (action.constraint,) if isinstance(action, a.AddConstraint) else action.column.constraints
    if any(c.kind == "exclude" for c in made) and not ctx.fresh(action.table):
        yield Hazard(
            f"the exclusion constraint builds its index on {action.table} while reads and writes wait; no online form"
            " exists",
            object=str(action.table),
            tables=(action.table,),
            data={"lock": "ACCESS EXCLUSIVE", "cost": BUILDS},
        )
