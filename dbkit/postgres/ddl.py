"""The parser boundary: SQL text to statements, by PostgreSQL's own grammar (libpg_query), and back.

Only this module imports postgast (BSD; pglast is GPL). Positions are byte offsets into the UTF-8 text as the parser
counts them, turned into 1-based lines and columns of characters for people.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from json import JSONDecodeError
from typing import Any, Final, TypeAlias, TypeVar

import postgast
from google.protobuf.message import DecodeError, Message
from postgast import pg_query_pb2 as pb

from dbkit.errors import UsageError

M = TypeVar("M", bound=Message)
Node: TypeAlias = pb.Node
_VARIABLE: Final = re.compile(r'"(?:[^"\\]|\\.)*"|(?<=[\[,])\{\}\}')
"""A string of JSON, which is left alone, or the faulty entry of a list of variables."""
_LARGE: Final = 200_000
"""Characters from which on a text's trees are not kept: its statements are parsed again one by one when asked for."""
_PIECE: Final = 50_000
_ENDS: Final = re.compile(r";[ \t\r]*\n")
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

    tree: pb.Node | None
    kind: str
    """The grammar's node name: `index_stmt`, `alter_table_stmt` ..."""
    sql: str
    """The author's text of this statement, without leading comments, surrounding space and the semicolon."""
    line: int
    """1-based line on which the statement's first word stands."""
    start: int
    """Byte offset of the first word in the whole text."""
    end: int

    @property
    def node(self) -> pb.Node:
        """The tree; that of a large text's statement is made anew each time."""
        return self.tree if self.tree is not None else postgast.parse(self.sql).stmts[0].stmt


def parse(text: str, *, label: str = "the SQL") -> tuple[Statement, ...]:
    """All statements of a text. Raises SqlSyntaxError with line, column and a caret under the place."""
    _refuse_nul(text, label)
    try:
        return (_in_pieces(text) if len(text) > _LARGE else None) or _statements(text)
    except _Rejected as error:
        raise error.at(_Lines(text), 0, label) from None


def _statements(text: str) -> tuple[Statement, ...]:
    raw = text.encode("utf-8")
    try:
        tree = postgast.parse(text)
    except postgast.PgQueryError as error:
        # libpg_query counts characters here, from 1. An unexpected end is shown where the last word ends.
        raise _Rejected(error.message, min(max(error.cursorpos - 1, 0), len(text.rstrip()))) from None
    except DecodeError:
        start = len(raw[: _skip_blank(raw, 0, len(raw))].decode("utf-8"))
        raise _Rejected("an expression is nested too deeply: some 80 levels can be read", start) from None
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
                tree=node,
                kind=node.WhichOneof("node") or "",
                sql=words.rstrip().rstrip(";").rstrip(),
                line=line,
                start=start,
                end=end,
            )
        )
    return tuple(found)


def _in_pieces(text: str) -> tuple[Statement, ...] | None:
    """The statements of a large text without their trees, which would take 30 times its size; None if one is wrong.

    A piece ends behind a line's last semicolon where no comment began on that line. If that semicolon stood in a quote,
    a comment or a body, the piece alone would be wrong, and is made longer: so the pieces are those of the whole.
    """
    found: list[Statement] = []
    begin = line = shift = 0
    while begin < len(text):
        size, end = _PIECE, begin
        read: tuple[Statement, ...] | None = None
        while read is None:
            end = _piece_end(text, begin + size)
            try:
                read = _statements(text[begin:end])
            except _Rejected:
                if end == len(text):
                    return None
                size *= 4
        found += (Statement(None, s.kind, s.sql, s.line + line, s.start + shift, s.end + shift) for s in read)
        line += text.count("\n", begin, end)
        shift += len(text[begin:end].encode("utf-8"))
        begin = end
    return tuple(found)


def _piece_end(text: str, least: int) -> int:
    for match in _ENDS.finditer(text, least):
        if "--" not in text[text.rfind("\n", 0, match.start()) + 1 : match.start()]:
            return match.end()
    return len(text)


def parse_loosely(text: str, *, label: str = "the SQL") -> tuple[tuple[Statement, ...], tuple[SqlSyntaxError, ...]]:
    """What can be read of a text with errors: statements cut apart by the scanner and parsed one by one.

    Every statement that the grammar rejects comes back as an error with its place in the whole text. If even the
    scanner gives up (an unclosed quote), the rest of the text is one error.
    """
    try:
        return parse(text, label=label), ()
    except SqlSyntaxError as error:
        first = error
    text = text.replace("\0", " ")
    statements: list[Statement] = []
    errors: list[SqlSyntaxError] = []
    lines, small = _Lines(text), len(text) <= _LARGE
    position = shift = 0  # the same place in characters and in bytes
    for piece in _pieces(text):
        try:
            found = _statements(piece)
        except _Rejected as error:
            errors.append(error.at(lines, position, label))
        else:
            line = lines.number(position)
            statements += (
                Statement(s.tree if small else None, s.kind, s.sql, s.line + line, s.start + shift, s.end + shift)
                for s in found
            )
        position += len(piece)
        shift += len(piece.encode("utf-8"))
    return tuple(statements), tuple(errors) or (first,)


