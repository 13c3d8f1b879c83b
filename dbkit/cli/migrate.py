"""`dbkit migrate`: judge migrations before they run, and run them without anybody waiting."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dbkit.cli import migrate_new, migrate_rehearse, migrate_run, migrate_stats, migrate_status, migrations
from dbkit.cli.migrate_backfill import backfill
from dbkit.cli.migrate_verify import verify
from dbkit.cli.options import (
    Baseline,
    Config,
    FailOn,
    FailOnOption,
    Format,
    Ignore,
    OutputFormat,
    Outputs,
    PolicyName,
    Quiet,
    Select,
    Verbose,
)

if TYPE_CHECKING:
    from dbkit.policy import Policy
    from dbkit.postgres.migrate.lint import Options, Result
    from dbkit.postgres.migrate.source import Script
    from dbkit.shipped import AsShipped

app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Judge migrations, and carry them out without downtime."
)


@app.callback()
def group() -> None:
    """Judge migrations, and carry them out without downtime."""


app.command("new")(migrate_new.new)
app.command("plan")(migrate_status.plan)
app.command("expand")(migrate_run.expand)
app.command("backfill")(backfill)
app.command("verify")(verify)
app.command("contract")(migrate_run.contract)
app.command("rollback")(migrate_run.rollback)
app.command("deploy")(migrate_run.deploy)
app.command("status")(migrate_status.status)
app.command("rehearse")(migrate_rehearse.rehearse)
app.command("stats")(migrate_stats.stats)


@app.command()
def lint(
    paths: migrations.Paths = None,
    schema: Annotated[
        Path | None, typer.Option("--schema", help="What exists before: the output of pg_dump -s.", metavar="FILE")
    ] = None,
    pg_version: Annotated[
        str, typer.Option("--pg-version", help="The server's version, 11 to 18, such as 15 or 14.2.", metavar="N")
    ] = "15",
    assume_in_transaction: Annotated[
        bool | None,
        typer.Option(
            "--assume-in-transaction/--no-assume-in-transaction",
            help="Whether the tool that runs plain SQL files opens a transaction. Known for Flyway, dbmate, goose,"
            " golang-migrate, sqlx, Diesel, Hasura, sqitch, Atlas, Prisma, Alembic and Django.",
            show_default=False,
        ),
    ] = None,
    diff_base: Annotated[
        str | None,
        typer.Option(
            "--diff-base", help="Report only what is new since this commit; read all for the schema.", metavar="REF"
        ),
    ] = None,
    stats: Annotated[
        Path | None,
        typer.Option("--stats", help="Table sizes by `dbkit migrate stats`: severity follows them.", metavar="FILE"),
    ] = None,
    fix: Annotated[bool, typer.Option("--fix", help="Write the safe form into the files where there is one.")] = False,
    diff: Annotated[
        bool, typer.Option("--diff", help="Print what --fix would write as a patch; write nothing.")
    ] = False,
    stdin_name: migrations.StdinName = migrations.STDIN_NAME,
    fmt: OutputFormat = Format.TEXT,
    output: Outputs = None,
    fail_on: FailOnOption = FailOn.ERROR,
    select: Select = None,
    ignore: Ignore = None,
    baseline: Baseline = None,
    policy: PolicyName = None,
    config: Config = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Name each hazard of migrations: the lock it takes, what it blocks, and the safe way with your own names.

    Files are read in the order their tool runs them, and each statement is judged against the schema that the ones
    before it leave. What cannot be read is a finding, never a pass.

    Silence one statement with a comment above it: -- dbkit: ignore RULE reason="why" until=2027-01-01
    (comments of squawk, eugene, pgsafe and postgres-language-server count too).

    Examples:
      dbkit migrate lint migrations/

      dbkit migrate lint migrations/ --diff-base origin/main --schema schema.sql --pg-version 16

      alembic upgrade a1:b2 --sql | dbkit migrate lint - --assume-in-transaction

      python manage.py sqlmigrate shop 0042 | dbkit migrate lint -

      dbkit migrate lint alembic.ini --format sarif > lint.sarif

      dbkit migrate lint 0042_index.sql --diff

    """
    import gc

    gc.disable()  # one command, then the process ends: collecting would take a third of the time and free nothing
    from dbkit.cli.engines import FOR_MIGRATIONS, load_rules
    from dbkit.cli.output import deliver, note, settle
    from dbkit.postgres.migrate import lint as engine
    from dbkit.postgres.migrate import source
    from dbkit.postgres.migrate import stats as sizes
    from dbkit.postgres.migrate.diff import since
    from dbkit.rules import Selection

    selection = Selection.of_flags(select, ignore)
    named = policy or _configured(config)
    # The shipped policy is known to be right; a user's own, and flags that name rules of servers, are checked in full.
    ours = named is None and all(e.startswith("migrate") for e in (*selection.select, *selection.ignore))
    if ours:
        load_rules(FOR_MIGRATIONS)
    else:
        load_rules()
    selection.validate()
    loaded = _policy(named)
    options = engine.Options(
        version=engine.parse_version(pg_version),
        assume=assume_in_transaction,
        schema_sql=source.read_text(schema, str(schema)) if schema else "",
        schema_label=str(schema),
        stats=sizes.load(stats) if stats else None,
        selection=selection,
        switched_on=loaded.switched_on,
        severity=loaded.severity,
    )
    scripts = source.with_names(migrations.read(paths, stdin_name))
    if diff_base is not None:
        options.changed = since(diff_base, scripts)
    result = engine.examine(scripts, options)
    if diff or fix:
        result = _fix(result, scripts, options, write=fix and not diff, show=diff, quiet=quiet)
        if diff:
            return
    report = settle(result.report, loaded, baseline)
    _carets(result, quiet=quiet)
    coverage = result.coverage
    if not coverage.statements:
        note("note: there is no statement in what was given", quiet=quiet)
    if coverage.not_analysed:
        note(
            f"note: {coverage.not_analysed} of {coverage.statements} statements were not analysed"
            f" ({coverage.share:.1%} were)",
            quiet=quiet,
        )
    code = deliver(report, fmt=fmt, outputs=output, fail_on=fail_on, verbose=verbose)
    gc.freeze()  # the interpreter's last collection would walk all of it once more
    raise typer.Exit(code)


