"""What a statement leaves behind that later statements of its script are judged by, besides the schema."""

from __future__ import annotations

from dbkit.postgres.migrate import actions as a
from dbkit.postgres.migrate.context import BOOKKEEPING, Context
from dbkit.postgres.migrate.lock_mode import Mode
from dbkit.postgres.migrate.names import Name
from dbkit.postgres.migrate.transactions import Held


def remember(ctx: Context) -> None:
    """Locks and facts that later statements of the script are judged by."""
    session = ctx.session
    key = ctx.schema.key
    if ctx.locks and (ctx.together is not False or ctx.inside):
        for table, mode in ctx.locks:
            if mode >= Mode.SHARE_UPDATE_EXCLUSIVE:
                fresh = ctx.fresh(table) or _unborn(ctx, table)
                session.hold(key(table), Held(table, mode, ctx.line, fresh))
    for action in ctx.actions:
        if isinstance(action, a.Drop):
            if action.kind == "table":
                ctx.dropped_tables.update((key(n), ctx.line) for n in action.names)
        elif isinstance(action, a.Rename):
            ctx.renamed_away[(key(action.table), action.old)] = ctx.line
        elif isinstance(action, a.AlterEnum):
            if action.value and not action.renamed_from:
                born = ctx.schema.enum_born.get(key(action.name))
                if born != ctx.number:
                    ctx.new_values[action.value] = ctx.line
        elif isinstance(action, a.DropConstraint):
            if action.if_exists:
                ctx.made_room.add((key(action.table), action.name))
        elif isinstance(action, a.AddConstraint):
            ctx.made_room.discard((key(action.table), action.constraint.name))
            if action.constraint.parent is not None:
                ctx.parents.append((action.constraint.parent, ctx.line))
        elif isinstance(action, a.Dml) and _changes_rows(ctx, action):
            ctx.changed_data[str(action.table)] = ctx.line
    first = ctx.actions[0] if ctx.actions else None
    if isinstance(first, a.OnTable) and ctx.statement.kind == "alter_table_stmt":
        ctx.altered[key(first.table)] = ctx.line


def _unborn(ctx: Context, table: Name) -> bool:
    """A table the statement itself just dropped or made: nobody waits for it."""
    key = ctx.schema.key
    return any(isinstance(x, a.CreateTable) and key(x.table) == key(table) for x in ctx.actions)


def _changes_rows(ctx: Context, action: a.Dml) -> bool:
    """Whether the statement changes rows that others may want: not a list of VALUES, not a new table."""
    mine = ctx.fresh(action.table) or action.table.name.lower() in BOOKKEEPING
    return action.rows == 0 and action.verb != "copy" and not mine
