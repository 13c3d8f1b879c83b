"""One setting held against one wish: at least, at most, a range, a set, a list, by version, storage and machine."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace

from dbkit.postgres.conf.checks import elements, joined
from dbkit.postgres.conf.values import InvalidValue, Parameter, canonical, from_bytes, is_memory, written
from dbkit.postgres.settings import documents, memory
from dbkit.postgres.settings.documents import Accept, Scalar, Value, Wish
from dbkit.postgres.settings.formulas import NAMES, Unknown, evaluate, is_formula
from dbkit.postgres.settings.scene import Held, Scene

TOLERANCE = 1e-6
FIRST = (
    "max_connections",
    "shared_buffers",
    "maintenance_work_mem",
    "autovacuum_work_mem",
    "max_worker_processes",
    "max_parallel_workers",
)
"""What the memory left for work_mem depends on."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A setting that is not as wanted: what a fix writes, and in words what would do."""

    want: str
    accepted: str


def names(scene: Scene) -> dict[str, float | None]:
    """What a formula may use here. work_mem is solved last, for the server as the other wishes will have made it."""
    known: dict[str, float | None] = {"memory": scene.size.memory, "cpus": scene.size.cpus, "safe_work_mem": None}
    planned = scene
    for name in FIRST:
        wish = scene.wanted.wishes.get(name)
        held = scene.setting(name)
        difference = None
        if wish is not None:
            with suppress(Unknown, ValueError):
                difference = differs(wish, scene, held, known) if applies(wish, scene, known) else None
        if difference is not None:
            planned = replace(planned, held={**planned.held, name: replace(held, value=difference.want)})
        if name in NAMES:
            known[name] = planned.amount(name)
    known["safe_work_mem"] = memory.safe_work_mem(planned)
    return known


def applies(wish: Wish, scene: Scene, known: Mapping[str, float | None]) -> bool:
    """Whether the wish is for this version, storage and machine. Raises Unknown."""
    if (wish.since or 0) > scene.major or (wish.until or scene.major) < scene.major:
        return False
    if wish.storage and scene.size.storage not in wish.storage:
        return False
    return wish.when is None or bool(evaluate(wish.when, known))


def wanted(wish: Wish, scene: Scene, parameter: Parameter, known: Mapping[str, float | None]) -> str | None:
    """What a fix would write: the canonical value, None when there is none for this version or storage."""
    return _resolve(wish.want, scene, parameter, known)


def differs(wish: Wish, scene: Scene, held: Held, known: Mapping[str, float | None]) -> Difference | None:
    """The difference, None when the setting is good. Raises Unknown when a needed number was not given."""
    parameter = held.parameter
    want = _resolve(wish.want, scene, parameter, known)
    if want is None or _same(parameter, held.value, want):
        return None
    accept = wish.accept
    if accept is None:
        return Difference(want, written(parameter, want))
    if accept.contains:
        return _lists(accept, held, parameter)
    low, high = (_resolve(v, scene, parameter, known) if v is not None else None for v in _bounds(accept))
    if low is not None or high is not None:
        return None if _within(held.value, low, high) else Difference(want, _range(parameter, low, high))
    allowed = _allowed(accept, parameter)
    if any(_same(parameter, held.value, choice) for choice in allowed):
        return None
    return Difference(want, " or ".join(list(dict.fromkeys([want, *allowed]))[:3]))


def _allowed(accept: Accept, parameter: Parameter) -> list[str]:
    """The values that are good as well, as far as this version knows them."""
    found: list[str] = []
    for choice in accept.one_of:
        with suppress(InvalidValue):
            found.append(canonical(parameter, ("on" if choice else "off") if isinstance(choice, bool) else str(choice)))
    return found


def _bounds(accept: Accept) -> tuple[Value | None, Value | None]:
    return accept.at_least, accept.at_most


def _resolve(value: Value, scene: Scene, parameter: Parameter, numbers: Mapping[str, float | None]) -> str | None:
    chosen = documents.choose(value, scene.major, scene.size.storage)
    if isinstance(chosen, tuple):
        # A file does not tell what the server's build has, and one that has it not does not start: the last is in all.
        known = [c for c in chosen if c in (*parameter.choices, *parameter.hidden)]
        chosen = None if not known else known[0] if scene.live else known[-1]
    if chosen is None:
        return None
    if is_formula(chosen):
        number = evaluate(str(chosen), numbers)
        return from_bytes(parameter, number) if is_memory(parameter) else f"{number:g}"
    return _literal(chosen, parameter)


def _literal(value: Scalar, parameter: Parameter) -> str:
    text = ("on" if value else "off") if isinstance(value, bool) else str(value)
    try:
        return canonical(parameter, text)
    except InvalidValue:
        return text


def _same(parameter: Parameter, one: str, other: str) -> bool:
    if parameter.kind in ("integer", "real"):
        return abs(float(one) - float(other)) <= TOLERANCE * max(1.0, abs(float(other)))
    if parameter.kind == "string":
        return one.replace(" ", "").lower() == other.replace(" ", "").lower()
    return one == other


def _within(value: str, low: str | None, high: str | None) -> bool:
    number = float(value)
    if low is None and number < 0:  # -1 is "no limit" or "as another setting says", never a small amount
        return False
    slack = TOLERANCE * max(1.0, abs(number))
    return (low is None or number >= float(low) - slack) and (high is None or number <= float(high) + slack)


def _range(parameter: Parameter, low: str | None, high: str | None) -> str:
    if low is None or high is None:
        word = "at least" if high is None else "at most"
        return f"{word} {written(parameter, low or high or '')}"
    return f"{written(parameter, low)} to {written(parameter, high)}"


def _lists(accept: Accept, held: Held, parameter: Parameter) -> Difference | None:
    """Names that must be in a list: they are added at its end, the order of the others is kept."""
    there = elements(parameter.name, held.value)
    broken = there is None  # then the server has loaded none of them
    there = [part.strip() for part in held.value.split(",") if part.strip()] if there is None else there
    plain = {name.rpartition("/")[2].removesuffix(".so") for name in there}  # the server takes all three spellings
    lacking = [name for name in accept.contains if name not in plain]
    if not lacking and not broken:
        return None
    return Difference(joined([*there, *lacking]), f"a list with {', '.join(lacking or accept.contains)}")
