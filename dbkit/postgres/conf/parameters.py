"""Every parameter of PostgreSQL 14 to 18, as data collected from real servers (tools/collect_parameters.py)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

from dbkit.errors import UsageError
from dbkit.postgres.conf.values import Parameter, folded

VERSIONS: Final = (14, 15, 16, 17, 18)
_FOLDER: Final = Path(__file__).parent / "parameters"

# Old names the server still maps (map_old_guc_names in guc_tables.c), by the versions that do.
_OLD_NAMES: Final = (
    ("sort_mem", "work_mem", range(14, 19)),
    ("vacuum_mem", "maintenance_work_mem", range(14, 19)),
    ("force_parallel_mode", "debug_parallel_query", range(16, 18)),
    ("ssl_ecdh_curve", "ssl_groups", range(18, 19)),
)
# Parameters no pg_settings lists (GUC_NO_SHOW_ALL, guc_tables.c): a file may still set them, or not.
_UNLISTED: Final = {
    held.name: held
    for held in (
        Parameter("default_with_oids", "bool", "user", "off"),
        Parameter("ssl_renegotiation_limit", "integer", "user", "0", unit="kB", minimum=0, maximum=0),
        Parameter("seed", "real", "user", "0", minimum=-1, maximum=1),
        Parameter("role", "string", "user", "none"),
        Parameter("session_authorization", "string", "user", None),
        Parameter("is_superuser", "bool", "internal", "off"),
    )
}


@cache
def load(major: int) -> Mapping[str, Parameter]:
    """The parameters of a major version by lower-case name. Raises UsageError for a version outside 14 to 18."""
    if major not in VERSIONS:
        raise UsageError(
            f"PostgreSQL {major} is not known",
            hint=f"give a major version from {VERSIONS[0]} to {VERSIONS[-1]}",
        )
    data: dict[str, Any] = json.loads((_FOLDER / f"{major}.json").read_text(encoding="utf-8"))
    return {name.lower(): _parameter(name, entry) for name, entry in data["parameters"].items()}


def find(name: str, major: int) -> Parameter | None:
    """The parameter a name in a file stands for, old names included; None when the version has none."""
    lowered = folded(name)
    held = load(major)
    for old, new, versions in _OLD_NAMES:
        if lowered == old and major in versions:
            return held[new]
    return held.get(lowered) or _UNLISTED.get(lowered)


def _parameter(name: str, entry: dict[str, Any]) -> Parameter:
    return Parameter(
        name=name,
        kind=entry["kind"],
        context=entry["context"],
        boot=entry["boot"],
        unit=entry.get("unit"),
        minimum=entry.get("min"),
        maximum=entry.get("max"),
        choices=tuple(entry.get("choices", ())),
        hidden=entry.get("hidden", {}),
        category=entry["category"],
    )
