"""Flags of a backfill's limits, the same in `dbkit migrate backfill` and `dbkit job limit`."""

from __future__ import annotations

from typing import Annotated

import typer


def _limit(name: str, help: str, metavar: str) -> typer.models.OptionInfo:
    made: typer.models.OptionInfo = typer.Option(f"--{name}", help=help, metavar=metavar, show_default=False)
    return made


BatchTime = Annotated[
    str | None,
    _limit("batch-time", "The most one batch should take; less while others wait for its rows (default 50ms).", "TIME"),
]
MaxLag = Annotated[str | None, _limit("max-lag", "Hold while a replica replays further behind (default 10s).", "TIME")]
MaxSlotLag = Annotated[
    str | None, _limit("max-slot-lag", "Hold while a slot keeps back more WAL (default 8GB).", "SIZE")
]
MaxWaiters = Annotated[
    str | None, _limit("max-waiters", "Hold while more sessions wait for locks of ours (default 0).", "N")
]
MaxWal = Annotated[str | None, _limit("max-wal", "Hold while the server writes more WAL a second.", "SIZE")]
MaxDead = Annotated[str | None, _limit("max-dead", "Hold while more of the table's rows are dead: 20%.", "SHARE")]
MaxActive = Annotated[str | None, _limit("max-active", "Hold while more other sessions are active.", "N")]
MaxVacuums = Annotated[
    str | None, _limit("max-vacuums", "Hold while more vacuums work on the table; 0 lets them finish.", "N")
]
Rest = Annotated[str | None, _limit("rest", "Pause after each batch, times its own time: 0.5.", "RATIO")]
MaxHold = Annotated[
    str | None, _limit("max-hold", "Stop, resumable, when held back longer at a stretch (default 1h).", "TIME")
]
PauseFile = Annotated[str | None, _limit("pause-file", "Hold while this file exists where dbkit runs.", "FILE")]
HoldWhile = Annotated[
    str | None, _limit("hold-while", "Hold while this query returns true, or text that says why.", "SQL")
]


def given(**texts: str | None) -> dict[str, str]:
    """The limits that were given, each checked. Raises UsageError."""
    from dbkit.postgres.migrate.backfill.limits import Limits

    held = {name: text for name, text in texts.items() if text is not None}
    Limits.of_texts(held)
    return held
