"""`dbkit audit`: a target held against its policy."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dbkit.cli import output, targets
from dbkit.cli.options import (
    Baseline,
    Config,
    Dsn,
    FailOn,
    FailOnOption,
    Format,
    Ignore,
    OutputFormat,
    Outputs,
    PolicyName,
    Select,
    Verbose,
)


def audit(
    target: Annotated[list[str] | None, typer.Argument(help="Targets of dbkit.toml.", show_default=False)] = None,
    dsn: Dsn = None,
    config: Config = None,
    file: Annotated[
        list[Path] | None, typer.Option("--file", help="Files or folders of wanted indexes.", metavar="PATH")
    ] = None,
    fmt: OutputFormat = Format.TEXT,
    outputs: Outputs = None,
    fail_on: FailOnOption = FailOn.ERROR,
    policy: PolicyName = None,
    select: Select = None,
    ignore: Ignore = None,
    baseline: Baseline = None,
    verbose: Verbose = False,
) -> None:
    """Judge the indexes of PostgreSQL targets: missing, invalid, doubled, unused, and what cannot be seen.

    Examples:

      dbkit audit prod -o audit.html -o audit.sarif

      dbkit audit --dsn postgresql://dba@db/app --select pg.index-invalid --fail-on warn
    """
    from dbkit.model import Report, merge
    from dbkit.postgres.connect import connect
    from dbkit.postgres.indexes.audit import audit as judge
    from dbkit.rules import Selection

    held, chosen = targets.postgres_targets(target, dsn, config)
    reports: list[Report] = []
    for one in chosen:
        rules = targets.policy_of(held, one, policy)
        selection = Selection(_split(select), _split(ignore))
        selection.validate()
        with connect(one, purpose="audit") as connection:
            found = judge(connection, one.name, targets.wanted(held, one, file), rules, selection)
        reports.append(output.settle(found, rules, baseline))
    report = merge("audit", reports)
    raise typer.Exit(output.deliver(report, fmt=fmt, outputs=outputs, fail_on=fail_on, verbose=verbose))


def _split(values: list[str] | None) -> tuple[str, ...]:
    return tuple(part.strip() for value in values or () for part in value.split(",") if part.strip())
