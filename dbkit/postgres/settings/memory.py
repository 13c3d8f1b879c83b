"""The memory sum: what a server may take at the worst and at a busy moment, and the work_mem that still fits.

Follows the server: a hash may take hash_mem_multiplier times work_mem, parallel workers take their own, autovacuum
workers take autovacuum_work_mem or maintenance_work_mem (until 16 at most 1 GB each). 10 MB a connection is S2 5.2's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from dbkit.postgres.settings.scene import Scene
from dbkit.sizes import format_bytes

PER_CONNECTION: Final = 10 * 2**20
SHARE: Final = 0.8
"""Of the machine's memory; the rest is the system's and its cache's."""
SMALLEST: Final = 64 * 2**10
LEAST_WORK_MEM: Final = 4 * 2**20
"""The default; below it even small sorts go to the disk, and fewer connections are the better cure."""
LEAST_CONNECTIONS: Final = 10


@dataclass(frozen=True, slots=True)
class Part:
    """One addend: its words, the multiplication it comes from, and its bytes."""

    label: str
    product: str
    bytes: float


@dataclass(frozen=True, slots=True)
class Sum:
    """Addends and what they come to."""

    parts: tuple[Part, ...]

    @property
    def bytes(self) -> float:
        return sum(part.bytes for part in self.parts)

    @property
    def words(self) -> str:
        """The sum as a person follows it: `4.0 GB shared_buffers + 97.7 GB hashes (200 x 256MB x 2) + ... = 110 GB`."""
        addends = (f"{format_bytes(p.bytes)} {p.label}{f' ({p.product})' if p.product else ''}" for p in self.parts)
        return f"{' + '.join(addends)} = {format_bytes(self.bytes)}"


def worst(scene: Scene) -> Sum:
    """Every connection runs a hash at its limit, every parallel worker too, and all maintenance runs."""
    connections = scene.number("max_connections")
    work, hashes = scene.bytes("work_mem"), scene.number("hash_mem_multiplier")
    workers = min(scene.number("max_parallel_workers"), scene.number("max_worker_processes"))
    parts = [
        *_fixed(scene),
        Part(
            "hashes",
            f"{connections:g} connections x {_size(work)} work_mem x {hashes:g} hash_mem_multiplier",
            connections * work * hashes,
        ),
    ]
    if workers:
        parts.append(Part("parallel workers", f"{workers:g} x {_size(work)} x {hashes:g}", workers * work * hashes))
    parts.append(Part("one index build", "maintenance_work_mem", scene.bytes("maintenance_work_mem")))
    return Sum(tuple(parts))


def likely(scene: Scene, active_percent: float) -> Sum:
    """A busy moment: the connections of the pools, where they are known, else some of max_connections, run a sort each.

    More than that when more are open at this very moment; a quiet hour makes it no less. Half of the autovacuum workers
    are at work.
    """
    work, most = scene.bytes("work_mem"), scene.number("max_connections")
    shared, backends, vacuum = _fixed(scene)
    if scene.pools is not None:
        active, words = scene.pools.connections, scene.pools.words
    else:
        active = round(most * active_percent / 100)
        words = f"{active_percent:g} % of max_connections, for no pool is known"
    seen = scene.facts.get("open_connections")
    if seen and not isinstance(seen, str):
        words += f"; {seen[0]['open']} are open now (pg_stat_database)"
        active = max(active, seen[0]["open"])
    active = max(1, round(min(most, active)))
    how = f"{active} {'connections' if scene.pools else 'active'} x {_size(work)} work_mem: {words}"
    if scene.pools is not None:
        backends = Part(backends.label, f"{active} x 10 MB", active * PER_CONNECTION)
    half = Part(vacuum.label, f"half of {vacuum.product}", vacuum.bytes / 2)
    return Sum((shared, backends, half, Part("sorts", how, active * work)))


def safe_work_mem(scene: Scene) -> float | None:
    """The work_mem in bytes with which the worst case fits 80 % of the memory; None when the memory is unknown."""
    memory = scene.size.memory
    if memory is None:
        return None
    workers = scene.size.cpus  # as many parallel workers as the policy lets run, whatever is set now
    if workers is None:
        workers = min(scene.number("max_parallel_workers"), scene.number("max_worker_processes"))
    takers = (scene.number("max_connections") + workers) * scene.number("hash_mem_multiplier")
    left = memory * SHARE - sum(part.bytes for part in _fixed(scene))
    return max(float(SMALLEST), left / takers)


def safe_connections(scene: Scene) -> int:
    """How many connections fit 80 % of the memory when each may have a hash of 4 MB work_mem."""
    left = (scene.size.memory or 0) * SHARE - scene.bytes("shared_buffers") - autovacuum(scene).bytes
    return int(left // (PER_CONNECTION + LEAST_WORK_MEM * scene.number("hash_mem_multiplier")))


def autovacuum(scene: Scene) -> Part:
    """What autovacuum may take."""
    each = scene.bytes("autovacuum_work_mem")
    name = "autovacuum_work_mem" if each > 0 else "maintenance_work_mem"
    each = each if each > 0 else scene.bytes("maintenance_work_mem")
    if scene.major <= 16:
        each = min(each, 2**30)
    count = scene.number("autovacuum_max_workers") if scene.on("autovacuum") else 0
    return Part("autovacuum", f"{count:g} workers x {_size(each)} {name}", count * each)


def _fixed(scene: Scene) -> tuple[Part, Part, Part]:
    connections = scene.number("max_connections")
    return (
        Part("shared_buffers", "", scene.bytes("shared_buffers")),
        Part("backends", f"{connections:g} x 10 MB", connections * PER_CONNECTION),
        autovacuum(scene),
    )


def _size(count: float) -> str:
    return format_bytes(count).replace(" ", "")
