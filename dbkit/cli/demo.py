"""`dbkit demo`: the tour."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def demo(
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Where the report goes; format by suffix.", metavar="FILE")
    ] = Path("dbkit-demo.html"),
) -> None:
    """Show the main job on a throw-away PostgreSQL 18.

    Needs no server, no Docker and no configuration.
    Seeds some hundred thousand rows, lets readers and writers run, breaks the database, then audits, plans, applies and
    verifies; the longest wait of the traffic stands beside the one under plain CREATE INDEX. Then renames a column and
    makes a key bigint under two versions of an application, beside plain Alembic. Leaves a report.

    Examples:

      dbkit demo

      dbkit demo -o tour.md
    """
    from tempfile import TemporaryDirectory

    from dbkit.cli.output import require_writable, write
    from dbkit.demo.page import longest_ms, report
    from dbkit.demo.shop import RETYPE
    from dbkit.demo.tour import Tour
    from dbkit.report import format_for, render
    from dbkit.sizes import format_seconds

    fmt = format_for(output)
    require_writable(output)
    with TemporaryDirectory(prefix="dbkit-demo-") as folder:
        outcome = Tour(say=lambda text: print(text, flush=True), folder=Path(folder)).run()
    write(output, render(report(outcome), fmt, verbose=True))
    plain, ours = longest_ms(outcome.plain) / 1000, longest_ms(outcome.ours) / 1000
    print()
    print(f"Longest wait of the application: {format_seconds(plain)} under plain CREATE INDEX, {format_seconds(ours)}")
    print(f"under dbkit; {outcome.ours.failed} of {outcome.ours.count:,} statements failed.")
    plain, ours = outcome.change_plain, outcome.change_ours
    waits = [format_seconds(side.longest(RETYPE)) for side in (plain, ours)]
    print(f"An int key made bigint: {waits[0]} under plain ALTER, {waits[1]} under dbkit; with a rename")
    print(f"{plain.result.failed:,} statements failed under plain Alembic, {ours.result.failed:,} under dbkit.")
    print(f"Report: {output}")
