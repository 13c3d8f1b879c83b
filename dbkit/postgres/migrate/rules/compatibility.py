"""What breaks the version of the application that is still running."""

from __future__ import annotations

from collections.abc import Iterator

from dbkit.model import Evidence
from dbkit.postgres.migrate import actions as a
from dbkit.postgres.migrate.context import Context, Hazard
from dbkit.postgres.migrate.names import Name, quote
from dbkit.postgres.migrate.rules.declare import AX, BRIEF, ERROR, INFO, WARN, also, hazard


@hazard(
    "migrate.rename",
    on=(a.Rename, a.AlterEnum),
    category="compatibility",
    severity=WARN,
    lock=AX,
    cost=BRIEF,
    ok="Nothing the application names is renamed",
    bad="alter table users rename column name to full_name;",
    good="alter table users add column full_name text;",
    known=also(
        "renaming-column renaming-table renaming-object",
        "rename_column rename_table rename_schema",
        "",
        "renamingColumn renamingTable",
        "rename",
        "ALTER_TABLE_RENAME ALTER_TABLE_RENAME_COLUMN",
    ),
)
def rename(ctx: Context, action: a.Rename | a.AlterEnum) -> Iterator[Hazard]:
    """Old and new version of the application run side by side, and one of them uses the wrong name.

    Why: every statement with the old name fails from that moment, in views' text and functions' bodies too.

    Fix: a column: a second one kept equal by triggers, or the table renamed and a view of the old name over it
    (`dbkit migrate new rename-column`). A table: rename and create a view of the old name in one transaction.

    Not reported when: a trigger is renamed; the table, column, index or constraint was created by the same file; the
    file creates a view with the old name after.
    """
    if isinstance(action, a.AlterEnum):
        if action.renamed_from:
            yield Hazard(
                f"enum value {action.renamed_from} of {action.name} is renamed to {action.value}", str(action.name)
            )
        return
    table = ctx.schema.table(action.table)
    if action.kind in ("trigger", "policy", "rule") or ctx.fresh(action.table):
        return
    if action.kind in ("table", "matview", "view") and ctx.schema.key(action.table) in ctx.created_later:
        return
    column = table.column(action.old) if table is not None and action.kind == "column" else None
    index = ctx.schema.index(action.table) if action.kind == "index" else None
    held = table.constraints.get(action.old) if table is not None and action.kind == "constraint" else None
    if any(x is not None and x.born == ctx.number for x in (column, index, held)):
        return
    swap = ctx.renamed_away.get((ctx.schema.key(action.table), action.new))
    if swap is not None:
        return  # the second half of a swap under one lock: the name stays in use
    where = f"{action.table}.{action.old}" if action.kind in ("column", "constraint") else str(action.table)
    mild = action.kind in ("index", "constraint", "sequence")
    view = ""
    if action.kind == "table":
        view = (
            f"BEGIN;\nALTER TABLE {action.table.sql} RENAME TO {quote(action.new)};\n"
            f"CREATE VIEW {action.table.sql} WITH (security_invoker = on) AS SELECT * FROM"
            f" {Name(action.table.schema, action.new).sql};\nCOMMIT;"
        )
    elif action.kind == "column":
        view = f"-- dbkit migrate new rename-column {action.table}.{quote(action.old)} {quote(action.new)}"
    yield Hazard(
        f"{action.kind} {where} is renamed to {action.new}: the running version still uses the old name",
        object=str(action.table),
        severity=INFO if mild else None,
        recipe=view,
        evidence=ctx.evidence(action.table),
    )


@hazard(
    "migrate.set-schema",
    on=a.SetSchema,
    category="compatibility",
    severity=WARN,
    lock=AX,
    cost=BRIEF,
    ok="Nothing is moved to another schema",
    bad="alter table users set schema archive;",
    good="create table archive.users (like users);",
    known=also("ban-set-schema"),
)
def set_schema(ctx: Context, action: a.SetSchema) -> Iterator[Hazard]:
    """The running version looks for the object where it was.

    Why: names without a schema no longer find it unless the search_path holds both.

    Fix: move it and leave a view under the old name, in one transaction.
    """
    if not ctx.fresh(action.table):
        yield Hazard(f"{action.kind} {action.table} moves to schema {action.schema}", str(action.table))


