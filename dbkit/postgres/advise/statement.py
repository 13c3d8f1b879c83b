"""A statement of a workload, made ready for EXPLAIN: parameters for every placeholder, nothing that could run."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

from dbkit.postgres import ddl

QUERIES: Final = ("select_stmt", "insert_stmt", "update_stmt", "delete_stmt", "merge_stmt")

# Quoted text, comments and dollar quotes are passed over; then the placeholders of drivers and frameworks.
_TOKENS: Final = re.compile(
    r"""(?P<skip>'(?:[^']|'')*'|"(?:[^"]|"")*"|--[^\n]*|/\*.*?\*/|\$(?P<tag>[A-Za-z_]\w*|)\$.*?\$(?P=tag)\$|::)
    |%\((?P<pyformat>\w+)\)s
    |(?P<format>%s)\b
    |(?<![\w:\]\[]):(?P<quoted>')?(?P<named>[A-Za-z_]\w*)(?(quoted)')
    |(?<![\w@])@(?P<at>[A-Za-z_]\w*)
    |(?P<mark>\?)(?![|&])
    |(?P<end>;)""",
    re.VERBOSE | re.DOTALL,
)
_CONSTANT: Final = re.compile(r"\$\d+|'(?:[^']|'')*'|\b\d+(?:\.\d+)?\b")
_VALUE: Final = re.compile(
    r"(?:[=<>(,+*/|~-]|\b(?:limit|offset|like|ilike|and|or|between|in|not|then|else|when|set|values|any|select|from))\s*\Z",
    re.IGNORECASE,
)
"""After these a question mark stands for a value; elsewhere it is an operator of jsonb."""


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement, with what is known of how often it runs. `total_ms` is None when nobody has measured it."""

    text: str
    """As it was found."""
    fingerprint: str
    variants: tuple[tuple[str, int], ...]
    """Texts to explain with their number of parameters, tried in this order: as written, and mended where a constant
    has become a parameter that the server does not take in that place."""
    calls: int = 1
    total_ms: float | None = None
    rows: int | None = None
    file: str = ""
    line: int | None = None
    target: str = ""
    """For an UPDATE the table as written."""
    sets: tuple[str, ...] = ()
    """For an UPDATE the columns it sets."""

    @property
    def where(self) -> str:
        """Where it comes from, for a message."""
        return f"{self.file}:{self.line}" if self.file else f"statement {self.fingerprint}"

    def merged(self, other: Statement) -> Statement:
        """Both together: the same statement under two ids."""
        total = None if self.total_ms is None or other.total_ms is None else self.total_ms + other.total_ms
        rows = None if self.rows is None or other.rows is None else self.rows + other.rows
        return replace(self, calls=self.calls + other.calls, total_ms=total, rows=rows)


@dataclass(frozen=True, slots=True)
class Unread:
    """A text that is not analysed, and why."""

    text: str
    reason: str
    fingerprint: str
    calls: int = 1
    total_ms: float | None = None
    file: str = ""
    line: int | None = None

    @property
    def where(self) -> str:
        """Where it comes from, for a message."""
        return f"{self.file}:{self.line}" if self.file else f"statement {self.fingerprint}"


def parse(text: str, *, label: str = "") -> Iterator[Statement | Unread]:
    """The queries of a text with one or more statements; other statements are left out, broken ones are Unread."""
    given = placeholders(text, marks=False)
    statements, errors = ddl.parse_loosely(given, label=label or "the statement")
    if errors and "?" in given:
        marked = placeholders(text, marks=True)
        again = ddl.parse_loosely(marked, label=label or "the statement")
        if len(again[1]) < len(errors):
            given, (statements, errors) = marked, again
    for statement in statements:
        if statement.kind in QUERIES:
            yield _statement(statement, label)
    lines = text.splitlines()
    for error in errors:
        shown = lines[error.line - 1].strip() if 0 < error.line <= len(lines) else text
        reason = f"{error.what.partition(': ')[2] or error.what}"
        yield Unread(shown, reason, _digest(shown), file=label, line=error.line if label else None)


