"""Values of a policy that follow from the machine: `= memory / 4`, `= min(ceil(cpus / 2), 4)`, `= memory >= 32GB`.

A value that begins with `=` is a formula over the names below; sizes such as 8GB stand for bytes. Anything else stands
for itself.
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Callable, Mapping
from typing import Final

from dbkit.errors import UsageError
from dbkit.sizes import parse_bytes

NAMES: Final = ("memory", "cpus", "max_connections", "shared_buffers", "maintenance_work_mem", "safe_work_mem")
"""What a formula may use; sizes in bytes. `safe_work_mem` is solved from the memory sum (memory.py)."""


class Unknown(Exception):
    """A formula needs a number nobody gave; the text is its name."""


_BINARY: Final[dict[type[ast.AST], Callable[[float, float], float]]] = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.Div: lambda a, b: a / b,
    ast.Gt: lambda a, b: a > b,
    ast.GtE: lambda a, b: a >= b,
    ast.Lt: lambda a, b: a < b,
    ast.LtE: lambda a, b: a <= b,
}
_FUNCTIONS: Final[dict[str, Callable[..., float]]] = {
    "min": min,
    "max": max,
    "ceil": math.ceil,
    "floor": math.floor,
}
_SIZE: Final = re.compile(r"\b(\d+(?:\.\d+)?)\s*(kB|MB|GB|TB)\b")


def is_formula(value: object) -> bool:
    """Whether a policy's value is computed."""
    return isinstance(value, str) and value.startswith("=")


def evaluate(formula: str, names: Mapping[str, float | None]) -> float:
    """The number a formula comes to. Raises Unknown for a name without a value, UsageError for a wrong formula."""
    text = _SIZE.sub(lambda m: str(parse_bytes(m.group())), formula.removeprefix("=").strip())
    try:
        tree = ast.parse(text, mode="eval")
    except SyntaxError:
        raise _wrong(formula) from None
    return _value(tree.body, names, formula)


def _value(node: ast.AST, names: Mapping[str, float | None], formula: str) -> float:
    if isinstance(node, ast.Constant) and isinstance(node.value, (int, float)):
        return node.value
    if isinstance(node, ast.Name) and node.id in NAMES:
        held = names.get(node.id)
        if held is None:
            raise Unknown(node.id)
        return held
    if isinstance(node, ast.BinOp) and type(node.op) in _BINARY:
        return _BINARY[type(node.op)](_value(node.left, names, formula), _value(node.right, names, formula))
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_value(node.operand, names, formula)
    if isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in _BINARY:
        left, right = _value(node.left, names, formula), _value(node.comparators[0], names, formula)
        return _BINARY[type(node.ops[0])](left, right)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _FUNCTIONS:
        return _FUNCTIONS[node.func.id](*(_value(argument, names, formula) for argument in node.args))
    raise _wrong(formula)


def _wrong(formula: str) -> UsageError:
    return UsageError(
        f"{formula!r} is not a formula",
        hint=f"numbers, sizes such as 8GB, + - * / < <= > >=, {', '.join(_FUNCTIONS)}, and: {', '.join(NAMES)}",
    )