def _configured(config: Path | None) -> str | None:
    """The policy that the configuration names; where there is no configuration, nothing is loaded to say so."""
    import os

    from dbkit import configuration

    if configuration.file(config) is None and not os.environ.get("DBKIT_POLICY"):
        return None
    from dbkit import settings

    return settings.load(config).policy


def _policy(named: str | None) -> Policy | AsShipped:
    if named is None:
        from dbkit.shipped import AsShipped

        return AsShipped()
    from dbkit import policy as policies

    return policies.load(named)


def _carets(result: Result, *, quiet: bool) -> None:
    """The first syntax errors with the line and a mark under the place, for the person at the terminal."""
    from dbkit.cli.output import note

    broken = [f for _, f in result.found if f.rule == "migrate.syntax-error" and f.suppression is None]
    for finding in broken[:5]:
        place = finding.location
        detail = str(finding.data.get("detail") or "").partition("\n")[2]
        if place and detail:
            note(f"{place.file}:{place.line}: {finding.message}\n{detail}", quiet=quiet)


def _fix(result: Result, scripts: list[Script], options: Options, *, write: bool, show: bool, quiet: bool) -> Result:
    """Show or write the safe forms; after writing, the report is of the files as they are now."""
    from dbkit.cli.output import note
    from dbkit.postgres.migrate import lint as engine
    from dbkit.postgres.migrate import rewrite, source

    changes, left = rewrite.plan(scripts, result.found)
    if show:
        for change in changes:
            sys.stdout.write(change.diff)
    for item in left:
        place = item.finding.location
        where = f"{place.file}:{place.line}" if place else ""
        note(f"note: {where}: {item.finding.rule} is not rewritten: {item.why}", quiet=quiet)
    marked = [c.file for c in changes if c.marked]
    if marked:
        note(f"note: to be run without a transaction around the file: {', '.join(marked)}", quiet=quiet)
    if not write:
        return result
    rewrite.write(changes)
    for change in changes:
        if change.path is None:
            sys.stdout.write(change.after)
        else:
            note(f"fixed {change.file}: {', '.join(change.rules)}", quiet=quiet)
    renewed = {c.file: source.make(c.file, c.after, c.path) for c in changes}
    return engine.examine([renewed.get(s.file, s) for s in scripts], options)
