"""Indexes and checks of columns that are split or merged, said over the new columns, where that says the same.

A column that is taken over as it is changes its name. An expression that is what makes a new column becomes that
column: of `first = split_part(name, ' ', 1)` the index on `split_part(name, ' ', 1)` becomes one on `first`. In any
other expression an old column becomes what `--back` makes of the new ones. An index on a bare column that is taken
apart has no counterpart: nobody but the author of the new application knows which one it needs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from dbkit.postgres import ddl
from dbkit.postgres.catalog import quote
from dbkit.postgres.connect import Connection
from dbkit.postgres.migrate.changes import server, words
from dbkit.postgres.migrate.changes.facts import Table


@dataclass(frozen=True)
class Translation:
    """From the old columns to the new ones."""

    backward: Mapping[str, str]
    """Old column to its expression over the new ones."""
    same: Mapping[str, str]
    """Old columns that a new one takes over as they are."""
    becomes: Mapping[str, str] = field(default_factory=dict[str, str])
    """Expressions over old columns, as the server prints them, and the new column each makes."""

    @classmethod
    def of(
        cls, connection: Connection, table: Table, forward: Mapping[str, str], backward: Mapping[str, str]
    ) -> Translation:
        """Read from the expressions of `--set` and `--back`."""
        printed = {server.printed(connection, table, e): new for new, e in forward.items()}
        same: dict[str, str] = {}
        for text, new in printed.items():
            node = words.expression(text, "--set")
            if node.WhichOneof("node") == "column_ref":
                same[node.column_ref.fields[-1].string.sval] = new
        return cls(backward, same, {_canonical(words.expression(t, "--set")): new for t, new in printed.items()})

    def index(self, definition: str, name: str) -> str:
        """CREATE INDEX on the new columns, concurrently; empty when it has no counterpart."""
        node = ddl.copy(ddl.parse(definition)[0].node)
        held = node.index_stmt
        for element in (*held.index_params, *held.index_including_params):
            column = element.index_elem.name
            if column in self.same:
                element.index_elem.name = self.same[column]
            elif column in self.backward:
                return ""
            elif not column:
                new = self.becomes.get(_canonical(element.index_elem.expr))
                if new is None:
                    self._replace(element.index_elem)
                else:
                    element.index_elem.ClearField("expr")
                    element.index_elem.name = new
        if held.HasField("where_clause"):
            self._replace(held)
        held.idxname = name
        held.concurrent = True
        held.if_not_exists = True
        held.relation.inh = True  # of a partitioned table the server prints ON ONLY
        return ddl.deparse(node)

    def check(self, table: str, definition: str, name: str) -> str:
        """ALTER TABLE ADD CONSTRAINT for a check, over the new columns, not valid yet."""
        node = ddl.copy(ddl.parse(words.constraint(table, definition, {}, name))[0].node)
        self._replace(getattr(node.alter_table_stmt.cmds[0].alter_table_cmd, "def").constraint)
        return ddl.deparse(node)

    def _replace(self, message: Any) -> None:
        """Old columns below a message replaced, from the outside in: the largest expression that is known wins."""
        for descriptor, value in message.ListFields():
            if descriptor.message_type is None:
                continue
            for inner in list(value) if descriptor.is_repeated else [value]:
                if isinstance(inner, ddl.Node):
                    made = self._made(inner)
                    if made is not None:
                        inner.CopyFrom(made)
                        continue
                self._replace(inner)

    def _made(self, node: Any) -> Any:
        if node.WhichOneof("node") == "column_ref":
            column = node.column_ref.fields[-1].string.sval
            if column in self.same:
                return words.expression(words.renamed(_bare(column), self.same), "--set")
            return words.expression(self.backward[column], "--back") if column in self.backward else None
        new = self.becomes.get(_canonical(node)) if node.WhichOneof("node") in _EXPRESSIONS else None
        return words.expression(_bare(new), "--set") if new else None


_EXPRESSIONS: Final = (
    "func_call",
    "a_expr",
    "type_cast",
    "coalesce_expr",
    "case_expr",
    "min_max_expr",
    "collate_clause",
)


def _bare(name: str) -> str:
    """A column as SQL."""
    return quote(name)


def _canonical(node: Any) -> str:
    """An expression as text that is the same for the same expression."""
    return ddl.deparse_expression(ddl.copy(node))
