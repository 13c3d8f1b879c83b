"""The gate before contract: whether anything still reads or writes the old shape of a change."""

from dbkit.postgres.migrate.gate.blocked import Blocked
from dbkit.postgres.migrate.gate.look import WINDOW, begin, look, lost

__all__ = ["WINDOW", "Blocked", "begin", "look", "lost"]
