"""`dbkit audit`: targets held against their policies, side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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
    Quiet,
    Select,
    TargetNames,
    Verbose,
)
from dbkit.errors import EXIT_UNREACHABLE, DbkitError, UsageError

if TYPE_CHECKING:
    from dbkit.model import Finding, Report
    from dbkit.plan import Plan
    from dbkit.policy import Policy
    from dbkit.rules import Selection
    from dbkit.settings import Settings, Target

    Look = Callable[[], tuple[Report, Callable[[Sequence[Finding]], Plan]]]

SIDE_BY_SIDE = 8


def audit(
    names: Annotated[list[str] | None, typer.Argument(help="Targets of dbkit.toml.", show_default=False)] = None,
    target: TargetNames = None,
    dsn: Dsn = None,
    config: Config = None,
    file: Annotated[
        list[Path] | None,
        typer.Option("--file", help="Files or folders of wanted indexes, instead of the target's own.", metavar="PATH"),
    ] = None,
    fix: Annotated[
        Path | None,
        typer.Option("--fix", help="Write what can be mended safely as a plan for `dbkit apply`.", metavar="FILE"),
    ] = None,
    fmt: OutputFormat = Format.TEXT,
    outputs: Outputs = None,
    fail_on: FailOnOption = FailOn.ERROR,
    policy: PolicyName = None,
    select: Select = None,
    ignore: Ignore = None,
    baseline: Baseline = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Hold targets against their policies; change nothing.

    PostgreSQL: indexes that are missing, invalid, doubled, unused, bloated, missing on foreign keys or undocumented.
    What passed and what could not be seen is part of the report. Several targets are looked at side by side; if one
    cannot be reached, the others are reported and the exit code is 3.

    Examples:

      dbkit audit prod -o audit.html -o audit.sarif

      dbkit audit --dsn postgresql://dba@db/app --select pg.index-invalid --fail-on warn

      dbkit audit prod --fix fix.json && dbkit apply fix.json -t prod
    """
    from dbkit.model import merge
    from dbkit.rules import Selection

    held, chosen = targets.postgres_targets([*(names or ()), *(target or ())], dsn, config)
    if fix is not None and len(chosen) != 1:
        raise UsageError("a fix plan is for one database", hint="name one target with --fix")
    policies = {one.name: targets.policy_of(held, one, policy) for one in chosen}
    selection = Selection(_split(select), _split(ignore))
    selection.validate()
    looks = {one.name: _postgres(held, one, policies[one.name], selection, file) for one in chosen}
    with ThreadPoolExecutor(max_workers=SIDE_BY_SIDE) as pool:
        results = list(pool.map(_reached, looks.values()))
    failed = [(one, result) for one, result in zip(chosen, results, strict=True) if isinstance(result, DbkitError)]
    if len(failed) == len(chosen) == 1:
        raise failed[0][1]
    reports: list[Report] = []
    for one, result in zip(chosen, results, strict=True):
        if isinstance(result, DbkitError):
            reports.append(_unreached(one, result))
            continue
        report = output.settle(result[0], policies[one.name], baseline)
        reports.append(report)
        if fix is not None:
            _save(result[1](report.findings), fix, quiet=quiet)
    code = output.deliver(merge("audit", reports), fmt=fmt, outputs=outputs, fail_on=fail_on, verbose=verbose)
    for _, error in failed:
        output.note("\n".join(error.lines()))
    raise typer.Exit(EXIT_UNREACHABLE if failed else code)


def _postgres(held: Settings, one: Target, policy: Policy, selection: Selection, file: list[Path] | None) -> Look:
    """The look at one PostgreSQL target; what its configuration lacks is an error before any connection is made."""
    from dbkit.postgres import audit as engine

    replicas = held.choose(one.replicas) if one.replicas else ()
    for target in (one, *replicas):
        target.dsn()
    question = engine.Question(policy, selection, targets.wanted(held, one, file), replicas, not (file or one.indexes))

    def look() -> tuple[Report, Callable[[Sequence[Finding]], Plan]]:
        answer = engine.audit(one, question)
        return answer.report, answer.fix

    return look


def _reached(look: Look) -> tuple[Report, Callable[[Sequence[Finding]], Plan]] | DbkitError:
    try:
        return look()
    except DbkitError as error:
        return error


def _unreached(one: Target, error: DbkitError) -> Report:
    """One target that could not be looked at: nothing of it passed."""
    from dbkit.model import Report, Skipped, TargetInfo

    reason = error.what + (f": {error.why}" if error.why else "")
    return Report(
        command="audit",
        targets=(TargetInfo(one.name, one.engine),),
        skipped=(Skipped("pg", one.name, reason),),
    )


def _save(plan: Plan, file: Path, *, quiet: bool) -> None:
    plan.save(file)
    more = f"; {len(plan.problems)} need a person" if plan.problems else ""
    output.note(f"{file}: {len(plan.steps)} steps{more}. Review it, then: dbkit apply {file}", quiet=quiet)


def _split(values: list[str] | None) -> tuple[str, ...]:
    return tuple(part.strip() for value in values or () for part in value.split(",") if part.strip())
