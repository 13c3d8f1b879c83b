"""The backup before something is taken away: a command of the user's, run and judged by its exit code."""

from __future__ import annotations

import shlex
import subprocess
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from dbkit.errors import Refused, UsageError
from dbkit.model import Json
from dbkit.postgres.connect import Connection, fetch
from dbkit.secrets import redact

_SAID: Final = 300


@dataclass(frozen=True, slots=True)
class Backup:
    """One that was taken, as it is kept with the run it was taken for."""

    command: str
    at: str
    """When it ended, in UTC."""
    seconds: float
    said: str
    """The last line the command printed: most name the file or the set."""

    def data(self) -> dict[str, Json]:
        """As it is kept."""
        return {"command": self.command, "at": self.at, "seconds": round(self.seconds, 1), "said": self.said}


def take(command: str) -> Backup:
    """Run the command without a shell. Raises Refused when it fails, with its last words."""
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
    lines = [line.strip() for line in ran.stdout.splitlines() if line.strip()]
    said = redact(lines[-1])[:_SAID] if lines else ""
    ended = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return Backup(redact(command), ended, time.monotonic() - began, said)


def told(connection: Connection, revision: str) -> str:
    """The backup that was taken before a revision ran, in a sentence that says what to do with it; or that none was."""
    rows = fetch(
        connection,
        "select detail from dbkit.job_event where event = 'backup' and detail -> 'revisions' ? %s "
        "order by id desc limit 1",
        [revision],
    )
    if rows:
        held = rows[0]["detail"]
        said = f"; it said: {held['said']}" if held["said"] else ""
        return f"restore from the backup taken at {held['at']}, before it ran, by `{held['command']}`{said}"
    return (
        "restore from your own backup of before it ran: dbkit was told of none (`contract --backup-command` takes one)"
    )
