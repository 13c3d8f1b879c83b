"""`dbkit index`: what is wanted, what is there, and the way from one to the other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dbkit.cli import index_advise, index_apply, output, targets
from dbkit.cli.index_apply import Files
from dbkit.cli.options import (
    Config,
    Dsn,
    FailOn,
    FailOnOption,
    Format,
    OutputFormat,
    Outputs,
    PlanFiles,
    PolicyName,
    TargetNames,
    Verbose,
)
from dbkit.errors import EXIT_FINDINGS, UsageError

if TYPE_CHECKING:
    from dbkit.settings import Settings, Target

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Plan, build and check indexes without blocking.")


@app.command()
def plan(
    target: TargetNames = None,
    dsn: Dsn = None,
    config: Config = None,
    file: Files = None,
    fmt: OutputFormat = Format.TEXT,
    outputs: PlanFiles = None,
    sql: Annotated[bool, typer.Option("--sql", help="Print the plan as a psql script.")] = False,
    exit_code: Annotated[bool, typer.Option("--exit-code", help="Exit 1 when steps are pending.")] = False,
    fail_on: FailOnOption = FailOn.ERROR,
) -> None:
    """Show what would be done for the wanted indexes, with locks and undo; change nothing.

    Examples:

      dbkit index plan -t prod -o plan.json

      dbkit index plan --dsn postgresql://dba@db/app --sql
    """
    from dbkit.report import plans

    if fmt not in (Format.TEXT, Format.JSON, Format.MARKDOWN):
        raise UsageError(f"a plan is not written as {fmt.value}", hint="use --format text, json or markdown, or --sql")
    held, chosen = targets.one_target(target, dsn, config)
    made = make_plan(held, chosen, file)
    for place in outputs or ():
        made.save(place)
    if sql:
        print(made.to_sql(), end="")
    elif fmt is Format.JSON:
        print(json.dumps(made.json_data(), indent=2, ensure_ascii=False))
    else:
        print(plans.text(made) if fmt is Format.TEXT else plans.markdown(made), end="")
    if (exit_code and made.steps) or (made.problems and fail_on is not FailOn.NEVER):
        raise typer.Exit(EXIT_FINDINGS)


@app.command()
def status(
    target: TargetNames = None,
    dsn: Dsn = None,
    config: Config = None,
    file: Files = None,
    fmt: OutputFormat = Format.TEXT,
    outputs: Outputs = None,
    fail_on: FailOnOption = FailOn.ERROR,
    policy: PolicyName = None,
    verbose: Verbose = False,
) -> None:
    """Show the state of every wanted index.

    Examples:

      dbkit index status -t prod

      dbkit index status --format json
    """
    from dbkit.exhibits import Table
    from dbkit.model import Report, merge
    from dbkit.postgres.connect import connect, server
    from dbkit.postgres.indexes import audit, preflight
    from dbkit.report.text import table
    from dbkit.rules import Selection

    held, chosen = targets.postgres_targets(target, dsn, config)
    reports: list[Report] = []
    for one in chosen:
        wishes, rules = targets.wanted(held, one, file), targets.policy_of(held, one, policy, quick=True)
        with connect(one, purpose="index status") as connection:
            preflight.refuse_standby(server(connection))
            names = Selection(select=tuple(f"pg.index-{n}" for n in STATUS_RULES))
            judged = audit.judge(connection, one.name, wishes, rules, names)
            reports.append(output.settle(audit.status(judged.report, judged.scene.states), rules, None))
    report = merge("index status", reports)
    if fmt is Format.TEXT and not verbose:
        for one in reports:
            heading = [one.targets[0].name] if len(reports) > 1 else []
            states = [e for e in one.exhibits if isinstance(e, Table) and e.title == audit.STATES]
            print("\n".join([*heading, *(line for exhibit in states for line in table(exhibit))]), end="\n\n")
    raise typer.Exit(output.deliver(report, fmt=fmt, outputs=outputs, fail_on=fail_on, verbose=verbose))


app.command("apply")(index_apply.apply)
app.command("advise")(index_advise.advise)

STATUS_RULES = ("missing", "other-definition", "name-taken", "cannot-build", "not-visible", "invalid", "building")


def make_plan(held: Settings, target: Target, files: list[Path] | None):  # noqa: ANN201 - the type would import a driver
    """The plan of one target, from a fresh look."""
    from dbkit.postgres.connect import connect, require_supported, server
    from dbkit.postgres.indexes import compare, planning, preflight

    wishes = targets.wanted(held, target, files)
    with connect(target, purpose="index plan") as connection:
        found = server(connection)
        require_supported(found)
        preflight.refuse_standby(found)
        return planning.plan(compare.observe(connection, found, wishes), target.name)
