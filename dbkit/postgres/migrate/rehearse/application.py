"""The application's own queries, run before, during and after the migration, prepared once as a driver would."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, LiteralString, cast

import psycopg

from dbkit.errors import UsageError
from dbkit.postgres import ddl
from dbkit.postgres.migrate.rehearse.candidates import candidates
from dbkit.postgres.migrate.rehearse.hints import Hints
from dbkit.postgres.migrate.rehearse.shape import Column
from dbkit.postgres.migrate.source import read_text
from dbkit.secrets import redact

PHASES: Final = ("before", "during", "after")
EVERY: Final = 0.02
_TOKEN: Final = re.compile(
    r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|--[^\n]*|/\*.*?\*/|\$(?P<tag>\w*)\$.*?\$(?P=tag)\$|;|::"""
    r"""|%\((?P<percent>\w+)\)s|%s|%%|(?<![:\w]):(?P<colon>[A-Za-z_]\w*)""",
    re.DOTALL,
)
_KINDS: Final = frozenset("select_stmt insert_stmt update_stmt delete_stmt merge_stmt".split())


@dataclass(slots=True)
class Tally:
    """What one query did in one phase."""

    runs: int = 0
    failed: int = 0
    longest: float = 0.0
    """Seconds."""
    error: str = ""
    sqlstate: str = ""
    statement: int = -1
    """Position of the statement of the migration after (or under) which it failed first; -1 before the first."""


@dataclass(slots=True)
class Query:
    """One query of one application version."""

    version: str
    """`old` or `new`."""
    file: str
    line: int
    sql: str
    tallies: dict[str, Tally] = field(default_factory=lambda: {p: Tally() for p in PHASES})
    again: bool = False
    """It failed for its prepared plan only: prepared anew after the migration, it worked."""


def read(version: str, file: Path) -> list[Query]:
    """The queries of a file. Raises UsageError for what is no query."""
    found: list[Query] = []
    for statement in _parsed(read_text(file, str(file)), str(file)):
        if statement.kind not in _KINDS:
            raise UsageError(
                f"{file}:{statement.line}: not a query of an application",
                hint="select, insert, update, delete and merge are run; parameters are written $1, $2",
            )
        found.append(Query(version, str(file), statement.line, statement.sql))
    if not found:
        raise UsageError(f"{file} holds no queries")
    return found


def _parsed(text: str, label: str) -> tuple[ddl.Statement, ...]:
    """The statements of a file, whose parameters may be written as a driver takes them."""
    try:
        return ddl.parse(text, label=label)
    except ddl.SqlSyntaxError:
        again = numbered(text)
        if again == text:
            raise
        return ddl.parse(again, label=label)


def numbered(text: str) -> str:
    """`%s`, `%(name)s` and `:name` as `$1`, `$2`, counted in each statement anew; quoted text and comments stay."""
    names: dict[str, int] = {}

    def number(found: re.Match[str]) -> str:
        held = found[0]
        if held == ";":
            names.clear()
        elif held == "%%":
            return "%"
        elif held == "%s":
            names[f"%{len(names)}"] = len(names) + 1
            return f"${len(names)}"
        elif name := found["percent"] or found["colon"]:
            return f"${names.setdefault(name, len(names) + 1)}"
        return held

    return _TOKEN.sub(number, text)


class Application:
    """One session per version that has prepared its queries; each run is rolled back."""

    def __init__(self, dsn: str, queries: list[Query]) -> None:
        self._queries = queries
        self._position: Callable[[], int] = lambda: -1
        self._stopping = threading.Event()
        self._quiet = threading.Lock()
        self._sessions = {v: _Session(dsn, [q for q in queries if q.version == v]) for v in ("old", "new")}
        self._threads: list[threading.Thread] = []

    def once(self, phase: str, position: int = -1) -> None:
        """Run every query once and note what came of it."""
        with self._quiet:
            for session in self._sessions.values():
                session.run(phase, position)

    def start(self, position: Callable[[], int]) -> None:
        """Go on running them all until `stop`, as traffic does; `position` tells the statement that runs."""
        for session in self._sessions.values():
            thread = threading.Thread(target=self._traffic, args=(session, position), daemon=True)
            self._threads.append(thread)
            thread.start()

    def stop(self) -> None:
        """End the traffic; the sessions stay, with their prepared plans."""
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def prepare_again(self) -> None:
        """Look which of the queries that fail now would work in a session that prepares them anew."""
        for session in self._sessions.values():
            session.prepare_again()

    def close(self) -> None:
        """End the sessions."""
        self.stop()
        for session in self._sessions.values():
            session.close()

    def _traffic(self, session: _Session, position: Callable[[], int]) -> None:
        while not self._stopping.is_set():
            session.run("during", position())
            self._stopping.wait(EVERY)


