"""The options of a statement: WITH (...), and the clauses the grammar keeps as such."""

from __future__ import annotations

from typing import Any


def option(options: Any, name: str) -> Any:
    """The option of that name, None when it is not given."""
    for wrapped in options:
        if wrapped.def_elem.defname == name:
            return wrapped.def_elem
    return None


def switched_on(options: Any, name: str) -> bool:
    """Whether a boolean option is given and not turned off: `(FULL)`, `(FULL true)`, not `(FULL off)`."""
    found = option(options, name)
    if found is None:
        return False
    if not found.HasField("arg"):
        return True
    kind = found.arg.WhichOneof("node")
    if kind == "string":
        return found.arg.string.sval.lower() not in ("false", "off", "0", "no")
    if kind == "boolean":
        return bool(found.arg.boolean.boolval)
    return kind != "integer" or found.arg.integer.ival != 0
