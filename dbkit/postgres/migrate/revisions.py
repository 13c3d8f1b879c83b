"""The bridge to Alembic: which revisions there are, which are applied, and what each would send.

Nothing of env.py runs. Alembic's own ScriptDirectory reads the files and its HeadMaintainer says what becomes of
alembic_version, so a chain moved by dbkit and one moved by `alembic upgrade` end alike.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, LiteralString, cast

from psycopg import sql

from dbkit.errors import Refused, UsageError
from dbkit.postgres.connect import Connection
from dbkit.postgres.migrate import alembic_chain, alembic_places, alembic_source
from dbkit.postgres.migrate.alembic_names import convention
from dbkit.postgres.migrate.source import Part

UP: Final = "upgrade"
DOWN: Final = "downgrade"


@dataclass(frozen=True, slots=True)
class Revision:
    """One file of the chain."""

    id: str
    path: Path
    doc: str
    phase: str
    """`expand`, `contract`, or empty for a revision that does not say."""
    change: Mapping[str, Any] | None = field(compare=False)
    """The `change = {...}` of a revision that `dbkit migrate new` wrote."""
    after: tuple[str, ...]
    """The revisions it follows or depends on."""
    script: Any = field(repr=False, compare=False)
    """Alembic's own Script."""
    naming: Mapping[str, str] | None = field(default=None, repr=False, compare=False)
    """The convention by which names are given that it leaves out."""

    def parts(self, direction: str) -> tuple[Part, ...]:
        """What it sends, in order; one part that says so in words where that needs a connection (`op.get_bind()`).

        Raises UsageError for a revision that no connection would help.
        """
        found: list[Part] = []
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the revision's own deprecations are not ours to report
                asked = alembic_source.record(self.path, getattr(self.script.module, direction), found, self.naming)
        except (Exception, SystemExit) as error:
            why = f"{type(error).__name__}: {error}".splitlines()[0]
            if isinstance(error, ImportError | NameError) and "proxy object" not in str(error):
                raise UsageError(
                    f"{self.path.name}: {direction}() of revision {self.id} cannot be read",
                    why=why,
                    hint="nothing was run; mend the file and run the same command again",
                ) from None
            return (self._online(direction, why),)
        if asked or alembic_source.asks_for_a_connection(self.script.module, direction):
            return (self._online(direction, "it calls op.get_bind()"),)
        return tuple(found)

    def _online(self, direction: str, why: str) -> Part:
        return Part(f"-- dbkit: online\n{direction}() of {self.path.name}, run by Alembic on a connection: {why}", 1)


@dataclass(frozen=True, slots=True)
class Environment:
    """The revisions of one Alembic environment, oldest first."""

    directory: Path
    revisions: tuple[Revision, ...]
    script: Any = field(repr=False, compare=False)
    version_table: str = "alembic_version"
    schema: str = ""
    """The tenant's schema that all names without one mean, and that holds the version table; empty: the role's own."""
    config: str = ""
    """The alembic.ini that was named, as Alembic's own command needs it; empty: the nearest."""

    def within(self, schema: str) -> Environment:
        """The same revisions for one schema of many, as with Alembic's recipe of one version table in each.

        Raises UsageError for a change that was written for a schema by name.
        """
        if "." in schema:
            raise UsageError(f"schema {schema!r} has a dot in its name", hint="leave it out of --schema-pattern")
        found = tuple(replace(r, change=_placed(r, schema)) for r in self.revisions)
        table = f"{schema}.{self.version_table.rpartition('.')[2]}"
        return replace(self, revisions=found, version_table=table, schema=schema)

    def mark(self, revision: str) -> str:
        """A revision's name in dbkit's own records, which are one for all schemas."""
        return f"{self.schema}/{revision}" if self.schema else revision

    def __getitem__(self, revision: str) -> Revision:
        for found in self.revisions:
            if found.id == revision:
                return found
        raise UsageError(f"there is no revision {revision} in {self.directory}", hint="`alembic history` lists them")

    @property
    def head(self) -> str | None:
        """The one head, None for an empty chain. Raises UsageError when there are several."""
        docs = {r.id: r.doc.splitlines()[0] if r.doc else r.path.name for r in self.revisions}
        return alembic_chain.one_head(self.script, docs, self.config)

    def ancestors(self, heads: Iterable[str]) -> frozenset[str]:
        """The given revisions and all before them."""
        known = {r.id: r for r in self.revisions}
        found: set[str] = set()
        pending = list(heads)
        while pending:
            name = pending.pop()
            if name in found:
                continue
            if name not in known:
                raise Refused(
                    f"the database is at revision {name}, which {self.directory} does not hold",
                    hint="check out the code that was deployed last, or name the right folder with --migrations",
                )
            found.add(name)
            pending += known[name].after
        return frozenset(found)

    def moves(self, heads: Sequence[str], revision: Revision, direction: str) -> tuple[str, ...]:
        """The statements on the version table that this step needs; each must hit exactly one row."""
        from alembic.runtime.migration import HeadMaintainer, MigrationContext, RevisionStep

        context = MigrationContext.configure(dialect_name="postgresql", opts=self._options())
        found: list[str] = []

        def keep(construct: Any, *_rest: Any) -> None:
            compiled = construct.compile(dialect=context.impl.dialect, compile_kwargs={"literal_binds": True})
            found.append(str(compiled))

        context.impl._exec = keep  # pyright: ignore[reportAttributeAccessIssue, reportPrivateUsage]  # noqa: SLF001
        step = RevisionStep(self.script.revision_map, revision.script, direction == UP)
        HeadMaintainer(context, heads).update_to_step(step)
        return tuple(found)

    def _options(self) -> dict[str, Any]:
        schema, _, name = self.version_table.rpartition(".")
        return {"as_sql": True, "version_table": name, "version_table_schema": schema or None}

    def pending(self, heads: Iterable[str]) -> tuple[Revision, ...]:
        """What is not applied yet, in the order it has to run."""
        applied = self.ancestors(heads)
        return tuple(r for r in self.revisions if r.id not in applied)


