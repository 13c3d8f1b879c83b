"""What mends the findings that count, collected once for every dialect: one value a setting, of the worst finding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dbkit.model import Finding
from dbkit.postgres.settings.audit import Mend
from dbkit.postgres.settings.repair import Edit
from dbkit.postgres.settings.rules.declare import Change


def collect(findings: Sequence[Finding], mends: Mapping[str, Mend]) -> Mend:
    """The changes and edits of the findings that are not set aside."""
    changes: dict[str, Change] = {}
    edits: list[Edit] = []
    for finding in sorted(findings, key=lambda f: f.severity.rank):
        mend = mends.get(finding.fingerprint)
        if mend is None or finding.suppression is not None:
            continue
        for change in mend.changes:
            changes.setdefault(change.name.lower(), change)
        edits += [edit for edit in mend.edits if edit not in edits]
    return Mend(tuple(changes.values()), tuple(edits))
