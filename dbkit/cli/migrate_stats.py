"""`dbkit migrate stats`: sizes and rates of a real server, for lint and rehearsal."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from dbkit.cli.options import Config, Dsn, Quiet, TargetNames
from dbkit.errors import UsageError


def stats(
    target: TargetNames = None,
    dsn: Dsn = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Write the file here instead of stdout.", metavar="FILE")
    ] = None,
    window: Annotated[
        str,
        typer.Option(
            "--window",
            help="Measure rates over this time, such as 30s; 0 takes the counters since their last reset.",
            metavar="TIME",
        ),
    ] = "10s",
    config: Config = None,
    quiet: Quiet = False,
) -> None:
    """Take sizes, row counts and rates of a server into a file; no value of any row is in it.

    `dbkit migrate lint --stats` weighs hazards by it, `dbkit migrate rehearse --stats` predicts how long locks would
    be held. Needs no more than a connection; what a role cannot see is listed under "skipped" with the GRANT for it.
    `dbkit policy schema --stats` describes the file.

    Examples:
      dbkit migrate stats -t prod -o stats.json

      dbkit migrate stats --dsn postgresql://dba@db/app --window 5min -o stats.json

    """
    from dbkit.cli.output import note, write
    from dbkit.cli.targets import one_target
    from dbkit.postgres.migrate import census
    from dbkit.sizes import format_bytes, parse_seconds

    try:
        seconds = parse_seconds(window)
    except ValueError as error:
        raise UsageError(f"--window: {error}") from None
    _, chosen = one_target(target, dsn, config)
    chosen.dsn()
    if seconds:
        note(f"measuring rates for {window}", quiet=quiet)
    taken = census.take(chosen, seconds)
    text = json.dumps(taken.data, indent=2, ensure_ascii=False, default=str) + "\n"
    for what, opens in taken.skipped:
        note(f"note: not seen: {what}; it takes: {opens}", quiet=quiet)
    if output is None:
        sys.stdout.write(text)
        return
    write(output, text)
    tables = taken.data["tables"]
    count = len(tables) if isinstance(tables, list) else 0
    note(f"{output}: {count} tables, {format_bytes(taken.bytes)}", quiet=quiet)
