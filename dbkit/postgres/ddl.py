"""The parser boundary: SQL text to statements, by PostgreSQL's own grammar (libpg_query), and back.

Only this module imports postgast (BSD; pglast is GPL). Positions are byte offsets into the UTF-8 text as the parser
counts them, turned into 1-based lines and columns of characters for people.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, TypeVar

import postgast
from google.protobuf.message import Message
from postgast import pg_query_pb2 as pb

from dbkit.errors import UsageError

M = TypeVar("M", bound=Message)
Node: TypeAlias = pb.Node
_BLANK: Final = re.compile(rb"(?:[ \t\r\n\f\v]+|--[^\n]*(?:\n|$))*")


class SqlSyntaxError(UsageError):
    """PostgreSQL's grammar rejects the text. Carries the 1-based line and column."""

    def __init__(self, what: str, *, line: int, column: int, why: str, hint: str | None = None) -> None:
        super().__init__(what, why=why, hint=hint)
        self.line = line
        self.column = column


@dataclass(slots=True)
class Statement:
    """One top-level statement of a text."""

    node: pb.Node
    kind: str
    """The grammar's node name: `index_stmt`, `alter_table_stmt` ..."""
    sql: str
    """The author's text of this statement, without leading comments, surrounding space and the semicolon."""
    line: int
    """1-based line on which the statement's first word stands."""
    start: int
    """Byte offset of the first word in the whole text."""
    end: int


def parse(text: str, *, label: str = "the SQL") -> tuple[Statement, ...]:
    """All statements of a text. Raises SqlSyntaxError with line, column and a caret under the place."""
    _refuse_nul(text, label)
    raw = text.encode("utf-8")
    try:
        tree = postgast.parse(text)
    except postgast.PgQueryError as error:
        raise _syntax_error(error, text, label) from None
    found: list[Statement] = []
    ascii_only = len(raw) == len(text)
    line, counted = 1, 0
    for item in tree.stmts:
        begin = item.stmt_location
        length = item.stmt_len
        end = begin + length if length else len(raw)
        start = _skip_blank(raw, begin, end)
        node = item.stmt
        line += raw.count(b"\n", counted, start)
        counted = start
        words = text[start:end] if ascii_only else raw[start:end].decode("utf-8")
        found.append(
            Statement(
                node=node,
                kind=node.WhichOneof("node") or "",
                sql=words.rstrip().rstrip(";").rstrip(),
                line=line,
                start=start,
                end=end,
            )
        )
    return tuple(found)


def parse_loosely(text: str, *, label: str = "the SQL") -> tuple[tuple[Statement, ...], tuple[SqlSyntaxError, ...]]:
    """What can be read of a text with errors: statements cut apart by the scanner and parsed one by one.

    Every statement that the grammar rejects comes back as an error with its place in the whole text. If even the
    scanner gives up (an unclosed quote), the rest of the text is one error.
    """
    try:
        return parse(text, label=label), ()
    except SqlSyntaxError as error:
        first = error
    try:
        pieces = postgast.split(text.replace("\0", " "), method="scanner")
    except postgast.PgQueryError:
        return (), (first,)
    statements: list[Statement] = []
    errors: list[SqlSyntaxError] = []
    raw = text.encode("utf-8")
    position = 0
    for piece in pieces:
        held = piece.encode("utf-8")
        at = max(raw.find(held, position), position)
        position = at + len(held)
        # Blank lines instead of the text before keep every position right.
        lead = re.sub(r"[^\n]", " ", raw[:at].decode("utf-8", errors="replace"))
        try:
            found = parse(lead + piece, label=label)
        except SqlSyntaxError as error:
            errors.append(error)
            continue
        shift = at - len(lead.encode("utf-8"))
        statements += [Statement(s.node, s.kind, s.sql, s.line, s.start + shift, s.end + shift) for s in found]
    return tuple(statements), tuple(errors) or (first,)


def fingerprint(sql: str) -> str:
    """16 hex digits that are the same for statements which differ in constants, parameters and white space only."""
    return postgast.fingerprint(sql).hex


def parse_plpgsql(sql: str) -> list[Any]:
    """The body of a DO or CREATE FUNCTION statement in PL/pgSQL as nested plain data. Raises SqlSyntaxError."""
    try:
        return postgast.parse_plpgsql(sql)
    except postgast.PgQueryError as error:
        raise SqlSyntaxError(error.message, line=1, column=1, why="not valid PL/pgSQL") from None
    except ValueError:
        # libpg_query writes invalid JSON for some bodies, such as those of trigger functions.
        raise SqlSyntaxError(
            "the parser's answer cannot be read", line=1, column=1, why="a fault of libpg_query"
        ) from None


