"""What the flags of a command come to: settings, targets, wanted files and policy. Drivers are imported inside."""

from __future__ import annotations

import shutil
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from dbkit.errors import Refused, UsageError

if TYPE_CHECKING:
    from dbkit.job import Record, Tick
    from dbkit.policy import Policy
    from dbkit.postgres.indexes.desired import Wanted
    from dbkit.settings import Settings, Target


def postgres_targets(
    names: list[str] | None, dsn: str | None, config: Path | None
) -> tuple[Settings, tuple[Target, ...]]:
    """The PostgreSQL targets a command runs on. Raises UsageError for another engine."""
    from dbkit import settings

    held = settings.load(config)
    chosen = held.choose(tuple(names or ()), dsn)
    for target in chosen:
        if target.engine != "postgres":
            raise UsageError(f"target {target.name!r} is {target.engine}, not PostgreSQL")
    return held, chosen


def standbys_of(held: Settings, target: Target, words: list[str] | None) -> tuple[Target, ...]:
    """The standbys of a target: its `replicas`, and those of --standby, each a target or a DSN. Raises UsageError."""
    from dbkit import settings

    named = held.choose(target.replicas) if target.replicas else ()
    given = [settings.from_address(w) if "=" in w or "://" in w else held.choose((w,))[0] for w in words or ()]
    for one in (*named, *given):
        if one.engine != "postgres":
            raise UsageError(f"standby {one.name!r} is {one.engine}, not PostgreSQL")
    return (*named, *(one for one in given if one not in named))


def one_of_engine(names: list[str] | None, dsn: str | None, config: Path | None, engine: str) -> Target:
    """The single target that a plan for this engine is carried out on. Raises UsageError for another engine."""
    from dbkit import settings

    chosen = settings.load(config).choose(tuple(names or ()), dsn)
    if len(chosen) != 1:
        raise UsageError("this command works on one target at a time", hint="name one with -t")
    if chosen[0].engine != engine:
        raise UsageError(
            f"the plan is for {engine}, and target {chosen[0].name!r} is {chosen[0].engine}",
            hint="name the target that the plan was made for with -t",
        )
    return chosen[0]


def one_target(names: list[str] | None, dsn: str | None, config: Path | None) -> tuple[Settings, Target]:
    """The single target of a command that changes something."""
    held, chosen = postgres_targets(names, dsn, config)
    if len(chosen) != 1:
        raise UsageError("this command works on one target at a time", hint="name one with -t")
    return held, chosen[0]


def wanted(held: Settings, target: Target, files: list[Path] | None) -> tuple[Wanted, ...]:
    """The wanted indexes: of --file, of the target's configuration, or those that ship with dbkit."""
    from dbkit.postgres.indexes import desired

    return desired.load(files or [held.directory / place for place in target.indexes])


def policy_of(
    held: Settings, target: Target | None, name: str | None, *, quick: bool = False, only: str | None = None
) -> Policy:
    """The policy in force: the flag's, the target's own (None: a file is looked at), or the configuration's.

    `quick`: the command has no use for the rules of migrations, whose import takes a while; `only` names the one engine
    (`postgres`, `pgbouncer`) whose rules it uses.
    """
    from dbkit import policy
    from dbkit.cli.engines import FOR_FILES, UNUSED_BY, load_rules

    chosen = name or (target.policy if target else None) or held.policy
    if only is not None:
        load_rules(tuple(module for module in FOR_FILES if module.startswith(f"dbkit.{only}.")))
        return policy.load(chosen, unloaded=UNUSED_BY[only])
    if target is None or quick:
        load_rules(FOR_FILES)
        with suppress(UsageError):  # it names a rule of the others: read it again with all of them
            return policy.load(chosen)
    load_rules()
    return policy.load(chosen)


def confirm(question: str, *, yes: bool) -> None:
    """Ask on a terminal; elsewhere refuse unless --yes was given."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise Refused(
            "nobody is there to confirm", hint="review the plan and add --yes, or save it and `dbkit apply` it"
        )
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise Refused("not confirmed; nothing was changed")


class Progress:
    """Progress on stderr: a line that is rewritten on a terminal, one line per ten seconds elsewhere."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._terminal = sys.stderr.isatty()
        self._last = 0.0
        self._began = time.monotonic()

    def __call__(self, record: Record, tick: Tick) -> None:
        now = time.monotonic()
        if self._quiet or now - self._last < (0.5 if self._terminal else 10):
            return
        self._last = now
        total = f" of {tick.total:g}" if tick.total else ""
        line = f"job {record.id}: {tick.done:g}{total} done after {now - self._began:.0f} s {tick.note}"
        end = "" if self._terminal else "\n"
        if self._terminal:
            line = f"\r\x1b[K{line[: shutil.get_terminal_size().columns - 1]}"
        print(line, end=end, file=sys.stderr, flush=True)

    def close(self) -> None:
        """Leave the rewritten line."""
        if self._terminal and self._last and not self._quiet:
            print(file=sys.stderr)
