"""Split one column into several, or merge several into one: both shapes are kept equal by expressions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import psycopg
from psycopg import sql

from dbkit.errors import UsageError
from dbkit.postgres.catalog import quote, quoted
from dbkit.postgres.connect import Connection
from dbkit.postgres.migrate.changes import copies, replace, rights, words
from dbkit.postgres.migrate.changes.design import Block, Design, Line, Refusals, alone, transaction
from dbkit.postgres.migrate.changes.dualwrite import Pair
from dbkit.postgres.migrate.changes.facts import Table
from dbkit.postgres.migrate.changes.server import immutable, type_of
from dbkit.postgres.migrate.changes.translate import Translation

SPLIT = "split-column"
MERGE = "merge-columns"


def design(
    connection: Connection, table: Table, kind: str, forward: Mapping[str, str], backward: Mapping[str, str],
    accepted: Sequence[str],
) -> Design:  # fmt: skip
    """`forward` gives each new column over the old ones, `backward` each old column over the new ones."""
    old, new = tuple(backward), tuple(forward)
    _sides(kind, old, new)
    what = " and ".join(quote(c) for c in old)
    reasons = Refusals(f"{what} of {table.sql} cannot be taken apart online", accepted)
    copies.refuse(table, list(old), reasons)
    for name in old:
        replace.refuse_keys(table, table.column(name), reasons)
    for name in new:
        if table.has(name):
            reasons.add(f"{table.sql} has a column {quote(name)} already")
    for expressions, allowed, flag in ((forward, old, "--set"), (backward, new, "--back")):
        for name, expression in expressions.items():
            foreign = [c for c in words.columns_in(expression, f"{flag} {name}") if c not in allowed]
            if foreign:
                raise UsageError(f"{flag} {name} uses {quote(foreign[0])}", why=f"it may use {', '.join(allowed)} only")
    types = {name: type_of(connection, table, expression) for name, expression in forward.items()}
    for name, expression in forward.items():
        if not immutable(connection, table, expression):
            reasons.add(f"{quote(name)} = {expression} is not immutable: it depends on settings or time")
    lost = _lost(connection, table, forward, backward)
    if lost:
        reasons.add(f"{lost}", accept="roundtrip")
    reasons.check()
    translation = Translation.of(connection, table, forward, backward)
    return _design(table, kind, forward, backward, types, _copies(table, tuple(backward), tuple(forward), translation))


def _sides(kind: str, old: Sequence[str], new: Sequence[str]) -> None:
    one, many = (old, new) if kind == SPLIT else (new, old)
    if len(one) != 1 or len(many) < 2:
        shape = "one --back and several --set" if kind == SPLIT else "one --set and several --back"
        raise UsageError(f"{kind} wants {shape}", hint=f"`dbkit explain changes` shows {kind} in full")


@dataclass
class _Copied:
    """What hangs on the old columns and goes over to the new ones, and what does not."""

    beside: list[Line] = field(default_factory=list[Line])
    online: list[Block] = field(default_factory=list[Block])
    proofs: list[Block] = field(default_factory=list[Block])
    lost: list[str] = field(default_factory=list[str])
    notes: list[str] = field(default_factory=list[str])


def _copies(table: Table, old: Sequence[str], new: Sequence[str], translation: Translation) -> _Copied:
    made = _Copied()
    gone, mapping = ", ".join(old), {o: "_".join(new) for o in old}
    for index in table.indexes:
        if not set(index.uses) & set(old):
            continue
        name, _ = copies.names(table, index.name, mapping, keep=False)
        statement = translation.index(index.definition, name)
        if statement:
            made.online += copies.index_blocks(table, statement, name)
        else:
            made.lost.append(f"index {quoted(table.schema, index.name)}")
            made.notes.append(
                f"index {quote(index.name)} goes with {gone} and has no copy: {index.definition} (write the one that "
                "the new application needs into the expand revision)"
            )
    for constraint in table.constraints:
        if not set(constraint.columns) & set(old):
            continue
        if constraint.kind == "c":
            name, _ = copies.names(table, constraint.name, mapping, keep=False)
            made.beside.append(Line(translation.check(table.sql, constraint.definition, name)))
            if constraint.validated:
                made.proofs.append(alone(f"alter table {table.sql} validate constraint {quote(name)}"))
        elif constraint.kind == "f":
            made.notes.append(f"the foreign key {quote(constraint.name)} goes with {gone}")
    made.notes += [
        f"statistics {quote(s.name)} goes with {gone}" for s in table.statistics if set(s.columns) & set(old)
    ]
    if any(table.column(o).not_null for o in old):
        names = ", ".join(map(quote, new))
        made.notes.append(f"{gone} must not be null, {names} may be: `dbkit migrate new set-not-null` demands it")
    return made


def _design(
    table: Table, kind: str, forward: Mapping[str, str], backward: Mapping[str, str], types: Mapping[str, str],
    copied: _Copied,
) -> Design:  # fmt: skip
    old, new = tuple(backward), tuple(forward)
    pair = Pair(table.schema, table.name, dict(forward), dict(backward), (), new[0])
    back = pair.reverse(tuple(c for c in old if table.column(c).not_null))
    lock = Line(f"lock table {table.sql} in access exclusive mode", "all that follows is metadata: milliseconds")
    on = f"alter table {table.sql} "
    add = [f"add column if not exists {quote(n)} {types[n]}" for n in new]
    add_old = [f"add column if not exists {quote(n)} {table.column(n).type}" for n in old]
    granted_back = rights.of_columns(table.sql, new, table.sql, old)
    restored = copies.originals(table, {name: name for name in old}, renames=False)
    last = [
        Line(f"{on}alter column {quote(n)} set not null", "the validated check proves it: no scan")
        for n in old
        if table.column(n).not_null
    ]
    last += [Line(f"{on}alter column {quote(n)} set default {d}") for n in old if (d := table.column(n).default)]
    last += pair.triggers()  # the defaults are the old columns' again: a value in a new one was given, and wins
    undo_contract = [
        transaction(lock, Line(on + ", ".join(add_old)), *back.install(), *restored.beside, granted_back),
        *restored.online,
        Block((back.fill_at_once(),), outside=True),
        Block((back.validate(),), outside=True),
        *restored.proofs,
        transaction(*last),
    ]
    return Design(
        id=f"{table.name}-{'-'.join(old)}-{'-'.join(new)}",
        kind=kind,
        title=f"{'split' if kind == SPLIT else 'merge'} {', '.join(old)} of {table.name} into {', '.join(new)}",
        schema=table.schema,
        table=table.name,
        old=old,
        new=new,
        expand=(
            transaction(
                Line(on + ", ".join(add), "no default: it would hide what a writer gave"),
                *pair.install(),
                *copied.beside,
                rights.of_columns(table.sql, old, table.sql, new),
            ),
            *copied.online,
        ),
        undo_expand=(
            transaction(lock, *pair.remove(), Line(on + ", ".join(f"drop column if exists {quote(n)}" for n in new))),
        ),
        contract=(
            Block((pair.fill_at_once(),), outside=True),
            Block((pair.validate(),), outside=True),
            *copied.proofs,
            transaction(lock, *pair.remove(), Line(on + ", ".join(f"drop column if exists {quote(n)}" for n in old))),
        ),
        undo_contract=tuple(undo_contract),
        fills=(pair.fill(),),
        restore=(back.fill(),),
        story=(
            f"{', '.join(new)} and {', '.join(old)} follow each other from expand on.",
            "A row the new application never writes keeps its old value; one it writes is stored as --back makes it.",
        ),
        notes=(*copies.dependants(table, list(old)), *copied.notes),
        lost=tuple(copied.lost),
    )


def _lost(connection: Connection, table: Table, forward: Mapping[str, str], backward: Mapping[str, str]) -> str:
    """Values that do not survive the way there and back, counted over what can be read in seconds."""
    inner = ", ".join([*(quote(o) for o in backward), *(f"{e} as {quote(n)}" for n, e in forward.items())])
    differs = " or ".join(f"{quote(o)} is distinct from ({e})" for o, e in backward.items())
    query = sql.SQL("select count(*) from (select {} from {} limit 100000) seen where {}").format(
        words.trusted(inner), sql.Identifier(table.schema, table.name), words.trusted(differs)
    )
    try:
        with connection.transaction():
            connection.execute("set local search_path to default")
            connection.execute("set local statement_timeout = '10s'")
            row = connection.execute(query).fetchone()
    except psycopg.errors.QueryCanceled:
        return "whether values survive the way there and back could not be told within 10 s"
    except psycopg.Error as error:
        raise UsageError("the expressions do not fit together", why=error.diag.message_primary) from None
    count = int(row[0]) if row else 0
    if not count:
        return ""
    return f"{count} of the first 100,000 rows would not come back as they were once the new application writes them"
