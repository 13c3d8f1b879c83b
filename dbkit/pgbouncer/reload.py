"""What RELOAD would do with a file, worked out before anybody runs it.

The daemon reads the file again over what it holds: every `[pgbouncer]` sets reloadable keys to their defaults, lines
follow, and a mistake ends it there. What was applied stays applied.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dbkit.pgbouncer.ini import parameters
from dbkit.pgbouncer.ini.file import IniFile
from dbkit.pgbouncer.ini.values import canonical


@dataclass(frozen=True, slots=True)
class Change:
    """One setting before and after."""

    name: str
    before: str
    after: str
    by_accident: bool = False
    """It falls back to the default because the daemon stops before its line."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """All that RELOAD would do. `ok` is False when the daemon stops at a mistake."""

    ok: bool
    reports_error: bool
    """Whether the console would say that it failed: 1.24 and older answer RELOAD with success all the same."""
    changes: tuple[Change, ...]
    ignored: tuple[Change, ...]
    """Given another value in the file, and only a restart applies it."""
    kept: tuple[str, ...]
    """Taken out of the file, and kept until a restart since the daemon has no default for them."""
    added: tuple[str, ...]
    removed: tuple[str, ...]


def predict(
    file: IniFile,
    stopped: IniFile,
    running: Mapping[str, str],
    databases: frozenset[str],
    defaults: Mapping[str, str | None] | None = None,
) -> Outcome:
    """The outcome for what runs now: SHOW CONFIG's values and defaults, and the databases of SHOW DATABASES.

    `stopped` is the file read up to its first mistake (`read_file(..., stop=True)`), the same as `file` if it has none.
    """
    after = state_after(stopped, running, defaults or {})
    changes: list[Change] = []
    ignored: list[Change] = []
    known = parameters.load(file.version)
    for name, before in running.items():
        parameter = known.get(name)
        if parameter is None or name == "conffile":
            continue
        wanted = file.value(name) if name in file.effective else after[name]
        if after[name] != before:
            lost = not file.loads and name in file.effective and name not in stopped.effective
            defaulted = not file.loads and name not in stopped.effective
            changes.append(Change(name, before, after[name], by_accident=lost or defaulted))
        elif not parameter.reloads and wanted != before:
            ignored.append(Change(name, before, wanted))
    unset = [n for n, p in known.items() if p.default is None and n not in file.effective and n != "conffile"]
    kept = tuple(n for n in unset if running.get(n, "") not in ("", "0"))  # verbose is 0 at the start
    listed = {d.name for d in stopped.databases if d.name != "*"}
    return Outcome(
        ok=file.loads,
        reports_error=file.version.minor >= 25,
        changes=tuple(changes),
        ignored=tuple(ignored),
        kept=kept if file.loads else (),
        added=tuple(sorted(listed - databases)),
        removed=tuple(sorted(databases - listed)) if file.loads and not _has_fallback(stopped) else (),
    )


def state_after(stopped: IniFile, running: Mapping[str, str], defaults: Mapping[str, str | None]) -> dict[str, str]:
    """SHOW CONFIG after RELOAD of a file that is read up to its first mistake."""
    opened = any(s.name == "pgbouncer" for s in stopped.sections)
    after: dict[str, str] = {}
    for name, before in running.items():
        parameter = parameters.load(stopped.version).get(name)
        if parameter is None or not parameter.reloads or not opened:
            after[name] = before
            continue
        default = defaults.get(name, parameter.default)
        held = stopped.effective.get(name)
        if held is not None and held.value is not None:
            after[name] = held.value
        elif default is None:
            # No default to fall back to: an earlier line of the same file counts, else what ran before.
            earlier = [s.value for s in stopped.settings if s.name == name and s.value is not None]
            after[name] = earlier[-1] if earlier else before
        else:
            after[name] = canonical(parameter.kind, default, stopped.version)
    return after


def _has_fallback(file: IniFile) -> bool:
    return any(d.name == "*" for d in file.databases)
