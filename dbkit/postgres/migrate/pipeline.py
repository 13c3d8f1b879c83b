"""The two calls of a deploy pipeline: what is due before the application is rolled out, and what is due after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from dbkit.errors import DbkitError, Refused
from dbkit.model import Evidence, Finding, Fix, Report, Severity, TargetInfo, merge
from dbkit.postgres.connect import connect, server
from dbkit.postgres.migrate import deploy, gate, verify_report
from dbkit.postgres.migrate.backfill.due import due
from dbkit.postgres.migrate.backfill.job import Knobs as FillKnobs
from dbkit.postgres.migrate.backfill.run import fill
from dbkit.postgres.migrate.changes.spec import Change
from dbkit.postgres.migrate.deploy import Applied, Options, Progress
from dbkit.postgres.migrate.revisions import Environment
from dbkit.postgres.migrate.verify import verify
from dbkit.settings import Target

RULE = "migrate.contract-waits"


def pre(target: Target, environment: Environment, options: Options, progress: Progress) -> Applied:
    """Expand, backfill and verify: when it ends well the new application may start."""
    expanded = deploy.expand(target, environment, options, progress)
    if expanded.error is not None:
        return replace(expanded, report=_named("pre", [expanded.report]))
    changes = due(target, environment, None)
    done = _proved(target, changes, options.standbys, progress)
    return Applied(_named("pre", [expanded.report, *done[0]]), done[1])


def post(target: Target, environment: Environment, options: Options, progress: Progress) -> Applied:
    """Contract what may be contracted. A gate that is closed is a warning here: the next deploy asks again."""
    try:
        contracted = deploy.contract(target, environment, options, progress)
    except Refused as refused:
        return Applied(_waits(target, refused))
    return replace(contracted, report=_named("post", [contracted.report]))


def _proved(
    target: Target, changes: Sequence[Change], standbys: Sequence[Target], progress: Progress
) -> tuple[list[Report], DbkitError | None]:
    """Fill and prove each change; the first that does not end well is the last."""
    reports: list[Report] = []
    for change in changes:
        for spec in change.backfills:
            filled = fill(spec, target, FillKnobs(), progress=progress)
            reports.append(filled.report)
            if filled.error is not None:
                return reports, filled.error
        proved = verify(change.backfills, target, progress=progress)
        reports.append(verify_report.report(proved, target.name))
        if proved.error is not None:
            return reports, proved.error
        if proved.whole:
            with connect(target, purpose="verify") as connection:
                gate.begin(connection, change, standbys)  # what uses the old shape is watched from here on
    return reports, None


def _named(phase: str, reports: Sequence[Report]) -> Report:
    """One report of all steps, about one target."""
    merged = merge(f"migrate deploy --phase {phase}", reports)
    return replace(merged, targets=merged.targets[:1])


def _waits(target: Target, refused: Refused) -> Report:
    with connect(target, purpose="migrate") as connection:
        version = server(connection).version_text
    finding = Finding(
        rule=RULE,
        severity=Severity.WARN,
        evidence=Evidence.OBSERVED,
        message=f"{refused.what}: {refused.why}" if refused.why else refused.what,
        target=target.name,
        object=target.name,
        data={},
        fix=Fix("rewrite", refused.hint) if refused.hint else None,
    )
    report = Report(command="migrate deploy --phase post", targets=(TargetInfo(target.name, "postgres", version),))
    return replace(report, findings=(finding,))
