"""The rule of several versions: what one does with a statement and another does not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from dbkit.model import Evidence, Severity
from dbkit.postgres.migrate.rehearse.observed import Observation
from dbkit.postgres.migrate.rehearse.scene import Scene, Sight
from dbkit.rules import rule

if TYPE_CHECKING:
    from dbkit.postgres.migrate.rehearse.rehearsal import Outcome


@rule(
    "migrate.versions-differ",
    engine="postgres",
    category="compatibility",
    severity=Severity.INFO,
    evidence=Evidence.OBSERVED,
    ok="The versions rehearsed do the same with every statement",
    bad="""
    -- before
    create table parents (id bigint primary key);
    create table orders (id bigint, parent_id bigint) partition by range (id);
    -- migration
    alter table orders add foreign key (parent_id) references parents not valid;
    """,
    good="""
    -- before
    create table orders (id bigint primary key, note text);
    -- migration
    alter table orders drop column note;
    """,
    facts={"versions": "only when --pg names several"},
)
def versions_differ(scene: Scene) -> Iterator[Sight]:
    """A statement locks, rewrites or reads other things on one version than on another.

    Why: a migration rehearsed on the version of the laptop may lock more, or fail, on that of production.

    Fix: rehearse on production's version; where both are in use, write for the older one.

    Not reported when: only one version is rehearsed, or all do the same.

    See: dbkit explain rehearse
    """
    mine = scene.outcome
    for other in scene.others:
        for position, (here, there) in enumerate(zip(mine.seen, other.seen, strict=False)):
            parts = [words for words in _differences(mine, here, other, there) if words]
            if parts:
                yield Sight("; ".join(parts), statement=position, key=other.target)


def _differences(mine: Outcome, here: Observation, other: Outcome, there: Observation) -> Iterator[str]:
    new, old = f"PostgreSQL {mine.major}", f"PostgreSQL {other.major}"
    if bool(here.error) != bool(there.error):
        fails, runs, why = (new, old, here.error) if here.error else (old, new, there.error)
        yield f"fails on {fails} ({why}), runs on {runs}"
        return
    for name in sorted(here.locks.keys() | there.locks.keys()):
        a, b = here.locks.get(name), there.locks.get(name)
        # Brief index locks of a statement outside a transaction are seen by luck.
        if a is not b and not (here.bare and (name not in mine.before or mine.before[name].is_index)):
            yield f"{name}: {a.words if a else 'no lock'} on {new}, {b.words if b else 'no lock'} on {old}"
    for label, ours, theirs in (
        ("rewritten", here.rewritten, there.rewritten),
        ("read from end to end", here.scanned, there.scanned),
    ):
        only_new, only_old = sorted(set(ours) - set(theirs)), sorted(set(theirs) - set(ours))
        if only_new:
            yield f"{', '.join(only_new)} {label} on {new} only"
        if only_old:
            yield f"{', '.join(only_old)} {label} on {old} only"
