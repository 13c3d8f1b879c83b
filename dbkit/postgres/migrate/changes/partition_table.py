"""Partition a table by ranges: a partitioned table takes its name, and the table becomes its first partition.

No row is copied. A check proves that the table holds nothing from a bound in the future on, so that ATTACH reads
nothing under its lock; the bound is chosen far enough off, because from the check on until the swap the server refuses
what lies beyond it. Both are therefore in contract, minutes apart, and not in expand. What expand makes is the unique
index that a new application's ON CONFLICT needs, and that the primary key becomes.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from dbkit.errors import Refused, UsageError
from dbkit.postgres.catalog import quote, quoted
from dbkit.postgres.connect import Connection
from dbkit.postgres.migrate.changes import partition_bounds as bounds
from dbkit.postgres.migrate.changes import partition_facts, words
from dbkit.postgres.migrate.changes.design import Block, Design, Line, Refusals, alone, transaction
from dbkit.postgres.migrate.changes.facts import Table
from dbkit.postgres.migrate.changes.partition_facts import keys_of
from dbkit.postgres.migrate.changes.partition_parent import Plan, create, key_of, named, strangers, wide
from dbkit.postgres.migrate.changes.partition_swap import back, count, lock, swap
from dbkit.postgres.migrate.names import literal

KIND = "partition-table"


def design(
    connection: Connection, table: Table, by: str, every: str, first: str | None, ahead: str | None,
    accepted: Sequence[str],
) -> Design:  # fmt: skip
    """Partition `table` by ranges of the column `by`."""
    column = table.column(by)
    step = bounds.every(every, column.base, f"{table.sql}.{quote(by)}")
    begin, count = bounds.start(first, step) if first is not None else None, _ahead(ahead, step)
    more = partition_facts.read(connection, table)
    reasons = Refusals(f"{table.sql} cannot be partitioned online", accepted)
    partition_facts.refuse(table, more, column, reasons)
    reasons.check()
    highest = partition_facts.highest(connection, table, column)
    if begin is None and highest is None and not step.period and table.rows > 0:
        raise UsageError(
            f"the highest {quote(by)} of {table.sql} could not be read within {partition_facts.LOOK}",
            hint="say by --from where the first new partition begins, above what is written until contract",
        )
    if begin is None:
        begin = step.first(partition_facts.today(), highest)
    plan = Plan(table, more, column, step, begin, count)
    _refuse_bound(plan, highest)
    _refuse_names(plan)
    return _design(connection, plan)


def _ahead(text: str | None, step: bounds.Every) -> int:
    if text is None:
        return bounds.AHEAD[step.period]
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= bounds.MOST_AHEAD:
        raise UsageError(f"--ahead {text} is none", hint=f"a whole number from 1 to {bounds.MOST_AHEAD}")
    return int(text)


def _refuse_bound(plan: Plan, highest: date | int | None) -> None:
    first = plan.first
    where = f"{plan.table.sql}.{quote(plan.column.name)}"
    if not isinstance(first, int) and first <= partition_facts.today():
        raise Refused(
            f"the first new partition cannot begin at {first}",
            why="rows of now have to lie in the old table until the swap is done",
            hint="let it begin after the day of contract, or leave --from away",
        )
    if isinstance(first, int):
        beyond = isinstance(highest, int) and highest >= first
        end = first + plan.ahead * plan.step.step
        if end > bounds.LARGEST[plan.step.base]:
            raise Refused(
                f"{where} is {plan.column.type} and cannot hold {end:,}, where the last partition would end",
                hint="make fewer partitions by --ahead, or smaller ones, or change its type first",
            )
    else:
        beyond = isinstance(highest, date) and highest >= first
    if beyond:
        raise Refused(
            f"{where} holds values up to {highest}, which lie beyond {first}",
            why="the old table becomes the partition of all that lies below the first new one",
            hint="let the first one begin later, or leave --from away",
        )


def _refuse_names(plan: Plan) -> None:
    table = plan.table
    wanted = [plan.parent, plan.legacy, plan.rest, *(name for name, _, _ in plan.partitions)]
    wanted += [named(kind, i) for kind in ("new", "legacy", "back") for i in table.indexes]
    wanted += [wide(plan, i) for i in plan.widened]
    taken = sorted(set(wanted) & plan.more.taken)
    if taken:
        raise Refused(
            f"{table.sql} cannot be partitioned online",
            why=f"these names are in use in its schema: {', '.join(taken)}",
            hint="rename or drop what has them",
        )


def _design(connection: Connection, plan: Plan) -> Design:
    table = plan.table
    gone = [keys_of(table, i) for i in plan.widened]
    add = _keys(plan)
    undo = [f"drop index concurrently if exists {quoted(table.schema, wide(plan, i))}" for i in plan.widened]
    return Design(
        id=f"{table.name}-partitioned",
        kind=KIND,
        title=f"partition {table.name} by {plan.column.name}, every {plan.step.told}",
        schema=table.schema,
        table=table.name,
        old=(),
        new=(),
        expand=(*_unreferenced(plan), *add) or (transaction(_marked(plan)),),
        undo_expand=(
            transaction(
                lock(plan, []),
                Line(f"drop table if exists {plan.parent_sql}", "empty: the swap is what fills it"),
                Line(f"alter table {table.sql} drop constraint if exists {quote(plan.check)}"),
                Line(f"drop function if exists {plan.function}(integer)"),
                *([] if add or table.children else [_unmarked(plan)]),
            ),
            *(alone(statement) for statement in undo),
            *_referenced_again(plan),
        ),
        contract=(
            alone(strangers(plan, [wide(plan, i) for i in plan.widened]), "does nothing where all is as it was"),
            transaction(*create(plan)),
            *_foreign_keys(plan),
            transaction(*_check(plan)),
            alone(f"alter table {table.sql} validate constraint {quote(plan.check)}", "stops neither reads nor writes"),
            transaction(*swap(connection, plan)),
        ),
        undo_contract=(
            alone(count(plan, plan.table.sql), "refuses at once where too many rows would have to be moved"),
            *_keys_again(plan),
            transaction(*back(connection, plan)),
        ),
        story=_story(plan),
        keys=tuple(gone),
    )


def _story(plan: Plan) -> tuple[str, ...]:
    table, column = plan.table, plan.column.name
    keys = [f"({', '.join(keys_of(table, i))})" for i in plan.widened]
    bound = plan.bound.replace("'", "")
    what = (
        f"contract lets a partitioned table take the name {table.name}; the table becomes its partition {plan.legacy}, "
    )
    story = [
        f"{what}for all below {bound}. No row is copied, and both versions of the application go on.",
        f"Contract it before {bound}: it refuses to begin when that is near.",
    ]
    if keys:
        story.append(
            f"What says `on conflict {' or '.join(keys)}` has to name {column} too before contract: from expand on "
            "both work, and `dbkit migrate contract` looks for the old form."
        )
    story += [
        f"After contract {quote(i.name)} keeps {', '.join(keys_of(table, i))} together with {column} unique."
        for i in plan.widened
    ]
    story += [
        f"Foreign key {quote(c.name)} of {quoted(c.schema, c.table)} is dropped by expand, for rollback to make again."
        for c in table.children
    ]
    story += [
        f"Beyond the last partition rows go to {plan.rest}; `select {plan.function}({plan.ahead})` makes the next:",
        f"call it from a scheduler. After contract run `analyze {table.sql}` now and then: autovacuum does not.",
    ]
    return tuple(story)


def _marked(plan: Plan) -> Line:
    text = plan.table.comment
    mark = f"{text} (to be partitioned)" if text else "to be partitioned"
    return Line(f"comment on table {plan.table.sql} is {literal(mark)}")


def _unmarked(plan: Plan) -> Line:
    text = plan.table.comment
    return Line(f"comment on table {plan.table.sql} is {literal(text) if text else 'null'}")


def _keys(plan: Plan) -> list[Block]:
    """The widened unique indexes, without stopping anybody."""
    found: list[Block] = []
    for index in plan.widened:
        key = key_of(plan.table, index)
        why = f"becomes {index.name}: over partitions a key has to hold the column they are made by"
        found.append(
            alone(
                words.index_elsewhere(
                    index.definition, plan.table.name, wide(plan, index), (plan.column.name,), concurrently=True
                ),
                why if key else f"takes the place of {index.name}",
            )
        )
    return found


def _unreferenced(plan: Plan) -> list[Block]:
    found: list[Block] = []
    for child in plan.table.children:
        on = quoted(child.schema, child.table)
        drop = f"alter table {on} drop constraint if exists {quote(child.name)}"
        lock = Line(
            f"lock table {on}, {plan.table.sql} in access exclusive mode", "one at a time: it locks both tables"
        )
        found.append(transaction(lock, Line(drop)))
    return found


def _referenced_again(plan: Plan) -> list[Block]:
    found: list[Block] = []
    for child in plan.table.children:
        on = quoted(child.schema, child.table)
        drop = f"alter table {on} drop constraint if exists {quote(child.name)}"
        definition = child.definition.removesuffix(" NOT VALID")
        add = f"alter table {on} add constraint {quote(child.name)} {definition} not valid"
        found.append(transaction(Line(drop), Line(add)))
        if child.validated:
            found.append(alone(f"alter table {on} validate constraint {quote(child.name)}"))
    return found


def _foreign_keys(plan: Plan) -> list[Block]:
    """Of the partitioned table: each apart, since it stops writers of what it points at for a moment."""
    return [
        transaction(
            Line(f"alter table {plan.parent_sql} drop constraint if exists {quote(c.name)}"),
            Line(f"alter table {plan.parent_sql} add constraint {quote(c.name)} {c.definition}", "it holds no row yet"),
        )
        for c in plan.parents
    ]


def _check(plan: Plan) -> list[Line]:
    add = (
        f"alter table {plan.table.sql}\n  drop constraint if exists {quote(plan.check)},\n"
        f"  add constraint {quote(plan.check)} check ({quote(plan.column.name)} < {plan.bound}) not valid"
    )
    return [Line(add, "from here until the swap a row beyond the bound is refused: minutes, not days")]


def _keys_again(plan: Plan) -> list[Block]:
    """The unique indexes of the old table as they were, and the widened ones, which the way back begins from."""
    found: list[Block] = []
    for index in plan.widened:
        for name, more in ((named("back", index), ()), (wide(plan, index), (plan.column.name,))):
            found.append(alone(words.index_elsewhere(index.definition, plan.legacy, name, more, concurrently=True)))
    return found
