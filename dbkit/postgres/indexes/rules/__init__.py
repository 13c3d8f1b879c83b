"""The index rules, one module a family; `INDEX_RULES` lists them all. No driver is imported here."""

from __future__ import annotations

from typing import Any, Final

from dbkit.postgres.indexes.rules import bloat, documented, foreign_keys, invalid, overlap, usage, wanted
from dbkit.rules import Rule

HEALTH_RULES: Final[tuple[Rule[..., Any], ...]] = (
    invalid.invalid,
    invalid.building,
    overlap.duplicate,
    overlap.redundant_prefix,
    usage.unused,
    usage.documented_unused,
    foreign_keys.foreign_key_unindexed,
    documented.undocumented,
    bloat.bloated,
)
"""They judge a whole database: `rule(scene)`, or `rule(scene, limits)` for a rule with limits."""
WANTED_RULES: Final[tuple[Rule[..., Any], ...]] = wanted.RULES
"""They judge one wanted index each: `rule(state)`."""
INDEX_RULES: Final[tuple[Rule[..., Any], ...]] = (*WANTED_RULES, *HEALTH_RULES)
