"""Settings whose checks look at one another while a file is loaded, entry by entry (guc hooks); run on 15 and 18.

What only a start finds out, once everything is loaded, stands in dbkit/postgres/settings/start.py.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

_STAGES: Final = ("log_parser_stats", "log_planner_stats", "log_executor_stats")
_TARGETS: Final = (
    "recovery_target",
    "recovery_target_lsn",
    "recovery_target_name",
    "recovery_target_time",
    "recovery_target_xid",
)


@dataclass
class Together:
    """What the entries so far have set."""

    on: set[str] = field(default_factory=set[str])
    target: str = ""

    def refusal(self, name: str, value: str) -> str:
        """Why the server refuses the next entry, a valid one by itself; empty when it takes it.

        `name` is the parameter's own name, `value` what pg_settings would show.
        """
        if name in ("log_statement_stats", *_STAGES):
            return self._statistics(name, value)
        if name in _TARGETS:
            return self._recovery(name, value)
        return ""

    def _statistics(self, name: str, value: str) -> str:
        self.on.discard(name)
        if value != "on":
            return ""
        said = f'invalid value for parameter "{name}": 1. Cannot enable '
        if name == "log_statement_stats" and not self.on.isdisjoint(_STAGES):
            return (
                f'{said}"log_statement_stats" when "log_parser_stats", "log_planner_stats", or "log_executor_stats" '
                "is true."
            )
        if name != "log_statement_stats" and "log_statement_stats" in self.on:
            return f'{said}parameter when "log_statement_stats" is true.'
        self.on.add(name)
        return ""

    def _recovery(self, name: str, value: str) -> str:
        """A second recovery target is refused, and an empty one behind the first as well."""
        if self.target not in ("", name):
            return f"multiple recovery targets specified. At most one of {', '.join(_TARGETS)} may be set."
        self.target = name if value else ""
        return ""
