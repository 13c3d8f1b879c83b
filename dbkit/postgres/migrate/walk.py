"""Runs scripts in the mind: each statement is judged by the rules against the schema and session before it."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any, Final

from dbkit.errors import UsageError
from dbkit.postgres import ddl
from dbkit.postgres.migrate import actions as a
from dbkit.postgres.migrate import bodies
from dbkit.postgres.migrate.context import Context
from dbkit.postgres.migrate.evolve import apply
from dbkit.postgres.migrate.foresight import created_later
from dbkit.postgres.migrate.found import Coverage, Found, parse, plain
from dbkit.postgres.migrate.given_names import constraint_name
from dbkit.postgres.migrate.locks import locks
from dbkit.postgres.migrate.memory import remember
from dbkit.postgres.migrate.reading import read
from dbkit.postgres.migrate.rules.data import of_the_server
from dbkit.postgres.migrate.rules.declare import (
    AddedKey,
    AlreadyDone,
    EachChange,
    EachStatement,
    MigrationRule,
    RunEnd,
    ScriptEnd,
    Together,
    WhileHeld,
    works_on_rows,
)
from dbkit.postgres.migrate.rules.reading import SyntaxProblem, Unreadable
from dbkit.postgres.migrate.schema import Schema
from dbkit.postgres.migrate.source import Script
from dbkit.postgres.migrate.transactions import Session, Wrap
from dbkit.postgres.migrate.wrapping import wrap

_EACH: Final = EachStatement()
_CHANGE: Final = EachChange()
_HELD: Final = WhileHeld()
_TOGETHER: Final = Together()
_NO_CHANGE: Final = frozenset(
    "insert_stmt update_stmt delete_stmt merge_stmt select_stmt variable_set_stmt transaction_stmt comment_stmt".split()
)
_END: Final = ScriptEnd()
_DEEPEST: Final = 5


@dataclass(slots=True)
class Walk:
    """One run over all scripts; `dispatch` holds the rules switched on, by what they look at."""

    dispatch: dict[type[a.Action], list[MigrationRule]]
    schema: Schema
    major: int
    minor: int | None
    assume: bool | None = None
    found: list[Found] = field(default_factory=list[Found])
    coverage: Coverage = field(default_factory=Coverage)
    keys: list[AddedKey] = field(default_factory=list[AddedKey])
    ranges: dict[str, list[tuple[int, int]]] = field(default_factory=dict[str, list[tuple[int, int]]])
    """Lines of every top-level statement, by file."""
    _saved: Schema | None = None
    _read: dict[int, list[a.Action]] = field(default_factory=dict[int, list[a.Action]])
    """Actions of the script's statements by the statement's identity: three looks at each, one reading."""

    def _actions(self, statement: ddl.Statement) -> list[a.Action]:
        found = self._read.get(id(statement))
        if found is None:
            found = read(statement)
            if statement.tree is not None:  # of a large file even the actions are not kept
                self._read[id(statement)] = found
        return found

    def script(self, script: Script, number: int) -> None:
        """Judge one script and leave the schema as it would."""
        parts, errors = parse(script)
        statements = [s for _, found in parts for s in found]
        session = Session(wrap(script, statements, self.assume, self._actions), one_message=False)
        session.one_message = script.one_message and self.assume is None and len(statements) > 1
        if self.assume is False:
            session.one_message = False
        ctx = self._context(script, number, session, statements)
        for line, message in script.problems:
            self.coverage.statements += 1
            self.coverage.not_analysed += 1
            self._run(ctx, Unreadable(message, line))
        for error in errors:
            self.coverage.statements += 1
            self.coverage.not_analysed += 1
            self._run(ctx, SyntaxProblem(plain(error), error.line, error.why or ""))
        for line, command, why in script.left_out:
            self.coverage.statements += int(not script.remark)
            self.coverage.not_analysed += int(not script.remark)
            ctx.line = line
            self._run(ctx, a.Unread(command, why))
        may_roll_back = "rollback" in script.text.lower()
        ranges = self.ranges.setdefault(script.file, [])
        for part, found in parts:
            if part is not None and part.control:
                self._control(session, part.control)
                continue
            for statement in found:
                ctx.statement = statement
                ctx.line = part.line if part is not None else statement.line
                last = max(part.last, part.line) if part is not None else ctx.line + statement.sql.count("\n")
                ranges.append((ctx.line, last))
                self._statement(ctx, may_roll_back=may_roll_back)
        ctx.line = ranges[-1][0] if ranges else 1
        self._run(ctx, _END)
        self._saved = None
        self._read.clear()

    def end(self) -> None:
        """Judge what only the whole run shows."""
        ending = RunEnd(self.keys)
        for rule in self.dispatch.get(RunEnd, ()):
            ctx = self._context(Script("", ""), -2, Session(Wrap.NO), [])
            for hazard in rule.check(ctx, ending):
                self.found.append(Found(rule, hazard, hazard.file, hazard.line, hazard.line or 0, hazard.message))

    def _context(self, script: Script, number: int, session: Session, statements: list[ddl.Statement]) -> Context:
        created, attached = created_later(self.schema, statements, self._actions)
        return Context(
            self.schema,
            session,
            number,
            script.file,
            self.major,
            self.minor,
            _NOTHING,
            [],
            [],
            created_later=created,
            attached_later=attached,
            calls=script.parts is not None,
            only_one=len(statements) == 1,
        )

    def _statement(self, ctx: Context, *, may_roll_back: bool = False, depth: int = 0) -> None:
        self.coverage.statements += 1
        ctx.actions = self._actions(ctx.statement) if not ctx.inside else read(ctx.statement)
        ctx.together = ctx.session.in_transaction
        ctx.sure = ctx.together is True or bool(ctx.inside)
        ctx.locks = [pair for action in ctx.actions for pair in locks(action, self.schema, self.major)]
        opaque = False
        self._run(ctx, _EACH)
        if ctx.session.held:
            self._run(ctx, _HELD)
        if ctx.sure:
            self._run(ctx, _TOGETHER)
        if ctx.statement.kind not in _NO_CHANGE:
            self._run(ctx, _CHANGE)
        for action in ctx.actions:
            opaque = self._action(ctx, action, may_roll_back=may_roll_back, depth=depth) or opaque
        self.coverage.not_analysed += int(opaque)
        remember(ctx)
        if not ctx.inside:
            ctx.session.after_statement()

    def _action(self, ctx: Context, action: a.Action, *, may_roll_back: bool, depth: int) -> bool:
        """Judge and apply one action; True when it could not be read in full."""
        before = len(self.found)
        moot = self.schema.holds(action)
        self._run(ctx, AlreadyDone(action) if moot else action)
        opaque = len(self.found) > before and any(f.rule.id == "migrate.not-analysed" for f in self.found[before:])
        session = ctx.session
        if isinstance(action, a.Transaction):
            self._transaction(ctx, action, may_roll_back=may_roll_back)
        elif isinstance(action, a.SetVariable):
            session.set(action)
            if action.name == "search_path":
                first = (action.value or "public").split(",")[0].strip().strip('"')
                self.schema.search_path = first if first and first != "$user" else "public"
        elif isinstance(action, a.Code):
            opaque = self._code(ctx, action, depth) or opaque
        elif isinstance(action, a.Query):
            for call in action.calls:
                opaque = self._called(ctx, call, depth) or opaque
        elif not moot:
            self._note_keys(ctx, action)
            if isinstance(action, a.Drop) and action.kind == "index":
                ctx.dropped += [i for i in map(self.schema.index, action.names) if i is not None]
            apply(self.schema, action, born=ctx.number, block=session.block)
        return opaque

    def _note_keys(self, ctx: Context, action: a.Action) -> None:
        if isinstance(action, a.CreateTable):
            made = [*action.constraints, *(c for column in action.columns for c in column.constraints)]
        elif isinstance(action, a.AddColumn):
            made = list(action.column.constraints)
        elif isinstance(action, a.AddConstraint):
            made = [action.constraint]
        else:
            return
        for constraint in made:
            if constraint.kind == "foreign":
                name = constraint_name(action.table.name, constraint)
                self.keys.append(AddedKey(action.table, name, ctx.file, ctx.line))

    def _transaction(self, ctx: Context, action: a.Transaction, *, may_roll_back: bool) -> None:
        session = ctx.session
        if action.verb == "begin":
            session.begin(ctx.line)
            self._saved = copy.deepcopy(self.schema) if may_roll_back else None
        elif action.verb in ("commit", "rollback", "prepare"):
            if action.verb == "rollback" and self._saved is not None:
                _restore(self.schema, self._saved)
            session.end(chain=action.chain)
            ctx.parents.clear()
            ctx.new_values.clear()
            ctx.changed_data.clear()

    def _control(self, session: Session, control: str) -> None:
        """The tool itself ends or begins its transaction (Alembic's autocommit_block)."""
        session.end(chain=False)
        session.runner_ended = False
        session.wrap = Wrap.NO if control == "end" else Wrap.YES

    def _code(self, ctx: Context, action: a.Code, depth: int) -> bool:
        if action.language == "call" and action.calls is not None:
            return self._called(ctx, action.calls, depth)
        if action.language == "plpgsql":
            return self._body(ctx, bodies.of_do(ctx.statement.sql), "DO", depth)
        if action.language == "sql":
            return self._body(ctx, bodies.of_function("DO", "sql", action.body), "DO", depth)
        return True

    def _called(self, ctx: Context, name: Any, depth: int) -> bool:
        function = self.schema.functions.get(self.schema.key(name))
        if function is None or depth >= _DEEPEST:
            return False
        return self._body(ctx, bodies.of_function(str(name), function.language, function.body), str(name), depth)

    def _body(self, ctx: Context, body: bodies.Body, inside: str, depth: int) -> bool:
        """Judge the statements of a body where it is run; True when some of it is not known."""
        outer = (ctx.statement, ctx.actions, ctx.locks, ctx.line, ctx.inside)
        start = ctx.line
        for piece in body.opaque:
            ctx.actions, ctx.locks = [], []
            self._run(ctx, a.Unread(f"{piece.sql[:120]} in {inside}", piece.why))
        for inner in body.statements:
            try:
                statements = ddl.parse(inner.sql)
            except UsageError:
                ctx.actions, ctx.locks = [], []
                self._run(ctx, a.Unread(f"{inner.sql[:120]} in {inside}", "cannot be parsed"))
                body.opaque.append(inner)
                continue
            for statement in statements:
                if statement.kind == "select_stmt" and not _calls(self.schema, statement):
                    continue
                self.coverage.inside += 1
                ctx.statement, ctx.inside = statement, inside
                ctx.line = start + inner.line - 1 if inside == "DO" else start
                self._statement(ctx, depth=depth + 1)
        ctx.statement, ctx.actions, ctx.locks, ctx.line, ctx.inside = outer
        return bool(body.opaque)

    def _run(self, ctx: Context, action: a.Action) -> None:
        rules = self.dispatch.get(type(action))
        if rules is None:
            return
        for rule in rules:
            for hazard in rule.check(ctx, action):
                if isinstance(action, a.OnTable) and works_on_rows(rule) and ctx.foreign(action.table):
                    continue
                if hazard.evidence is None:
                    tables = hazard.tables or ((action.table,) if isinstance(action, a.OnTable) else ())
                    hazard.evidence = ctx.evidence(*tables)
                line = hazard.line if hazard.line is not None else ctx.line or None
                whole = not ctx.inside and ctx.statement is not _NOTHING and hazard.line is None
                start = ctx.statement.start if whole else None
                last = (line or 0) + (ctx.statement.sql.count("\n") if whole else 0)
                self.found.append(
                    Found(rule, hazard, ctx.file, line, last, ctx.statement.sql, start, ctx.session.in_transaction)
                )


_NOTHING: Final = ddl.Statement(ddl.Node(), "", "", 0, 0, 0)


def _restore(schema: Schema, saved: Schema) -> None:
    for name in Schema.__slots__:  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType, reportAttributeAccessIssue]
        setattr(schema, name, getattr(saved, name))  # pyright: ignore[reportUnknownArgumentType]


def _calls(schema: Schema, statement: ddl.Statement) -> bool:
    """Whether a query calls a function that the files define, or one that nothing is known of."""
    called = (call for x in read(statement) if isinstance(x, a.Query) for call in x.calls)
    return any(schema.key(call) in schema.functions or not of_the_server(call) for call in called)
