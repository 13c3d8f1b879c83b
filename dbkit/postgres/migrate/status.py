"""Where the changes of a database stand, what is allowed next and why not; and what the next run would do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dbkit.exhibits import Table
from dbkit.model import Json, Report, TargetInfo
from dbkit.postgres.connect import Connection, connect, fetch, server
from dbkit.postgres.migrate import gate, revisions
from dbkit.postgres.migrate.changes import standing
from dbkit.postgres.migrate.changes.spec import Change, Phase
from dbkit.postgres.migrate.due import end_rollback, first_done, halved
from dbkit.postgres.migrate.executor.units import Unit, cut
from dbkit.postgres.migrate.revisions import UP, Environment, Revision
from dbkit.settings import Target

_NEXT = {
    Phase.NEW: "expand",
    Phase.EXPANDING: "expand",
    Phase.EXPANDED: "backfill",
    Phase.VERIFIED: "contract",
    Phase.CONTRACTING: "contract",
    Phase.CONTRACTED: "",
}


@dataclass(frozen=True, slots=True)
class Block:
    """What keeps the next step from being taken."""

    what: str
    who: str
    hint: str


@dataclass(frozen=True, slots=True)
class Standing:
    """One change as `dbkit migrate status` shows it."""

    change: Change
    next: str
    blocked_by: tuple[Block, ...]
    rows_done: int
    rows_total: int | None
    longest_wait_ms: float

    def data(self) -> dict[str, Json]:
        """As JSON, for acceptance tests and pipelines."""
        blocks: list[Json] = [{"what": b.what, "who": b.who, "hint": b.hint} for b in self.blocked_by]
        return {
            "id": self.change.id,
            "kind": self.change.kind,
            "table": self.change.qualified,
            "phase": self.change.phase.value,
            "next": self.next,
            "blocked_by": blocks,
            "rows_done": self.rows_done,
            "rows_total": self.rows_total,
            "longest_wait_ms": self.longest_wait_ms,
        }


def status(target: Target, environment: Environment, standbys: Sequence[Target] = ()) -> Report:
    """Every change with its phase and what keeps it there; `standbys` are watched by the gate, too."""
    with connect(target, purpose="migrate status") as connection:
        found = server(connection)
        standings = look(connection, environment, standbys)
    rows = tuple(
        (
            s.change.id, s.change.kind, s.change.qualified, s.change.phase.value, s.next or "-",
            "; ".join(f"{b.what}: {b.who}" for b in s.blocked_by) or "-",
            f"{s.rows_done} of {s.rows_total}" if s.rows_total is not None else "-", f"{s.longest_wait_ms:.0f} ms",
        )
        for s in standings
    )  # fmt: skip
    columns = ("change", "kind", "table", "phase", "next", "blocked by", "rows", "longest wait")
    return Report(
        command="migrate status",
        targets=(TargetInfo(target.name, "postgres", found.version_text),),
        extra={"changes": [s.data() for s in standings]},
        exhibits=(Table("Changes", columns, rows, numeric=frozenset({"longest wait"}), headline=True),) if rows else (),
    )


def look(connection: Connection, environment: Environment, standbys: Sequence[Target] = ()) -> tuple[Standing, ...]:
    """The standing of every change."""
    known = standing.changes(connection, environment)
    waits = _waits(connection)
    pending = environment.pending(revisions.heads(connection, environment))
    return tuple(_standing(connection, environment, c, pending, waits, standbys) for c in known)


def _standing(
    connection: Connection,
    environment: Environment,
    change: Change,
    pending: Sequence[Revision],
    waits: dict[str, float],
    standbys: Sequence[Target],
) -> Standing:
    done, total, filled = _rows(connection, change)
    step = "verify" if change.phase is Phase.EXPANDED and filled else _NEXT[change.phase]
    if change.returning:
        step = "rollback"
    blocks = tuple(_blocks(connection, environment, change, pending, standbys))
    return Standing(change, step, blocks, done, total, waits.get(change.id, 0.0))


def _blocks(
    connection: Connection, environment: Environment, change: Change, pending: Sequence[Revision],
    standbys: Sequence[Target],
) -> list[Block]:  # fmt: skip
    if change.halved and change.phase is not Phase.NEW:
        return [Block("no contract revision", *halved(environment, change))]
    if change.returning:
        hint = end_rollback(environment[change.returning])
        return [Block("a rollback that was cut off half way", f"revision {change.returning}", hint)]
    own = change.expand if change.phase in (Phase.NEW, Phase.EXPANDING) else change.contract
    below = environment.ancestors([own]) - {own} if own else frozenset[str]()
    ahead = [revision for revision in pending if revision.id in below]
    if change.phase in (Phase.NEW, Phase.EXPANDING):
        return [Block("an earlier contract", f"revision {r.id}", first_done(r)) for r in ahead if r.phase == "contract"]
    if change.phase in (Phase.VERIFIED, Phase.CONTRACTING):
        before = [Block("an earlier revision", f"revision {r.id}", "it comes first in the chain") for r in ahead]
        closed = gate.look(connection, change, standbys=standbys)
        return [*before, *(Block(b.what, b.who, b.hint) for b in closed)]
    if change.phase is Phase.EXPANDED:
        name = f"`dbkit migrate backfill {change.id}`, then `dbkit migrate verify {change.id}`"
        unindexed = [Block(b.what, b.who, b.hint) for b in gate.lost(connection, change)]
        return [Block("rows that are not proved to agree", change.qualified, name), *unindexed]
    return []


def _rows(connection: Connection, change: Change) -> tuple[int, int | None, bool]:
    """Rows filled and to fill, and whether a backfill has ended; the planner's estimate before one ran."""
    if not change.backfills:
        return 0, None, False
    there = fetch(connection, "select to_regclass('dbkit.job') is not null as there")[0]["there"]
    rows = (
        fetch(
            connection,
            "select coalesce(sum(done), 0)::bigint as done, sum(total)::bigint as total, "
            "coalesce(bool_and(status = 'done'), false) as ended from ("
            "select distinct on (key) done, total, status, updated from dbkit.job "
            "where kind = 'backfill' and spec ->> 'change' = %s order by key, id desc) newest "
            # What was filled before the shape was made anew, by a rollback of the contract, says nothing about it.
            "where not (%s and exists (select from dbkit.job m where m.kind = 'migrate' and m.updated > newest.updated "
            "and m.spec -> 'moves' @> jsonb_build_array(jsonb_build_object('change', %s::text))))",
            [change.id, change.phase is Phase.EXPANDED, change.id],
        )
        if there
        else []
    )
    if rows and rows[0]["total"] is not None:
        return int(rows[0]["done"]), int(rows[0]["total"]), bool(rows[0]["ended"])
    oids = [s.oid for s in change.backfills]
    query = "select greatest(sum(reltuples), 0)::bigint as total from pg_catalog.pg_class where oid = any(%s::oid[])"
    total = int(fetch(connection, query, [oids])[0]["total"] or 0)
    proved = change.phase in (Phase.VERIFIED, Phase.CONTRACTING, Phase.CONTRACTED)
    return (total if proved else 0), total, False


