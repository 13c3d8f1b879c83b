"""Tries indexes on an empty copy of the database that believes it has the target's rows.

The copy has the schema (pg_dump), the statistics (pg_stats, put back into pg_statistic) and the sizes of the target, so
that the planner comes to the same plans, while there is not one row in it. The planner asks the file system how large
a table is; the files are therefore as long as the target's, and hollow: they take no room. Candidates are real
indexes, built while the files are still empty, and hidden from the planner until they are tried.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import psycopg
from psycopg import conninfo, sql

from dbkit import assets
from dbkit.ephemeral import Unavailable
from dbkit.ephemeral.own_way import own_way, without_leads
from dbkit.ephemeral.postgres import start_postgres
from dbkit.postgres.advise import ground, sizes
from dbkit.postgres.advise.candidate import Candidate
from dbkit.postgres.advise.facts import Facts, path_sql
from dbkit.postgres.advise.plans import Plan
from dbkit.postgres.advise.statement import Statement
from dbkit.postgres.connect import Connection, connect, fetch, parse
from dbkit.secrets import redact
from dbkit.settings import Target, from_address

if TYPE_CHECKING:
    from types import TracebackType

    from dbkit.ephemeral.postgres import PostgresServer
    from dbkit.postgres.catalog import Relation

SEGMENT: Final = 131072
"""Pages in one file of a relation: 1 GB."""
DUMP_SECONDS: Final = 600
SETTINGS: Final = {"autovacuum": "off", "max_wal_size": "1GB", "logging_collector": "off"}
DATABASE: Final = "advice"
_DUMP: Final = (
    "--schema-only", "--no-owner", "--no-privileges", "--no-publications", "--no-subscriptions",
    "--no-security-labels", "--no-comments", "--no-tablespaces", "--lock-wait-timeout=5000", "--exclude-schema=dbkit",
)  # fmt: skip


class EmptyCopy:
    """The copy, from its start to its end; a context manager."""

    def __init__(self, target: Target, source: Connection, facts: Facts) -> None:
        self._target = target
        self._source = source
        self._facts = facts
        self._stack = ExitStack()
        self._candidates: Sequence[Candidate] = ()
        self._tables: list[Relation] = []
        self._oids: dict[int, tuple[int, ...]] = {}
        self._names: dict[str, int] = {}
        self.notes: list[str] = []
        self._locale = fetch(source, assets.query("postgres/locale"))[0]

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            with own_way():
                server = stack.enter_context(self._start())
                self._server: PostgresServer = server
                self._create()
            self.name = f"an empty copy on PostgreSQL {server.version_text} with the target's statistics"
            self._load(self._dump())
            self._connection = self._connect()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()
        self._stack.close()

    def learn(self, statements: Iterable[Statement]) -> None:
        """Give the tables of these statements the target's statistics and sizes."""
        seen: set[int] = set()
        for statement in statements:
            plan = ground.explain(self._connection, statement)
            if isinstance(plan, Plan):
                found = (self._facts.table(*name) for name in plan.relations())
                seen |= {table.oid for table in found if table is not None}
        parts = {p.oid for p in self._facts.partitions if p.root_oid in seen}
        self._tables = [self._facts.relations[oid] for oid in sorted(seen | parts) if oid in self._facts.relations]
        self._import()
        self._resize()
        for row in fetch(self._connection, assets.query("postgres/copy_limits"), self._names_of()):
            self.notes.append(f"{row['tables']} {row['told']}")

    def plan(self, statement: Statement) -> Plan | str:
        """See Ground."""
        return ground.explain(self._connection, statement)

    def build(self, candidates: Sequence[Candidate]) -> dict[int, str]:
        """See Ground."""
        self._candidates = candidates
        self._connection.close()  # no session may remember how large a file was
        self._hollow(0)
        self._connection = self._connect()
        refused: dict[int, str] = {}
        self._writable()
        for position, candidate in enumerate(candidates):
            name = f"dbkit_advice_{position}"
            try:
                self._connection.execute(_literal(candidate.statement(name, concurrently=False)))
            except psycopg.Error as error:
                refused[position] = " ".join((error.diag.message_primary or str(error)).split())
                continue
            self._register(position, candidate, name)
        self.use(())
        self._resize()
        return refused

    def use(self, positions: Iterable[int]) -> None:
        """See Ground. The planner passes over an index that is marked as not valid."""
        every = [oid for oids in self._oids.values() for oid in oids]
        seen = [oid for position in positions for oid in self._oids[position]]
        self._connection.execute(
            "update pg_catalog.pg_index set indisvalid = indexrelid = any(%s::oid[])"
            " where indexrelid = any(%s::oid[]) and indisvalid is distinct from (indexrelid = any(%s::oid[]))",
            [seen, every, seen],
        )

    def position(self, index: str) -> int | None:
        """See Ground."""
        return self._names.get(index)

    @property
    def connection(self) -> Connection:
        """The session on the copy."""
        return self._connection

    def _start(self) -> PostgresServer:
        major = self._facts.server.major
        try:
            return start_postgres(major, settings=SETTINGS, sources=("embedded", "local"))
        except Unavailable as error:
            raise Unavailable(
                error.reason,
                what=f"there is no place to try indexes of PostgreSQL {major}",
                hint=f"create extension hypopg on the target, or install PostgreSQL {major} on this machine",
            ) from None

    def _create(self) -> None:
        """A database that sorts text as the target does, or at least as far from byte order."""
        held = self._locale
        plain = held["collate"] in ("C", "POSIX") and held["provider"] == "c"
        exact = sql.SQL("lc_collate {} lc_ctype {}").format(held["collate"], held["ctype"])
        if held["provider"] in ("i", "b"):
            word = sql.SQL("icu_locale") if held["provider"] == "i" else sql.SQL("builtin_locale")
            provider = sql.SQL("icu") if held["provider"] == "i" else sql.SQL("builtin")
            exact += sql.SQL(" locale_provider {} {} {}").format(provider, word, held["locale"])
        elif self._server.major >= 15:
            exact += sql.SQL(" locale_provider libc")
        spare = ["C"] if plain else ["C.UTF-8", "en_US.UTF-8", "C"]
        libc = sql.SQL(" locale_provider libc") if self._server.major >= 15 else sql.SQL("")
        others = [sql.SQL("lc_collate {} lc_ctype {}").format(name, name) + libc for name in spare]
        with psycopg.connect(self._server.dsn, autocommit=True) as connection:
            for number, locale in enumerate((exact, *others)):
                statement = sql.SQL("create database {} template template0 encoding {} {}")
                try:
                    connection.execute(statement.format(sql.Identifier(DATABASE), held["encoding"], locale))
                except psycopg.Error:
                    if number == len(others):
                        raise
                    continue
                if number:
                    self.notes.append(
                        f"text sorts by {spare[number - 1]} in the copy, since {held['collate']} is not on this machine"
                    )
                return

    def _dump(self) -> str:
        program = self._server.binaries.program("pg_dump") if self._server.binaries else Path("pg_dump")
        parts = conninfo.conninfo_to_dict(parse(self._target.dsn()))
        secrets = {k: str(parts.pop(k)) for k in ("password", "sslpassword") if k in parts}
        environment = {**os.environ, **({"PGPASSWORD": secrets["password"]} if "password" in secrets else {})}
        without = [f"--exclude-table={name}" for name in self._locale["unreadable"]]
        command = [str(program), *_DUMP, *without, "-d", conninfo.make_conninfo("", **parts)]
        try:
            done = subprocess.run(
                command, env=environment, capture_output=True, text=True, check=False, timeout=DUMP_SECONDS
            )
            why = redact(" ".join(done.stderr.split())) if done.returncode else ""
        except subprocess.TimeoutExpired:
            why = f"pg_dump was not done after {DUMP_SECONDS} s"
        else:
            if not done.returncode:
                return done.stdout
        raise Unavailable(
            why,
            what=f"cannot copy the schema of {self._target.name}",
            hint="create extension hypopg on the target: then no copy is needed",
        )

    def _load(self, script: str) -> None:
        program = self._server.binaries.program("psql") if self._server.binaries else Path("psql")
        command = [str(program), "-Xq", "-d", self._server.dsn_for(DATABASE, secret=False), "-f", "-"]
        environment = {**without_leads(os.environ), "PGPASSWORD": self._server.password}
        done = subprocess.run(
            command, input=script, env=environment, capture_output=True, text=True, check=False, timeout=DUMP_SECONDS
        )
        broken = [line.partition("ERROR:")[2].strip() for line in done.stderr.splitlines() if "ERROR:" in line]
        if broken:
            self.notes.append(f"{len(broken)} statements of the schema failed on the copy, the first: {broken[0]}")

    def _connect(self) -> Connection:
        with own_way():
            connection = connect(from_address(self._server.dsn_for(DATABASE)), purpose="index advise, on a copy")
        ground.prepare(connection, seconds=60)
        for row in fetch(self._source, assets.query("postgres/planner")):
            try:
                connection.execute("select /* dbkit */ set_config(%s, %s, false)", [row["name"], row["setting"]])
            except psycopg.Error:
                continue  # a setting of another minor version or of a library: the planner of the copy has its default
        connection.execute(
            "select /* dbkit */ set_config('search_path', %s, false)", [path_sql(self._facts.search_path)]
        )
        self._connection = connection
        self._writable()
        return connection

    def _writable(self) -> None:
        """The copy is ours: its catalogue is written directly."""
        self._connection.execute("set default_transaction_read_only = off")
        self._connection.execute("set allow_system_table_mods = on")

    def _names_of(self) -> dict[str, list[str]]:
        oids = {t.oid for t in self._tables}
        names = [(t.schema, t.name) for t in self._tables]
        names += [(i.schema, i.name) for i in self._facts.indexes if i.table_oid in oids and i.expressions]
        return {"schemas": [s for s, _ in names], "names": [n for _, n in names]}

    def _import(self) -> None:
        rows = fetch(self._source, assets.query("postgres/column_statistics"), self._names_of())
        self._sizes = fetch(self._source, assets.query("postgres/relation_sizes"), self._names_of())
        insert = assets.query("postgres/import_statistics")
        lost: list[str] = []
        for row in rows:
            try:
                self._connection.execute(insert, row)
            except psycopg.Error as error:
                lost.append(f"{row['relation']}.{row['name']}: {error.diag.message_primary}")
        if lost:
            self.notes.append(f"statistics of {len(lost)} columns could not be copied, the first: {lost[0]}")
        known = {(row["schema"], row["relation"]) for row in rows}
        blind = sorted(t.qualified for t in self._tables if t.tuples > 0 and (t.schema, t.name) not in known)
        if blind:
            self.notes.append(
                f"statistics of {', '.join(blind)} are hidden from {self._facts.server.user} or missing: "
                "the planner guesses there (grant select, or analyze)"
            )

    def _resize(self) -> None:
        """Let every table and index have the target's length, in the catalogue and on disk."""
        for row in self._sizes:
            self._length(row["schema"], row["name"], row["pages"], row["counted_pages"], row["tuples"], row["visible"])
        for position, oids in self._oids.items():
            candidate = self._candidates[position]
            share = self._share(candidate)
            columns = self._facts.columns.get(candidate.table.oid, {})
            for oid in oids:
                self._candidate_length(oid, candidate, share, columns)

    def _candidate_length(self, oid: int, candidate: Candidate, share: float, columns: Any) -> None:
        row = self._connection.execute(
            "select t.reltuples from pg_catalog.pg_index i join pg_catalog.pg_class t on t.oid = i.indrelid"
            " where i.indexrelid = %s",
            [oid],
        ).fetchone()
        rows = max(0.0, float(row[0]) if row else 0.0) * share
        pages = max(2, sizes.bytes_of(candidate, columns, rows) // sizes.BLOCK)
        self._set(oid, pages, pages, rows, 0)

    def _share(self, candidate: Candidate) -> float:
        """The share of the rows that a partial index holds, as the planner sees it."""
        if not candidate.where:
            return 1.0
        statement = Statement("", "", ((f"select from {candidate.table.qualified} where {candidate.where}", 0),))
        plan = ground.explain(self._connection, statement)
        every = self._facts.rows(candidate.table.oid)
        return min(1.0, float(plan.tree["Plan Rows"]) / every) if isinstance(plan, Plan) and every else 1.0

    def _length(self, schema: str, name: str, pages: int, counted: int, tuples: float, visible: int) -> None:
        row = self._connection.execute(
            "select c.oid from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace"
            " where n.nspname = %s and c.relname = %s",
            [schema, name],
        ).fetchone()
        if row is not None:
            self._set(row[0], pages, counted, tuples, visible)

    def _set(self, oid: int, pages: int, counted: int, tuples: float, visible: int) -> None:
        row = self._connection.execute(
            "update pg_catalog.pg_class set relpages = %s, reltuples = %s, relallvisible = %s"
            " where oid = %s returning pg_catalog.pg_relation_filepath(oid)",
            [counted, tuples, visible, oid],
        ).fetchone()
        if row is not None and row[0] is not None and self._server.directory is not None:
            stretch(self._server.directory / row[0], pages)

    def _hollow(self, pages: int) -> None:
        """Give every table (not its indexes, whose first page is read) a length."""
        with own_way(), psycopg.connect(self._server.dsn_for(DATABASE), autocommit=True) as connection:
            for table in self._tables:
                row = connection.execute(
                    "select pg_catalog.pg_relation_filepath(pg_catalog.to_regclass(%s))", [table.qualified]
                ).fetchone()
                if row is not None and row[0] is not None and self._server.directory is not None:
                    stretch(self._server.directory / row[0], pages)

    def _register(self, position: int, candidate: Candidate, name: str) -> None:
        rows = self._connection.execute(
            "with recursive tree (oid) as ("
            " select pg_catalog.to_regclass(%s)::oid union all"
            " select h.inhrelid from pg_catalog.pg_inherits h join tree on tree.oid = h.inhparent)"
            " select c.oid, c.relname from tree join pg_catalog.pg_class c using (oid)",
            [sql.Identifier(candidate.table.schema, name).as_string()],
        ).fetchall()
        self._oids[position] = tuple(row[0] for row in rows)
        self._names.update({row[1]: position for row in rows})


def stretch(file: Path, pages: int) -> None:
    """Give the files of a relation the length of that many pages, without writing one: the missing part is a hole."""
    owner = file.stat()
    number, left = 0, pages
    while True:
        part = file if number == 0 else file.with_name(f"{file.name}.{number}")
        here = min(left, SEGMENT)
        if number and here == 0 and left == 0:
            if not part.exists():
                return
            part.unlink()
        else:
            if not part.exists():
                part.touch(mode=0o600)
                os.chown(part, owner.st_uid, owner.st_gid)
            os.truncate(part, here * sizes.BLOCK)
        left -= here
        number += 1


def _literal(text: str) -> bytes:
    """A statement of ours for a server of ours."""
    return text.encode()
