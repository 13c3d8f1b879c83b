"""The engines, listed once: which modules hold their rules. Importing a rule module registers its rules."""

from __future__ import annotations

from importlib import import_module
from typing import Final

RULE_MODULES: Final = (
    "dbkit.postgres.indexes.rules",
    "dbkit.postgres.advise.rules",
    "dbkit.postgres.settings.rules",
    "dbkit.pgbouncer.rules",
    "dbkit.postgres.migrate.rules",
    "dbkit.postgres.migrate.rehearse.rules",
)


FOR_FILES: Final = tuple(module for module in RULE_MODULES if "migrate" not in module)
"""Those of a quick look at a file: the migration rules bring the SQL grammar with them."""

FOR_MIGRATIONS: Final = tuple(module for module in RULE_MODULES if "migrate" in module)
"""Those of a look at migrations: no server is asked, so the rules about servers have nothing to say."""

UNUSED_BY: Final = {
    "postgres": ("pgbouncer", "migrate"),
    "pgbouncer": ("pg", "migrate"),
}
"""What the rules begin with that a look at a file of this engine has no use for."""


def load_rules(modules: tuple[str, ...] = RULE_MODULES) -> None:
    """Fill `dbkit.rules.REGISTRY` with the rules of every engine, or of these modules; imports no driver."""
    for module in modules:
        import_module(module)
