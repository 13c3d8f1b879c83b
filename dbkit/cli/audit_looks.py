"""One look of `dbkit audit` at one thing (a server, a pooler, a file), and what it can write to mend its findings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

from dbkit.cli import output
from dbkit.errors import DbkitError, UsageError
from dbkit.model import Finding, Report, Skipped, TargetInfo
from dbkit.policy import Policy

if TYPE_CHECKING:
    from dbkit.pgbouncer.rules.fleet import Member

SIDE_BY_SIDE: Final = 8


@dataclass(frozen=True, slots=True)
class Draft:
    """A file that mends findings, and one line that says what to do with it."""

    text: str
    note: str


Drafts: TypeAlias = "Mapping[str, Callable[[Sequence[Finding]], Draft]]"
"""Who writes what, by the suffix of the file: `.json` (a plan), `.sql`, `.patch`, `.sh`."""


@dataclass(frozen=True, slots=True)
class Looked:
    """What a look saw; `drafts` makes files out of those findings that still count."""

    report: Report
    drafts: Drafts = field(default_factory=dict[str, Callable[[Sequence[Finding]], Draft]])
    pooler: Member | None = None
    """What was seen of a pooler, to be held against the others of the run."""


@dataclass(frozen=True, slots=True)
class Look:
    """Something to be looked at; what its configuration lacks was an error before this was made."""

    target: TargetInfo
    policy: Policy
    run: Callable[[], Looked]
    prefix: str
    """What its rules begin with: `pg`, `pgbouncer`."""


def run(looks: Sequence[Look]) -> list[Looked | DbkitError]:
    """All looks side by side, in their order. An error of one does not stop the others."""

    def one(look: Look) -> Looked | DbkitError:
        try:
            return look.run()
        except DbkitError as error:
            return error

    if len(looks) == 1:
        return [one(looks[0])]
    with ThreadPoolExecutor(max_workers=SIDE_BY_SIDE) as pool:
        return list(pool.map(one, looks))


def missed(look: Look, error: DbkitError) -> Report:
    """The report on something that could not be looked at: nothing of it passed."""
    reason = error.what + (f": {error.why}" if error.why else "")
    skipped = Skipped(look.prefix, look.target.name, reason)
    return Report(command="audit", targets=(look.target,), skipped=(skipped,))


def check_fix(file: Path, count: int) -> None:
    """Raise UsageError unless `--fix` can be meant: one thing is looked at, and the suffix is one that is written."""
    if count != 1:
        raise UsageError("a fix plan is for one database or one file", hint="name one target, or one file, with --fix")
    if file.suffix not in (".json", ".sql", ".patch", ".diff", ".sh"):
        raise UsageError(
            f"--fix cannot tell what to write into {file}",
            hint="name it .json (a plan for `dbkit apply`), .sql, .patch or .sh (a managed service's commands)",
        )


def save_fix(looked: Looked, findings: Sequence[Finding], file: Path, *, quiet: bool) -> None:
    """Write the file that mends the findings. Raises UsageError when this look cannot write such a file."""
    suffix = ".patch" if file.suffix == ".diff" else file.suffix
    write = looked.drafts.get(suffix)
    if write is None:
        known = ", ".join(sorted(looked.drafts)) or "nothing"
        raise UsageError(f"no {suffix} file can be made from this audit", hint=f"it can write: {known}")
    draft = write(findings)
    output.write(file, draft.text)
    output.note(f"{file}: {draft.note}", quiet=quiet)
