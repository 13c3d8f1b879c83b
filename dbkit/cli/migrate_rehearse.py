"""`dbkit migrate rehearse`: run migrations on a throw-away server and see what they lock, rewrite and read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dbkit.cli import migrations
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
from dbkit.errors import UsageError

if TYPE_CHECKING:
    from dbkit.policy import Policy
    from dbkit.postgres.migrate.lint import Result
    from dbkit.postgres.migrate.rehearse.application import Query
    from dbkit.postgres.migrate.rehearse.choose import Choice
    from dbkit.postgres.migrate.rehearse.rehearsal import Outcome
    from dbkit.postgres.migrate.source import Script
    from dbkit.postgres.migrate.stats import Stats


def rehearse(
    paths: migrations.Paths = None,
    schema: Annotated[
        Path | None,
        typer.Option(
            "--schema",
            help="What production has before: the output of pg_dump -s. Then earlier migrations are not run.",
            metavar="FILE",
        ),
    ] = None,
    pg: Annotated[
        str, typer.Option("--pg", help="Versions to rehearse on, such as 18 or 15,18.", metavar="N[,N]")
    ] = "18",
    pending: Annotated[
        str | None,
        typer.Option(
            "--pending",
            help="How many migrations at the end are not deployed yet, or all. Default: 1, or all files named"
            " one by one beside --schema.",
            metavar="N",
        ),
    ] = None,
    deployed: Annotated[
        str | None,
        typer.Option(
            "--from",
            help="What production has: an Alembic revision or a file name. All after it is pending.",
            metavar="REV",
        ),
    ] = None,
    diff_base: Annotated[
        str | None,
        typer.Option("--diff-base", help="Pending is what is new in git since this commit.", metavar="REF"),
    ] = None,
    stats: Annotated[
        Path | None,
        typer.Option(
            "--stats", help="Sizes by `dbkit migrate stats`: times at production size are predicted.", metavar="FILE"
        ),
    ] = None,
    read_rate: Annotated[
        str | None,
        typer.Option(
            "--read-rate",
            help="With --stats: what production's storage reads a second, such as 200MB, for tables that are not in"
            " memory. Default: they are.",
            metavar="SIZE",
        ),
    ] = None,
    max_stall: Annotated[
        str | None,
        typer.Option(
            "--max-stall",
            help="The longest that readers or writers may be kept waiting; over it is an error.",
            metavar="TIME",
        ),
    ] = None,
    app_sql: Annotated[
        list[Path] | None,
        typer.Option(
            "--app-sql",
            help="Queries of the application that runs now: run before, during, after; parameters: $1, %s or :name.",
            metavar="FILE",
        ),
    ] = None,
    app_sql_new: Annotated[
        list[Path] | None,
        typer.Option(
            "--app-sql-new", help="Queries of the next version: they must work after. May be repeated.", metavar="FILE"
        ),
    ] = None,
    rows: Annotated[
        int | None,
        typer.Option(
            "--rows",
            min=1,
            help="Rows of each table that is touched. Default: 5000, with --stats up to 100000.",
            metavar="N",
        ),
    ] = None,
    keep: Annotated[
        str | None,
        typer.Option(
            "--keep", help="Leave the server up this long, such as 30min, and print how to connect.", metavar="TIME"
        ),
    ] = None,
    assume_in_transaction: Annotated[
        bool | None,
        typer.Option(
            "--assume-in-transaction/--no-assume-in-transaction",
            help="Whether the tool that runs plain SQL files opens a transaction. Default: it does, unless the file"
            " has its own or holds a statement that refuses one.",
            show_default=False,
        ),
    ] = None,
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
    """Run migrations on a throw-away PostgreSQL, filled with rows, and see what each statement does to the others.

    For each pending statement: the locks it takes and how long they are held, tables and indexes it rewrites, tables
    it reads from end to end, and how long a reader and a writer had to wait. Lint's findings are checked against it.
    Nothing but the throw-away server is touched. `dbkit explain rehearse` says how it works.

    Examples:
      dbkit migrate rehearse migrations/

      dbkit migrate rehearse alembic.ini --from 3f2a --pg 15,18 -o rehearsal.html

      dbkit migrate rehearse 0042_total.sql --schema schema.sql --stats stats.json --max-stall 250ms

      dbkit migrate rehearse migrations/ --diff-base origin/main --app-sql queries.sql --format github

    """
    from dbkit import policy as policies
    from dbkit import settings
    from dbkit.cli.engines import load_rules
    from dbkit.cli.output import deliver, note, settle
    from dbkit.postgres.migrate import source
    from dbkit.postgres.migrate import stats as sizes
    from dbkit.postgres.migrate.rehearse import present
    from dbkit.report import format_for
    from dbkit.rules import Selection

    load_rules()
    for file in output or ():
        format_for(file)  # a wrong suffix is refused before minutes are spent
    selection = Selection.of_flags(select, ignore)
    selection.validate()
    loaded = policies.load(policy or settings.load(config).policy)
    majors = _majors(pg)
    budget = _time("--max-stall", max_stall)
    kept = _time("--keep", keep) or 0.0
    measured = sizes.load(stats) if stats else None
    speed = _rate(read_rate, measured)
    schema_sql = source.read_text(schema, str(schema)) if schema else ""
    queries = _queries(app_sql, app_sql_new)
    queries()  # what cannot be read is said before a server is started
    scripts = [s for s in source.with_names(migrations.read(paths, stdin_name)) if not s.remark]
    choice = _choice(scripts, paths, pending, deployed, diff_base, with_schema=schema is not None)
    if not choice.pending:
        note("nothing is pending: no server was started", quiet=quiet)
        report = present.empty("nothing is pending")
    else:
        outcomes, linted = _run(
            choice, majors, loaded, measured, assume_in_transaction, (schema_sql, str(schema)), rows, queries, kept,
            speed, quiet=quiet,
        )  # fmt: skip
        view = present.View(selection, loaded.switched_on, loaded.severity, budget)
        report = present.report(outcomes, linted, view)
        for line in dict.fromkeys(line for outcome in outcomes for line in outcome.notes):
            note(f"note: {line}", quiet=quiet)
        for outcome in outcomes:
            if kept:
                note(f"PostgreSQL {outcome.version} stays up for {keep}: {outcome.psql}")
    code = deliver(settle(report, loaded, baseline), fmt=fmt, outputs=output, fail_on=fail_on, verbose=verbose)
    raise typer.Exit(code)


def _run(
    choice: Choice,
    majors: tuple[int, ...],
    policy: Policy,
    stats: Stats | None,
    assume: bool | None,
    schema: tuple[str, str],
    rows: int | None,
    queries: Callable[[], list[Query]],
    keep: float,
    read_rate: float | None,
    *,
    quiet: bool,
) -> tuple[list[Outcome], list[Result]]:
    """Rehearse, and lint the same scripts for each version."""
    from dbkit.cli.output import note
    from dbkit.postgres.migrate import lint
    from dbkit.postgres.migrate.rehearse import recorded, rehearsal

    text, label = schema
    if text:  # what the dump holds, earlier migrations would only do again
        choice = choice.without_history()
    options = rehearsal.Options(
        majors=majors,
        assume=assume,
        schema_sql=text,
        schema_label=label,
        stats=stats,
        read_rate=read_rate,
        rows=rows,
        queries=queries,
        keep=keep,
        progress=lambda line: note(line, quiet=quiet),
    )
    outcomes = rehearsal.rehearse(choice, options)
    for script in choice.history:
        script.history = True
    linted = [
        lint.examine(
            [*recorded.as_run(choice.history, outcome.past), *recorded.as_run(choice.pending, outcome.seen)],
            lint.Options(
                version=(major, None),
                assume=assume,
                schema_sql=text,
                schema_label=label,
                stats=stats,
                severity=policy.severity,
                switched_on=lambda rule: None,
            ),
        )
        for major, outcome in zip(majors, outcomes, strict=True)
    ]
    return outcomes, linted


def _choice(
    scripts: Sequence[Script],
    paths: list[str] | None,
    pending: str | None,
    deployed: str | None,
    diff_base: str | None,
    *,
    with_schema: bool,
) -> Choice:
    from dbkit.postgres.migrate.diff import since
    from dbkit.postgres.migrate.rehearse import choose

    given = [n for n, v in (("--pending", pending), ("--from", deployed), ("--diff-base", diff_base)) if v is not None]
    if len(given) > 1:
        raise UsageError(f"{' and '.join(given)} each say what is pending", hint="give one of them")
    last: int | None = None
    if pending is not None:
        if pending != "all" and not (pending.isdigit() and int(pending) > 0):
            raise UsageError(f"--pending {pending!r} is not a number of migrations", hint="such as 2, or all")
        last = -1 if pending == "all" else int(pending)
    named = with_schema and all(name == "-" or Path(name).suffix == ".sql" for name in paths or ())
    changed = since(diff_base, scripts) if diff_base is not None else None
    return choose.choose(scripts, choose.Wish(last, deployed or "", changed, named=named))


def _majors(text: str) -> tuple[int, ...]:
    from dbkit.postgres.migrate.lint import parse_version

    found = [parse_version(part)[0] for part in text.split(",")]
    for major in found:
        if major < 14:
            raise UsageError(f"PostgreSQL {major} cannot be rehearsed on", hint="versions 14 to 18 can")
    return tuple(dict.fromkeys(found))


def _time(flag: str, text: str | None) -> float | None:
    from dbkit.sizes import parse_seconds

    if text is None:
        return None
    try:
        return parse_seconds(text)
    except ValueError as error:
        raise UsageError(f"{flag}: {error}") from None


def _rate(text: str | None, stats: Stats | None) -> float | None:
    from dbkit.sizes import parse_bytes

    if text is None:
        return None
    if stats is None:
        raise UsageError(
            "--read-rate without --stats predicts nothing", hint="dbkit migrate stats -t prod -o stats.json"
        )
    try:
        rate = parse_bytes(text.removesuffix("/s"))
    except ValueError as error:
        raise UsageError(f"--read-rate: {error}") from None
    if rate <= 0:
        raise UsageError("--read-rate must be more than nothing", hint="such as 200MB")
    return float(rate)


def _queries(old: list[Path] | None, new: list[Path] | None) -> Callable[[], list[Query]]:
    """Reads the files anew at every call: each rehearsal keeps its own count of what became of a query."""

    def read() -> list[Query]:
        from dbkit.postgres.migrate.rehearse import application

        given = [("old", f) for f in old or ()] + [("new", f) for f in new or ()]
        return [q for version, file in given for q in application.read(version, file)]

    return read
