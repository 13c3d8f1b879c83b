"""The documented settings as data (policies/postgres.yaml): what each should be, by whose word, and how strictly.

    settings:
      shared_buffers:
        want: "= memory / 4"                              # what a fix writes
        accept: {at_least: "= memory * 0.15", at_most: "= memory * 0.4"}
        origin: S0 4.1
        document: 4GB                                     # as the document prints it, at its 16 GB
        why: ...

Without `accept` only `want` itself will do. `want` and limits may depend on the storage (`{ssd: 1.1, hdd: 4}`) or on
the version (`{14: "on", 18: all}`: the entry of the newest version not newer than the server's counts). A list is an
order of preference: the first that the server's build knows; for a file, whose server is not known, the last.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from dbkit import assets, yamlfile
from dbkit.errors import UsageError
from dbkit.model import Severity

Scalar: TypeAlias = bool | int | float | str
Choice: TypeAlias = Scalar | tuple[str, ...]
Value: TypeAlias = Choice | dict[str, Choice]
SHIPPED: Final = "policies/postgres.yaml"


class Accept(BaseModel):
    """What counts as good although it is not `want`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    at_least: Value | None = None
    at_most: Value | None = None
    one_of: tuple[Scalar, ...] = ()
    contains: tuple[str, ...] = ()
    """For lists: these must be in it, others may."""


class Wish(BaseModel):
    """One wanted setting."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    want: Value
    accept: Accept | None = None
    origin: str
    document: str | None = None
    """The value as the document prints it."""
    deviates: str | None = None
    """Why `want` is not what the document says."""
    why: str = Field(min_length=10)
    severity: Severity = Severity.WARN
    when: str | None = None
    """A formula that must hold for the wish to apply."""
    storage: tuple[str, ...] = ()
    """Only on these kinds of storage."""
    since: int | None = None
    until: int | None = None
    """The majors the wish is for."""


class Documents(BaseModel):
    """A file of wanted settings."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Literal[1] = 1
    engine: Literal["postgres"]
    extends: str | None = None
    settings: dict[str, Wish] = Field(default_factory=dict)
    """`false` in the file takes back what the file that is extended wants."""
    not_settings: dict[str, str] = Field(default_factory=dict)
    """Names the documents use that are no PostgreSQL settings, each with the sentence that says what to do instead."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """The documents in force: every wish by setting, with the file and line that asks for it."""

    wishes: Mapping[str, Wish]
    not_settings: Mapping[str, str]
    places: Mapping[str, tuple[str, int]]


def load(file: Path | None = None) -> Wanted:
    """The wanted settings of a file, or those that ship with dbkit. Raises UsageError naming file and line."""
    return _load(assets.path(SHIPPED) if file is None else file, SHIPPED if file is None else str(file), ())


def _load(file: Path, label: str, chain: tuple[str, ...]) -> Wanted:
    if label in chain:
        raise UsageError(f"{label}: files of wanted settings extend each other in a circle")
    data, lines = yamlfile.parse(file, name=label)
    if isinstance(data, dict) and "engine" not in data:
        raise UsageError(f"{label} holds no wanted settings", hint='begin it with "version: 1" and "engine: postgres"')
    dropped = _dropped(data)
    made = yamlfile.validate(data, lines, Documents, label)
    base = Wanted({}, {}, {})
    if made.extends is not None:
        shipped = made.extends == "postgres"
        parent = assets.path(SHIPPED) if shipped else file.parent / made.extends
        base = _load(parent, SHIPPED if shipped else str(parent), (*chain, label))
    wishes, places = dict(base.wishes), dict(base.places)
    for name in dropped:
        wishes.pop(name, None)
    for name, wish in made.settings.items():
        wishes.pop(name, None)
        wishes[name] = wish
        places[name] = (label, lines.get(("settings", name), 1))
    return Wanted(wishes, {**base.not_settings, **made.not_settings}, places)


def _dropped(data: Any) -> list[str]:
    """Take the settings that are `false` out of the data; their names."""
    settings: Any = data.get("settings") if isinstance(data, dict) else None  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    if not isinstance(settings, dict):
        return []
    found = [str(name) for name, wish in settings.items() if wish is False]  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    for name in found:
        del settings[name]
    return found


def choose(value: Value, major: int, storage: str) -> Choice | None:
    """The part of a value that counts for this version and storage; None when there is none."""
    if not isinstance(value, dict):
        return value
    if storage in value:
        return value[storage]
    majors = sorted(int(key) for key in value if key.isdigit())
    fitting = [key for key in majors if key <= major]
    return value[str(fitting[-1])] if fitting else None
