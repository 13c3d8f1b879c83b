"""What a rollback takes back: one phase of a change, the last deploy, or first the rollback that was cut off."""

from __future__ import annotations

from collections.abc import Sequence

from dbkit.errors import Refused
from dbkit.job import Record
from dbkit.postgres.connect import Connection
from dbkit.postgres.jobstore import UNFINISHED, PostgresStore
from dbkit.postgres.migrate import backup, revisions, rollback_loss
from dbkit.postgres.migrate.changes import fitting, standing
from dbkit.postgres.migrate.changes.spec import Change, Phase
from dbkit.postgres.migrate.executor.job import Move
from dbkit.postgres.migrate.revisions import DOWN, UP, Environment, Revision


def due_back(
    connection: Connection, environment: Environment, name: str | None, accepted: Sequence[str] = ()
) -> list[Move]:
    """The way back, newest first. Raises Refused where there is none, or where it would lose what is not `accepted`.

    A rollback that was killed or lost its server is ended by the next one, which takes back nothing beyond it: the same
    command run again must not go one phase further because the first run had ended but could not say so.
    """
    heads = revisions.heads(connection, environment)
    applied = environment.ancestors(heads)
    change = standing.one(connection, environment, name) if name is not None else None
    moves = _cut_off(connection, environment, change)
    if not moves:
        moves = _back_of(environment, change, applied) if change else _last_deploy(connection, environment, applied)
    going = {m.revision.id for m in moves}
    for move in moves:
        final = (move.revision.change or {}).get("final")
        if final and move.revision.id in applied:
            raise Refused(
                f"revision {move.revision.id} cannot be rolled back; nothing was changed",
                why=str(final),
                hint=backup.told(connection, move.revision.id),
            )
        above = [r for r in environment.revisions if r.id in applied - going and move.revision.id in r.after]
        if above and move.revision.id in applied:
            raise Refused(
                f"revision {move.revision.id} cannot be rolled back",
                why=f"revision {above[0].id} ({above[0].doc.splitlines()[0]}) was applied after it",
                hint="roll that one back first",
            )
        if move.revision.id in applied:
            fitting.refuse_lost(connection, move.revision)
    rollback_loss.refuse(connection, environment, moves, applied, accepted)
    return moves


def _cut_off(connection: Connection, environment: Environment, change: Change | None) -> list[Move]:
    """What the newest run was to take back, when it is a rollback of the same that has no end yet."""
    newest = next((r for r in PostgresStore(connection).records() if _of(r, environment)), None)
    if newest is None or newest.status not in UNFINISHED:
        return []
    moves = newest.spec.get("moves", [])
    known = {r.id: r for r in environment.revisions}
    if not moves or any(m["direction"] != DOWN or m["revision"] not in known for m in moves):
        return []
    if change is not None and any(m["change"] != change.id for m in moves):
        return []
    return [_down(environment, known[m["revision"]]) for m in moves]


def _back_of(environment: Environment, change: Change, applied: frozenset[str]) -> list[Move]:
    if change.phase is Phase.NEW:
        return []
    if change.contract and (change.contract in applied or change.contract == change.returning):
        return [_down(environment, environment[change.contract])]
    return [_down(environment, environment[change.expand])]


def _last_deploy(connection: Connection, environment: Environment, applied: frozenset[str]) -> list[Move]:
    """What the newest run that went upwards did and is still there.

    Nothing, when that run failed or was cut off and left nothing: a pipeline that takes back a failed deploy must not
    take back the one before, which is at work.
    """
    for record in PostgresStore(connection).records():
        if not _of(record, environment):
            continue
        names = [str(m["revision"]) for m in record.spec.get("moves", []) if m["direction"] == UP]
        begun = [r for r in environment.revisions if r.id in names]
        found = [r for r in begun if r.id in applied or _is_begun(connection, environment.mark(r.id))]
        if found:
            return [_down(environment, r) for r in reversed(found)]
        if names and record.status in UNFINISHED:
            return []
    raise Refused("there is no deploy to roll back", why="no run of `dbkit migrate` is recorded in this database")


def _down(environment: Environment, revision: Revision) -> Move:
    """Taking back an expand also voids what of its contract was begun."""
    name = (revision.change or {}).get("id")
    contracts = [
        r.id
        for r in environment.revisions
        if name is not None and r.phase == "contract" and r.change is not None and r.change.get("id") == name
    ]
    return Move(revision, DOWN, () if revision.phase == "contract" else tuple(contracts))


def _of(record: Record, environment: Environment) -> bool:
    """Whether a run was one of revisions, in this schema where there are many."""
    return record.kind == "migrate" and record.spec.get("schema", "") == environment.schema


def _is_begun(connection: Connection, mark: str) -> bool:
    query = "select 1 from dbkit.migration_part where revision = %s limit 1"
    return connection.execute(query, [mark]).fetchone() is not None
