"""What the text of a check says about the values it accepts: its constants, patterns and lengths."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from decimal import Decimal
from importlib import import_module
from typing import Any, Final, cast

from dbkit.errors import UsageError
from dbkit.postgres import ddl

# Python's own reader of regular expressions: it has no public name, and writing another would be the greater risk.
parser: Final[Any] = import_module("re._parser")
codes: Final[Any] = import_module("re._constants")
_SAMPLES: Final = 24
_MOST_REPEATS: Final = 3


@dataclass(slots=True)
class Hints:
    """Constants of the checks on a column, in order of appearance."""

    numbers: list[Decimal] = field(default_factory=list[Decimal])
    texts: list[str] = field(default_factory=list[str])
    patterns: list[str] = field(default_factory=list[str])
    """Regular expressions."""
    likes: list[str] = field(default_factory=list[str])

    @property
    def samples(self) -> list[str]:
        """Texts that the patterns are likely to accept."""
        return [s for p in self.patterns for s in from_pattern(p)] + [_from_like(p) for p in self.likes]


def of(checks: list[str]) -> Hints:
    """Read the constants of checks; one that the grammar does not read says nothing."""
    hints = Hints()
    for check in checks:
        try:
            statements = ddl.parse(f"select {check}")
        except UsageError:
            continue
        for message in ddl.walk(statements[0].node):
            _note(cast(Any, message), type(message).__name__, hints)
    hints.numbers = list(dict.fromkeys(hints.numbers))[:8]
    hints.texts = list(dict.fromkeys(hints.texts))[:64]
    return hints


def _note(node: Any, kind: str, hints: Hints) -> None:
    if kind == "A_Expr":
        operator = node.name[-1].string.sval if node.name else ""
        if operator in ("~", "~*", "~~", "~~*"):
            held = _constant(node.rexpr)
            if held is not None:
                (hints.patterns if operator in ("~", "~*") else hints.likes).append(held)
    elif kind == "A_Const":
        which = node.WhichOneof("val")
        if which == "ival":
            hints.numbers.append(Decimal(node.ival.ival))
        elif which == "fval":
            hints.numbers.append(Decimal(node.fval.fval))
        elif which == "sval":
            hints.texts.append(node.sval.sval)
            if re.fullmatch(r"-?\d+(\.\d+)?", node.sval.sval):
                hints.numbers.append(Decimal(node.sval.sval))


def _constant(node: Any) -> str | None:
    """The text of a constant, under any casts."""
    while node.WhichOneof("node") == "type_cast":
        node = node.type_cast.arg
    if node.WhichOneof("node") == "a_const" and node.a_const.WhichOneof("val") == "sval":
        return str(node.a_const.sval.sval)
    return None


class _Dice:
    """The same choices in every run, and hardly ever the same twice in a row."""

    def __init__(self) -> None:
        self._turn = 0

    def randint(self, low: int, high: int) -> int:
        """A number of the range, both ends included."""
        self._turn += 1
        digest = hashlib.sha256(str(self._turn).encode()).digest()
        return low + int.from_bytes(digest[:4], "big") % (high - low + 1)

    def choice(self, offered: Any) -> Any:
        """One of a sequence."""
        return offered[self.randint(0, len(offered) - 1)]


def from_pattern(pattern: str) -> list[str]:
    """Some texts that a regular expression accepts; none when it uses what Python's grammar does not know."""
    try:
        tree: Any = parser.parse(pattern.replace("[[:alpha:]]", "[a-z]").replace("[[:digit:]]", "[0-9]"))
    except (re.error, OverflowError, RecursionError):
        return []
    dice = _Dice()
    return list(dict.fromkeys("".join(_piece(op, held, dice) for op, held in tree) for _ in range(_SAMPLES)))


def _piece(op: Any, held: Any, dice: _Dice) -> str:
    if op is codes.LITERAL:
        return chr(held)
    if op is codes.NOT_LITERAL:
        return "b" if held == ord("a") else "a"
    if op is codes.ANY:
        return dice.choice("abcxyz019")
    if op is codes.IN:
        return _member(held, dice)
    if op is codes.BRANCH:
        return "".join(_piece(o, h, dice) for o, h in dice.choice(held[1]))
    if op is codes.SUBPATTERN:
        return "".join(_piece(o, h, dice) for o, h in held[-1])
    if op in (codes.MAX_REPEAT, codes.MIN_REPEAT):
        least, most, inner = held
        # A little more than the least: enough to tell rows apart, and short.
        times = dice.randint(least, min(most, max(least + _MOST_REPEATS, 6)))
        return "".join(_piece(o, h, dice) for _ in range(times) for o, h in inner)
    return ""  # anchors and look-arounds take no place


def _member(held: Any, dice: _Dice) -> str:
    chosen = [x for x in held if x[0] is not codes.NEGATE]
    if len(chosen) < len(held):  # a negated set
        refused = {chr(c) for op, c in chosen if op is codes.LITERAL}
        ranges = [c for op, c in chosen if op is codes.RANGE]
        free = [c for c in "abcxyz0189_-" if c not in refused and not any(a <= ord(c) <= b for a, b in ranges)]
        return dice.choice(free or ["~"])
    op, value = dice.choice(chosen)
    if op is codes.RANGE:
        return chr(dice.randint(value[0], value[1]))
    if op is codes.CATEGORY:
        return {codes.CATEGORY_DIGIT: dice.choice("0123456789"), codes.CATEGORY_SPACE: " "}.get(
            value, dice.choice("abc7")
        )
    return chr(value) if op is codes.LITERAL else "a"


def _from_like(pattern: str) -> str:
    return pattern.replace("%", "x").replace("_", "x")
