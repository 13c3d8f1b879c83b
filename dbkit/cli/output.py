"""Delivers a report: suppressions, stdout, files, exit code. Notes and progress go to stderr, the result to stdout."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dbkit.cli.options import FailOn, Format
from dbkit.errors import EXIT_FINDINGS, EXIT_OK, UsageError
from dbkit.model import Report, Severity, Suppression

if TYPE_CHECKING:
    from dbkit.policy import Policy
    from dbkit.shipped import AsShipped


def note(text: str, *, quiet: bool = False) -> None:
    """One line for the person at the terminal, on stderr."""
    if not quiet:
        print(text, file=sys.stderr, flush=True)


def use_colour() -> bool:
    """Colour only on a terminal; NO_COLOR and FORCE_COLOR have the last word."""
    if os.environ.get("NO_COLOR"):
        return False
    return bool(os.environ.get("FORCE_COLOR")) or sys.stdout.isatty()


def settle(report: Report, policy: Policy | AsShipped, baseline: Path | None) -> Report:
    """The report with the policy's `ignore` entries and the baseline applied: such findings stay, but do not count."""
    today = date.today()
    known = _baseline(baseline) if baseline else frozenset[str]()
    findings = list(report.findings)
    for position, finding in enumerate(findings):
        if finding.suppression is not None:
            continue
        found = policy.suppression(finding, today)
        if found is None and known and finding.fingerprint in known:
            found = Suppression("baseline", f"in {baseline.name if baseline else ''} already")
        if found is not None:
            findings[position] = finding.suppressed_by(found)
    return replace(report, findings=tuple(findings))


def deliver(
    report: Report,
    *,
    fmt: Format = Format.TEXT,
    outputs: Sequence[Path] | None = None,
    fail_on: FailOn = FailOn.ERROR,
    verbose: bool = False,
) -> int:
    """Print the report, write every file asked for, and return the exit code."""
    from dbkit.report import format_for, render

    wanted = [
        (file, format_for(file)) for file in outputs or ()
    ]  # a wrong suffix is refused before anything is printed
    sys.stdout.write(render(report, fmt.value, colour=use_colour(), verbose=verbose))
    sys.stdout.flush()
    for file, name in wanted:
        write(file, render(report, name, verbose=True))
    threshold = None if fail_on is FailOn.NEVER else Severity(fail_on.value)
    return EXIT_FINDINGS if report.reaches(threshold) else EXIT_OK


def require_writable(file: Path) -> None:
    """Raise UsageError, saying why, when a result file could not be written."""
    why = ""
    if file.is_dir():
        why = "it is a folder"
    elif not file.parent.is_dir():
        why = f"there is no folder {file.parent}"
    elif not os.access(file if file.exists() else file.parent, os.W_OK):
        why = "permission denied"
    if why:
        raise UsageError(f"cannot write {file}", why=why, hint="name a file in a folder that you may write to")


def write(file: Path, text: str) -> None:
    """Write a result file, or raise UsageError saying why it cannot be written."""
    try:
        file.write_text(text, encoding="utf-8", errors="surrogateescape")  # a patch keeps bytes that are no UTF-8
    except OSError as error:
        hint = "name a file in a folder that you may write to"
        raise UsageError(f"cannot write {file}", why=error.strerror, hint=hint) from None


def read_baseline(file: Path) -> Any:
    """The JSON report of `--baseline`. Raises UsageError when it is none."""
    try:
        data: Any = json.loads(file.read_text(encoding="utf-8"))
        [f["fingerprint"] for f in data["findings"]]
    except OSError as error:
        raise UsageError(
            f"cannot read the baseline {file}",
            why=error.strerror,
            hint="an earlier report, written by `-o report.json`",
        ) from None
    except (ValueError, KeyError, TypeError):
        raise UsageError(
            f"{file} is not a baseline", hint="a baseline is a JSON report: `dbkit audit --format json > baseline.json`"
        ) from None
    return data


def _baseline(file: Path) -> frozenset[str]:
    return frozenset(str(f["fingerprint"]) for f in read_baseline(file)["findings"])
