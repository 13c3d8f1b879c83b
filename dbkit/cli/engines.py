"""The engines, listed once: which modules hold their rules. Importing a rule module registers its rules."""

from __future__ import annotations

from importlib import import_module
from typing import Final

RULE_MODULES: Final = ("dbkit.postgres.indexes.rules", "dbkit.postgres.migrate.rules")


def load_rules() -> None:
    """Fill `dbkit.rules.REGISTRY` with every rule of every engine; imports no driver."""
    for module in RULE_MODULES:
        import_module(module)
