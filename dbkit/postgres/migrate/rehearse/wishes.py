"""What pending migrations are going to demand of rows: seeded rows should meet it, or they would fail for our fault."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from dbkit.postgres import ddl
from dbkit.postgres.migrate import actions as a
from dbkit.postgres.migrate.names import Name, quote
from dbkit.postgres.migrate.reading import read
from dbkit.postgres.migrate.rehearse.shape import Key, Shape


def amend(tables: dict[int, Shape], pending: Iterable[ddl.Statement]) -> None:
    """Add the checks, keys and bounds of pending statements to the tables they are about."""
    for statement in pending:
        for action in read(statement):
            if isinstance(action, a.AddConstraint):
                _constraint(tables, action)
            elif isinstance(action, a.AlterType) and action.using is not None:
                _cast(tables, action)
            elif isinstance(action, a.AttachPartition):
                _bound(tables, statement, action.table, action.child)
            elif isinstance(action, a.CreateTable) and action.partition_of is not None:
                _make_room(tables, statement, action.partition_of)
            elif isinstance(action, a.AlterDomain) and action.constraint is not None:
                _domain(tables, action)


def _find(tables: dict[int, Shape], name: Name) -> Shape | None:
    fits = [s for s in tables.values() if s.name.name == name.name and name.schema in ("", s.name.schema)]
    return fits[0] if fits else None


def _leaves(tables: dict[int, Shape], table: Shape) -> list[Shape]:
    """Where the rows of a table lie: the table itself, or its partitions."""
    below = [s for s in tables.values() if s.parent == table.oid]
    return [leaf for child in below for leaf in _leaves(tables, child)] or [table]


def _constraint(tables: dict[int, Shape], action: a.AddConstraint) -> None:
    found = _find(tables, action.table)
    for table in _leaves(tables, found) if found is not None else ():
        _constrain(tables, table, action.constraint)


def _constrain(tables: dict[int, Shape], table: Shape, made: a.Constraint) -> None:
    if made.kind == "check" and made.expression is not None:
        table.wishes.append(f"({ddl.deparse_expression(made.expression)})")
    elif made.kind == "foreign" and made.parent is not None:
        parent = _find(tables, made.parent)
        if parent is None or not made.columns:
            return
        theirs = made.parent_columns or (parent.unique[0] if parent.unique else ())
        known = {c.name for c in table.columns}
        if len(theirs) == len(made.columns) and set(made.columns) <= known:
            table.keys.append(Key(table.oid, parent.oid, tuple(made.columns), tuple(theirs), soft=True))


def _cast(tables: dict[int, Shape], action: a.AlterType) -> None:
    """USING must be able to read what the column holds; a wish that raises an error is one that is not met."""
    found = _find(tables, action.table)
    if found is None or action.using is None:
        return
    for table in _leaves(tables, found):
        table.wishes.append(f"(({ddl.deparse_expression(action.using)}) is not null)")


def _domain(tables: dict[int, Shape], action: a.AlterDomain) -> None:
    made = action.constraint
    if made is None or made.expression is None:
        return
    text = ddl.deparse_expression(made.expression)
    for table in tables.values():
        for column in table.columns:
            if column.domain is not None and column.domain.rpartition(".")[2].strip('"') == action.name.name:
                table.wishes.append(f"({text.replace('value', column.sql).replace('VALUE', column.sql)})")


def _bound(tables: dict[int, Shape], statement: ddl.Statement, parent: Name, child: Name) -> None:
    table = _find(tables, child)
    condition = _condition(tables, statement, parent)
    if table is not None and condition:
        table.wishes.append(condition)
    _make_room(tables, statement, parent)


def _make_room(tables: dict[int, Shape], statement: ddl.Statement, parent: Name) -> None:
    """Rows of the default partition must not belong into the new one."""
    above = _find(tables, parent)
    condition = _condition(tables, statement, parent)
    if above is None or not condition:
        return
    for table in tables.values():
        if table.parent == above.oid and table.is_default:
            for leaf in _leaves(tables, table):
                leaf.wishes.append(f"(not {condition})")


def _condition(tables: dict[int, Shape], statement: ddl.Statement, parent: Name) -> str:
    """The bound in the statement as a condition on the parent's key, where that is one plain column."""
    above = _find(tables, parent)
    bound = next((m for m in ddl.walk(statement.node) if type(m).__name__ == "PartitionBoundSpec"), None)
    if above is None or bound is None or len(above.partition_key) != 1:
        return ""
    held: Any = bound
    column = quote(above.partition_key[0])
    if held.is_default or held.strategy == "h":
        return ""
    if held.listdatums:
        listed = ", ".join(ddl.deparse_expression(d) for d in held.listdatums)
        return f"({column} in ({listed}))"
    low, high = (ddl.deparse_expression(d[0]) if d else "" for d in (held.lowerdatums, held.upperdatums))
    parts = [f"{column} >= {low}"] if low and low.lower() != "minvalue" else []
    parts += [f"{column} < {high}"] if high and high.lower() != "maxvalue" else []
    return f"({' and '.join(parts)})" if parts else ""
