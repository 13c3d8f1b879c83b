"""The index rules; `INDEX_RULES` lists them all. No driver is imported here."""

from __future__ import annotations

from dbkit.postgres.indexes.rules import health, wanted

INDEX_RULES = (*wanted.RULES, *health.RULES)
