"""Data changed by migrations, and code that cannot be read."""

from __future__ import annotations

from collections.abc import Iterator

from dbkit.postgres.ddl import deparse_node
from dbkit.postgres.migrate import actions as a
from dbkit.postgres.migrate.builtins import NOT_VOLATILE, VOLATILE
from dbkit.postgres.migrate.context import BOOKKEEPING, Context, Hazard
from dbkit.postgres.migrate.names import Name
from dbkit.postgres.migrate.rules.declare import ERROR, INFO, WARN, Together, also, hazard


@hazard(
    "migrate.update-without-where",
    on=a.Dml,
    category="policy",
    severity=WARN,
    lock="every row, until the transaction ends",
    cost="rewrites every row",
    ok="No statement updates a whole table at once",
    bad="update users set active = true;",
    good="update users set active = true where id between 1 and 1000;",
    known=also("", "change_column_null", "", "banUpdateWithoutWhere"),
)
def update_all(ctx: Context, action: a.Dml) -> Iterator[Hazard]:
    """An UPDATE of every row locks them all until it commits, doubles the table and makes replicas lag.

    Why: each row is written anew in one transaction; writers of any row wait for all of it.

    Fix: in batches of some thousand rows by key, committed one by one: `dbkit migrate backfill`.

    Not reported when: the table was created by the same file, or keeps the migration tool's records.
    """
    if action.verb == "update" and not action.narrowed and not _small(ctx, action):
        yield Hazard(
            f"updates every row of {action.table} in one transaction",
            object=str(action.table),
            tables=(action.table,),
            recipe=f'-- in batches:\n--   dbkit migrate backfill --table {action.table} --set "{_assignments(ctx)}"',
        )


def _assignments(ctx: Context) -> str:
    """What the UPDATE sets, for a shell; dots where it takes more than the row itself."""
    node = ctx.statement.node.update_stmt
    if len(node.from_clause) or node.HasField("with_clause") or ctx.statement.kind != "update_stmt":
        return "..."
    written = deparse_node(update_stmt=node).partition(" SET ")[2].partition(" WHERE ")[0]
    return written.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$").replace("`", "\\`")


def _small(ctx: Context, action: a.Dml) -> bool:
    return ctx.fresh(action.table) or action.table.name.lower() in BOOKKEEPING


@hazard(
    "migrate.delete-without-where",
    on=a.Dml,
    category="compatibility",
    severity=WARN,
    lock="every row, until the transaction ends",
    ok="No statement deletes a whole table's rows",
    bad="delete from sessions;",
    good="delete from sessions where expires < now() - interval '1 day';",
    known=also("", "", "", "banDeleteWithoutWhere"),
)
def delete_all(ctx: Context, action: a.Dml) -> Iterator[Hazard]:
    """A DELETE without WHERE, or with one that is always true, removes every row.

    Why: the data are gone; foreign keys and triggers run once a row; writers wait until it commits.

    Fix: say which rows, in batches.

    Not reported when: the table was created by the same file.
    """
    if action.verb == "delete" and not action.narrowed and not _small(ctx, action):
        yield Hazard(f"deletes every row of {action.table}", str(action.table), tables=(action.table,))


@hazard(
    "migrate.data-with-schema-change",
    on=Together,
    category="policy",
    severity=WARN,
    lock="the rows changed, and every lock of the transaction",
    ok="No transaction changes both the schema and many rows of an existing table",
    bad="begin; update users set a = 1 where b = 2; alter table users add column c int; commit;",
    good="update users set a = 1 where b = 2;",
)
def data_with_schema(ctx: Context, _: Together) -> Iterator[Hazard]:
    """A schema change waits in the same transaction that has changed rows, or the other way round.

    Why: the rows stay locked while the ALTER waits for its lock, and the table stays closed while rows are changed.

    Fix: backfill in its own migration.

    Not reported when: whether the file runs in one transaction is not known; the data change comes after the lock (see
    migrate.statement-under-access-exclusive); only a list of VALUES is inserted.
    """
    if not ctx.changed_data:
        return
    for table, mode in ctx.locks:
        if mode >= 5 and not ctx.fresh(table):
            changed, line = next(iter(ctx.changed_data.items()))
            yield Hazard(
                f"waits for {mode.words} on {table} while the rows of {changed} changed on line {line} stay locked",
                object=str(table),
            )
            ctx.changed_data.clear()
            return


