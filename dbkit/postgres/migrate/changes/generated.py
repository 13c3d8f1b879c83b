"""Add a column that the server computes: kept by a trigger and proved by a check, or virtual where the server has that.

GENERATED ... STORED rewrites the table under ACCESS EXCLUSIVE, and no version turns a plain column into one. What is
left at the end is therefore a plain column with a trigger that computes it in every write, and a validated check that
refuses any other value.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import psycopg
from psycopg import sql

from dbkit.errors import UsageError
from dbkit.postgres.catalog import quote, quoted
from dbkit.postgres.connect import Connection, fetch
from dbkit.postgres.migrate.changes import copies, server, words
from dbkit.postgres.migrate.changes.design import Block, Design, Fill, Line, Refusals, alone, shorten, transaction
from dbkit.postgres.migrate.changes.dualwrite import fill_at_once
from dbkit.postgres.migrate.changes.facts import Table
from dbkit.postgres.migrate.names import literal

KIND = "add-generated-column"
VIRTUAL_SINCE: Final = 18
_LOOK: Final = "10s"
"""For how long the rows are read, to find one that the expression fails on."""
_CUT: Final = re.compile(r"(character|bit)( varying)?\(|character$|bit$")
"""Types to which a cast cuts what is too long, where storing it would fail."""


def design(
    connection: Connection, table: Table, name: str, type_: str, expression: str, *, virtual: bool,
    accepted: Sequence[str],
) -> Design:  # fmt: skip
    """Add `name` as `expression` over other columns. `type_` as the server prints it."""
    words.expression(expression, "--expression")
    reasons = Refusals(f"{table.sql}.{quote(name)} cannot be added online", accepted)
    copies.refuse(table, [], reasons)
    if table.has(name):
        reasons.add(f"{table.sql} has a column {quote(name)} already")
    if virtual and table.major < VIRTUAL_SINCE:
        reasons.add(f"virtual columns begin with PostgreSQL {VIRTUAL_SINCE}, and this is {table.major}: leave it out")
    reasons.check()
    for column in words.columns_in(expression, "--expression"):
        table.column(column)
        if any(t.name == _trigger(column) for t in table.triggers):
            reasons.add(f"{quote(column)} is computed itself: write its own expression instead")
    own = server.type_of(connection, table, expression)
    if own != type_ and _CUT.match(type_):
        reasons.add(f"it gives {own}, and a cast to {type_} cuts what is too long: write the cast into --expression")
    how = "virtual" if virtual else "stored"
    value = expression if own == type_ else f"({expression})::{type_}"
    # First as it was given: what no column would take by assignment is not to be forced into it by a cast.
    _, why = server.generated(connection, table, name, type_, expression, how)
    if why:
        reasons.add(f"{expression}: {why}")
    reasons.check()
    written, _ = server.generated(connection, table, name, type_, value, how)
    fails, note = _fails(connection, table, value)
    if fails:
        reasons.add(f"a row that is there fails, and so would every write of it: {fails}")
    reasons.check()
    made = _virtual(table, name, type_, written) if virtual else _kept(connection, table, name, type_, written)
    return replace(made, notes=note)


def _fails(connection: Connection, table: Table, value: str) -> tuple[str, tuple[str, ...]]:
    """The error of a row for which the expression has no value, as far as can be read in seconds; or what was not."""
    query = sql.SQL("select count({}) from {}").format(words.trusted(value), sql.Identifier(table.schema, table.name))
    try:
        with connection.transaction():
            connection.execute("set local search_path to default")
            connection.execute(sql.SQL("set local statement_timeout = {}").format(sql.Literal(_LOOK)))
            connection.execute(query)
    except (psycopg.errors.QueryCanceled, psycopg.errors.InsufficientPrivilege) as error:
        what = error.diag.message_primary or "it could not be read"
        return "", (f"the expression was not tried on every row ({what}): a row that it fails on could not be written",)
    except psycopg.Error as error:
        return error.diag.message_primary or str(error), ()
    return "", ()


def _virtual(table: Table, name: str, type_: str, value: str) -> Design:
    column = f"alter table {table.sql} add column if not exists {quote(name)} {type_}"
    add = Line(f"{column}\n  generated always as ({value}) virtual", "metadata only: it is computed when it is read")
    return Design(
        id=f"{table.name}-{name}",
        kind=KIND,
        title=f"add the virtual column {table.name}.{name}",
        schema=table.schema,
        table=table.name,
        old=(),
        new=(name,),
        expand=(transaction(add),),
        undo_expand=(transaction(Line(f"alter table {table.sql} drop column if exists {quote(name)}")),),
        story=(
            f"{name} is computed whenever it is read and takes no space; it cannot be indexed or written.",
            "A prepared `select *` fails once after it appears (0A000): name the columns first.",
        ),
    )


def _kept(connection: Connection, table: Table, name: str, type_: str, value: str) -> Design:
    lasting = shorten(table.name, name, "generated")
    _refuse_taken(connection, table, name, lasting)
    tie = shorten("dbkit", table.name, name, "tie")
    function = quoted(table.schema, lasting)
    column, computed = quote(name), words.qualified(value, "new")
    on = f"alter table {table.sql}"
    fill = Fill(
        schema=table.schema,
        table=table.name,
        assignments=f"{column} = {value}",
        pending=f"{column} is distinct from ({value})",
        columns=(name,),
        tie=tie,
    )
    trigger = quote(_trigger(name))
    expand = (
        Line(f"{on} add column if not exists {column} {type_}", "plain and nullable: nothing is rewritten"),
        Line(
            f"create or replace function {function}() returns trigger language plpgsql as $generated$\n"
            f"begin\n  new.{column} := {computed};\n  return new;\nend\n$generated$"
        ),
        Line(
            f"create or replace trigger {trigger} before insert or update on {table.sql} for each row\n"
            f"  when (new.{column} is distinct from ({computed}))\n  execute function {function}()",
            "whatever a writer gives, the expression is stored; `~` fires after every other trigger",
        ),
        Line(
            f"comment on trigger {trigger} on {table.sql} is {literal(f'computes {name}: {value}')}",
            "said on the trigger: a comment on the column would be news to `alembic check`",
        ),
        Line(f"{on} enable always trigger {trigger}", "also for replication and session_replication_role = replica"),
        Line(
            f"{on}\n  drop constraint if exists {quote(tie)},\n"
            f"  add constraint {quote(tie)} check ({column} is not distinct from ({value})) not valid",
            "refuses any other value; once validated, it proves every row",
        ),
    )
    remove = (
        Line(f"lock table {table.sql} in access exclusive mode", "all that follows is metadata: milliseconds"),
        Line(f"drop trigger if exists {trigger} on {table.sql}"),
        Line(f"drop function if exists {function}()"),
        Line(f"{on} drop constraint if exists {quote(tie)}"),
        Line(f"{on} drop column if exists {column}"),
    )
    rename = f"{on} rename constraint"
    contract = (
        Block((fill_at_once(fill, "does nothing when `dbkit migrate backfill` and `verify` have run"),), outside=True),
        alone(f"{on} validate constraint {quote(tie)}"),
        transaction(Line(f"{rename} {quote(tie)} to {quote(lasting)}", "trigger and check stay: they keep the column")),
    )
    return Design(
        id=f"{table.name}-{name}",
        kind=KIND,
        title=f"add the computed column {table.name}.{name}",
        schema=table.schema,
        table=table.name,
        old=(),
        new=(name,),
        expand=(transaction(*expand),),
        undo_expand=(transaction(*remove),),
        contract=contract,
        undo_contract=(transaction(Line(f"{rename} {quote(lasting)} to {quote(tie)}")),),
        fills=(fill,),
        story=(
            f"Every write stores {value} in {name}; what a writer gives for it is overridden.",
            "PostgreSQL makes no stored generated column of a plain one, so trigger and check remain at the end.",
            f"An application may read {name} after verify, and not before.",
            *([_HINT] if table.major >= VIRTUAL_SINCE else []),
        ),
    )  # fmt: skip


_HINT: Final = "Where it need not be indexed, --virtual does without all of this: it is computed when it is read."


def _trigger(name: str) -> str:
    """Sorts behind a user's triggers, and before those of dbkit that bring a column's value to its other name."""
    return "~_" + shorten(name, "generated", limit=61)


def _refuse_taken(connection: Connection, table: Table, name: str, lasting: str) -> None:
    taken = [f"constraint {quote(c.name)}" for c in table.constraints if c.name == lasting]
    taken += [f"trigger {quote(t.name)}" for t in table.triggers if t.name == _trigger(name)]
    query = "select pg_catalog.to_regprocedure(%s) is not null as there"
    if fetch(connection, query, [f"{quoted(table.schema, lasting)}()"])[0]["there"]:
        taken.append(f"function {quoted(table.schema, lasting)}()")
    if taken:
        raise UsageError(f"{', '.join(taken)} is there already", hint="rename it, or give the column another name")