def walk(message: Message) -> Iterator[Message]:
    """Every message below and including this one, `Node` wrappers left out, outermost first."""
    pending: list[Message] = [message]
    while pending:
        here = pending.pop()
        if not isinstance(here, pb.Node):
            yield here
        for field, value in here.ListFields():
            if field.message_type is not None:
                pending.extend(reversed(value) if field.is_repeated else (value,))


def deparse_expression(node: pb.Node) -> str:
    """SQL of one expression."""
    tree = pb.ParseResult()
    target = tree.stmts.add().stmt.select_stmt.target_list.add().res_target
    target.val.CopyFrom(node)
    return str(postgast.deparse(tree)).removeprefix("SELECT ")


def deparse_type(node: Any) -> str:
    """SQL of a type name."""
    cast = pb.Node()
    cast.type_cast.arg.a_const.isnull = True
    cast.type_cast.type_name.CopyFrom(node)
    return deparse_expression(cast).partition("::")[2]


def deparse(node: Any) -> str:
    """SQL of one statement node, quoted by the grammar's own rules."""
    tree = pb.ParseResult()
    tree.stmts.add().stmt.CopyFrom(node)
    return str(postgast.deparse(tree))


def _refuse_nul(text: str, label: str) -> None:
    """The parser stops at a NUL byte, so that what follows it would go unread."""
    at = text.find("\0")
    if at >= 0:
        line, column = text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at)
        raise SqlSyntaxError(
            f"{label}:{line}:{column}: a NUL byte",
            line=line,
            column=column,
            why="SQL text holds none; is this a binary file?",
        )


def deparse_node(**node: Any) -> str:
    """SQL of one node given by its kind: `deparse_node(index_stmt=...)`."""
    holder = pb.Node()
    for kind, value in node.items():
        getattr(holder, kind).CopyFrom(value)
    return deparse(holder)


def copy(node: M) -> M:
    """A copy of a node that may be changed without changing the original."""
    made = type(node)()
    made.CopyFrom(node)
    return made


def _skip_blank(raw: bytes, position: int, end: int) -> int:
    """The first byte that belongs to the statement: past white space and comments (which nest, as in PostgreSQL)."""
    while position < end:
        found = _BLANK.match(raw, position, end)
        position = found.end() if found else position
        if not raw.startswith(b"/*", position):
            break
        position = _skip_block_comment(raw, position, end)
    return min(position, end)


def _skip_block_comment(raw: bytes, position: int, end: int) -> int:
    depth = 0
    while position < end:
        if raw.startswith(b"/*", position):
            depth, position = depth + 1, position + 2
        elif raw.startswith(b"*/", position):
            depth, position = depth - 1, position + 2
            if depth == 0:
                return position
        else:
            position += 1
    return end


def _syntax_error(error: postgast.PgQueryError, text: str, label: str) -> SqlSyntaxError:
    # libpg_query counts characters here, from 1. An unexpected end is shown where the last word ends.
    offset = min(max(error.cursorpos - 1, 0), len(text.rstrip()))
    before = text[:offset]
    line = before.count("\n") + 1
    column = offset - (before.rfind("\n") + 1) + 1
    lines = text.splitlines()
    shown = lines[line - 1] if line <= len(lines) else ""
    window = max(0, column - 60)
    caret = f"\n    {shown[window : window + 100]}\n    {' ' * (column - 1 - window)}^"
    return SqlSyntaxError(
        f"{label}:{line}:{column}: {error.message}",
        line=line,
        column=column,
        why=f"not valid PostgreSQL{caret}",
        hint="correct it at the mark: PostgreSQL's own grammar read it",
    )


def numbers(enum: str) -> dict[str, int]:
    """The members of one of the grammar's enumerations by name, such as `ObjectType` or `ConstrType`."""
    held: dict[str, int] = dict(getattr(pb, enum).items())
    return held


def long_identifiers(sql: str) -> list[str]:
    """Names in a text that PostgreSQL would cut to 63 bytes, in order."""
    if len(sql) < 64:
        return []
    raw = sql.encode("utf-8")
    found: list[str] = []
    try:
        tokens = postgast.scan(sql).tokens
    except postgast.PgQueryError:
        return []
    for token in tokens:
        if token.end - token.start > 63 and token.token in (pb.IDENT, pb.UIDENT):
            name = raw[token.start : token.end].decode("utf-8").strip('"').replace('""', '"')
            if len(name.encode("utf-8")) > 63:
                found.append(name)
    return found
