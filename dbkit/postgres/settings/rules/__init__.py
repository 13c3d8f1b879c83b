"""The setting rules, one module a family; `SETTING_RULES` lists them all. No driver is imported here."""

from __future__ import annotations

from typing import Any, Final

from dbkit.postgres.settings.rules import (
    access,
    connections,
    drift,
    durability,
    files,
    health,
    ident,
    logging,
    memory,
    partitions,
    planner,
    policy,
    replication,
    security,
    state,
    timeouts,
    upgrade,
    vacuum,
)
from dbkit.rules import Rule

SETTING_RULES: Final[tuple[Rule[..., Any], ...]] = (
    *files.RULES,
    *upgrade.RULES,
    *state.RULES,
    *drift.RULES,
    *policy.RULES,
    *memory.RULES,
    *connections.RULES,
    *durability.RULES,
    *replication.RULES,
    *vacuum.RULES,
    *timeouts.RULES,
    *logging.RULES,
    *planner.RULES,
    *security.RULES,
    *access.RULES,
    *ident.RULES,
    *health.RULES,
    *partitions.RULES,
)
"""Each judges one scene: `rule(scene)`, or `rule(scene, limits)` for a rule with limits."""
