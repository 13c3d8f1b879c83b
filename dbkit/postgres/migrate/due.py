"""Which revisions are due before the application and after it, and why some are not.

The order is Alembic's own walk of the graph. On a chain that is not linear a contract that is still to come holds back
what was written on top of it, and nothing on other branches.
"""

from __future__ import annotations

from collections.abc import Sequence

from dbkit.errors import Refused
from dbkit.postgres.connect import Connection
from dbkit.postgres.migrate import gate, revisions
from dbkit.postgres.migrate.changes import standing
from dbkit.postgres.migrate.changes.spec import Change, Phase
from dbkit.postgres.migrate.executor.job import Move
from dbkit.postgres.migrate.revisions import UP, Environment, Revision
from dbkit.settings import Target


def before(connection: Connection, environment: Environment, name: str | None) -> list[Move]:
    """What no contract that is to come holds back; with a name, only that change's expand and what it needs."""
    pending = environment.pending(revisions.heads(connection, environment))
    held = _held(pending)
    wanted = standing.one(connection, environment, name) if name else None
    needed = environment.ancestors([wanted.expand]) if wanted else frozenset[str]()
    _refuse_returning(connection, environment, needed | {wanted.contract} if wanted else None)
    if wanted is None:
        return [Move(r, UP) for r in pending if r.id not in held]
    if wanted.phase in (Phase.NEW, Phase.EXPANDING) and wanted.expand in held:
        first = next(r for r in pending if r.phase == "contract" and r.id in needed)
        raise Refused(
            f"the expand of {wanted.id} cannot run yet",
            why=f"revision {_told(first)} comes before it in the chain",
            hint=first_done(first),
        )
    return [Move(r, UP) for r in pending if r.id not in held and r.id in needed]


def _held(pending: Sequence[Revision]) -> frozenset[str]:
    """Contracts that are to come, and all that was written on top of them."""
    held: set[str] = set()
    for revision in pending:
        if revision.phase == "contract" or not held.isdisjoint(revision.after):
            held.add(revision.id)
    return frozenset(held)


def after(
    connection: Connection, environment: Environment, name: str | None, *, accept: Sequence[str], window: float,
    standbys: Sequence[Target] = (),
) -> list[Move]:  # fmt: skip
    """The contracts that nothing comes before, each verified and with its gate open."""
    pending = environment.pending(revisions.heads(connection, environment))
    changes = standing.changes(connection, environment)
    known = {c.contract: c for c in changes if c.contract}
    wanted = standing.one(connection, environment, name) if name else None
    needed = environment.ancestors([wanted.contract or wanted.expand]) if wanted else frozenset[str]()
    _refuse_returning(connection, environment, needed if wanted else None)
    if wanted is not None:
        if wanted.phase is Phase.CONTRACTED:
            return []
        _refuse_halved(environment, [wanted])
        pending = tuple(r for r in pending if r.id in needed)
    blocked: set[str] = set()
    found: list[Move] = []
    for revision in pending:
        if revision.phase != "contract" or not blocked.isdisjoint(revision.after):
            blocked.add(revision.id)
            continue
        found.append(Move(revision, UP))
    first = next((r for r in pending if r.id in blocked), None)
    if first is not None and (wanted is not None or not found):
        raise Refused(
            "no contract is due" if wanted is None else f"the contract of {wanted.id} is not due",
            why=f"revision {_told(first)} comes first in the chain",
            hint="run `dbkit migrate expand`",
        )
    if not found:
        _refuse_halved(environment, changes)
    for move in found:
        change = known.get(move.revision.id)
        if change is not None:
            refuse_unready(connection, change, accept=accept, window=window, standbys=standbys)
    return found


def _refuse_returning(connection: Connection, environment: Environment, needed: frozenset[str] | None) -> None:
    """Half of such a revision is gone: to go on would leave the gap, and to do nothing would call it whole."""
    back = standing.returning(connection, environment)
    for revision in environment.revisions:
        if revision.id in back and (needed is None or revision.id in needed):
            raise Refused(
                f"the rollback of revision {_told(revision)} was cut off half way",
                why="some of what it takes back is gone, and the rest is still there",
                hint=f"{end_rollback(revision)}, then run this command again",
            )


def end_rollback(revision: Revision) -> str:
    """What to do about a rollback that was cut off."""
    name = f" {revision.change['id']}" if revision.change else ""
    return f"end it first: `dbkit migrate rollback{name}`"


def _refuse_halved(environment: Environment, changes: Sequence[Change]) -> None:
    for change in changes:
        if change.halved and change.phase is not Phase.NEW:
            what, hint = halved(environment, change)
            raise Refused(f"{change.id} cannot be contracted", why=what, hint=hint)


def halved(environment: Environment, change: Change) -> tuple[str, str]:
    """What is wrong with a change whose contract revision is not there, and what to do."""
    return (
        f"{environment.directory} does not hold its contract revision",
        f"bring the file back from version control, or take the change back: `dbkit migrate rollback {change.id}`",
    )


def refuse_unready(
    connection: Connection, change: Change, *, accept: Sequence[str], window: float, standbys: Sequence[Target] = ()
) -> None:
    """Raise Refused unless a change may be contracted now."""
    if change.phase not in (Phase.VERIFIED, Phase.CONTRACTING):
        raise Refused(
            f"{change.id} may not be contracted yet",
            why=f"it is {change.phase.value}: not every row is proved to agree",
            hint=f"run `dbkit migrate backfill {change.id}` and `dbkit migrate verify {change.id}` first",
        )
    if change.phase is Phase.CONTRACTING:
        return  # it was open when the contract began
    blocked = gate.look(connection, change, accept=accept, window=window, standbys=standbys)
    if blocked:
        told = "; ".join(f"{b.what}: {b.who}" for b in blocked)
        words = " ".join(dict.fromkeys(f"--accept {b.names[-1]}" for b in blocked[:3]))
        raise Refused(f"the gate of {change.id} is closed", why=told, hint=f"{blocked[0].hint}; or {words}")


def first_done(revision: Revision) -> str:
    """What to do about a contract that stands before something else."""
    if revision.change is None:
        return "`dbkit migrate contract` first"
    name = str(revision.change["id"])
    return f"`dbkit migrate contract {name}` first, or take that change back: `dbkit migrate rollback {name}`"


def _told(revision: Revision) -> str:
    return f"{revision.id} ({revision.doc.splitlines()[0] if revision.doc else revision.path.name})"
