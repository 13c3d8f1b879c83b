"""The parser boundary: SQL text to statements, by PostgreSQL's own grammar (libpg_query), and back.

Only this module imports postgast (BSD; pglast is GPL). Positions are byte offsets into the UTF-8 text as the parser
counts them, turned into 1-based lines and columns of characters for people.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import postgast
from postgast import pg_query_pb2 as pb

from dbkit.errors import UsageError


class SqlSyntaxError(UsageError):
    """PostgreSQL's grammar rejects the text. Carries the 1-based line and column."""

    def __init__(self, what: str, *, line: int, column: int, why: str, hint: str | None = None) -> None:
        super().__init__(what, why=why, hint=hint)
        self.line = line
        self.column = column


@dataclass(frozen=True, slots=True)
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
    for item in tree.stmts:
        begin = int(item.stmt_location)
        end = begin + int(item.stmt_len) if item.stmt_len else len(raw)
        start = _skip_blank(raw, begin, end)
        node = cast(pb.Node, item.stmt)
        found.append(
            Statement(
                node=node,
                kind=str(node.WhichOneof("node")),
                sql=raw[start:end].decode("utf-8").rstrip().rstrip(";").rstrip(),
                line=raw.count(b"\n", 0, start) + 1,
                start=start,
                end=end,
            )
        )
    return tuple(found)


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


def _skip_blank(raw: bytes, position: int, end: int) -> int:
    """The first byte that belongs to the statement: past white space and comments (which nest, as in PostgreSQL)."""
    while position < end:
        if raw[position : position + 1].isspace():
            position += 1
        elif raw.startswith(b"--", position):
            stop = raw.find(b"\n", position)
            position = end if stop < 0 else stop + 1
        elif raw.startswith(b"/*", position):
            position = _skip_block_comment(raw, position, end)
        else:
            break
    return position


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
    offset = max(error.cursorpos - 1, 0)  # libpg_query counts characters here, from 1
    before = text[:offset]
    line = before.count("\n") + 1
    column = offset - (before.rfind("\n") + 1) + 1
    lines = text.splitlines()
    shown = lines[line - 1] if line <= len(lines) else ""
    window = max(0, column - 60)
    caret = f"\n    {shown[window : window + 100]}\n    {' ' * (column - 1 - window)}^"
    return SqlSyntaxError(
        f"{label}:{line}:{column}: {error.message}", line=line, column=column, why=f"not valid PostgreSQL{caret}"
    )
