"""Which configuration file holds, found without reading it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path


def file(given: Path | None = None, environ: Mapping[str, str] = os.environ) -> Path | None:
    """The configuration file: the one given, DBKIT_CONFIG's, or the nearest dbkit.toml or [tool.dbkit] upwards."""
    held = environ.get("DBKIT_CONFIG")
    return given or (Path(held) if held else _nearest(Path.cwd()))


def _nearest(start: Path) -> Path | None:
    for folder in (start, *start.parents):
        own, project = folder / "dbkit.toml", folder / "pyproject.toml"
        if own.is_file():
            return own
        if project.is_file() and "[tool.dbkit" in project.read_text(encoding="utf-8", errors="replace"):
            return project
    return None
