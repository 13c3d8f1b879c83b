"""The shipped policy where it says nothing: a command that nobody configured starts without reading it, or pydantic."""

from __future__ import annotations

from datetime import date
from typing import Any

from dbkit.model import Finding, Severity, Suppression
from dbkit.rules import Rule


class AsShipped:
    """What the shipped policy says of migrations: nothing. In its place where no other is named (a test compares)."""

    def switched_on(self, rule: Rule[..., Any]) -> bool | None:
        """Not mentioned: as the rule itself has it."""
        del rule

    def severity(self, rule: Rule[..., Any], default: Severity | None = None) -> Severity:
        """The rule's own view of the case at hand, or its own severity."""
        return default or rule.severity

    def suppression(self, finding: Finding, today: date) -> Suppression | None:
        """Nothing is ignored."""
        del finding, today