class _Session:
    def __init__(self, dsn: str, queries: list[Query]) -> None:
        self._queries = queries
        self._lock = threading.Lock()
        self._connection = psycopg.connect(
            dsn,
            autocommit=True,
            application_name="dbkit rehearse: application",
            prepare_threshold=None,
        )
        self._calls: dict[int, str] = {}

    def run(self, phase: str, position: int) -> None:
        with self._lock:
            for number, query in enumerate(self._queries):
                self._one(number, query, phase, position)

    def prepare_again(self) -> None:
        with self._lock:
            self._connection.execute("deallocate all")
            self._calls.clear()
            for number, query in enumerate(self._queries):
                if not query.tallies["after"].failed:
                    continue
                try:
                    self._connection.execute("begin")
                    self._connection.execute(cast(LiteralString, self._prepare(number, query)))
                    query.again = True
                except psycopg.Error:
                    query.again = False
                finally:
                    self._connection.execute("rollback")

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    def _one(self, number: int, query: Query, phase: str, position: int) -> None:
        tally = query.tallies[phase]
        began = time.monotonic()
        try:
            call = self._calls.get(number) or self._prepare(number, query)
            self._connection.execute("begin")
            self._connection.execute(cast(LiteralString, call))
        except psycopg.Error as error:
            tally.failed += 1
            if not tally.error:
                tally.error = redact(" ".join((error.diag.message_primary or str(error)).split()))
                if isinstance(error, psycopg.errors.QueryCanceled):  # by the watcher: nobody else would
                    tally.error = "deadlock detected: it waits for the migration, which waits for it"
                tally.sqlstate, tally.statement = error.sqlstate or "", position
        finally:
            with suppress(psycopg.Error):
                self._connection.execute("rollback")
        tally.runs += 1
        tally.longest = max(tally.longest, time.monotonic() - began)

    def _prepare(self, number: int, query: Query) -> str:
        name = f"dbkit_{number}"
        self._connection.execute(cast(LiteralString, f"prepare {name} as {query.sql}"))
        row = self._connection.execute(
            "select parameter_types::text[] from pg_catalog.pg_prepared_statements where name = %s", [name]
        ).fetchone()
        values = [_sample(kind) for kind in (row[0] if row else ())]
        given = f" ({', '.join(values)})" if values else ""
        self._calls[number] = f"execute {name}{given}"
        return self._calls[number]


def _sample(kind: str) -> str:
    """A value of a parameter's type, such as the seeder gives to its first row."""
    base = {
        "integer": "int4",
        "bigint": "int8",
        "smallint": "int2",
        "character varying": "varchar",
        "boolean": "bool",
        "timestamp with time zone": "timestamptz",
        "timestamp without time zone": "timestamp",
        "double precision": "float8",
        "real": "float4",
    }.get(kind, kind)
    array = kind.endswith("[]")
    column = Column(
        name="x", type=kind, base=base, kind="b", category="A" if array else "", element=kind.removesuffix("[]"),
        element_base=None, length=None, digits=None, scale=None, labels=0, not_null=False, generated=False,
        identity=False, default=None, domain=None, fields=[],
    )  # fmt: skip
    # EXECUTE takes no subquery, so the row number is written out.
    return re.sub(r"\bi\b", "1", candidates(column, Hints(), 1)[0])
