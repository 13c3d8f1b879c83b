"""One Report, eight formats. Every renderer is a pure function from Report to text; none of them asks a server."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Final

from dbkit.errors import UsageError
from dbkit.model import Report

FORMATS: Final = ("text", "json", "sarif", "junit", "github", "gitlab", "markdown", "html")
_SUFFIXES: Final = {
    ".github.txt": "github",
    ".sarif.json": "sarif",
    ".gitlab.json": "gitlab",
    ".txt": "text",
    ".json": "json",
    ".sarif": "sarif",
    ".xml": "junit",
    ".md": "markdown",
    ".html": "html",
    ".htm": "html",
}


def format_for(file: Path) -> str:
    """The format a file name asks for by its suffix. Raises UsageError for one that none answers to."""
    for suffix, name in _SUFFIXES.items():
        if file.name.lower().endswith(suffix):
            return name
    raise UsageError(f"no format belongs to the name {file.name}", hint=f"known suffixes: {', '.join(_SUFFIXES)}")


def render(report: Report, fmt: str, *, colour: bool = False, verbose: bool = False) -> str:
    """The report as text of one of FORMATS."""
    if fmt not in FORMATS:
        raise UsageError(f"no format is called {fmt!r}", hint=f"formats: {', '.join(FORMATS)}")
    if fmt == "text":
        from dbkit.report.text import text

        return text(report, colour=colour, verbose=verbose)
    module = import_module(f"dbkit.report.{fmt if fmt != 'json' else 'data'}")
    return str(module.render(report))
