"""What a console connection can see, and what opens the rest."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dbkit.model import Json
from dbkit.pgbouncer import console
from dbkit.pgbouncer.live import Live
from dbkit.settings import Target


@dataclass(frozen=True, slots=True)
class Examination:
    """What was found behind one target."""

    target: str
    live: Live
    file: Path | None
    servers: tuple[str, ...]

    def lines(self) -> list[str]:
        """For people."""
        counts = self.live.counts
        return [
            f"target: {self.target}",
            f"server: PgBouncer {self.live.version}, console reached",
            (
                f"in use: {counts.get('used_clients', 0)} clients, {counts.get('used_servers', 0)} server connections, "
                f"{len(self.live.databases)} databases"
            ),
            *(f"{name}: {'yes' if held else 'no'}, {words}" for name, held, words in self._checks()),
        ]

    def json_data(self) -> dict[str, Json]:
        """For programs."""
        return {
            "target": self.target,
            "engine": "pgbouncer",
            "server_version": str(self.live.version),
            "checks": [{"name": n, "held": h, "words": w, "opens": None} for n, h, w in self._checks()],
            "notes": [],
        }

    def _checks(self) -> Iterator[tuple[str, bool, str]]:
        for what in console.SHOWN:
            why = self.live.hidden.get(what)
            yield f"show {what}", why is None, why or f"{len(self.live.rows(what))} rows"
        readable = self.file is not None and self.file.is_file()
        words = "config drift and --reload-check work" if readable else "name it as `ini` of the target to see drift"
        yield "file", readable, f"{self.file}: {words}" if self.file else words
        named = (
            ", ".join(self.servers) or "name the PostgreSQL targets behind it as `servers` to hold pools against them"
        )
        yield "servers behind", bool(self.servers), named


def examine(target: Target, file: Path | None) -> Examination:
    """Connect and look; changes nothing. Raises Unreachable when the console cannot be asked."""
    return Examination(target.name, console.look(target), file, target.servers)