def placeholders(text: str, *, marks: bool) -> str:
    """The text with numbered parameters in place of :name, @name, %s, %(name)s, and with `marks` of ?."""
    return "".join(_placeholders(piece, marks=marks) for piece in _pieces(text))


def _pieces(text: str) -> Iterator[str]:
    """The statements of a text, each with its semicolon: numbers begin anew in every one."""
    start = 0
    for found in _TOKENS.finditer(text):
        if found["end"]:
            yield text[start : found.end()]
            start = found.end()
    yield text[start:]


def _placeholders(text: str, *, marks: bool) -> str:
    highest = max((int(n) for n in re.findall(r"\$(\d+)", text)), default=0)
    numbers: dict[str, int] = {}

    def number(found: re.Match[str]) -> str:
        is_value = found["mark"] and marks and _VALUE.search(text[: found.start()])
        if found["skip"] is not None or found["end"] or (found["mark"] and not is_value):
            return found[0]
        name = found["pyformat"] or found["named"] or found["at"] or f"?{len(numbers)}"
        return f"${numbers.setdefault(name, highest + len(numbers) + 1)}"

    return _TOKENS.sub(number, text)


def _statement(statement: ddl.Statement, label: str) -> Statement:
    asked, mended = ddl.copy(statement.node), ddl.copy(statement.node)
    dense = _renumber(asked)
    _same_groups(mended)
    count = _renumber(mended)
    _extracts(mended)
    plain = statement.sql if dense == _highest(statement.node) else ddl.deparse(asked)
    update = statement.node.update_stmt if statement.kind == "update_stmt" else None
    return Statement(
        text=statement.sql,
        fingerprint=ddl.fingerprint(statement.sql),
        variants=((plain, dense), (ddl.deparse(mended), count)),
        file=label,
        line=statement.line if label else None,
        target=update.relation.relname if update is not None else "",
        sets=tuple(t.res_target.name for t in update.target_list) if update is not None else (),
    )


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _all(node: Any) -> Iterable[Any]:
    return ddl.walk(node)


def _highest(node: Any) -> int:
    return max((m.number for m in _all(node) if m.DESCRIPTOR.name == "ParamRef"), default=0)


def _renumber(node: Any) -> int:
    """Number the parameters without gaps: PostgreSQL wants a type for every number below the highest."""
    known: dict[int, int] = {}
    for held in _all(node):
        if held.DESCRIPTOR.name == "ParamRef":
            held.number = known.setdefault(held.number, len(known) + 1)
    return len(known)


def _extracts(node: Any) -> None:
    """`extract($1 from x)`, which the server's grammar refuses, as the function it stands for."""
    for held in _all(node):
        names = [f.string.sval for f in held.funcname] if held.DESCRIPTOR.name == "FuncCall" else []
        if names[-1:] == ["extract"] and held.args and held.args[0].WhichOneof("node") == "param_ref":
            del held.funcname[:]
            held.funcname.add().string.sval = "date_part"
            held.funcformat = ddl.numbers("CoercionForm")["COERCE_EXPLICIT_CALL"]


def _same_groups(node: Any) -> None:
    """`select f($1, x) ... group by f($2, x)`: what was one constant in both places is one parameter again.

    pg_stat_statements leaves the constant of the second place as it was, if both came out as one expression.
    """
    for held in _all(node):
        if held.DESCRIPTOR.name != "SelectStmt":
            continue
        outputs = {_shape(t.res_target.val): t.res_target.val for t in held.target_list if _highest(t)}
        for item in (*held.group_clause, *(s.sort_by.node for s in held.sort_clause)) if outputs else ():
            twin = outputs.get(_shape(item))
            if twin is not None:
                item.CopyFrom(twin)


def _shape(node: Any) -> str:
    """The expression with all constants and parameters alike."""
    return _CONSTANT.sub("?", ddl.deparse_expression(node))
