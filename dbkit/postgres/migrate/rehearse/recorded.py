"""Revisions that ran on a connection, as lint may read them then: with the statements that the server got."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from dbkit.postgres.migrate.rehearse.observed import Observation
from dbkit.postgres.migrate.source import Part, Script


def as_run(scripts: Sequence[Script], seen: Sequence[Observation]) -> list[Script]:
    """The scripts, those that asked for a connection and ran to their end with the statements they sent."""
    return [_as_run(s, [o for o in seen if o.file == s.file and not o.caught]) if s.online else s for s in scripts]


def _as_run(script: Script, seen: Sequence[Observation]) -> Script:
    if any(o.error for o in seen):
        return script
    parts: list[Part] = []
    bare = False
    for one in seen:
        if one.bare is not bare:
            parts.append(Part("", one.line, "end" if one.bare else "begin", one.line))
            bare = one.bare
        parts.append(Part(f"{one.sql.rstrip().removesuffix(';')};", one.line, last=one.line))
    return replace(script, parts=tuple(parts), text="\n".join(p.sql for p in parts), problems=())


def told(scripts: Sequence[Script]) -> list[str]:
    """A sentence that says which revisions asked for a connection."""
    asked = [s.file for s in scripts if s.online]
    return [f"run on a connection, which they ask for: {', '.join(asked)} (env.py was not run)"] if asked else []
