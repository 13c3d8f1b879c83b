"""What the report shows beside the findings: settings beside the policy, and the memory sum as a bar."""

from __future__ import annotations

from pathlib import Path

from dbkit.exhibits import Bar, Exhibit, Stack, Table
from dbkit.postgres.conf.values import written
from dbkit.postgres.settings import compare, memory
from dbkit.postgres.settings.formulas import Unknown
from dbkit.postgres.settings.scene import Scene, Unseen
from dbkit.printable import utf8
from dbkit.sizes import format_bytes

GB = 2**30


def exhibits(scene: Scene) -> tuple[Exhibit, ...]:
    """The settings page of one server or file."""
    found: list[Exhibit] = []
    rows = tuple(_rows(scene))
    if rows:
        found.append(
            Table(
                f"Settings of {scene.name} beside the policy",
                ("setting", "is", "wanted", "verdict", "set in", "origin"),
                rows,
                note=f"PostgreSQL {scene.major}; machine: {scene.size.words}. `!`: the policy does not accept it; "
                "accepted: not what it wants, and will do.",
            )
        )
    try:
        worst, likely = memory.worst(scene), memory.likely(scene, 50)
    except (Unseen, ValueError):
        return tuple(found)
    room = scene.size.memory / GB if scene.size.memory else None
    for title, total in (("at the worst", worst), ("at a busy moment", likely)):
        parts = tuple(
            Bar(f"{p.label}{f' ({p.product})' if p.product else ''}", p.bytes / GB, format_bytes(p.bytes))
            for p in total.parts
        )
        over = room is not None and total.bytes / GB > room
        note = f"{total.words}{f', more than the {room:g} GB there are' if over else ''}."
        found.append(Stack(f"Memory of {scene.name} {title}", "GB", parts, room, note))
    return tuple(found)


def _rows(scene: Scene) -> list[tuple[str, ...]]:
    known = compare.names(scene)
    rows: list[tuple[str, ...]] = []
    for name, wish in scene.wanted.wishes.items():
        if not scene.known(name):
            continue
        try:
            held = scene.setting(name)
        except Unseen:
            rows.append((name, "not visible", "", "not judged", "", wish.origin.partition(" (")[0]))
            continue
        where = utf8(f"{Path(held.file).name}:{held.line}") if held.file else held.source
        origin = wish.origin.partition(" (")[0]
        shown = utf8(held.shown)
        try:
            if not compare.applies(wish, scene, known):
                continue
            difference = compare.differs(wish, scene, held, known)
            want = compare.wanted(wish, scene, held.parameter, known)
        except Unknown as unknown:
            needs = f"needs --{str(unknown).replace('safe_work_mem', 'memory')}"
            rows.append((name, shown, "", needs, where, origin))
        except ValueError:
            rows.append((name, shown, "", "not judged", where, origin))
        else:
            text = written(held.parameter, want or "")
            if difference and difference.accepted != text:
                text = f"{text} ({difference.accepted})"
            good = "good" if written(held.parameter, want or "") == held.shown else "accepted"
            rows.append((name, shown, text, f"! {wish.severity.value}" if difference else good, where, origin))
    return rows
