"""Settings as an earlier report has them, beside those of now: what changed, from what, to what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any, TypeAlias, cast

Settings: TypeAlias = "Mapping[str, str]"
"""Canonical values by name in lower case."""
Overrides: TypeAlias = "Mapping[tuple[str, str, str], str]"
"""Values by role, database and name; a role or database that is any is empty."""


@dataclass(frozen=True, slots=True)
class Earlier:
    """One server or one file, as it was."""

    settings: Settings
    overrides: Overrides = field(default_factory=dict[tuple[str, str, str], str])
    version: str = ""


@dataclass(frozen=True, slots=True)
class Baseline:
    """What an earlier JSON report says of servers and of files."""

    name: str
    servers: Mapping[str, Earlier]
    files: Mapping[str, Earlier]

    def of_server(self, target: str) -> Earlier | None:
        """The server of that name; the only one there is, when it had another."""
        return _chosen(self.servers, target)

    def of_file(self, path: str) -> Earlier | None:
        """The file of that path, else of that name in another folder, else the only one there is."""
        named = {held: earlier for held, earlier in self.files.items() if PurePath(held).name == PurePath(path).name}
        return self.files.get(path) or _chosen(named, path) or _chosen(self.files, path)


def baseline(name: str, report: Any) -> Baseline:
    """Read a JSON report; a part that is not as DESIGN says is taken for absent, for its findings still count."""
    servers: dict[str, Earlier] = {}
    files: dict[str, Earlier] = {}
    for held in _entries(report, "servers"):
        servers[str(held.get("target", ""))] = _earlier(held)
    for held in _entries(report, "files"):
        if held.get("kind") == "postgresql.conf":
            files[str(held.get("path", ""))] = _earlier(held)
    return Baseline(name, servers, files)


def _chosen(held: Mapping[str, Earlier], name: str) -> Earlier | None:
    found = held.get(name)
    return found if found is not None or len(held) != 1 else next(iter(held.values()))


def _entries(report: Any, key: str) -> list[dict[str, Any]]:
    if not isinstance(report, dict):
        return []
    held: Any = cast("dict[str, Any]", report).get(key)
    if not isinstance(held, list):
        return []
    return [cast("dict[str, Any]", one) for one in cast("list[Any]", held) if isinstance(one, dict)]


def _earlier(held: Mapping[str, Any]) -> Earlier:
    settings: dict[str, str] = {}
    given: Any = held.get("settings")
    for name, entry in cast("dict[str, Any]", given if isinstance(given, dict) else {}).items():
        value: Any = cast("dict[str, Any]", entry).get("value") if isinstance(entry, dict) else None
        if isinstance(value, str):
            settings[name.lower()] = value
    overrides = {
        (str(o.get("role") or ""), str(o.get("database") or ""), str(o.get("name", ""))): str(o.get("value", ""))
        for o in _entries(held, "overrides")
    }
    return Earlier(settings, overrides, str(held.get("version", "")))
