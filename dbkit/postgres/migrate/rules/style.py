"""Habits worth having. All are opt-in: name them with --select, or switch them on in the policy."""

from __future__ import annotations

from collections.abc import Iterator

from dbkit.postgres.migrate import actions as a
from dbkit.postgres.migrate.context import Context, Hazard
from dbkit.postgres.migrate.rules.declare import (
    INFO,
    WARN,
    EachChange,
    EachStatement,
    ScriptEnd,
    also,
    hazard,
)
from dbkit.postgres.migrate.rules.transactions import refuses_transaction


@hazard(
    "migrate.enum-type",
    on=a.CreateType,
    category="style",
    severity=INFO,
    ok="No enum type is made",
    bad="create type mood as enum ('sad', 'happy');",
    good="create table moods (name text primary key);",
    opt_in=True,
    known=also(eugene="W13", pgls="creatingEnum"),
)
def enum_type(ctx: Context, action: a.CreateType) -> Iterator[Hazard]:
    """An enum's values cannot be removed, and carry nothing but a name.

    Why: taking one out means a new type and a rewrite of every table that uses it.

    Fix: a small table with a foreign key, or a CHECK.
    """
    if action.kind == "enum":
        yield Hazard(f"values of enum {action.name} can never be removed", str(action.name))


@hazard(
    "migrate.enum-value-unplaced",
    on=a.AlterEnum,
    category="style",
    severity=INFO,
    ok="Every new enum value says where it sorts",
    bad="alter type mood add value 'meh';",
    good="alter type mood add value 'meh' after 'sad';",
    opt_in=True,
    known=also("require-enum-value-ordering"),
)
def enum_unplaced(ctx: Context, action: a.AlterEnum) -> Iterator[Hazard]:
    """A new enum value without BEFORE or AFTER sorts last, whatever its meaning.

    Why: the order of an enum cannot be changed later.

    Fix: say BEFORE or AFTER which value.
    """
    if action.value and not action.renamed_from and not action.placed:
        yield Hazard(f"value {action.value} of {action.name} sorts last", str(action.name))


@hazard(
    "migrate.name-too-long",
    on=EachStatement,
    category="style",
    severity=WARN,
    ok="Every name fits into 63 bytes",
    bad="create table a_name_that_goes_on_and_on_and_on_until_nobody_can_remember_what_it_was (id int);",
    good="create table short_name (id int);",
    opt_in=True,
    known=also("identifier-too-long", pgsafe="identifier-too-long"),
)
def name_too_long(ctx: Context, _: EachStatement) -> Iterator[Hazard]:
    """A name of more than 63 bytes is cut off, so two names may become one.

    Why: PostgreSQL only gives a NOTICE.

    Fix: a shorter name.
    """
    from dbkit.postgres.ddl import long_identifiers

    for name in long_identifiers(ctx.statement.sql):
        yield Hazard(f"{name} has {len(name.encode())} bytes and is cut to 63", name)


@hazard(
    "migrate.unqualified-name",
    on=(a.CreateTable, a.AddColumn, a.CreateIndex, a.DropColumn, a.Drop),
    category="style",
    severity=INFO,
    ok="Every table is named with its schema",
    bad="create table users (id int);",
    good="create table app.users (id int);",
    opt_in=True,
    known=also("require-table-schema", pgsafe="require-schema-qualified"),
)
def unqualified(ctx: Context, action: a.OnTable | a.Drop) -> Iterator[Hazard]:
    """A table without its schema is found by the search_path of whoever runs the migration.

    Why: another role or a hijacked path means another table.

    Fix: schema.table.
    """
    if isinstance(action, a.Drop):
        bare = [n for n in action.names if not n.schema] if action.kind in ("table", "foreign table") else []
        if bare:
            yield Hazard(f"{', '.join(map(str, bare))}: the schema is not said", str(bare[0]))
    elif not action.table.schema and not (isinstance(action, a.CreateTable) and action.temporary):
        yield Hazard(f"{action.table} does not say its schema", str(action.table))


@hazard(
    "migrate.table-without-primary-key",
    on=ScriptEnd,
    category="style",
    severity=INFO,
    ok="Every new table has a primary key",
    bad="create table t (a int);",
    good="create table t (a int primary key);",
    opt_in=True,
    known=also(pgsafe="require-primary-key"),
)
def without_primary_key(ctx: Context, _: ScriptEnd) -> Iterator[Hazard]:
    """A table without a primary key cannot be replicated logically, nor its rows told apart.

    Why: UPDATE and DELETE of a published table fail without a replica identity; batches have nothing to go by.

    Fix: GENERATED ALWAYS AS IDENTITY PRIMARY KEY, or the natural key.
    """
    for table in ctx.schema.tables.values():
        mine = table.born == ctx.number and table.kind == "table" and not table.temporary and not table.partition_of
        keyed = any(c.constraint.kind == "primary" for c in table.constraints.values())
        if mine and table.complete and not keyed:
            yield Hazard(f"{table.name} has no primary key", str(table.name))


