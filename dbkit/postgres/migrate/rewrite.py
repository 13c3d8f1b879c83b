"""`--fix`: files with the hazardous statements replaced by their safe form, and what could not be replaced and why."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dbkit import diffs
from dbkit.model import Finding
from dbkit.postgres.migrate.found import Found
from dbkit.postgres.migrate.source import Script
from dbkit.postgres.migrate.transactions import Wrap

MARK: Final = "-- dbkit: no-transaction"
_UTF8_MARK: Final = b"\xef\xbb\xbf"
_WIDE: Final = {b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be"}


@dataclass(frozen=True, slots=True)
class Change:
    """One file before and after; `rules` were fixed, `marked` when it now asks to be run without a transaction."""

    file: str
    path: Path | None
    before: str
    after: str
    rules: tuple[str, ...]
    marked: bool

    @property
    def diff(self) -> str:
        """A unified diff that `git apply` and `patch` read."""
        name = self.file.lstrip("/")
        return diffs.unified(diffs.lines_of(self.before), diffs.lines_of(self.after), f"a/{name}", f"b/{name}")


@dataclass(frozen=True, slots=True)
class Left:
    """A finding with a safe form that was not written, and why."""

    finding: Finding
    why: str


def plan(
    scripts: Sequence[Script], found: Iterable[tuple[Found, Finding]]
) -> tuple[tuple[Change, ...], tuple[Left, ...]]:
    """What `--fix` would write, and what it leaves to a person. Suppressed findings are left as they are."""
    by_file: dict[str, list[tuple[Found, Finding]]] = {}
    for pair in found:
        if pair[0].hazard.rewrite is not None and pair[1].suppression is None:
            by_file.setdefault(pair[0].file, []).append(pair)
    changes: list[Change] = []
    left: list[Left] = []
    for script in scripts:
        mine = by_file.get(script.file, [])
        if mine:
            change = _file(script, mine, left)
            if change is not None:
                changes.append(change)
    return tuple(changes), tuple(left)


def _file(script: Script, mine: list[tuple[Found, Finding]], left: list[Left]) -> Change | None:
    if script.parts is not None:
        left += [Left(finding, "the SQL is written by Alembic: change the op. call") for _, finding in mine]
        return None
    raw = script.text.encode("utf-8")
    text = script.original
    edits: list[tuple[int, int, str]] = []
    taken: set[int] = set()
    rules: list[str] = []
    marked = False
    for found, finding in mine:
        rewrite = found.hazard.rewrite
        if rewrite is None or found.start is None or found.start in taken:
            continue
        why = _kept(script, found) if rewrite.alone else ""
        if why:
            left.append(Left(finding, why))
            continue
        start = len(raw[: found.start].decode("utf-8"))
        taken.add(found.start)
        edits.append((start, start + len(found.text), rewrite.sql))
        rules.append(finding.rule)
        marked = marked or (rewrite.alone and script.wrap is Wrap.UNKNOWN)
    if not edits:
        return None
    after = text
    for start, end, sql in sorted(edits, reverse=True):
        after = after[:start] + sql + after[end:]
    if marked and MARK not in after:
        end = "\r\n" if "\r\n" in text else "\n"
        after = f"{MARK}{end}{after}"
    return Change(script.file, script.path, text, after, tuple(dict.fromkeys(rules)), marked)


def _kept(script: Script, found: Found) -> str:
    """Why a form that needs to be outside of a transaction cannot stand here; empty when it can."""
    if found.together is True:
        how = {
            "dbmate": "add `transaction:false` to the up mark and give the statement a file of its own",
            "goose": "add `-- +goose NO TRANSACTION` and give the statement a file of its own",
            "flyway": "give the statement a file of its own",
            "golang-migrate": "give the statement a file of its own",
            "sqlx": "give the statement a file of its own",
            "diesel": "say `run_in_transaction = false` in metadata.toml and give the statement a migration of its own",
            "prisma": "give the statement a migration of its own",
        }.get(script.kind, "move it out of the transaction")
        return f"the safe form cannot run in the transaction around it: {how}"
    return ""


def write(changes: Iterable[Change]) -> None:
    """Write the files in place, in the encoding they have; standard input has none."""
    for change in changes:
        if change.path is not None:
            mark = change.path.read_bytes()[:3]
            if mark[:2] in _WIDE:
                change.path.write_bytes(mark[:2] + change.after.encode(_WIDE[mark[:2]]))
            else:
                change.path.write_bytes((_UTF8_MARK if mark == _UTF8_MARK else b"") + change.after.encode("utf-8"))
