"""What a script creates further down, so that a drop before it is one half of a replacement."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from dbkit.postgres import ddl
from dbkit.postgres.migrate import actions as a
from dbkit.postgres.migrate.schema import Schema

_MAKES: Final = frozenset(
    "view_stmt create_function_stmt create_trig_stmt create_policy_stmt create_enum_stmt create_domain_stmt"
    " create_table_as_stmt create_schema_stmt create_seq_stmt rule_stmt composite_type_stmt".split()
)


def created_later(
    schema: Schema, statements: list[ddl.Statement], read: Callable[[ddl.Statement], list[a.Action]]
) -> tuple[frozenset[tuple[str, str]], frozenset[tuple[tuple[str, str], str]]]:
    """What the script creates somewhere: objects, and (table, name) of triggers, policies and constraints."""
    if not any(s.kind in ("drop_stmt", "rename_stmt") or "drop" in s.sql[:200].lower() for s in statements):
        return frozenset(), frozenset()
    created: set[tuple[str, str]] = set()
    attached: set[tuple[tuple[str, str], str]] = set()
    makers: dict[type[a.Action], Callable[[Any], None]] = {
        a.CreateView: lambda x: created.add(schema.key(x.name)),
        a.CreateFunction: lambda x: created.add(schema.key(x.name)),
        a.CreateType: lambda x: created.add(schema.key(x.name)),
        a.CreateDomain: lambda x: created.add(schema.key(x.name)),
        a.Sequence: lambda x: created.add(schema.key(x.name)),
        a.CreateTrigger: lambda x: attached.add((schema.key(x.table), x.name)),
        a.CreateRule: lambda x: attached.add((schema.key(x.table), x.name)),
        a.Policy: lambda x: attached.add((schema.key(x.table), x.name)),
        a.AddConstraint: lambda x: attached.add((schema.key(x.table), x.constraint.name)),
    }
    for statement in statements:
        if statement.kind in _MAKES or statement.kind == "alter_table_stmt":
            for action in read(statement):
                make = makers.get(type(action))
                if make is not None:
                    make(action)
    return frozenset(created), frozenset(attached)
