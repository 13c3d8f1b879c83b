"""Applies actions to the known schema, as the server would."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from dbkit.postgres.migrate import actions as a
from dbkit.postgres.migrate import evolve_dependants, evolve_objects, evolve_renames, evolve_tables
from dbkit.postgres.migrate.given_names import constraint_name
from dbkit.postgres.migrate.names import Name
from dbkit.postgres.migrate.schema import BEFORE, Schema

_APPLIERS: Final = {
    **evolve_tables.APPLIERS,
    **evolve_renames.APPLIERS,
    **evolve_objects.APPLIERS,
    **evolve_dependants.APPLIERS,
}


def apply(schema: Schema, action: a.Action, *, born: int = BEFORE, block: int = 0) -> None:
    """Change the schema as the action would; `born` is the script's number, `block` the transaction's."""
    applier = _APPLIERS.get(type(action))
    if applier is not None:
        applier(schema, action, born, block)
        if isinstance(action, a.OnTable):
            _below(schema, action, born, block)


_RECURSE: Final = (
    a.AddColumn,
    a.DropColumn,
    a.AlterType,
    a.SetDefault,
    a.SetNotNull,
    a.DropNotNull,
    a.ValidateConstraint,
    a.DropConstraint,
)


def _below(schema: Schema, action: a.OnTable, born: int, block: int) -> None:
    """The same for the partitions of the table, as the server does."""
    found = schema.table(action.table)
    if found is None or action.only or not (found.partitions or found.heirs):
        return
    change: dict[str, str] = {}
    below = [*found.partitions, *found.heirs]
    if isinstance(action, a.AddConstraint):
        if action.constraint.no_inherit:
            return
        if action.constraint.kind not in ("check", "notnull"):
            below = found.partitions
        if action.constraint.kind not in ("check", "foreign", "notnull"):  # each leaf's index gets its own name
            change["name"] = ""
    elif isinstance(action, a.CreateIndex):
        change["name"] = ""
        below = found.partitions
    elif isinstance(action, a.Rename):
        if action.kind not in ("column", "constraint"):
            return
    elif not isinstance(action, _RECURSE):
        return
    for leaf in below:
        apply(schema, _for(action, leaf, change), born=born, block=block)
        if isinstance(action, a.AddConstraint):
            made = replace(action.constraint, **change)
            held = schema.partial(leaf).constraints.get(constraint_name(leaf.name, made))
            if held is not None:
                held.inherited = True
        elif isinstance(action, a.CreateIndex):
            schema.indexes_on(leaf)[-1].parent = action.called


def _for(action: a.OnTable, leaf: Name, change: dict[str, str]) -> a.OnTable:
    if isinstance(action, a.AddConstraint):
        return replace(action, table=leaf, constraint=replace(action.constraint, **change))
    return replace(action, table=leaf, **change)
