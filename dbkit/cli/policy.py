"""`dbkit policy`: check policy files and print their schema."""

from __future__ import annotations

import json
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Check policies and print the schemas of files.")


@app.command()
def check(
    names: Annotated[
        list[str] | None, typer.Argument(help="Policy files or shipped names; default: the one in force.")
    ] = None,
) -> None:
    """Read policies the way every other command does and say what is wrong, with file and line.

    Examples:
      dbkit policy check policies/prod.yaml

    """
    from datetime import date

    from dbkit import policy, settings
    from dbkit.cli.engines import load_rules

    load_rules()
    for name in names or [settings.load().policy or "default"]:
        loaded = policy.load(name)
        for entry in loaded.expired(date.today()):
            print(f"note: {name}: ignore of {entry.rule} on {entry.object} ended on {entry.until}")
        print(f"{name}: {len(loaded.rules)} rule entries and {len(loaded.ignore)} ignores are valid")


@app.command()
def schema(
    report: Annotated[bool, typer.Option("--report", help="The JSON report's schema instead.")] = False,
    plan: Annotated[bool, typer.Option("--plan", help="The plan file's schema instead.")] = False,
    stats: Annotated[bool, typer.Option("--stats", help="The schema of `dbkit migrate stats` files instead.")] = False,
) -> None:
    """Print a JSON Schema: of policy files, of the JSON report, of plans, or of statistics.

    Examples:
      dbkit policy schema > policies/schema.json

      dbkit policy schema --report

    """
    if report:
        from dbkit.report.schema import REPORT

        data: object = REPORT
    elif stats:
        from dbkit.postgres.migrate.stats_schema import STATS

        data = STATS
    elif plan:
        from dbkit.plan import Plan

        data = Plan.model_json_schema(by_alias=True)
    else:
        from dbkit.cli.engines import load_rules
        from dbkit.policy import json_schema

        load_rules()
        data = json_schema()
    print(json.dumps(data, indent=2))
