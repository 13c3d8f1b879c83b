"""The migration rules, by family. Importing this package registers them; it imports no driver."""

from __future__ import annotations

from typing import Final

from dbkit.postgres.migrate.rules import (
    attaching,
    blocks,
    column_types,
    columns,
    compatibility,
    constraints,
    data,
    dependants,
    domains,
    drops,
    held_locks,
    index_habits,
    indexes,
    keys,
    materialized_views,
    not_null,
    partitions,
    reading,
    rebuilds,
    reference_indexes,
    reference_locks,
    references,
    refused,
    running_version,
    self_filling,
    style,
    tables,
    timeouts,
    transactions,
    triggers,
    types,
)
from dbkit.postgres.migrate.rules.declare import DISPATCH, MigrationRule

FAMILIES: Final = (
    attaching,
    blocks,
    column_types,
    columns,
    compatibility,
    constraints,
    data,
    dependants,
    domains,
    drops,
    held_locks,
    index_habits,
    indexes,
    keys,
    materialized_views,
    not_null,
    partitions,
    reading,
    rebuilds,
    reference_indexes,
    reference_locks,
    references,
    refused,
    running_version,
    self_filling,
    style,
    tables,
    timeouts,
    transactions,
    triggers,
    types,
)
MIGRATION_RULES: Final[tuple[MigrationRule, ...]] = tuple(
    sorted({rule.id: rule for rules in DISPATCH.values() for rule in rules}.values(), key=lambda r: r.id)
)

__all__ = ["DISPATCH", "FAMILIES", "MIGRATION_RULES", "MigrationRule"]