@hazard(
    "migrate.drop-not-null",
    on=a.DropNotNull,
    category="compatibility",
    severity=WARN,
    lock=AX,
    cost=BRIEF,
    ok="No column loses its NOT NULL",
    bad="alter table users alter column email drop not null;",
    good="alter table users alter column email set default '';",
    known=also("ban-drop-not-null", "", "", "banDropNotNull", "drop-not-null"),
)
def drop_not_null(ctx: Context, action: a.DropNotNull) -> Iterator[Hazard]:
    """The running version does not expect NULL in this column.

    Why: code that was right so far meets a NULL as soon as the new version writes one.

    Fix: release code that can read NULL first.

    Not reported when: the column is nullable already, or was created by the same file.
    """
    table = ctx.schema.table(action.table)
    column = table.column(action.column) if table is not None else None
    if ctx.fresh(action.table) or (column is not None and (column.born == ctx.number or column.not_null is False)):
        return
    yield Hazard(
        f"readers of {action.table}.{action.column} may now meet NULL",
        str(action.table),
        evidence=ctx.evidence(action.table),
    )


@hazard(
    "migrate.default-changed",
    on=a.SetDefault,
    category="compatibility",
    severity=INFO,
    lock=AX,
    cost=BRIEF,
    ok="No column's default is changed or dropped",
    bad="alter table users alter column plan drop default;",
    good="alter table users add column plan text default 'free';",
    known=also("ban-drop-default ban-set-default", "change_column_default"),
)
def default_changed(ctx: Context, action: a.SetDefault) -> Iterator[Hazard]:
    """The running version may count on the default, or write the old one itself.

    Why: an ORM that leaves out unchanged values gets the new default; without one, an insert that leaves the column out
    writes NULL or fails.

    Fix: release code that names the column first.

    Not reported when: the table or the column was created by the same file, or the column is known to have no default.
    """
    table = ctx.schema.table(action.table)
    column = table.column(action.column) if table is not None else None
    if ctx.fresh(action.table) or (column is not None and column.born == ctx.number):
        return
    known = ctx.known(action.table)
    if known is not None and column is not None and not column.has_default:
        return
    verb = "changes" if action.default is not None else "is dropped"
    yield Hazard(
        f"the default of {action.table}.{action.column} {verb}", str(action.table), evidence=ctx.evidence(action.table)
    )


@hazard(
    "migrate.access-changed",
    on=(a.RowSecurity, a.Policy, a.Privileges),
    category="compatibility",
    severity=INFO,
    lock=f"{AX} for row security",
    cost=BRIEF,
    ok="Nobody loses or gains access to rows",
    bad="alter table users enable row level security;",
    good="grant select on users to reporting;",
    known=also(
        "ban-revoke ban-create-policy ban-alter-policy-condition ban-alter-policy-roles ban-alter-row-level-security"
    ),
)
def access(ctx: Context, action: a.RowSecurity | a.Policy | a.Privileges) -> Iterator[Hazard]:
    """Row security, policies and REVOKE change what the running version sees, mostly without an error.

    Why: ENABLE ROW LEVEL SECURITY without a policy shows no rows to anyone but the owner.

    Fix: create the policies before enabling; revoke when nothing uses the right any more.

    Not reported when: the table was created by the same file; GRANT.
    """
    if isinstance(action, a.Privileges):
        if not action.grant:
            yield Hazard("REVOKE takes a right that the running version may use")
    elif not ctx.fresh(action.table):
        what = f"policy {action.name}" if isinstance(action, a.Policy) else "row level security"
        yield Hazard(f"{what} changes which rows of {action.table} the application sees", str(action.table))


@hazard(
    "migrate.enum-value-added",
    on=a.AlterEnum,
    category="compatibility",
    severity=INFO,
    versions="refused in a transaction before 12",
    ok="No enum gets a value that the running version does not know",
    bad="alter type mood add value 'meh';",
    good="create type mood as enum ('sad', 'meh', 'happy');",
    known=also("ban-add-enum-value", pgls="avoidAlterEnumAddValue banAlterEnumAddValue"),
)
def enum_value_added(ctx: Context, action: a.AlterEnum) -> Iterator[Hazard]:
    """The running version may read the new value and not know it; it cannot be taken back.

    Why: typed clients fail on a value they do not know; PostgreSQL cannot remove a value from an enum. Within the
    transaction that adds it the value cannot be used (see migrate.enum-value-in-transaction).

    Fix: release code that can read the value first, then add it, then write it.

    Not reported when: the type was created by the same file.
    """
    if action.value and not action.renamed_from and ctx.schema.enum_born.get(ctx.schema.key(action.name)) != ctx.number:
        yield Hazard(f"readers of {action.name} may meet {action.value}, which they do not know", str(action.name))