@hazard(
    "migrate.nullable-foreign-key",
    on=(a.CreateTable, a.AddColumn),
    category="style",
    severity=INFO,
    ok="Every foreign key column is NOT NULL",
    bad="create table t (id int primary key, p int references p (id));",
    good="create table t (id int primary key, p int not null references p (id));",
    opt_in=True,
    known=also(pgsafe="forbid-nullable-fk"),
)
def nullable_key(ctx: Context, action: a.CreateTable | a.AddColumn) -> Iterator[Hazard]:
    """A nullable foreign key lets rows belong to nothing.

    Why: with MATCH SIMPLE a NULL is never checked.

    Fix: NOT NULL, or a row that means "none".
    """
    for column in action.columns if isinstance(action, a.CreateTable) else (action.column,):
        if not column.not_null and any(c.kind == "foreign" for c in column.constraints):
            yield Hazard(f"{action.table}.{column.name} may be NULL", str(action.table))


@hazard(
    "migrate.duplicate-assignment",
    on=a.Dml,
    category="style",
    severity=WARN,
    ok="No UPDATE or INSERT names a column twice",
    bad="update t set a = 1, a = 2 where id = 1;",
    good="update t set a = 2 where id = 1;",
    opt_in=True,
    known=also("ban-duplicate-column-assignments"),
)
def duplicate_assignment(ctx: Context, action: a.Dml) -> Iterator[Hazard]:
    """A column is assigned twice in one statement, which PostgreSQL refuses.

    Why: "multiple assignments to same column": the migration fails.

    Fix: leave one.
    """
    seen = [c for c in action.columns if c]
    for column in sorted({c for c in seen if seen.count(c) > 1}):
        yield Hazard(f"{action.table}.{column} is assigned twice", str(action.table))


@hazard(
    "migrate.not-repeatable",
    on=EachChange,
    category="style",
    severity=INFO,
    ok="Every statement outside a transaction can be run again",
    bad="create table users (id bigint); alter table users add column a int;",
    good="begin; create table users (id bigint); commit;",
    opt_in=True,
    known=also("prefer-robust-stmts", pgls="preferRobustStmts", pgsafe="require-if-exists"),
)
def not_repeatable(ctx: Context, _: EachChange) -> Iterator[Hazard]:
    """Outside a transaction a failure leaves half of the file done, and running it again fails at the first half.

    Why: CREATE, ADD COLUMN and DROP without IF [NOT] EXISTS fail the second time; an index without a name gets another.

    Fix: one transaction around it, or IF [NOT] EXISTS, OR REPLACE and names; before ADD CONSTRAINT, DROP CONSTRAINT IF
    EXISTS; mind migrate.concurrently-if-not-exists.

    Not reported when: the file holds one statement, which PostgreSQL does wholly or not at all. The CONCURRENTLY forms
    are no such statements, and run outside of a transaction whatever the tool.
    """
    alone = any(refuses_transaction(x) for x in ctx.actions)
    if not alone and (ctx.sure or ctx.only_one):
        return
    for action in ctx.actions:
        if _unguarded(ctx, action):
            yield Hazard("fails when it is run a second time", _table(action))
            return


def _unguarded(ctx: Context, action: a.Action) -> bool:
    if isinstance(action, a.CreateTable):
        return not action.if_not_exists and not action.temporary
    if isinstance(action, a.AddColumn):
        return not action.if_not_exists
    if isinstance(action, a.CreateIndex):
        return not action.if_not_exists or not action.name
    if isinstance(action, a.AddConstraint):
        return (ctx.schema.key(action.table), action.constraint.name) not in ctx.made_room
    if isinstance(action, a.CreateFunction):
        return not action.replace
    if isinstance(action, a.CreateView):
        return not action.replace and not action.materialized
    if isinstance(action, a.CreateType | a.CreateDomain):
        return True
    return isinstance(action, a.DropColumn | a.DropConstraint | a.Drop) and not action.if_exists


def _table(action: a.Action) -> str:
    if isinstance(action, a.OnTable):
        return str(action.table)
    return str(action.names[0]) if isinstance(action, a.Drop) and action.names else ""
