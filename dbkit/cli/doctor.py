"""`dbkit doctor`: what a connection can do, what it cannot see, and the GRANT that opens it."""

from __future__ import annotations

import json

from dbkit.cli import targets
from dbkit.cli.options import Config, Dsn, Format, OutputFormat, TargetNames
from dbkit.errors import UsageError


def doctor(target: TargetNames = None, dsn: Dsn = None, config: Config = None, fmt: OutputFormat = Format.TEXT) -> None:
    """Connect, and say what this role can do and see; exit 3 when it cannot connect.

    Examples:

      dbkit doctor -t prod

      dbkit doctor --dsn postgresql://dba@db/app --format json
    """
    from dbkit.postgres.doctor import examine

    if fmt not in (Format.TEXT, Format.JSON):
        raise UsageError(f"doctor does not write {fmt.value}", hint="use --format text or json")
    held, chosen = targets.postgres_targets(target, dsn, config)
    found = [examine(one) for one in chosen]
    if fmt is Format.JSON:
        print(json.dumps({"targets": found, "sources": held.sources}, indent=2))
        return
    for name, source in held.sources.items():
        print(f"{name}: {source}")
    for checks in found:
        print("\n".join(f"{key}: {value}" for key, value in checks.items()))
