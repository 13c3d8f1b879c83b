"""`dbkit audit`: targets held against their policies, side by side."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dbkit.cli import output
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
    from dbkit.model import Report


def audit(
    names: Annotated[list[str] | None, typer.Argument(help="Targets of dbkit.toml.", show_default=False)] = None,
    target: TargetNames = None,
    dsn: Dsn = None,
    config: Config = None,
    pg_conf: Annotated[
        Path | None,
        typer.Option("--pg-conf", help="A postgresql.conf, audited with no server.", metavar="FILE"),
    ] = None,
    pg_hba: Annotated[
        Path | None,
        typer.Option("--pg-hba", help="Its pg_hba.conf; else the one beside it, or of hba_file.", metavar="FILE"),
    ] = None,
    pg_version: Annotated[
        str | None,
        typer.Option(
            "--pg-version", help="The PostgreSQL the file is for: 14 to 18; else that of its server.", metavar="VERSION"
        ),
    ] = None,
    upgrade_to: Annotated[
        str | None, typer.Option("--upgrade-to", help="Also what breaks on the upgrade to this.", metavar="VERSION")
    ] = None,
    memory: Annotated[
        str | None, typer.Option("--memory", help="Memory of the server's machine.", metavar="16GB")
    ] = None,
    cpus: Annotated[int | None, typer.Option("--cpus", min=1, max=4096, help="CPUs of the server's machine.")] = None,
    storage: Annotated[str | None, typer.Option("--storage", help="ssd, hdd or san.", metavar="KIND")] = None,
    managed: Annotated[
        str | None, typer.Option("--managed", help="Run by a service: aws, azure or gcp.", metavar="SERVICE")
    ] = None,
    wanted_settings: Annotated[
        Path | None,
        typer.Option("--settings", help="Your own wanted settings (`extends: postgres`).", metavar="FILE"),
    ] = None,
    pgbouncer_ini: Annotated[
        list[Path] | None,
        typer.Option(
            "--pgbouncer-ini",
            help="A pgbouncer.ini, audited with no pooler, or the file of a running one; several are compared.",
            metavar="FILE",
        ),
    ] = None,
    pgbouncer_version: Annotated[
        str | None,
        typer.Option("--pgbouncer-version", help="The PgBouncer the file is for: 1.18 to 1.26.", metavar="VERSION"),
    ] = None,
    reload_check: Annotated[
        bool, typer.Option("--reload-check", help="What RELOAD of a running PgBouncer would do with its file.")
    ] = False,
    connections: Annotated[
        Path | None,
        typer.Option("--connections", help="Your own connection figures (policies/connections.yaml).", metavar="FILE"),
    ] = None,
    file: Annotated[
        list[Path] | None,
        typer.Option("--file", help="Files or folders of wanted indexes, instead of the target's own.", metavar="PATH"),
    ] = None,
    fix: Annotated[
        Path | None,
        typer.Option(
            "--fix",
            help="Write what mends the findings: .json (a plan for `dbkit apply`), .sql, .patch or .sh.",
            metavar="FILE",
        ),
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

    PostgreSQL: indexes that are missing, invalid, doubled, unused, bloated, missing on foreign keys or undocumented;
    settings beside the documents, scaled to the machine; memory, durability, replication, vacuum, timeouts, logging,
    security. A postgresql.conf is judged with no server: would it start, reload, survive an upgrade.
    PgBouncer: whether the file loads and what RELOAD would do, who gets in, queues, drift, and whether the pools fit
    the servers behind them: `dbkit explain pgbouncer`. Several poolers are held against each other too.
    What passed and what could not be seen is part of the report. Several targets are looked at side by side; if one
    cannot be reached, the others are reported and the exit code is 3.

    Examples:

      dbkit audit prod -o audit.html -o audit.sarif

      dbkit audit --dsn postgresql://dba@db/app --select pg.index-invalid --fail-on warn

      dbkit audit prod --fix fix.json && dbkit apply fix.json -t prod

      dbkit audit --pg-conf postgresql.conf --pg-version 15 --memory 16GB --cpus 4 --fix fix.patch

      dbkit audit prod --memory 16GB --cpus 4 --upgrade-to 18

      dbkit audit prod --pg-conf postgresql.conf --baseline yesterday.json

      dbkit audit --pgbouncer-ini pgbouncer.ini --pgbouncer-version 1.18 --fix fix.patch

      dbkit audit pool prod --reload-check
    """
    from dbkit import settings
    from dbkit.cli import audit_files, audit_live, audit_looks, audit_poolers, audit_pools, targets
    from dbkit.model import merge
    from dbkit.rules import Selection

    held = settings.load(config)
    machine = audit_files.Machine(memory, cpus, storage, managed, wanted_settings, upgrade_to, baseline)
    flags = audit_live.Flags(policy, Selection.of_flags(select, ignore), file, fix, machine)
    called = [*(names or ()), *(target or ())]
    audit_files.check_hba(pg_hba, pg_conf)
    offline = pg_conf is not None or bool(pgbouncer_ini)
    chosen = audit_live.chosen(called, dsn, held) if called or dsn or not offline else ()
    poolers = [one for one in chosen if one.engine == "pgbouncer"]
    alone, ini = audit_poolers.whose(pgbouncer_ini or [], poolers)
    if fix is not None:
        audit_looks.check_fix(fix, len(chosen) + (pg_conf is not None) + len(alone))
    databases = [one for one in chosen if one.engine == "postgres"]
    wishes = audit_poolers.PoolerFlags(flags.selection, connections, reload_check, pgbouncer_version, ini, managed)
    pools = audit_pools.gather(held, alone, poolers, wishes, policy) if databases or pg_conf else audit_pools.Pools()
    looks = audit_pools.looks(held, databases, flags, pools)
    if poolers or alone:
        looks += audit_poolers.looks(held, poolers, alone, wishes, databases, policy, (pg_conf, pg_version))
    elif reload_check or connections or pgbouncer_version:
        raise UsageError("no PgBouncer is looked at", hint="name a file with --pgbouncer-ini, or a pgbouncer target")
    if pg_conf is not None:
        named = (*flags.selection.select, *flags.selection.ignore)
        own = all(entry.partition(".")[0] == "pg" for entry in named)
        rules = targets.policy_of(held, None, policy, only="postgres" if own and not looks else None)
        flags.selection.validate()
        server = databases[0] if len(databases) == 1 else None
        machine = pools.beside(machine, None, alone=True)
        looks.append(audit_files.postgres_conf(pg_conf, pg_version, machine, rules, flags.selection, server, pg_hba))
    results = audit_looks.run(looks)
    failed = [result for result in results if isinstance(result, DbkitError)]
    if len(failed) == len(results) == 1:
        raise failed[0]
    reports: list[Report] = []
    for look, result in zip(looks, results, strict=True):
        if isinstance(result, DbkitError):
            reports.append(audit_looks.missed(look, result))
            continue
        report = output.settle(result.report, look.policy, baseline)
        reports.append(report)
        if fix is not None:
            audit_looks.save_fix(result, report.findings, fix, quiet=quiet)
    fleet = audit_poolers.together(results, wishes, looks[0].policy)
    if fleet is not None:
        reports.append(output.settle(fleet, looks[0].policy, baseline))
    code = output.deliver(merge("audit", reports), fmt=fmt, outputs=outputs, fail_on=fail_on, verbose=verbose)
    for error in failed:
        output.note("\n".join(error.lines()))
    raise typer.Exit(EXIT_UNREACHABLE if failed else code)
