"""The backup before something is taken away: a command of the user's, run and judged by its exit code."""

from __future__ import annotations

import shlex
import subprocess
import time

from dbkit.errors import Refused, UsageError
from dbkit.secrets import redact


def take(command: str) -> float:
    """Run the command without a shell; the seconds it took. Raises Refused when it fails, with its last words."""
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise UsageError(f"--backup-command cannot be read: {redact(command)}", why=str(error)) from None
    if not words:
        raise UsageError("--backup-command is empty")
    began = time.monotonic()
    try:
        ran = subprocess.run(words, capture_output=True, text=True, errors="replace", check=False)
    except OSError as error:
        raise Refused(
            "the backup cannot be taken; nothing was changed", why=f"{words[0]}: {error.strerror}",
            hint="check --backup-command",
        ) from None  # fmt: skip
    if ran.returncode != 0:
        last = redact(" ".join((ran.stderr or ran.stdout).split())[-300:])
        raise Refused(
            "the backup failed; nothing was changed", why=f"{words[0]} ended with {ran.returncode}: {last}",
            hint="mend the backup, then run the same command again",
        )  # fmt: skip
    return time.monotonic() - began
