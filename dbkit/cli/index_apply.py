"""`dbkit index apply`: plan and carry out in one go."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dbkit.cli import output, targets
from dbkit.cli.apply import Deadline, Jobs, MaxWait, Wait, execute, knobs
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

Files = Annotated[
    list[Path] | None,
    typer.Option("--file", help="Files or folders of wanted create index statements.", metavar="PATH"),
]


def apply(
    target: TargetNames = None,
    dsn: Dsn = None,
    config: Config = None,
    file: Files = None,
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
    """Plan and build the wanted indexes, concurrently and verified. Stopped at any moment, it goes on where it was.

    The plan is shown first; on a terminal it asks, elsewhere it needs --yes. What needs a person is listed and left.

    Examples:

      dbkit index apply -t prod --jobs 2

      dbkit index apply --dsn postgresql://dba@db/app --yes

      dbkit index apply --file indexes/ --dry-run
    """
    from dbkit.cli.index import make_plan
    from dbkit.report import plans

    how = knobs(jobs, wait, max_wait, deadline)
    held, chosen = targets.one_target(target, dsn, config)
    made = make_plan(held, chosen, file)
    if dry_run:
        print(plans.text(made), end="")
        return
    if not made.steps:  # what needs a person is in the report
        output.note("\n".join(plans.summary(made)), quiet=quiet)
    else:
        output.note(plans.text(made), quiet=quiet)
        targets.confirm(f"Apply {len(made.steps)} steps to database {made.target.database}?", yes=yes)
    execute(made, chosen, how, fmt=fmt, outputs=outputs, fail_on=fail_on, quiet=quiet)
