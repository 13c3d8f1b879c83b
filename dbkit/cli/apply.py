"""`dbkit apply`: the one door through which a saved plan changes a server."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dbkit.cli import output, targets
from dbkit.cli.options import Config, DryRun, Dsn, Format, OutputFormat, Outputs, Quiet, TargetNames, Yes
from dbkit.errors import UsageError
from dbkit.settings import Target

if TYPE_CHECKING:
    from dbkit.plan import Plan


def apply(
    plan: Annotated[Path, typer.Argument(help="A plan written by `-o plan.json`.")],
    target: TargetNames = None,
    dsn: Dsn = None,
    config: Config = None,
    jobs: Annotated[int, typer.Option("--jobs", min=1, max=16, help="Tables worked on side by side.")] = 1,
    wait: Annotated[str, typer.Option("--wait", help="How long to let old transactions end before a build.")] = "30s",
    deadline: Annotated[str, typer.Option("--deadline", help="The longest one build may take.")] = "6h",
    fmt: OutputFormat = Format.TEXT,
    outputs: Outputs = None,
    quiet: Quiet = False,
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Execute a reviewed plan. The saved file is the approval; a plan that time has overtaken is refused.

    Examples:

      dbkit apply plan.json -t prod

      dbkit apply plan.json --dry-run
    """
    from dbkit.plan import load
    from dbkit.report import plans

    del yes  # a saved plan needs no second approval; accepted so that scripts may always pass it
    made = load(plan)
    if dry_run:
        print(plans.text(made), end="")
        return
    _, chosen = targets.one_target(target, dsn, config)
    execute(made, chosen, jobs=jobs, wait=wait, deadline=deadline, fmt=fmt, outputs=outputs, quiet=quiet)


def execute(
    plan: Plan,
    target: Target,
    *,
    jobs: int,
    wait: str,
    deadline: str,
    fmt: Format,
    outputs: list[Path] | None,
    quiet: bool,
) -> None:
    """Run a plan, show what became of it and leave with its exit code."""
    from dbkit.postgres.apply import Knobs
    from dbkit.postgres.apply import apply as run_plan
    from dbkit.sizes import parse_seconds

    try:
        knobs = Knobs(jobs, parse_seconds(wait), parse_seconds(deadline))
    except ValueError as error:
        raise UsageError(str(error)) from None
    progress = targets.Progress(quiet=quiet)
    try:
        report = run_plan(plan, target, knobs, progress)
    finally:
        progress.close()
    raise typer.Exit(output.deliver(report, fmt=fmt, outputs=outputs, verbose=True))
