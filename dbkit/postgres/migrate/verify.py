"""Proves that a fill is whole: counts the rows that differ, shows some, then lets the server validate the tie.

The proof is the server's own and lasts: a validated CHECK is in the catalogue, survives restarts, and refuses every
later write that would break it. The count before it takes no lock and gives the figure and the sample that VALIDATE
would not; VALIDATE takes SHARE UPDATE EXCLUSIVE, under which reads and writes go on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final

import psycopg
from psycopg import sql

from dbkit.errors import Broken, DbkitError, Refused, Stopped
from dbkit.job import Hooks, Log, Record, Tick, run
from dbkit.model import Json
from dbkit.postgres.catalog import quoted
from dbkit.postgres.connect import Connection, connect, fetch
from dbkit.postgres.indexes import failure
from dbkit.postgres.indexes.watch import Limits, Running, Watch
from dbkit.postgres.jobstore import PostgresStore
from dbkit.postgres.migrate.backfill import state, tables, text
from dbkit.postgres.migrate.backfill.run import preflight
from dbkit.postgres.migrate.backfill.survey import Survey, survey
from dbkit.postgres.migrate.changes.spec import BackfillSpec
from dbkit.settings import Target

KIND: Final = "verify"
_LOOK: Final = 0.3


@dataclass
class Verdict:
    """What is known of one fill. `verified`: the tie is validated (or, where there is none, no row is pending)."""

    spec: BackfillSpec
    found: Survey = field(default_factory=Survey)
    verified: bool = False
    note: str = ""
    seconds: float = 0.0
    waited: float = 0.0
    """Seconds VALIDATE waited for others; it makes no reader and no writer wait."""

    def data(self) -> dict[str, Json]:
        """As the report tells it."""
        return {
            "change": self.spec.change,
            "table": quoted(self.spec.schema, self.spec.table),
            "tie": self.spec.tie or None,
            "rows": self.found.rows,
            "differing": self.found.differing,
            "sample": list(self.found.sample),
            "verified": self.verified,
            "note": self.note,
            "seconds": round(self.seconds, 3),
        }


@dataclass(frozen=True, slots=True)
class Verified:
    """What became of a verification, and the error it ended with (None when it ran to its end)."""

    verdicts: tuple[Verdict, ...]
    server_version: str
    job: int | None
    error: DbkitError | None = None

    @property
    def whole(self) -> bool:
        """Whether every fill is proved."""
        return self.error is None and bool(self.verdicts) and all(v.verified for v in self.verdicts)


def verify(
    specs: Sequence[BackfillSpec],
    target: Target,
    limits: Limits | None = None,
    *,
    progress: Callable[[Record, Tick], None] = lambda record, tick: None,
) -> Verified:
    """Verify the fills of a change, in order. Raises Refused, Unreachable or UsageError when nothing was looked at."""
    with connect(target, purpose="verify") as connection:
        version = preflight(connection).version_text
        store = PostgresStore(connection)
        store.prepare()
        state.prepare(connection)
        job = VerifyJob(specs, target, limits or Limits())
        seen: list[Record] = []

        def follow(record: Record, tick: Tick) -> None:
            seen[:] = [record]
            progress(record, tick)

        error: DbkitError | None = None
        try:
            run(job, store, Hooks(progress=follow))
        except DbkitError as raised:
            if not seen:
                raise
            error = raised
        except psycopg.Error as raised:  # of the connection that keeps account of the run
            error = failure.of_build(raised, "keeping account of the run")
        return Verified(tuple(job.verdicts), version, seen[0].id if seen else None, error)


class VerifyJob:
    """The verification of some fills as a job: it can be stopped, and a second runner is refused."""

    kind = KIND

    def __init__(self, specs: Sequence[BackfillSpec], target: Target, limits: Limits) -> None:
        self._specs, self._target, self._limits = tuple(specs), target, limits
        self.verdicts: list[Verdict] = []
        self._watch: Watch | None = None

    @property
    def key(self) -> str:
        return "verify " + ", ".join(quoted(s.schema, s.table) for s in self._specs)

    @property
    def spec(self) -> Mapping[str, Json]:
        plans: list[Json] = [{**asdict(s), "columns": list(s.columns)} for s in self._specs]
        work = " ".join(state.work_of(s) for s in self._specs)
        return {"work": work, "plan": plans, "change": self._specs[0].change if self._specs else None}

    def cancel(self) -> None:
        """Second signal: a VALIDATE that runs is cancelled, which leaves the tie as it was."""
        if self._watch is not None:
            self._watch.hurry = self._watch.stopping = True

    def ticks(self, cursor: Mapping[str, Any], log: Log) -> Generator[Tick, None, None]:
        """Count, then validate, fill by fill."""
        del cursor  # a count is only worth something when it is of one time: it begins anew
        with ExitStack() as stack:
            control = stack.enter_context(connect(self._target, purpose="verify watch"))
            worker = stack.enter_context(connect(self._target, purpose="verify"))
            worker.execute("set /* dbkit */ row_security = off")
            for spec in self._specs:
                began = time.monotonic()
                verdict = Verdict(spec)
                self.verdicts.append(verdict)
                yield from self._one(control, worker, verdict, log)
                verdict.seconds = time.monotonic() - began
                _record(control, verdict)
                log("verified" if verdict.verified else "differs", {**verdict.data(), "sample": None})
        proved = sum(1 for v in self.verdicts if v.verified)
        yield Tick(proved, len(self._specs), f"{proved} of {len(self._specs)} verified")

    def _one(self, control: Connection, worker: Connection, verdict: Verdict, log: Log) -> Generator[Tick, None, None]:
        spec = verdict.spec
        name = quoted(spec.schema, spec.table)
        table = tables.look(worker, spec)
        condition = spec.pending
        if spec.tie:
            tie = _tie(worker, table.root, spec)
            if tie["validated"]:
                verdict.verified, verdict.note = True, "validated before: the server has refused every breach since"
                return
            condition = f"({tie['expression']}) is false"
            if not tables.immutable(worker, spec, str(tie["expression"])):
                raise Refused(
                    f"the check {spec.tie} of {name} is not immutable",
                    why=f"what it says of a row may change without the row: {tie['expression']}",
                    hint="write the expression with immutable functions only, then expand again",
                )
        for found in survey(worker, spec, table, condition=condition):
            verdict.found = found
            yield Tick(0, len(self._specs), f"{name}: {found.pages} of {found.total} pages, {found.differing} differ")
        if verdict.found.differing:
            verdict.note = f"{verdict.found.differing} rows differ"
        elif spec.kept:
            yield from self._note(control, worker, verdict, log)
        elif not spec.tie:
            verdict.verified, verdict.note = True, "counted; no check keeps it so"
        else:
            yield from self._validate(control, worker, table, verdict, log)

    def _note(self, control: Connection, worker: Connection, verdict: Verdict, log: Log) -> Generator[Tick, None, None]:
        """Note on the trigger that every row agreed: each was seen to, and since then the trigger keeps it so."""
        spec, seen = verdict.spec, verdict.found
        told = f"verified: {seen.rows:,} rows counted, none differs"
        statement = sql.SQL("comment on trigger {} on {} is {}").format(
            sql.Identifier(spec.kept), sql.Identifier(spec.schema, spec.table), sql.Literal(told)
        )
        yield from self._watched(control, worker, verdict, log, [(spec.schema, spec.table, statement)])
        if verdict.verified:
            verdict.note = "counted; its triggers carry every write to the other table, and the note on them says so"

    def _validate(
        self, control: Connection, worker: Connection, table: tables.Table, verdict: Verdict, log: Log
    ) -> Generator[Tick, None, None]:
        """VALIDATE leaf by leaf, so that each scan is as short as it can be, and the root at the end."""
        spec = verdict.spec
        leaves = [(leaf.schema, leaf.name) for leaf in table.leaves if leaf.oid != table.root]
        statements = [
            (
                schema,
                name,
                sql.SQL("alter table {} validate constraint {}").format(
                    sql.Identifier(schema, name), sql.Identifier(spec.tie)
                ),
            )
            for schema, name in [*leaves, (spec.schema, spec.table)]
        ]
        yield from self._watched(control, worker, verdict, log, statements)
        if verdict.verified:
            verdict.note = "validated: the server refuses every write that would break it"

    def _watched(
        self, control: Connection, worker: Connection, verdict: Verdict, log: Log,
        statements: Sequence[tuple[str, str, sql.Composed]],
    ) -> Generator[Tick, None, None]:  # fmt: skip
        """Run statements one by one under the watch; at the end the verdict is verified, unless a row came between."""
        watch = self._watch = Watch(control)
        watch.own(worker)
        with ThreadPoolExecutor(1) as pool:
            for schema, name, statement in statements:
                running = Running(worker, quoted(schema, name), self._limits)
                future = pool.submit(_run, watch, running, statement)
                try:
                    while not future.done():
                        yield Tick(0, len(self._specs), f"validating {watch.look()}")
                        _flush(watch, log)
                        time.sleep(_LOOK if not future.done() else 0)
                finally:
                    _leave(watch, future)
                    _flush(watch, log)
                verdict.waited += running.waited
                if not _settled(future, running, verdict):
                    return
        verdict.verified = True


def _run(watch: Watch, running: Running, statement: sql.Composed) -> None:
    with watch.over(running):
        running.connection.execute(statement)


def _leave(watch: Watch, future: Future[None]) -> None:
    """When the job is being closed in the middle: cancel, and wait until the statement has ended."""
    watch.stopping = watch.stopping or not future.done()
    while not future.done():
        watch.cancel()
        time.sleep(0.05)


def _settled(future: Future[None], running: Running, verdict: Verdict) -> bool:
    error = future.exception()
    if error is None:
        return True
    if isinstance(error, psycopg.errors.CheckViolation):
        verdict.note = f"a row of {running.object} came to differ between count and VALIDATE"
        verdict.found.differing = max(1, verdict.found.differing)
        return False
    if isinstance(error, psycopg.errors.QueryCanceled):
        raise Stopped(
            f"VALIDATE on {running.object} was cancelled",
            why=running.reason or "somebody cancelled it",
            hint="nothing was changed; run the same command again, with more --max-wait or --deadline if it needs them",
        )
    if isinstance(error, psycopg.Error):
        raise failure.of_build(error, f"VALIDATE on {running.object}")
    if isinstance(error, DbkitError):
        raise error
    raise Broken(f"VALIDATE on {running.object} failed: {error}") from error


def _tie(connection: Connection, root: int, spec: BackfillSpec) -> dict[str, Any]:
    rows = fetch(
        connection,
        "select c.convalidated as validated, pg_catalog.pg_get_expr(c.conbin, c.conrelid) as expression "
        "from pg_catalog.pg_constraint c where c.conrelid = %s and c.conname = %s and c.contype = 'c'",
        [root, spec.tie],
    )
    if not rows:
        raise Refused(
            f"{quoted(spec.schema, spec.table)} has no check {spec.tie}: there is nothing that could prove it",
            hint="`dbkit migrate expand` makes it; `dbkit migrate status` shows where the change stands",
        )
    return rows[0]


def _record(connection: Connection, verdict: Verdict) -> None:
    spec = verdict.spec
    connection.execute(
        "insert into dbkit.verification (change, rel, name, tie, rows, differing, verified, note, seconds) "
        "values (%s, to_regclass(%s), %s, %s, %s, %s, %s, %s, %s)",
        [
            spec.change,
            sql.Identifier(spec.schema, spec.table).as_string(),
            quoted(spec.schema, spec.table),
            spec.tie,
            verdict.found.rows,
            verdict.found.differing,
            verdict.verified,
            verdict.note,
            verdict.seconds,
        ],
    )


def _flush(watch: Watch, log: Log) -> None:
    now = time.monotonic()
    for at, event, detail in watch.events():
        log(event, detail, now - at)


def of_check(connection: Connection, name: str, check: str) -> BackfillSpec:
    """A spec that stands for one NOT VALID check of a table, whoever made it. Raises UsageError or Refused."""
    schema, named = text.relation(name)
    change = f"{schema}.{named} {check}"
    spec = BackfillSpec(change, schema, named, assignments="", pending="false", columns=(), tie=check)
    table = tables.look(connection, spec)
    expression = _tie(connection, table.root, spec)["expression"]
    return replace(spec, pending=f"({expression}) is false")
