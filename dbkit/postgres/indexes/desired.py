"""The wanted indexes: plain `create index` statements in files, each with its author's comment above it.

    -- origin: S0 4.3
    -- why: login looks a user up by e-mail
    -- deviates: (only where the shipped statement is not what its origin says)
    -- note: (what else a reader should know)
    create index concurrently idx_users_email
      on users (email);

The author's SQL is the truth; it is never compared as text. Whether `concurrently` is written does not matter: dbkit
always builds without blocking writers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from dbkit import assets
from dbkit.errors import UsageError
from dbkit.postgres import ddl

MAX_NAME_BYTES: Final = 63
MAX_FILE_BYTES: Final = 4 * 2**20
_NAME: Final = re.compile(
    r"""create\s+(?:unique\s+)?index\s+(?:concurrently\s+)?("(?:[^"]|"")+"|[^\s"(]+)\s+on\b""", re.IGNORECASE
)
_LABEL: Final = re.compile(r"--\s*(origin|why|deviates|note)\s*:\s*(.*)")


@dataclass(frozen=True, slots=True)
class Wanted:
    """One wanted index. `schema` is None when the author left it to the search path."""

    name: str
    schema: str | None
    table: str
    unique: bool
    sql: str
    """The author's statement."""
    file: str
    line: int
    origin: str = ""
    why: str = ""
    deviates: str = ""
    """What is shipped instead of what the origin says, and why."""
    note: str = ""
    """What else its author wants known."""
    node: Any = field(default=None, compare=False, repr=False)
    """The parsed statement (a CREATE INDEX node of the grammar)."""

    @property
    def remark(self) -> str:
        """What plans and reports say beside it."""
        return "; ".join(text for text in (self.deviates, self.note) if text)

    @property
    def written_table(self) -> str:
        """The table as the author wrote it."""
        return f"{self.schema}.{self.table}" if self.schema else self.table


def load(places: Iterable[Path] = ()) -> tuple[Wanted, ...]:
    """The wanted indexes of files and folders (default: those that ship with dbkit), in file order.

    Raises UsageError with file and line for anything that is not a plain, named CREATE INDEX.
    """
    given = list(places)
    files = [f for place in given for f in _files(place)] if given else _files(assets.path("sql/indexes"))
    found: dict[tuple[str | None, str], Wanted] = {}
    for file in files:
        for wanted in read(_text(file), _label(file)):
            key = (wanted.schema, wanted.name)
            if key in found:
                other = found[key]
                raise UsageError(
                    f"{wanted.file}:{wanted.line}: {wanted.name} is wanted twice",
                    why=f"{other.file}:{other.line} wants it already",
                    hint="keep one of the two",
                )
            found[key] = wanted
    return tuple(found.values())


def read(text: str, label: str) -> tuple[Wanted, ...]:
    """The wanted indexes of one text; `label` is what messages call it."""
    lines = text.splitlines()
    return tuple(_wanted(statement, lines, label) for statement in ddl.parse(text, label=label))


def _wanted(statement: ddl.Statement, lines: list[str], label: str) -> Wanted:
    at = f"{label}:{statement.line}"
    if statement.kind != "index_stmt":
        raise UsageError(
            f"{at}: only CREATE INDEX statements describe wanted indexes",
            why=f"this is {statement.kind.removesuffix('_stmt').replace('_', ' ').upper()}",
            hint="keep other statements in a migration",
        )
    node = statement.node.index_stmt
    if not node.idxname:
        raise UsageError(f"{at}: the index has no name", hint="name it: without a name it can never be found again")
    written = _NAME.match(statement.sql)  # the parser cuts a long name as the server does
    name = written[1].strip('"').replace('""', '"') if written else node.idxname
    size = len(name.encode())
    if size > MAX_NAME_BYTES:
        raise UsageError(
            f"{at}: the name {name} is {size} bytes long",
            why=f"PostgreSQL cuts it to {MAX_NAME_BYTES} with a notice, and the wanted name is never found again",
            hint=f"shorten it to {MAX_NAME_BYTES} bytes",
        )
    if node.if_not_exists:
        raise UsageError(
            f"{at}: IF NOT EXISTS hides what it should show",
            why="over an invalid index, or the same name on another table, it succeeds without an index",
            hint="leave it out: dbkit looks what is there first",
        )
    if not node.relation.inh:
        raise UsageError(
            f"{at}: ON ONLY describes a step, not a wanted state",
            hint="write the index as it should be in the end; dbkit builds partitions one by one",
        )
    notes = _comments(lines, statement.line)
    return Wanted(
        name=node.idxname,
        schema=node.relation.schemaname or None,
        table=node.relation.relname,
        unique=node.unique,
        sql=statement.sql,
        file=label,
        line=statement.line,
        origin=notes.get("origin", ""),
        why=notes.get("why", ""),
        deviates=notes.get("deviates", ""),
        note=notes.get("note", ""),
        node=node,
    )


def _comments(lines: list[str], line: int) -> dict[str, str]:
    """The labelled comment lines directly above a statement; a line without a label continues the one before."""
    block: list[str] = []
    position = line - 2
    while position >= 0 and lines[position].lstrip().startswith("--"):
        block.insert(0, lines[position].strip())
        position -= 1
    notes: dict[str, str] = {}
    label = ""
    for text in block:
        match = _LABEL.match(text)
        if match:
            label = match[1]
            notes[label] = match[2].strip()
        elif label:
            notes[label] = f"{notes[label]} {text.removeprefix('--').strip()}".strip()
    return notes


def _files(place: Path) -> list[Path]:
    if place.is_file():
        return [place]
    if not place.exists():
        raise UsageError(f"there is no {place}", hint="give a file or folder with create index statements")
    files = sorted(place.rglob("*.sql"))
    if not files:
        raise UsageError(f"{place} holds no .sql file", hint="one file per table, with its create index statements")
    return files


def _text(file: Path) -> str:
    try:
        if file.stat().st_size > MAX_FILE_BYTES:
            raise UsageError(f"{file} is larger than {MAX_FILE_BYTES // 2**20} MB", hint="is this a dump?")
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot read {file}", why=error.strerror, hint="check its name and mode") from None
    except UnicodeDecodeError:
        raise UsageError(f"{file} is not UTF-8 text", hint="convert it, or name the files of sql apart") from None


def _label(file: Path) -> str:
    """The path as a person would name it: below the current folder or the shipped assets, else whole."""
    for base in (Path.cwd(), assets.root()):
        if file.is_absolute() and file.is_relative_to(base):
            return file.relative_to(base).as_posix()
    return str(file)
