"""`dbkit index advise`: indexes for the statements that run, each tried before it is proposed."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from dbkit.cli import output, targets
from dbkit.cli.index_apply import Files
from dbkit.cli.options import (
    Baseline,
    Config,
    Dsn,
    FailOn,
    FailOnOption,
    Format,
    OutputFormat,
    Outputs,
    PolicyName,
    Quiet,
    TargetNames,
    Verbose,
)
from dbkit.errors import UsageError

MAX_FILE_BYTES = 16 * 2**20


class Try(StrEnum):
    """Where candidates are tried."""

    AUTO = "auto"
    HYPOPG = "hypopg"
    CLONE = "clone"


def advise(
    target: TargetNames = None,
    dsn: Dsn = None,
    config: Config = None,
    sql: Annotated[
        Path | None,
        typer.Option("--sql", help="Statements from FILE (- for stdin) instead of pg_stat_statements.", metavar="FILE"),
    ] = None,
    top: Annotated[int, typer.Option("--top", help="At most so many statements, by total time.", min=1)] = 100,
    min_calls: Annotated[int, typer.Option("--min-calls", help="Statements called at least so often.", min=1)] = 1,
    min_saving: Annotated[
        float, typer.Option("--min-saving", help="Per cent by which a statement's cost must fall.", min=1, max=99)
    ] = 30.0,
    min_cost: Annotated[
        float, typer.Option("--min-cost", help="Statements of a lower cost are left as they are.", min=0)
    ] = 100.0,
    tried: Annotated[
        Try, typer.Option("--try", help="hypopg: in a session on the target; clone: on an empty copy of its schema.")
    ] = Try.AUTO,
    search_path: Annotated[
        str | None,
        typer.Option("--search-path", help="The application's search_path, if it is not this role's.", metavar="LIST"),
    ] = None,
    file: Files = None,
    plan: Annotated[
        Path | None, typer.Option("--plan", help="Write the advice as a plan for `dbkit apply`.", metavar="FILE")
    ] = None,
    migration_dir: Annotated[
        Path | None,
        typer.Option("--migration", help="Write it as a migration: an Alembic revision, or SQL.", metavar="DIR"),
    ] = None,
    fmt: OutputFormat = Format.TEXT,
    outputs: Outputs = None,
    fail_on: FailOnOption = FailOn.ERROR,
    policy: PolicyName = None,
    baseline: Baseline = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Propose indexes for the statements that run, each tried before it is proposed; change nothing.

    Statements come from pg_stat_statements, by total time, or from a file: $1, :name, @name, %s, %(name)s and ? are
    parameters. What the planner asks of each table gives the candidates; they are tried with HypoPG where it is
    installed, else on an empty throw-away copy that knows the target's statistics (PostgreSQL of the same version on
    this machine). Nothing is executed: costs are those of generic plans, before and after.

    Examples:

      dbkit index advise -t prod -v

      dbkit index advise -t prod --sql queries.sql --fail-on warn

      dbkit index advise -t prod --plan plan.json && dbkit apply plan.json -t prod

      dbkit index advise -t prod --migration migrations/ -o advice.html
    """
    from dbkit.postgres.advise import advise as engine
    from dbkit.postgres.advise import choose, migration, report

    held, chosen = targets.one_target(target, dsn, config)
    rules = targets.policy_of(held, chosen, policy)
    question = engine.Question(
        sql=_text(sql) if sql is not None else None,
        wishes=targets.wanted(held, chosen, file),
        assumed=not (file or chosen.indexes),
        top=top,
        min_calls=min_calls,
        bars=choose.Bars(min_saving / 100, min_cost),
        how=tried.value,
        search_path=search_path,
    )
    if migration_dir is not None:
        migration.check(migration_dir)
    answer = engine.advise(chosen, question, lambda told: output.note(told, quiet=quiet))
    made = report.plan(answer)
    if plan is not None:
        made.save(plan)
        more = f"; {len(made.problems)} need a person" if made.problems else ""
        output.note(f"{plan}: {len(made.steps)} steps{more}. Review it, then: dbkit apply {plan}", quiet=quiet)
    if migration_dir is not None and answer.proposals:
        for written in migration.write(migration_dir, migration.changes(answer.proposals, made)):
            output.note(f"written: {written}", quiet=quiet)
    settled = output.settle(report.report(answer, rules), rules, baseline)
    raise typer.Exit(output.deliver(settled, fmt=fmt, outputs=outputs, fail_on=fail_on, verbose=verbose))


def _text(file: Path) -> tuple[str, str]:
    """The statements and what messages call them. Raises UsageError for what is not text."""
    if str(file) == "-":
        return sys.stdin.read(), "stdin"
    try:
        if file.stat().st_size > MAX_FILE_BYTES:
            raise UsageError(f"{file} is larger than {MAX_FILE_BYTES // 2**20} MB", hint="is this a dump?")
        return file.read_text(encoding="utf-8"), str(file)
    except OSError as error:
        raise UsageError(f"cannot read {file}", why=error.strerror) from None
    except UnicodeDecodeError:
        raise UsageError(f"{file} is not UTF-8 text") from None
