"""Runs dbkit as a user would: in a folder, against one database, with no configuration of the machine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from dbkit.errors import Broken


def run(folder: Path, dsn: str, *arguments: str, progress: bool = False) -> str:
    """What the command prints; `progress` lets its standard error through. Broken unless it exits with 0 or 1."""
    done = subprocess.run(
        [sys.executable, "-m", "dbkit", *arguments],
        cwd=folder,
        env={**os.environ, "DBKIT_DSN": dsn, "DBKIT_CONFIG": os.devnull},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=None if progress else subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode not in (0, 1):
        raise Broken(
            f"the demo's command failed: dbkit {' '.join(arguments)}",
            why=f"exit {done.returncode}: {(done.stderr or '').strip()}",
            hint="run the demo again with --debug and report this",
        )
    return done.stdout