def _waits(connection: Connection) -> dict[str, float]:
    """The longest that others may have waited for a statement of each change, in milliseconds."""
    there = fetch(connection, "select to_regclass('dbkit.job_event') is not null as there")[0]["there"]
    if not there:
        return {}
    rows = fetch(
        connection,
        "select detail ->> 'change' as change, max((detail ->> 'stall_ms')::float8) as longest from dbkit.job_event "
        "where event = 'unit' and detail ->> 'change' is not null group by 1",
    )
    return {r["change"]: r["longest"] or 0.0 for r in rows}


def plan(target: Target, environment: Environment) -> Report:
    """The statements that are due, each with the locks it takes and whom they stop."""
    with connect(target, purpose="migrate plan") as connection:
        found = server(connection)
        pending = environment.pending(revisions.heads(connection, environment))
    entries: list[Json] = []
    rows: list[tuple[str, ...]] = []
    for revision in pending:
        units = cut(revision.parts(UP), revision.path.name, found.major)
        statements: list[Json] = []
        for unit in units:
            for sentence in unit.sentences:
                locks = {str(name): mode.words for name, mode in sentence.locks}
                statements.append(
                    {"line": sentence.line, "unit": unit.number + 1, "sql": sentence.sql, "locks": dict(locks)}
                )
            rows.append(_row(revision, unit))
        entries.append(
            {
                "revision": revision.id,
                "file": str(revision.path),
                "phase": revision.phase or None,
                "change": str(revision.change["id"]) if revision.change else None,
                "statements": statements,
            }
        )
    columns = ("revision", "phase", "statement", "strongest lock", "stops")
    note = "phase contract waits for verify and the gate; all others run with `dbkit migrate expand`"
    return Report(
        command="migrate plan",
        targets=(TargetInfo(target.name, "postgres", found.version_text),),
        extra={"revisions": entries},
        exhibits=(Table("What is due", columns, tuple(rows), note=note, headline=True),) if rows else (),
    )


def _row(revision: Revision, unit: Unit) -> tuple[str, ...]:
    taken = [(mode, name) for s in unit.sentences for name, mode in s.locks]
    if not taken:
        return (revision.id, revision.phase or "-", unit.told, "-", "nobody")
    mode, name = max(taken)
    return (revision.id, revision.phase or "-", unit.told, f"{mode.words} on {name}", mode.blocks)