def _placed(revision: Revision, schema: str) -> Mapping[str, Any] | None:
    """The change of a revision, as it is in one schema of many."""
    if revision.change is None:
        return None
    made = {**revision.change, "id": f"{schema}/{revision.change.get('id', '')}"}
    made["fill"] = [{**entry, "schema": entry["schema"] or schema} for entry in revision.change.get("fill", ())]
    if "schema" in made:
        made["schema"] = made["schema"] or schema
        made["reads_old"] = [r if "." in r else f"{schema}.{r}" for r in map(str, revision.change.get("reads_old", ()))]
    named = {str(made.get("schema", schema)), *(str(entry["schema"]) for entry in made["fill"])} - {schema}
    if named:
        raise UsageError(
            f"{revision.path.name}: this change is of schema {min(named)}, not of every schema",
            hint="write it anew with `dbkit migrate new --any-schema`",
        )
    return made


def find(given: Path | None = None, *, version_table: str = "alembic_version") -> Environment:
    """The environment at a path, or the nearest alembic.ini or pyproject.toml with [tool.alembic] upwards."""
    place = given or _nearest(Path.cwd())
    if not place.exists():
        raise UsageError(f"{place} does not exist", hint="name alembic.ini or the folder that holds env.py")
    directory, _ = alembic_places.directory(place)
    from alembic.util.exc import CommandError

    held, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    # For as long as dbkit runs: a revision may import in upgrade() what it needs.
    sys.path[:0] = [p for p in alembic_places.imports(place, directory) if p not in sys.path]
    script = alembic_chain.opened(place)
    try:
        found = list(reversed(list(script.walk_revisions())))
    except CommandError as error:
        raise UsageError(f"{directory}: Alembic cannot read the revisions", why=str(error)) from None
    except Exception as error:
        raise alembic_source.not_imported(directory, error, alembic_chain.places(script)) from None
    finally:
        sys.dont_write_bytecode = held
    naming = convention(directory)
    revisions, config = tuple(_revision(script, s, naming) for s in found), str(given or "")
    return Environment(
        directory, revisions, script, version_table, config=config if config.endswith(".ini") else ""
    )  # fmt: skip


def heads(connection: Connection, environment: Environment) -> tuple[str, ...]:
    """What the database's version table says; empty where there is none yet."""
    table = _quoted(environment.version_table)
    with connection.transaction():
        connection.execute("set local search_path to default")  # dbkit's own sessions see pg_catalog only
        there = connection.execute("select pg_catalog.to_regclass(%s)", [table]).fetchone()
        if there is None or there[0] is None:
            return ()
        query = sql.SQL("select version_num from {} order by 1").format(_sql(table))
        return tuple(str(row[0]) for row in connection.execute(query).fetchall())


def version_table_ddl(environment: Environment) -> str:
    """Alembic's own definition of its version table."""
    table = _quoted(environment.version_table)
    name = environment.version_table.rpartition(".")[2]
    return (
        f"create table if not exists {table} (version_num varchar(32) not null, "
        f"constraint {_quoted(name + '_pkc')} primary key (version_num))"
    )


def _nearest(start: Path) -> Path:
    for folder in (start, *start.parents):
        if (folder / "alembic.ini").is_file():
            return folder / "alembic.ini"
        project = folder / "pyproject.toml"
        if project.is_file() and "[tool.alembic]" in project.read_text(encoding="utf-8"):
            return project
    raise UsageError(
        "no Alembic environment is found here",
        why="neither alembic.ini nor a pyproject.toml with [tool.alembic] in this folder or above",
        hint="name it with --migrations PATH, or make one: `alembic init migrations`",
    )


def _revision(script: Any, found: Any, naming: Mapping[str, str] | None) -> Revision:
    module = found.module
    down = found.down_revision
    follows = (down,) if isinstance(down, str) else tuple(down or ())
    needs = tuple(r.revision for name in _listed(found.dependencies) for r in script.get_revisions(name))
    change = getattr(module, "change", None)
    return Revision(
        id=found.revision,
        path=Path(found.path),
        doc=(found.doc or "").strip(),
        phase=str(getattr(module, "phase", "")),
        change=cast(Mapping[str, Any], change) if isinstance(change, Mapping) else None,
        after=(*follows, *needs),
        script=found,
        naming=naming,
    )


def _listed(value: Any) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value or ())


def _quoted(name: str) -> str:
    from dbkit.postgres.catalog import quote

    return ".".join(quote(part) for part in name.split("."))


def _sql(text: str) -> sql.SQL:
    # The quoted name of the version table.
    return sql.SQL(cast(LiteralString, text))
