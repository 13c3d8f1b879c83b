"""Plans: what would be done, reviewed before it is done.

A Plan is a file: JSON a person can review in a pull request, printable as SQL, and refused when it was made for another
database or when an object it touches has changed since. `apply` is the only door through which a plan changes a server.
A step is restartable: whether it is still to be done is read from the server, so a plan that was stopped half-way is
simply applied again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dbkit import __version__
from dbkit.errors import Refused, UsageError
from dbkit.model import Json

PLAN_SCHEMA: Final = 1


class Step(BaseModel):
    """One statement, with the lock it takes, whom it blocks, how it is checked and how it is undone."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    action: str
    """A verb and a noun: `create-index`, `attach-index`, `drop-index`, `reindex`, `alter-system` ..."""
    object: str
    """The qualified, quoted name of what the step makes or changes."""
    sql: str
    """One statement without a trailing semicolon, runnable in psql as it stands."""
    lock: str
    """The strongest lock taken, in the manual's words, and on what: `SHARE UPDATE EXCLUSIVE on public.users`."""
    blocks: str
    """Whom that lock keeps waiting, in words: `nobody who reads or writes`."""
    undo: str
    """The statement that takes the step back, or a sentence why none is needed or possible."""
    check: str = ""
    """How success is verified, in words."""
    table: str = ""
    """Qualified table; steps on different tables may run side by side, steps on one table run in order."""
    transactional: bool = False
    """Whether the statement may run inside a transaction block."""
    note: str = ""
    before: str = ""
    """Fingerprint of the object when the plan was made; a different one that is not the wanted state makes it stale."""
    data: dict[str, Any] = Field(default_factory=dict)
    """What the engine needs beside the text, such as the wanted definition to verify against."""


class Problem(BaseModel):
    """Something wanted that this plan does not do, and why: it needs a person's decision."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    object: str
    rule: str
    message: str
    hint: str = ""


class PlanTarget(BaseModel):
    """The database a plan belongs to. No DSN: a plan holds no secret and no address."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    engine: str
    system: str
    """The cluster's own identifier (PostgreSQL: `pg_control_system().system_identifier`)."""
    database: str
    server_version: str


class Plan(BaseModel):
    """An ordered list of steps for one database."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_: Literal[1] = Field(default=PLAN_SCHEMA, alias="schema")
    kind: str
    """Which engine function executes it: `index`, `fix` ..."""
    tool: str = f"dbkit {__version__}"
    created: str = Field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    target: PlanTarget
    steps: tuple[Step, ...] = ()
    problems: tuple[Problem, ...] = ()
    data: dict[str, Any] = Field(default_factory=dict)

    def json_data(self) -> dict[str, Json]:
        """The plan as plain data, in the order it is read."""
        return self.model_dump(mode="json", by_alias=True)

    def to_json(self) -> str:
        """The reviewable file."""
        return json.dumps(self.json_data(), indent=2, ensure_ascii=False) + "\n"

    def save(self, file: Path) -> None:
        """Write the plan; a name ending in `.sql` gets the script instead of the JSON."""
        text = self.to_sql() if file.suffix == ".sql" else self.to_json()
        try:
            file.write_text(text, encoding="utf-8")
        except OSError as error:
            raise UsageError(f"cannot write the plan to {file}", why=error.strerror) from None

    def to_sql(self) -> str:
        """A psql script of the same steps, with locks as comments and the undo statements at the end, commented out."""
        head = [
            _comment(f"Plan of {self.tool}, made {self.created} for database {self.target.database}"),
            "-- Run by hand in psql it has no watchdog, no resume and no verification: prefer `dbkit apply`.",
            r"\set ON_ERROR_STOP on",
            r"\timing on",
        ]
        if any(not step.transactional for step in self.steps):
            head.append("-- Some steps refuse to run in a transaction block: do not use --single-transaction.")
        body = [line for step in self.steps for line in _script_lines(step)]
        # Done as a whole, a partition's index has become part of another and goes with that one.
        joined = {step.object for step in self.steps if _is_sentence(step.undo)}
        undo = [
            line
            for step in reversed(self.steps)
            if _is_sentence(step.undo) or step.object not in joined
            for line in _undo_lines(step)
        ]
        tail = ["", "-- Undo, last step first:", *undo] if undo else []
        return "\n".join([*head, *body, *tail]) + "\n"

    def refuse_elsewhere(self, system: str, database: str) -> None:
        """Raise Refused unless this is the database the plan was made for."""
        if (self.target.system, self.target.database) != (system, database):
            raise Refused(
                "this plan was made for another database",
                why=f"it names database {self.target.database} of system {self.target.system}; "
                f"this is {database} of system {system}",
                hint="make a new plan here, or point --target at the database it was made for",
            )


def load(file: Path) -> Plan:
    """Read a saved plan. Raises UsageError when it is not one."""
    try:
        raw = file.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(
            f"cannot read the plan {file}", why=error.strerror, hint="`dbkit index plan -o plan.json` writes one"
        ) from None
    except UnicodeDecodeError:
        raise UsageError(f"{file} is not a plan", why="it is not UTF-8 text") from None
    try:
        data = json.loads(raw)
    except json.JSONDecodeError as error:
        raise UsageError(
            f"{file} is not a plan",
            why=f"line {error.lineno}: {error.msg}",
            hint="a plan is the JSON that `-o plan.json` writes",
        ) from None
    return from_data(data, str(file))


def from_data(data: Any, label: str) -> Plan:
    """A plan from plain data (a file's or a job row's)."""
    if isinstance(data, Mapping) and data.get("schema") not in (None, PLAN_SCHEMA):  # pyright: ignore[reportUnknownMemberType]
        raise UsageError(
            f"{label} has plan schema {data['schema']}",
            hint=f"this dbkit reads schema {PLAN_SCHEMA}: make the plan again",
        )
    try:
        return Plan.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"]) or "the whole"
        hint = "a plan is the JSON that `-o plan.json` writes; `dbkit policy schema --plan` prints its schema"
        raise UsageError(f"{label} is not a plan", why=f"{key}: {first['msg']}", hint=hint) from None


def _script_lines(step: Step) -> list[str]:
    comments = [f"{step.id} {step.action} {step.object}", f"lock: {step.lock}; blocks: {step.blocks}"]
    if step.note:
        comments.append(step.note)
    return ["", *map(_comment, comments), f"{step.sql};"]


def _comment(text: str) -> str:
    """One comment line: psql ends a comment at any line break, and a quoted name may hold one."""
    return f"-- {' '.join(text.splitlines())}"


def _is_sentence(undo: str) -> bool:
    """Whether an undo says why none is needed or possible, instead of being a statement."""
    return undo.startswith(("none ", "--"))


def _undo_lines(step: Step) -> list[str]:
    """Commented out, and still sound SQL when the first `-- ` of each line is taken away."""
    if _is_sentence(step.undo):
        return [f"-- -- {step.object}: {line.removeprefix('-- ')}" for line in step.undo.splitlines()]
    return [f"-- {line}" for line in f"{step.undo};".splitlines()] if step.undo else []
