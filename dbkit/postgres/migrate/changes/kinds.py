"""The kinds of change that can be written, each with what it takes on the command line."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from dbkit.errors import UsageError
from dbkit.postgres.connect import Connection
from dbkit.postgres.migrate.changes import facts, rename_column
from dbkit.postgres.migrate.changes.design import Design
from dbkit.postgres.migrate.changes.facts import Table


@dataclass(frozen=True, slots=True)
class Wish:
    """What the user typed: the table's facts, the column if one was named, the rest, and what is accepted."""

    connection: Connection
    table: Table
    column: str
    arguments: tuple[str, ...]
    options: Mapping[str, str]
    accepted: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Kind:
    """One verb of `dbkit migrate new`."""

    name: str
    usage: str
    """What follows the verb: `TABLE.COLUMN NEW_NAME`."""
    about: str
    make: Callable[[Wish], Design]
    column: bool = True
    """Whether the first word ends in a column."""
    arguments: int = 0
    """How many words follow it."""
    options: tuple[str, ...] = ()
    """Flags it understands, without the dashes."""


def _rename_column(wish: Wish) -> Design:
    return rename_column.design(wish.table, wish.column, bare(wish.arguments[0]), wish.accepted)


KINDS: Final[Mapping[str, Kind]] = {
    k.name: k
    for k in (Kind(rename_column.KIND, "TABLE.COLUMN NEW_NAME", "rename a column", _rename_column, arguments=1),)
}


def make(
    connection: Connection, kind: str, place: str, arguments: Sequence[str], options: Mapping[str, str],
    accepted: Sequence[str],
) -> Design:  # fmt: skip
    """The design of what the user asked for. Raises UsageError with the kind's usage, or Refused with all reasons."""
    known = KINDS.get(kind)
    if known is None:
        raise UsageError(f"no change is called {kind}", hint=f"known: {', '.join(KINDS)}")
    usage = f"usage: dbkit migrate new {known.name} {known.usage}"
    if len(arguments) != known.arguments:
        raise UsageError(f"{kind} takes {known.arguments + 1} words", hint=usage)
    foreign = [name for name in options if name not in known.options]
    if foreign:
        raise UsageError(f"{kind} knows no --{foreign[0]}", hint=usage)
    table, column = split(place) if known.column else (place, "")
    if known.column and not column:
        raise UsageError(f"{place} names no column", hint=usage)
    wish = Wish(connection, facts.read(connection, table), column, tuple(arguments), options, tuple(accepted))
    return known.make(wish)


def split(place: str) -> tuple[str, str]:
    """`schema.table.column` into table and column, quoted parts as in SQL; the table stays as it was written."""
    parts, part, inside = list[str](), "", False
    for letter in place:
        if letter == '"':
            inside = not inside
        if letter == "." and not inside:
            parts.append(part)
            part = ""
        else:
            part += letter
    parts.append(part)
    if inside or len(parts) < 2 or not all(parts):
        return place, ""
    return ".".join(parts[:-1]), bare(parts[-1])


def bare(word: str) -> str:
    """A name as the catalogue holds it: unquoted words are lower case."""
    if len(word) > 1 and word.startswith('"') and word.endswith('"'):
        return word[1:-1].replace('""', '"')
    return word.lower()