@hazard(
    "migrate.truncate",
    on=a.Truncate,
    category="compatibility",
    severity=WARN,
    lock="ACCESS EXCLUSIVE on the table, with CASCADE on every table that refers to it",
    cost="brief; the rows are gone",
    ok="No table is emptied",
    bad="truncate sessions;",
    good="delete from sessions where expires < now();",
    known=also("", "", "", "banTruncate", "truncate"),
)
def truncate(ctx: Context, action: a.Truncate) -> Iterator[Hazard]:
    """TRUNCATE removes every row under ACCESS EXCLUSIVE, and older snapshots see an empty table.

    Why: the data are gone at commit; a transaction that started before finds no rows, which no other statement does.

    Fix: delete in batches what may go.

    Not reported when: the table was created by the same file.
    """
    tables = [t for t in action.tables if not ctx.fresh(t)]
    if tables:
        yield Hazard(f"removes every row of {', '.join(map(str, tables))}", str(tables[0]), tables=tuple(tables))


@hazard(
    "migrate.truncate-cascade",
    on=a.Truncate,
    category="compatibility",
    severity=ERROR,
    lock="ACCESS EXCLUSIVE on the table and every table that refers to it",
    ok="No TRUNCATE reaches tables it does not name",
    bad="truncate shops cascade;",
    good="truncate shops;",
    known=also("ban-truncate-cascade", "", "", "banTruncateCascade"),
)
def truncate_cascade(ctx: Context, action: a.Truncate) -> Iterator[Hazard]:
    """TRUNCATE ... CASCADE also empties every table with a foreign key to the ones named, and theirs in turn.

    Why: whoever adds a key later adds a table to the list.

    Fix: name the tables.
    """
    if action.cascade:
        others = sorted({str(o.name) for t in action.tables for o, _ in ctx.schema.referencing(t)})
        more = f": {', '.join(others)}" if others else ""
        yield Hazard(
            f"empties every table that refers to {', '.join(map(str, action.tables))}{more}", str(action.tables[0])
        )


@hazard(
    "migrate.not-analysed",
    on=(a.Unread, a.Code, a.Query),
    category="policy",
    severity=WARN,
    ok="Every statement was read",
    bad="do $$ begin execute format('alter table %I add column a int', 'x'); end $$;",
    good="do $$ begin alter table x add column a int; end $$;",
    known=also("", "execute change_table", "", "", "unchecked-do-block"),
)
def not_analysed(ctx: Context, action: a.Unread | a.Code | a.Query) -> Iterator[Hazard]:
    """A statement, or a part of it, could not be read: what it locks is not known.

    Why: SQL put together at run time (EXECUTE of an expression), code in other languages, functions that are not in the
    files, and Python that only runs online cannot be judged from the text. It is counted in the coverage figure.

    Fix: write the statements out; where that cannot be, `dbkit migrate rehearse` runs them on a throw-away server.

    Not reported when: EXECUTE has a constant string, which is read like any other statement.
    """
    if isinstance(action, a.Unread):
        yield Hazard(f"{action.what}: {action.why}")
    elif isinstance(action, a.Code) and action.language not in ("plpgsql", "sql", "call"):
        yield Hazard(f"the body in {action.language} is not read")
    elif isinstance(action, a.Code) and action.calls is not None:
        if ctx.schema.functions.get(ctx.schema.key(action.calls)) is None:
            yield Hazard(f"procedure {action.calls} is not in the files: what it does is not known", str(action.calls))
    elif isinstance(action, a.Query):
        for call in action.calls:
            if ctx.schema.key(call) not in ctx.schema.functions and not of_the_server(call):
                yield Hazard(
                    f"function {call} is not in the files: what it does is not known", str(call), severity=INFO
                )


def of_the_server(call: Name) -> bool:
    """Whether a function is one of PostgreSQL's own, which change no table."""
    return call.schema == "pg_catalog" or call.name in NOT_VOLATILE or call.name in VOLATILE or call.name in _AGGREGATES


_AGGREGATES = frozenset(
    "count sum avg min max array_agg string_agg json_agg jsonb_agg json_object_agg jsonb_object_agg bool_and bool_or"
    " every bit_and bit_or xmlagg stddev variance row_number rank dense_rank lag lead first_value last_value ntile"
    " percentile_cont percentile_disc mode corr range_agg any_value".split()
)