@hazard(
    "migrate.extension-updated",
    on=a.Extension,
    category="compatibility",
    severity=INFO,
    ok="No extension changes its version",
    bad="alter extension postgis update;",
    good="create extension if not exists citext;",
    known=also("ban-alter-extension"),
)
def extension(ctx: Context, action: a.Extension) -> Iterator[Hazard]:
    """Updating an extension runs its script, which may lock or change what uses it.

    Why: what the script does is not in this file.

    Fix: read its release notes, rehearse it, run it alone.
    """
    if action.verb == "update":
        yield Hazard(f"extension {action.name} runs its own update script", action.name)


@hazard(
    "migrate.replica-identity",
    on=a.ReplicaIdentity,
    category="compatibility",
    severity=INFO,
    lock=AX,
    cost=BRIEF,
    ok="No table changes its replica identity",
    bad="alter table orders replica identity full;",
    good="alter table orders set (fillfactor = 90);",
    known=also("ban-replica-identity"),
)
def replica_identity(ctx: Context, action: a.ReplicaIdentity) -> Iterator[Hazard]:
    """Subscribers of the table get other old-row data; NOTHING makes updates of a published table fail.

    Why: FULL writes whole old rows into the WAL; an index that is dropped later leaves the table without identity.

    Fix: change it together with the subscribers.
    """
    if not ctx.fresh(action.table):
        yield Hazard(f"the replica identity of {action.table} changes for every subscriber", str(action.table))


@hazard(
    "migrate.cached-plan",
    on=(a.AddColumn, a.DropColumn, a.AlterType),
    category="compatibility",
    severity=INFO,
    ok="No prepared SELECT * changes its columns",
    bad="alter table users add column note text;",
    good="create index concurrently i on users (email);",
    opt_in=True,
    known=also("ban-add-column"),
)
def cached_plan(ctx: Context, action: a.AddColumn | a.DropColumn | a.AlterType) -> Iterator[Hazard]:
    """Prepared statements with SELECT * or RETURNING * fail: "cached plan must not change result type".

    Why: they fail on every execution until they are prepared again, not just once.

    Fix: name the columns in the application's queries, or reconnect after the migration.
    """
    if not ctx.fresh(action.table):
        yield Hazard(f"prepared SELECT * over {action.table} fails until prepared again", str(action.table))


@hazard(
    "migrate.needs-newer-server",
    on=(
        a.DetachPartition,
        a.Reindex,
        a.SetAccessMethod,
        a.SetExpression,
        a.AddColumn,
        a.AddConstraint,
        a.AlterConstraint,
    ),
    category="compatibility",
    severity=ERROR,
    ok="Every statement exists in the server's version",
    bad="""
    -- PostgreSQL 13
    -- migration
    alter table m detach partition m1 concurrently;
    """,
    good="""
    -- PostgreSQL 14
    -- migration
    alter table m detach partition m1 concurrently;
    """,
)
def newer_server(ctx: Context, action: a.Action) -> Iterator[Hazard]:
    """The statement uses a form that the given PostgreSQL version does not have.

    Why: it is a syntax error there.

    Fix: upgrade, or use the older form that the page of the hazard names.
    """
    needed, what = _needs(action)
    if needed > ctx.major:
        yield Hazard(
            f"{what} exists from PostgreSQL {needed} on, not in {ctx.major}",
            evidence=Evidence.TEXT,
            data={"needs": needed},
        )


def _needs(action: a.Action) -> tuple[int, str]:
    if isinstance(action, a.DetachPartition) and action.concurrently:
        return 14, "DETACH PARTITION CONCURRENTLY"
    if isinstance(action, a.Reindex) and action.concurrently:
        return 12, "REINDEX CONCURRENTLY"
    if isinstance(action, a.SetAccessMethod):
        return 15, "SET ACCESS METHOD"
    if isinstance(action, a.SetExpression):
        return 17, "SET EXPRESSION"
    if isinstance(action, a.AddColumn) and action.column.generated == "stored":
        return 12, "a generated column"
    if isinstance(action, a.AddColumn) and action.column.generated == "virtual":
        return 18, "a virtual generated column"
    if isinstance(action, a.AlterConstraint) and action.enforcement:
        return 18, "ALTER CONSTRAINT ... [NOT] ENFORCED"
    if isinstance(action, a.AddConstraint):
        if action.constraint.kind == "notnull":
            return 18, "ADD CONSTRAINT ... NOT NULL"
        if not action.constraint.enforced:
            return 18, "NOT ENFORCED"
        if action.constraint.nulls_not_distinct:
            return 15, "NULLS NOT DISTINCT"
    return 0, ""
