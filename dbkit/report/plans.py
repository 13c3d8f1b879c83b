"""A plan for people: every step with its lock, whom it blocks and how it is undone; what needs a person comes first."""

from __future__ import annotations

from dbkit.plan import Plan


def text(plan: Plan) -> str:
    """The plan in lines for a terminal or a log."""
    lines = [f"{p.object}: {p.message} ({p.rule})" + (f"\n    hint: {p.hint}" if p.hint else "") for p in plan.problems]
    if lines:
        lines = ["Needs a person:", *(f"  {line}" for line in lines), ""]
    for step in plan.steps:
        lines += [
            f"{step.id}. {step.action} {step.object}",
            f"   {step.sql}",
            f"   lock: {step.lock}; blocks: {step.blocks}",
            f"   undo: {step.undo}",
        ]
    where = f"database {plan.target.database}, PostgreSQL {plan.target.server_version}"
    return "\n".join([*lines, f"{len(plan.steps)} steps for {where}; {len(plan.problems)} need a person"]) + "\n"


def markdown(plan: Plan) -> str:
    """The plan for a pull request."""
    lines = [f"## Plan for database {plan.target.database}", ""]
    lines += [f"- **{p.object}**: {p.message}" for p in plan.problems]
    lines += ["", "| step | what | lock | undo |", "|---|---|---|---|"] if plan.steps else []
    lines += [f"| {s.id} | `{s.sql}` | {s.lock} | `{s.undo}` |".replace("\n", " ") for s in plan.steps]
    return "\n".join([*lines, "", f"{len(plan.steps)} steps, {len(plan.problems)} need a person"]) + "\n"
