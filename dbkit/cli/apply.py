"""`dbkit apply`: the one door through which a saved plan changes a server."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from dbkit.cli import output, targets
from dbkit.cli.options import (
    Config,
    DryRun,
    Dsn,
    FailOn,
    FailOnOption,
    Format,
    OutputFormat,
    Outputs,
    Quiet,
    TargetNames,
    Yes,
)
from dbkit.errors import UsageError

if TYPE_CHECKING:
    from dbkit.plan import Plan
    from dbkit.postgres.apply import Knobs
    from dbkit.settings import Target

Jobs = Annotated[int, typer.Option("--jobs", min=1, max=16, help="Tables worked on side by side.")]
Wait = Annotated[
    str, typer.Option("--wait", help="How long to let old transactions end before each build.", metavar="TIME")
]
MaxWait = Annotated[
    str,
    typer.Option(
        "--max-wait", help="How long a running build may wait for others before it is cancelled.", metavar="TIME"
    ),
]
Deadline = Annotated[str, typer.Option("--deadline", help="The longest one statement may take.", metavar="TIME")]


def apply(
    plan: Annotated[Path, typer.Argument(help="A plan written by `-o plan.json`.")],
    target: TargetNames = None,
    dsn: Dsn = None,
    config: Config = None,
    jobs: Jobs = 1,
    wait: Wait = "30s",
    max_wait: MaxWait = "1h",
    deadline: Deadline = "6h",
    fmt: OutputFormat = Format.TEXT,
    outputs: Outputs = None,
    fail_on: FailOnOption = FailOn.ERROR,
    quiet: Quiet = False,
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Carry out a reviewed plan. The saved file is the approval; a plan that time has overtaken is refused.

    Ctrl-C cancels what is being built, removes its remains and leaves (exit 130); a second one leaves at once.
    Killed or cut off, the same command goes on where it was. A plan for PgBouncer changes its file, runs RELOAD, looks
    at SHOW CONFIG and puts the earlier file back if that is not as foretold: on the pooler's machine, as an admin user.

    Examples:

      dbkit apply plan.json -t prod

      dbkit apply plan.json --jobs 4 --max-wait 10min -o applied.html

      dbkit apply plan.json --dry-run

      dbkit audit pool --fix fix.json && dbkit apply fix.json --dsn pgbouncer://admin@localhost:6432
    """
    from dbkit.plan import load
    from dbkit.report import plans

    del yes  # a saved plan needs no second approval; accepted so that scripts may always pass it
    made = load(plan)
    if dry_run:
        print(plans.text(made), end="")
        return
    if made.target.engine == "pgbouncer":
        pooler = targets.one_of_engine(target, dsn, config, "pgbouncer")
        _on_pooler(made, pooler, fmt=fmt, outputs=outputs, fail_on=fail_on, quiet=quiet)
    _, chosen = targets.one_target(target, dsn, config)
    execute(made, chosen, knobs(jobs, wait, max_wait, deadline), fmt=fmt, outputs=outputs, fail_on=fail_on, quiet=quiet)


def _on_pooler(
    plan: Plan, target: Target, *, fmt: Format, outputs: list[Path] | None, fail_on: FailOn, quiet: bool
) -> NoReturn:
    """Change a pooler's file and RELOAD, show what became of it and leave with its exit code."""
    from dbkit.pgbouncer.apply import apply as carry_out

    applied = carry_out(plan, target, lambda line: output.note(line, quiet=quiet))
    code = output.deliver(applied.report, fmt=fmt, outputs=outputs, fail_on=fail_on, verbose=True)
    if applied.error is not None:
        raise applied.error
    raise typer.Exit(code)


def knobs(jobs: int, wait: str, max_wait: str, deadline: str) -> Knobs:
    """The flags as numbers. Raises UsageError."""
    from dbkit.postgres.apply import Knobs
    from dbkit.postgres.indexes.watch import Limits
    from dbkit.sizes import parse_seconds

    try:
        return Knobs(jobs, Limits(parse_seconds(wait), parse_seconds(max_wait), parse_seconds(deadline)))
    except ValueError as error:
        raise UsageError(str(error), hint="write a number and a unit: 250ms, 30s, 5min, 2h, 1d") from None


def execute(
    plan: Plan,
    target: Target,
    how: Knobs,
    *,
    fmt: Format = Format.TEXT,
    outputs: list[Path] | None = None,
    fail_on: FailOn = FailOn.ERROR,
    quiet: bool = False,
) -> None:
    """Carry out a plan, show what became of it and leave with its exit code."""
    from dbkit.postgres.apply import apply as carry_out

    progress = targets.Progress(quiet=quiet)
    try:
        applied = carry_out(plan, target, how, progress)
    finally:
        progress.close()
    code = output.deliver(applied.report, fmt=fmt, outputs=outputs, fail_on=fail_on, verbose=True)
    if applied.error is not None:
        raise applied.error
    raise typer.Exit(code)
