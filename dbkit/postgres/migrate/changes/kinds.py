"""The kinds of change that can be written, each with what it takes on the command line."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from dbkit.errors import UsageError
from dbkit.postgres.catalog import quoted
from dbkit.postgres.connect import Connection
from dbkit.postgres.migrate.changes import (
    add_enum_value,
    change_type,
    constraints,
    drops,
    enum_to_text,
    enums,
    exclusion,
    facts,
    generated,
    move_column,
    partition_table,
    regroup,
    rename_column,
    rename_table,
    required,
    server,
    words,
)
from dbkit.postgres.migrate.changes.design import Design
from dbkit.postgres.migrate.changes.facts import Table


@dataclass(frozen=True)
class Wish:
    """What the user typed."""

    connection: Connection
    place: str
    """The table or type, as it was written; without the column."""
    column: str
    words: tuple[str, ...]
    options: Mapping[str, str]
    assigned: Mapping[str, str]
    """`--set`: new columns and their expressions."""
    back: Mapping[str, str]
    """`--back`: old columns and their expressions over the new ones."""
    accepted: tuple[str, ...]

    @cached_property
    def table(self) -> Table:
        """The facts of the table, for a kind whose first word is one."""
        return facts.read(self.connection, self.place)


@dataclass(frozen=True, slots=True)
class Kind:
    """One verb of `dbkit migrate new`."""

    name: str
    usage: str
    """What follows the verb: `TABLE.COLUMN NEW_NAME`."""
    about: str
    make: Callable[[Wish], Design]
    column: bool = True
    """Whether the first word ends in a column; otherwise it is a table, or what else `usage` calls it."""
    words: int = 0
    """How many words follow it; -1 for one or more."""
    options: tuple[str, ...] = ()
    """Flags it understands, without the dashes."""

    @property
    def told(self) -> str:
        """How it is called."""
        return f"dbkit migrate new {self.name} {self.usage}"


def _rename_column(wish: Wish) -> Design:
    return rename_column.design(
        wish.connection, wish.table, wish.column, bare(wish.words[0]), wish.accepted, view="view" in wish.options
    )


def _change_type(wish: Wish) -> Design:
    name = wish.options.get("name")
    return change_type.design(
        wish.connection, wish.table, wish.column, wish.words[0], name=bare(name) if name else None,
        using=wish.options.get("using"), back=wish.back.get(wish.column), accepted=wish.accepted,
    )  # fmt: skip


def _set_not_null(wish: Wish) -> Design:
    return required.set_not_null(
        wish.connection, wish.table, wish.column, wish.options.get("using"), wish.accepted
    )  # fmt: skip


def _add_column(wish: Wish) -> Design:
    default = wish.options.get("default")
    if default is None:
        raise UsageError(
            "add-column without --default needs no change of two revisions",
            hint="`alter table ... add column` is metadata only: put it into a revision of its own",
        )
    written, _ = change_type.resolve(wish.connection, wish.words[0])
    volatile = server.volatile(wish.connection, default)
    return required.add_column(wish.table, wish.column, written, default, volatile=volatile)


def _add_foreign_key(wish: Wish) -> Design:
    place, column = wish.words[0], ""
    if not server.exists_as_written(wish.connection, place):
        place, column = split(place)
    parent = facts.read(wish.connection, place)
    name = wish.options.get("name")
    return constraints.add_foreign_key(
        wish.table, wish.column, parent, column or None, bare(name) if name else None, wish.options.get("on-delete")
    )


def _add_unique(wish: Wish) -> Design:
    name = wish.options.get("name")
    return constraints.add_unique(wish.table, [bare(w) for w in wish.words], bare(name) if name else None)


def _add_check(wish: Wish) -> Design:
    name = wish.options.get("name")
    server.take_check(wish.connection, wish.table, wish.words[0])
    return constraints.add_check(wish.table, wish.words[0], bare(name) if name else None)


def _add_enum_value(wish: Wish) -> Design:
    enum = enums.read(wish.connection, wish.place)
    return add_enum_value.design(
        enum, wish.words[0], before=wish.options.get("before"), after=wish.options.get("after")
    )


def _add_generated(wish: Wish) -> Design:
    expression = wish.options.get("expression")
    if expression is None:
        raise UsageError(f"{generated.KIND} needs --expression")
    written, _ = change_type.resolve(wish.connection, wish.words[0])
    return generated.design(
        wish.connection, wish.table, wish.column, written, expression, virtual="virtual" in wish.options,
        accepted=wish.accepted,
    )  # fmt: skip


def _add_exclusion(wish: Wish) -> Design:
    name = wish.options.get("name")
    return exclusion.design(
        wish.connection, wish.table, wish.words[0], bare(name) if name else None, wish.accepted
    )  # fmt: skip


def _enum_to_text(wish: Wish) -> Design:
    column, name = wish.table.column(wish.column), wish.options.get("name")
    if column.category != "E" or column.domain:
        raise UsageError(f"{wish.table.sql}.{column.name} is {column.type}{' (a domain)' * column.domain}, not an enum")
    enum = enums.read(wish.connection, column.type)
    return enum_to_text.design(
        wish.connection, wish.table, column, enum, bare(name) if name else None, wish.accepted
    )  # fmt: skip


def _rename_table(wish: Wish) -> Design:
    new = bare(wish.words[0])
    taken = server.exists(wish.connection, quoted(wish.table.schema, new))
    return rename_table.design(wish.connection, wish.table, new, wish.accepted, taken=taken)


def _move_column(wish: Wish) -> Design:
    if "match" not in wish.options:
        raise UsageError(f"{move_column.KIND} needs --match")
    here, equals, there = wish.options["match"].partition("=")
    if not equals or not here.strip() or not there.strip():
        raise UsageError(f"--match {wish.options['match']!r} is not column = column of the other table")
    name = wish.options.get("name")
    return move_column.design(
        wish.table, wish.column, facts.read(wish.connection, wish.words[0]), (bare(here.strip()), bare(there.strip())),
        bare(name) if name else None, wish.accepted,
    )  # fmt: skip


def _partition_table(wish: Wish) -> Design:
    missing = [f"--{name}" for name in ("by", "every") if name not in wish.options]
    if missing:
        raise UsageError(f"{partition_table.KIND} needs {' and '.join(missing)}")
    return partition_table.design(
        wish.connection, wish.table, bare(wish.options["by"]), wish.options["every"], wish.options.get("from"),
        wish.options.get("ahead"), wish.accepted,
    )  # fmt: skip


def _regroup(kind: str) -> Callable[[Wish], Design]:
    return lambda wish: regroup.design(wish.connection, wish.table, kind, wish.assigned, wish.back, wish.accepted)


_ALL: Final = (
    Kind(
        rename_column.KIND, "TABLE.COLUMN NEW_NAME [--view]", "rename a column", _rename_column, words=1,
        options=("view",),
    ),
    Kind(
        change_type.KIND, "TABLE.COLUMN TYPE [--using EXPR] [--name NEW_NAME [--back COLUMN=EXPR]]",
        "change a column's type, keys and what points at them included", _change_type, words=1,
        options=("using", "name", "back"),
    ),
    Kind(
        required.SET_NOT_NULL, "TABLE.COLUMN [--using EXPR]", "make a column not null, nulls filled", _set_not_null,
        options=("using",),
    ),
    Kind(
        required.ADD_COLUMN, "TABLE.COLUMN TYPE --default EXPR", "add a column whose default differs from row to row",
        _add_column, words=1, options=("default",),
    ),
    Kind(
        constraints.ADD_FOREIGN_KEY, "TABLE.COLUMN PARENT[.COLUMN] [--on-delete ACTION] [--name NAME]",
        "add a foreign key, and its index where there is none", _add_foreign_key, words=1,
        options=("name", "on-delete"),
    ),
    Kind(
        constraints.ADD_UNIQUE, "TABLE COLUMN... [--name NAME]", "make columns unique", _add_unique, column=False,
        words=-1, options=("name",),
    ),
    Kind(
        constraints.ADD_CHECK, "TABLE CONDITION [--name NAME]", "demand a condition of every row", _add_check,
        column=False, words=1, options=("name",),
    ),
    Kind(
        add_enum_value.KIND, "TYPE VALUE [--before VALUE | --after VALUE]", "add a value to an enum type",
        _add_enum_value, column=False, words=1, options=("before", "after"),
    ),
    Kind(
        enum_to_text.KIND, "TABLE.COLUMN [--name NEW_NAME]", "replace an enum column by text with a check",
        _enum_to_text, options=("name",),
    ),
    Kind(
        generated.KIND, "TABLE.COLUMN TYPE --expression EXPR [--virtual]", "add a column that is computed from others",
        _add_generated, words=1, options=("expression", "virtual"),
    ),
    Kind(
        exclusion.KIND, "TABLE 'EXCLUDE ...' [--name NAME]", "add an exclusion constraint to a small table",
        _add_exclusion, column=False, words=1, options=("name",),
    ),
    Kind(
        drops.DROP_COLUMN, "TABLE.COLUMN", "drop a column",
        lambda w: drops.drop_column(w.table, w.column, w.accepted),
    ),
    Kind(drops.DROP_TABLE, "TABLE", "drop a table", lambda w: drops.drop_table(w.table, w.accepted), column=False),
    Kind(
        regroup.SPLIT, "TABLE --set NEW=EXPR --set NEW=EXPR --back OLD=EXPR", "split a column into several",
        _regroup(regroup.SPLIT), column=False, options=("set", "back"),
    ),
    Kind(
        regroup.MERGE, "TABLE --set NEW=EXPR --back OLD=EXPR --back OLD=EXPR", "merge several columns into one",
        _regroup(regroup.MERGE), column=False, options=("set", "back"),
    ),
    Kind(
        rename_table.KIND, "TABLE NEW_NAME", "rename a table; a view keeps the old name", _rename_table,
        column=False, words=1,
    ),
    Kind(
        partition_table.KIND, "TABLE --by COLUMN --every month|week|day|N [--from VALUE] [--ahead N]",
        "partition a table by ranges; it becomes the first partition", _partition_table, column=False,
        options=("by", "every", "from", "ahead"),
    ),
    Kind(
        move_column.KIND, "TABLE.COLUMN OTHER_TABLE --match KEY=KEY [--name NEW]",
        "move a column to a table that is joined one to one", _move_column, words=1, options=("match", "name"),
    ),
)  # fmt: skip
KINDS: Final[Mapping[str, Kind]] = {k.name: k for k in _ALL}


def kind(name: str) -> Kind:
    """The kind of that name. Raises UsageError with those there are."""
    if name in KINDS:
        return KINDS[name]
    near = difflib.get_close_matches(name, KINDS, n=1)
    raise UsageError(
        f"no change is called {name}",
        hint=f"did you mean {near[0]}?"
        if near
        else f"known: {', '.join(KINDS)}; `dbkit explain changes` tells of each",
    )


def make(
    connection: Connection, known: Kind, place: str, rest: Sequence[str], options: Mapping[str, str],
    assigned: Sequence[str], back: Sequence[str], accepted: Sequence[str],
) -> Design:  # fmt: skip
    """The design of what the user asked for. Raises UsageError with the kind's usage, or Refused with all reasons."""
    if (known.words >= 0 and len(rest) != known.words) or (known.words < 0 and not rest):
        raise UsageError(f"{known.name} takes other words than these", hint=known.told)
    given = [*options, *(["set"] if assigned else []), *(["back"] if back else [])]
    foreign = [name for name in given if name not in known.options]
    if foreign:
        raise UsageError(f"{known.name} knows no --{foreign[0]}", hint=known.told)
    table, column = split(place) if known.column else (place, "")
    if known.column and not column:
        raise UsageError(f"{place} names no column", hint=known.told)
    wish = Wish(
        connection, table, column, tuple(rest), options, _pairs(assigned, "--set"), _pairs(back, "--back"),
        tuple(accepted),
    )  # fmt: skip
    try:
        return known.make(wish)
    except UsageError as error:
        raise UsageError(error.what, why=error.why, hint=error.hint or known.told) from None


def _pairs(texts: Sequence[str], flag: str) -> dict[str, str]:
    """`column = expression`, several of them."""
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.strip() or not value.strip():
            raise UsageError(f"{flag} {text!r} is not column = expression")
        words.expression(value, f"{flag} {name.strip()}")
        found[bare(name.strip())] = value.strip()
    return found


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
