"""The setting rules, one module a family; `SETTING_RULES` lists them all. No driver is imported here."""

from __future__ import annotations

from typing import Any, Final

from dbkit.postgres.settings.rules import files, memory, policy
from dbkit.rules import Rule

SETTING_RULES: Final[tuple[Rule[..., Any], ...]] = (
    *files.RULES,
    *policy.RULES,
    *memory.RULES,
)
"""Each judges one scene: `rule(scene)`, or `rule(scene, limits)` for a rule with limits."""
