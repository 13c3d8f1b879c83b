"""What the report shows of a pooler beside its findings: a bar for each server, the settings, the pools."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dbkit.exhibits import Bar, Stack, Table, Tone
from dbkit.pgbouncer import demand
from dbkit.pgbouncer.demand import Demand
from dbkit.pgbouncer.live import Live
from dbkit.pgbouncer.scene import Scene
from dbkit.printable import line
from dbkit.sizes import format_seconds


def connection_bars(scene: Scene, name: str) -> Iterator[Stack]:
    """How each physical server's connections are divided: pools, direct clients, reserves, and what is left."""
    for held in demand.demands(scene):
        yield connection_bar(scene, held, name)


def fleet_bars(scenes: Sequence[tuple[str, Scene]]) -> Iterator[Stack]:
    """The same for servers that several poolers of the run call."""
    for held in demand.together(scenes):
        yield connection_bar(scenes[0][1], held.sum, " + ".join(held.poolers))


def connection_bar(scene: Scene, held: Demand, name: str) -> Stack:
    """One server."""
    bands = scene.connections.servers.bands
    tone: Tone = {"refused": "bad", "over": "bad", "scale": "warn", "high": "warn"}.get(held.band(bands), "good")  # pyright: ignore[reportAssignmentType]
    parts = [
        Bar(line(p.database), p.connections, f"{p.connections} ({p.how})", tone) for p in (*held.shares, *held.direct)
    ]
    parts.append(Bar("reserved", held.reserved, f"{held.reserved} for superusers and the provider", "neutral"))
    source = f"as {held.facts.name} says" if held.facts else f"as {scene.connections.servers.origin} says"
    return Stack(
        title=f"{name}: connections of {line(held.place)}",
        unit="connections",
        parts=tuple(parts),
        capacity=held.max_connections,
        note=f"{held.total} of max_connections {held.max_connections} ({source}), {held.percent:.0f} %; target "
        f"{bands.target[0]:g}-{bands.target[1]:g} %, scale above {bands.scale:g} %, at most {bands.maximum:g} % "
        f"({bands.origin})" + ("" if held.bounded else "; more users would take more"),
    )


def settings_table(scene: Scene, name: str) -> Table:
    """Every documented setting beside its value."""
    rows: list[tuple[str, ...]] = []
    for key, wanted in scene.documents.of(scene.config.version).items():
        value = scene.config.text(key)
        good = "yes" if wanted.accepts(value) else "no"
        rows.append(
            (key, line(value) or "empty", wanted.document or str(wanted.want), wanted.range, good, wanted.origin)
        )
    return Table(
        title=f"{name}: settings beside the documents",
        columns=("setting", "value", "documented", "accepted", "fits", "origin"),
        rows=tuple(rows),
        numeric=frozenset({"value"}),
    )


def pool_table(live: Live, name: str) -> Table:
    """SHOW POOLS at the moment of looking."""
    rows = [
        (
            f"{p.database}/{p.user}",
            p.pool_mode,
            f"{p.active}",
            f"{p.waiting}",
            format_seconds(p.maxwait) if p.maxwait else "-",
            f"{p.busy}",
            f"{p.server_idle + p.server_used}",
        )
        for p in live.pools
    ]
    columns = ("pool", "mode", "clients", "waiting", "oldest wait", "servers busy", "idle")
    return Table(f"{name}: pools at this moment", columns, tuple(rows), numeric=frozenset(columns[2:]))
