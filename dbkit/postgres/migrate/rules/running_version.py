"""What the running version counts on besides tables and columns. Most are opt-in: they speak of nearly every change."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from dbkit.postgres.migrate import actions as a
from dbkit.postgres.migrate.context import Context, Hazard
from dbkit.postgres.migrate.rules.declare import AX, BRIEF, INFO, also, hazard

_KINDS: Final = {
    "check": "check",
    "foreign": "foreign key",
    "unique": "unique constraint",
    "primary": "primary key",
    "exclude": "exclusion constraint",
    "notnull": "NOT NULL",
}
_OPTIONS: Final = frozenset(
    {"ALTER FUNCTION", "ALTER VIEW OPTIONS", "ALTER ROLE", "ALTER ROLE SET", "ALTER DATABASE", "ALTER DATABASE SET"}
)


@hazard(
    "migrate.new-restriction",
    on=(a.AddConstraint, a.SetNotNull, a.AddColumn, a.CreateIndex, a.AlterDomain),
    category="compatibility",
    severity=INFO,
    ok="No row that the running version writes is refused from now on",
    bad="alter table orders add constraint paid check (paid >= 0) not valid;",
    good="create index concurrently orders_paid on orders (paid);",
    opt_in=True,
    known=also("ban-new-write-restriction"),
)
def new_restriction(
    ctx: Context, action: a.AddConstraint | a.SetNotNull | a.AddColumn | a.CreateIndex | a.AlterDomain
) -> Iterator[Hazard]:
    """A new constraint or unique index refuses rows that the running version may still write.

    Why: NOT VALID looks away from old rows only; every insert and update is checked from that moment.

    Fix: release code that keeps to the rule before the rule.

    Not reported when: the table was created by the same file; the constraint takes over a unique index.
    """
    if isinstance(action, a.AlterDomain):
        if action.verb in ("set-not-null", "add-constraint"):
            yield Hazard(f"values of domain {action.name} are checked from now on", str(action.name))
        return
    if ctx.fresh(action.table):
        return
    what = _restriction(action)
    if what:
        yield Hazard(f"{what} refuses rows that the running version may write", str(action.table))


def _restriction(action: a.AddConstraint | a.SetNotNull | a.AddColumn | a.CreateIndex) -> str:
    if isinstance(action, a.SetNotNull):
        return f"NOT NULL on {action.table}.{action.column}"
    if isinstance(action, a.CreateIndex):
        return f"unique {action.called}" if action.unique else ""
    if isinstance(action, a.AddConstraint):
        made = action.constraint
        return "" if made.index else f"a {_KINDS[made.kind]} of {action.table}"
    column = action.column
    if column.constraints:
        return f"a {_KINDS[column.constraints[0].kind]} on the new column {action.table}.{column.name}"
    return f"NOT NULL on the new column {action.table}.{column.name}" if column.not_null else ""


@hazard(
    "migrate.filled-otherwise",
    on=a.ColumnSetting,
    category="compatibility",
    severity=INFO,
    lock=AX,
    cost=BRIEF,
    ok="No column is filled otherwise than the running version knows",
    bad="alter table orders alter column number set generated always;",
    good="alter table orders alter column note set storage external;",
    known=also("ban-alter-identity ban-drop-generated-expression"),
)
def filled_otherwise(ctx: Context, action: a.ColumnSetting) -> Iterator[Hazard]:
    """A column stops or begins to be filled by the server, and the running version's inserts do not know.

    Why: without its identity a NOT NULL column has to be given; GENERATED ALWAYS refuses an insert that gives it; a
    column whose expression was dropped stays NULL in new rows.

    Fix: release code that fits both ways first: name the column, or leave it out, in every insert.

    Not reported when: the table was created by the same file.
    """
    if action.what.endswith(("IDENTITY", "EXPRESSION")) and not ctx.fresh(action.table):
        yield Hazard(
            f"{action.what} changes who fills {action.table}.{action.column}: the running version's inserts may fail",
            str(action.table),
        )


@hazard(
    "migrate.replaced",
    on=(a.CreateView, a.CreateFunction),
    category="compatibility",
    severity=INFO,
    ok="No view or function is replaced under the running version",
    bad="create or replace view totals as select 1 as total;",
    good="create view totals as select 1 as total;",
    opt_in=True,
    known=also("ban-replace-view-function"),
)
def replaced(ctx: Context, action: a.CreateView | a.CreateFunction) -> Iterator[Hazard]:
    """OR REPLACE changes what the running version gets from a view or a function, without an error.

    Why: both versions call the same name; the old one counts on the old columns, rows and side effects.

    Fix: a new name for a new meaning; drop the old one a release later.
    """
    if action.replace:
        kind = "view" if isinstance(action, a.CreateView) else "function"
        yield Hazard(f"{kind} {action.name} means something else from now on", str(action.name))


@hazard(
    "migrate.options-changed",
    on=(a.Harmless, a.OutsideTransaction),
    category="compatibility",
    severity=INFO,
    ok="No option of a function, view, role, database or server is changed",
    bad="alter role app set search_path = app;",
    good="alter view totals owner to app;",
    opt_in=True,
    known=also(
        "ban-alter-function-options ban-alter-view-options ban-alter-role-options ban-alter-database-options"
        " ban-alter-system-options"
    ),
)
def options_changed(ctx: Context, action: a.Harmless | a.OutsideTransaction) -> Iterator[Hazard]:
    """An option of a function, view, role, database or of the server changes what every client gets.

    Why: a search_path, a time zone, SECURITY DEFINER or a NOLOGIN is felt by all versions, in sessions to come.

    Fix: try it with one session (SET) or one role first.
    """
    if action.what in _OPTIONS or action.what == "ALTER SYSTEM":
        yield Hazard(f"{action.what.removesuffix(' OPTIONS')} changes behaviour for every client")


@hazard(
    "migrate.sequence-changed",
    on=(a.Sequence, a.ColumnSetting),
    category="compatibility",
    severity=INFO,
    ok="No sequence in use is restarted or steps otherwise",
    bad="alter sequence orders_number_seq restart with 1;",
    good="alter sequence orders_number_seq owned by orders.number;",
    opt_in=True,
    known=also("ban-alter-sequence-values"),
)
def sequence_changed(ctx: Context, action: a.Sequence | a.ColumnSetting) -> Iterator[Hazard]:
    """A sequence that is restarted or steps otherwise gives the running version numbers it does not expect.

    Why: after a restart the next numbers may be taken: inserts fail on the primary key until the sequence is past them.

    Fix: setval to what is beyond the largest number in use.
    """
    if isinstance(action, a.ColumnSetting):
        if action.what == "IDENTITY NUMBERS" and not ctx.fresh(action.table):
            yield Hazard(f"{action.table}.{action.column} gets other numbers from now on", str(action.table))
    elif not action.create and action.steps:
        yield Hazard(f"sequence {action.name} gives other numbers from now on", str(action.name))


@hazard(
    "migrate.attribute-added",
    on=a.Harmless,
    category="compatibility",
    severity=INFO,
    ok="No composite type gets another attribute",
    bad="alter type address add attribute street text;",
    good="create type address as (city text, street text);",
    opt_in=True,
    known=also("ban-add-composite-attribute"),
)
def attribute_added(ctx: Context, action: a.Harmless) -> Iterator[Hazard]:
    """A composite type with one attribute more no longer fits clients that read or write its rows by position.

    Why: row literals such as ROW('a', 'b')::address fail, and typed clients see an unknown field.

    Fix: a new type, or a table.
    """
    if action.what == "ALTER TYPE ADD ATTRIBUTE":
        yield Hazard("a composite type gets another attribute, which row values of the running version lack")


@hazard(
    "migrate.replication-changed",
    on=(a.Publication, a.Subscription, a.Drop),
    category="compatibility",
    severity=INFO,
    ok="No publication or subscription carries less than before",
    bad="alter publication orders_feed drop table orders;",
    good="alter publication orders_feed add table refunds;",
    known=also("ban-replica-identity"),
)
def replication_changed(ctx: Context, action: a.Publication | a.Subscription | a.Drop) -> Iterator[Hazard]:
    """Subscribers get other tables, rows or operations than before, or none at all, without an error.

    Why: a subscriber goes on with old rows, and what it missed does not come later: the table has to be copied anew. A
    subscription that is disabled keeps the publisher's WAL until its disk is full.

    Fix: change it together with the subscribers, with their rows compared after; DROP only what pg_stat_replication
    shows unused.

    Not reported when: tables are added, a publication or subscription is made, a subscription is refreshed or enabled.
    """
    if isinstance(action, a.Subscription):
        if action.what:
            yield Hazard(f"subscription {action.name} {action.what}: rows stop to arrive, or others do", action.name)
    elif isinstance(action, a.Drop):
        if action.kind == "publication":
            names = ", ".join(n.name for n in action.names)
            yield Hazard(f"publication {names} is dropped: its subscribers get nothing more", action.names[0].name)
    elif action.verb not in ("create", "add"):
        tables = f" ({', '.join(map(str, action.tables))})" if action.tables else ""
        yield Hazard(
            f"publication {action.name} carries other tables, rows or operations from now on{tables}", action.name
        )
