"""What the poolers of a run may open on its PostgreSQL servers: the busy moment of the memory sum."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from dbkit.cli import audit_live, targets
from dbkit.cli.audit_poolers import NEWEST, PoolerFlags, question_of
from dbkit.errors import DbkitError

if TYPE_CHECKING:
    from dbkit.capacity import PoolShare
    from dbkit.cli.audit_files import Machine
    from dbkit.cli.audit_live import Flags
    from dbkit.cli.audit_looks import Look
    from dbkit.pgbouncer.demand import Demand
    from dbkit.settings import Settings, Target


@dataclass(frozen=True, slots=True)
class Pools:
    """Every pooler of the run with its sums; `lost` when one of them could not be asked."""

    sums: tuple[tuple[str, tuple[str, ...], tuple[Demand, ...]], ...] = ()
    """Its name and source, the targets that stand behind it as far as they are named, and the sum of each server."""
    lost: bool = False

    def share(self, one: Target | None, *, alone: bool) -> PoolShare | None:
        """The pools on one server; None when they are not known, or have no limit.

        `alone` says that it is the only server of the run: the fullest of a pooler's servers is taken for it then,
        unless one has its address. Without a target it is a file, which any of them may run with.
        """
        from dbkit.capacity import PoolShare

        if self.lost:
            return None
        connections, words = 0, list[str]()
        for name, behind, sums in self.sums:
            held = _meant(one, behind, sums, alone=alone)
            if held is None:
                continue
            if not held.bounded:
                return None
            connections += held.total
            words.append(f"{name} on {held.place} ({held.total})")
        return PoolShare(connections, f"the pools of {' + '.join(words)}") if connections else None

    def beside(self, machine: Machine, one: Target | None, *, alone: bool) -> Machine:
        """The same machine with the pools on it."""
        return replace(machine, pools=self.share(one, alone=alone))


def looks(held: Settings, databases: Sequence[Target], flags: Flags, pools: Pools) -> list[Look]:
    """The look at each PostgreSQL target of the run, with the pools before it."""
    alone = len(databases) == 1
    return [
        audit_live.postgres(held, one, replace(flags, machine=pools.beside(flags.machine, one, alone=alone)), databases)
        for one in databases
    ]


def gather(
    held: Settings, files: Sequence[Path], poolers: Sequence[Target], flags: PoolerFlags, policy: str | None
) -> Pools:
    """Read the files and ask the consoles. One that does not answer is reported by its own look."""
    if not files and not poolers:
        return Pools()
    from dbkit.pgbouncer import audit as engine
    from dbkit.pgbouncer import demand
    from dbkit.pgbouncer.ini import parameters

    made: list[tuple[str, tuple[str, ...], tuple[Demand, ...]]] = []
    lost = False
    for file in files:
        version = parameters.version(flags.version or NEWEST)
        question = question_of(flags, targets.policy_of(held, None, policy), None, None)
        sums = demand.demands(engine.scene_of_file(file, version, question))
        made.append((file.name, (), tuple(sums)))
    for one in poolers:
        question = question_of(flags, targets.policy_of(held, one, policy), held, one)
        from dbkit.pgbouncer import console

        try:
            live = console.look(one)
        except DbkitError:
            lost = True
            continue
        sums = demand.in_use(engine.scene_of_console(live, None, question))
        made.append((f"{one.name}, as SHOW POOLS has them,", one.servers, tuple(sums)))
    return Pools(tuple(made), lost)


def _meant(one: Target | None, behind: Sequence[str], sums: Sequence[Demand], *, alone: bool) -> Demand | None:
    """The sum of a pooler that is about this server."""
    called: list[Demand] = []
    if one is not None:
        from dbkit.postgres.facts import addresses

        called = [d for d in sums if (d.host, d.port) in addresses(one)]
    named = one is not None and (one.name in behind if behind else alone)
    if not called and (one is None or (named and len(behind) <= 1)):
        called = [d for d in sums if d.total]
    return max(called, key=lambda d: d.total, default=None)
