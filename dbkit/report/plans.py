"""A plan for people: every step with its lock, whom it blocks and how it is undone; what needs a person comes first."""

from __future__ import annotations

from collections import Counter

from dbkit.plan import Plan


def text(plan: Plan) -> str:
    """The plan in lines for a terminal or a log: every step, and at the end what they add up to."""
    lines = [f"{p.object}: {p.message} ({p.rule})" + (f"\n    hint: {p.hint}" if p.hint else "") for p in plan.problems]
    if lines:
        lines = ["Needs a person:", *(f"  {line}" for line in lines), ""]
    noted: set[str] = set()  # the leaves of a partitioned table share one remark
    for step in plan.steps:
        note = [f"   note: {step.note}"] if step.note and step.note not in noted else []
        noted.add(step.note)
        lines += [
            f"{step.id}. {step.action} {step.object}",
            f"   {step.sql}",
            f"   lock: {step.lock}; blocks: {step.blocks}",
            f"   undo: {step.undo}",
            *note,
        ]
    return "\n".join([*lines, *summary(plan)]) + "\n"


def summary(plan: Plan) -> list[str]:
    """What the steps add up to: how many of which kind, under which lock, and whom that keeps waiting."""
    held = plan.target
    where = f"database {held.database}, PostgreSQL {held.server_version}"
    if held.engine == "pgbouncer":
        where = f"{held.system}, PgBouncer {held.server_version}"
    kinds: Counter[tuple[str, str, str]] = Counter()
    for step in plan.steps:
        locks = ", ".join(part.partition(" on ")[0] for part in step.lock.split(", "))
        kinds[step.action, locks, step.blocks] += 1
    rows = [f"  {count} x {action}: {locks}; blocks {blocks}" for (action, locks, blocks), count in kinds.items()]
    return [f"{len(plan.steps)} steps for {where}; {len(plan.problems)} need a person", *rows]


def markdown(plan: Plan) -> str:
    """The plan for a pull request."""
    lines = [f"## Plan for database {plan.target.database}", ""]
    lines += [f"- **{p.object}**: {p.message}" for p in plan.problems]
    lines += ["", "| step | what | lock | undo |", "|---|---|---|---|"] if plan.steps else []
    lines += [f"| {s.id} | `{s.sql}` | {s.lock} | `{s.undo}` |".replace("\n", " ") for s in plan.steps]
    return "\n".join([*lines, "", f"{len(plan.steps)} steps, {len(plan.problems)} need a person"]) + "\n"