def _pieces(text: str) -> Iterator[str]:
    """A text cut behind every semicolon that ends a statement; joined again it is the text.

    An unclosed quote or comment ends the cutting: what follows the semicolon before it is one piece. (libpg_query's own
    splitter loses statements without a keyword, such as a misspelt one.)
    """
    raw = text.encode("utf-8")
    begin = depth = atomic = before = 0
    for token in _tokens(text):
        kind = token.token
        if kind in (pb.ASCII_40, pb.ASCII_41):
            depth += 1 if kind == pb.ASCII_40 else -1
        elif kind == pb.ATOMIC and before == pb.BEGIN_P:
            atomic = 1
        elif atomic and kind in (pb.CASE, pb.END_P):
            atomic += 1 if kind == pb.CASE else -1
        elif kind == pb.ASCII_59 and depth <= 0 and not atomic:
            yield raw[begin : token.end].decode("utf-8")
            begin, depth = token.end, 0
        before = kind
    yield raw[begin:].decode("utf-8")


def _tokens(text: str) -> Any:
    """The scanner's tokens, up to where it gives up."""
    try:
        return postgast.scan(text).tokens
    except postgast.PgQueryError as error:
        try:
            return postgast.scan(text[: max(error.cursorpos - 1, 0)]).tokens
        except postgast.PgQueryError:
            return ()


class _Lines:
    """Where the lines of a text begin, in characters."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.starts = [0, *(m.end() for m in re.finditer("\n", text))]

    def number(self, offset: int) -> int:
        """Lines before the one that holds the offset."""
        return bisect_right(self.starts, offset) - 1


class _Rejected(Exception):
    """The grammar's sentence and the place, in characters of the text that was parsed."""

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(message)
        self.message, self.offset = message, offset

    def at(self, lines: _Lines, shift: int, label: str) -> SqlSyntaxError:
        """The error as shown: with the line of the whole text, in which this one begins at `shift`."""
        offset = min(self.offset + shift, len(lines.text))
        number = lines.number(offset)
        begin = lines.starts[number]
        line, column = number + 1, offset - begin + 1
        window = max(0, column - 60)
        shown = lines.text[begin + window : begin + window + 100].partition("\n")[0].rstrip("\r")
        caret = f"\n    {shown}\n    {' ' * (column - 1 - window)}^"
        return SqlSyntaxError(
            f"{label}:{line}:{column}: {self.message}",
            line=line,
            column=column,
            why=f"not valid PostgreSQL{caret}",
            hint="correct it at the mark: PostgreSQL's own grammar read it",
        )


def fingerprint(sql: str) -> str:
    """16 hex digits that are the same for statements which differ in constants, parameters and white space only."""
    return postgast.fingerprint(sql).hex


def parse_plpgsql(sql: str) -> list[Any]:
    """The body of a DO or CREATE FUNCTION statement in PL/pgSQL as nested plain data. Raises SqlSyntaxError."""
    try:
        return postgast.parse_plpgsql(sql)
    except postgast.PgQueryError as error:
        raise SqlSyntaxError(error.message, line=1, column=1, why="not valid PL/pgSQL") from None
    except RecursionError:
        raise SqlSyntaxError("the body is nested too deeply", line=1, column=1, why="blocks in blocks") from None
    except JSONDecodeError as error:
        # For the variables that a trigger function has by itself (tg_op ...) libpg_query closes one brace too many.
        mended = _VARIABLE.sub(lambda m: "{}" if m[0] == "{}}" else m[0], error.doc)
    try:
        return json.loads(mended)
    except (JSONDecodeError, RecursionError):
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


def numbers(enum: str) -> dict[str, int]:
    """The members of one of the grammar's enumerations by name, such as `ObjectType` or `ConstrType`."""
    held: dict[str, int] = dict(getattr(pb, enum).items())
    return held


def long_identifiers(sql: str) -> list[str]:
    """Names in a text that PostgreSQL would cut to 63 bytes, in order."""
    raw = sql.encode("utf-8")
    if len(raw) < 64:
        return []
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
