"""Flags that mean the same in every command."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Format(StrEnum):
    """How a report is written."""

    TEXT = "text"
    JSON = "json"
    SARIF = "sarif"
    JUNIT = "junit"
    GITHUB = "github"
    GITLAB = "gitlab"
    MARKDOWN = "markdown"
    HTML = "html"


class FailOn(StrEnum):
    """The severity from which on findings make the command exit 1."""

    NEVER = "never"
    INFO = "info"
    WARN = "warn"
    ERROR = "error"


def _writable(files: list[Path] | None) -> list[Path] | None:
    """Refuse a file that cannot be written before the work begins, not after it."""
    from dbkit.cli.output import require_writable

    for file in files or ():
        require_writable(file)
    return files


def _reports(files: list[Path] | None) -> list[Path] | None:
    """As `_writable`; a suffix that no format answers to is refused too."""
    if files:
        from dbkit.report import format_for

        for file in files:
            format_for(file)
    return _writable(files)


TargetNames = Annotated[
    list[str] | None,
    typer.Option("-t", "--target", help="A target of dbkit.toml; may be repeated.", metavar="NAME"),
]
Dsn = Annotated[
    str | None,
    typer.Option(
        "--dsn",
        help="A connection string instead of a target. A password in it shows in `ps`: prefer DBKIT_DSN or .pgpass.",
        metavar="DSN",
    ),
]
Config = Annotated[
    Path | None,
    typer.Option(
        "--config", help="The configuration file instead of the nearest dbkit.toml. [env: DBKIT_CONFIG]", metavar="FILE"
    ),
]
OutputFormat = Annotated[Format, typer.Option("--format", help="What goes to stdout.", case_sensitive=False)]
Outputs = Annotated[
    list[Path] | None,
    typer.Option(
        "-o",
        "--output",
        help="Also write FILE, format by its suffix; may be repeated.",
        metavar="FILE",
        callback=_reports,
    ),
]
PlanFiles = Annotated[
    list[Path] | None,
    typer.Option(
        "-o",
        "--output",
        help="Also write the plan to FILE: JSON for `dbkit apply`, or a psql script if it ends in .sql.",
        metavar="FILE",
        callback=_writable,
    ),
]
FailOnOption = Annotated[FailOn, typer.Option("--fail-on", help="Exit 1 when a finding is at least this severe.")]
Select = Annotated[
    list[str] | None,
    typer.Option("--select", help="Only these rules, or those that begin so (pg, pg.index).", metavar="RULE"),
]
Ignore = Annotated[list[str] | None, typer.Option("--ignore", help="Not these rules or prefixes.", metavar="RULE")]
Baseline = Annotated[
    Path | None,
    typer.Option("--baseline", help="An earlier JSON report: what it holds already does not count.", metavar="FILE"),
]
PolicyName = Annotated[
    str | None,
    typer.Option("--policy", help="A policy file, or a shipped policy's name. [env: DBKIT_POLICY]", metavar="NAME"),
]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Only the result; no notes or progress.")]
Verbose = Annotated[bool, typer.Option("-v", "--verbose", help="Also what passed and what was skipped.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask; needed where there is no terminal.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print what would be done; touch nothing.")]
