"""Everything that can go wrong in front of a user, with the exit code that a pipeline sees.

An error has three parts: *what* failed (with the object's name), *why* (the server's text or a fact) and a *hint*
(one thing to do next). Exit codes are the table of `dbkit explain exit-codes`.
"""

from __future__ import annotations

EXIT_OK = 0
EXIT_FINDINGS = 1
EXIT_USAGE = 2
EXIT_UNREACHABLE = 3
EXIT_REFUSED = 4
EXIT_STOPPED = 5
EXIT_BROKEN = 6
EXIT_INTERRUPTED = 130
EXIT_TERMINATED = 143


class DbkitError(Exception):
    """An error a user can act on: printed as error, why and hint, never as a traceback."""

    exit_code: int = EXIT_BROKEN

    def __init__(self, what: str, *, why: str | None = None, hint: str | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.why = why
        self.hint = hint

    def lines(self) -> list[str]:
        """The error as it is printed, one line a part."""
        parts = [("error", self.what), ("why", self.why), ("hint", self.hint)]
        return [f"{label}: {text}" for label, text in parts if text]


class UsageError(DbkitError):
    """Wrong flags, configuration, policy, or input that cannot be read. Exit 2."""

    exit_code = EXIT_USAGE


class Unreachable(DbkitError):
    """The server cannot be reached, or does not permit what is needed. Exit 3."""

    exit_code = EXIT_UNREACHABLE


class Refused(DbkitError):
    """Nothing was changed: a guard, a stale plan or a lock that never came free. Exit 4."""

    exit_code = EXIT_REFUSED


class Stopped(DbkitError):
    """Stopped part-way in a safe state; running the same command again goes on. Exit 5."""

    exit_code = EXIT_STOPPED


class Broken(DbkitError):
    """Failed part-way and a person must look; the hint is the runbook. Exit 6."""

    exit_code = EXIT_BROKEN


class Interrupted(DbkitError):
    """SIGINT or SIGTERM after the state was saved. Exit 130 or 143."""

    def __init__(self, what: str, *, signal_number: int, why: str | None = None, hint: str | None = None) -> None:
        super().__init__(what, why=why, hint=hint)
        self.exit_code = 128 + signal_number
