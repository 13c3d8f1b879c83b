"""The run as a whole: read, plan, propose, try, choose, verify, report. Nothing on the target is changed."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Final, Literal

from dbkit.errors import Unreachable, UsageError
from dbkit.postgres.advise import advice, choose, facts, plans, propose, sizes, workload
from dbkit.postgres.advise.advice import Outcome, Proposal
from dbkit.postgres.advise.candidate import Candidate, of_wanted
from dbkit.postgres.advise.choose import Bars, Choice, Chooser, Chosen, Query
from dbkit.postgres.advise.emptycopy import EmptyCopy
from dbkit.postgres.advise.facts import Facts
from dbkit.postgres.advise.ground import Ground
from dbkit.postgres.advise.hypothetical import METHODS, Hypothetical
from dbkit.postgres.advise.plans import Plan
from dbkit.postgres.advise.propose import Lack
from dbkit.postgres.advise.statement import Statement, Unread
from dbkit.postgres.advise.workload import Workload
from dbkit.postgres.catalog import Relation
from dbkit.postgres.connect import Connection, connect, require_supported, server
from dbkit.postgres.indexes import compare, desired, naming
from dbkit.postgres.indexes.compare import Observed
from dbkit.postgres.indexes.desired import Wanted
from dbkit.postgres.indexes.states import IndexState, State
from dbkit.settings import Target

How = Literal["auto", "hypopg", "clone"]
LABEL: Final = "index advise"
FORGOES: Final = 4.0
_PRESENT: Final = (State.OK, State.OTHER_NAME, State.BUILDING)


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked. `sql` is the text of a file of statements with its name; without it pg_stat_statements is read."""

    sql: tuple[str, str] | None = None
    wishes: tuple[Wanted, ...] = ()
    assumed: bool = False
    """Nobody named these wishes: they are those that ship with dbkit, and may be about another database."""
    top: int = 100
    min_calls: int = 1
    bars: Bars = field(default_factory=Bars)
    how: How = "auto"
    search_path: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """Everything a report, a plan and a migration are made from."""

    target: Target
    facts: Facts
    work: Workload
    tried: str
    """Where candidates were tried, in words."""
    queries: tuple[Query, ...] = ()
    unplanned: tuple[Unread, ...] = ()
    outcomes: tuple[Outcome, ...] = ()
    proposals: tuple[Proposal, ...] = ()
    observed: Observed | None = None
    """The proposals as the server itself sees them; None where it could not be asked."""
    lacks: tuple[Lack, ...] = ()
    untried: tuple[tuple[Candidate, str], ...] = ()
    too_dear: tuple[choose.Rejected, ...] = ()
    notes: tuple[str, ...] = ()


Progress = Callable[[str], None]


def advise(target: Target, question: Question, say: Progress = lambda _: None) -> Answer:
    """Advice for one database. Raises DbkitError when there is nothing to advise on or nowhere to try."""
    with connect(target, purpose=LABEL) as connection:
        found = server(connection)
        require_supported(found)
        held = facts.read(connection, found)
        if question.search_path is not None:
            row = {"username": found.user, "schemas": {r.schema for r in held.relations.values()}, "path": ""}
            held = replace(held, search_path=facts.search_path(row, question.search_path))
        work = _workload(connection, held, question)
        say(f"{len(work.statements)} statements from {work.source}")
        with _ground(target, connection, held, question.how, work.statements, say) as place:
            tried = _try(place, target, held, work, question, say)
        return _verified(connection, tried)


def _workload(connection: Connection, held: Facts, question: Question) -> Workload:
    if question.sql is not None:
        return workload.from_text(*question.sql)
    work = workload.from_statistics(connection, held, top=question.top, min_calls=question.min_calls)
    if not work.statements and not work.unread:
        raise UsageError(
            f"there is no statement to advise on in {work.source}",
            why="nothing but catalogue queries and utility statements has been counted",
            hint="let the application run for a while, lower --min-calls, or give statements with --sql FILE",
        )
    return work


@contextmanager
def _ground(
    target: Target, connection: Connection, held: Facts, how: How, statements: Sequence[Statement], say: Progress
) -> Generator[Ground]:
    installed = "hypopg" in held.extensions
    if how == "hypopg" and not installed:
        raise UsageError(
            f"HypoPG is not installed in database {held.server.database}",
            hint="create extension hypopg, or --try clone",
        )
    if how == "hypopg" or (how == "auto" and installed and held.server.direct):
        if not held.server.direct:
            raise UsageError(
                "HypoPG needs a direct connection",
                why="its indexes live in one session, and behind the pooler each statement may meet another",
                hint="connect to the server itself, or --try clone",
            )
        place = Hypothetical(connection, held)
        if how == "hypopg" or not _wants_inverted(place, held, statements):
            yield place
            return
        say("HypoPG cannot try GIN indexes: making an empty copy")
        with ExitStack() as stack:
            try:
                copy = stack.enter_context(EmptyCopy(target, connection, held))
            except Unreachable as error:
                say(f"{error.what} ({error.why}): GIN indexes are not tried")
                yield place
                return
            copy.learn(statements)
            yield copy
        return
    with EmptyCopy(target, connection, held) as copy:
        say(f"trying on {copy.name}")
        copy.learn(statements)
        yield copy


def _wants_inverted(place: Ground, held: Facts, statements: Sequence[Statement]) -> bool:
    needs = [n for s in statements if isinstance(p := place.plan(s), Plan) for n in plans.needs(p, held).needs]
    return any(c.method not in METHODS for c in propose.candidates(needs, held)[0])


def _try(place: Ground, target: Target, held: Facts, work: Workload, question: Question, say: Progress) -> Answer:
    queries, unplanned = _plan(place, held, work)
    needs = [n for q in queries for n in plans.needs(q.before, held).needs if q.before.cost >= question.bars.cost]
    made, lacks = propose.candidates(needs, held)
    new = [c for c in made if not advice.served(c, held.indexes_of(c.table.oid))]
    candidates = [*_missing(question, held), *new]
    say(f"{len(candidates)} candidates to try with {place.name}")
    refused = place.build(candidates)
    usable = [n for n in range(len(candidates)) if n not in refused]
    room = {n: _price(candidates[n], held) for n in usable}
    chooser = Chooser(place, queries, candidates, held, question.bars, work.seconds)
    choice = chooser.choose(usable, room)
    proposals, outcomes = _proposals(place, held, queries, choice)
    place.use(())
    return Answer(
        target=target,
        facts=held,
        work=work,
        tried=place.name,
        queries=tuple(queries),
        unplanned=tuple(unplanned),
        outcomes=outcomes,
        proposals=proposals,
        lacks=tuple(lacks),
        untried=tuple(_untried(candidates, refused)),
        too_dear=tuple(choice.rejected),
        notes=tuple(place.notes),
    )


def _plan(place: Ground, held: Facts, work: Workload) -> tuple[list[Query], list[Unread]]:
    queries: list[Query] = []
    unplanned: list[Unread] = []
    for statement in work.statements:
        plan = place.plan(statement)
        if isinstance(plan, str):
            unplanned.append(
                Unread(
                    statement.text,
                    plan,
                    statement.fingerprint,
                    statement.calls,
                    statement.total_ms,
                    statement.file,
                    statement.line,
                )
            )
            continue
        tables = {t.oid for n in plan.relations() if (t := held.table(*n)) is not None}
        asked = plans.needs(plan, held).needs
        columns = frozenset((need.table.oid, name) for need in asked for name in need.columns)
        queries.append(Query(statement, plan, frozenset(tables), columns))
    return queries, unplanned


def _missing(question: Question, held: Facts) -> list[Candidate]:
    """Wanted indexes of which the table is here and the name is not."""
    names = {(i.schema, i.name) for i in held.indexes if i.is_valid}
    tables: dict[str, Relation | None] = {}
    for wanted in question.wishes:
        schemas = (wanted.schema,) if wanted.schema else held.search_path
        tables[wanted.written_table] = next((t for s in schemas if (t := held.table(s, wanted.table))), None)
    if question.assumed and 2 * sum(t is None for t in tables.values()) > len(tables):
        return []
    found = [(w, tables[w.written_table]) for w in question.wishes]
    return [of_wanted(w, t) for w, t in found if t is not None and (t.schema, w.name) not in names]


def _price(candidate: Candidate, held: Facts) -> float:
    """The size by which near equals are told apart. An index that serves a foreign key without one, too, is worth
    more than a partial one, which cannot.
    """
    first = candidate.keys[0].columns[:1]
    forgoes = candidate.where and first and held.lacks_index(candidate.table.oid, first[0])
    return _bytes(candidate, held) * (FORGOES if forgoes else 1.0)


def _bytes(candidate: Candidate, held: Facts) -> int:
    return sizes.bytes_of(candidate, held.columns.get(candidate.table.oid, {}), _rows(candidate, held))


def _rows(candidate: Candidate, held: Facts) -> float:
    """Entries of an index: of a partial one an estimate from the share of NULLs or of different values."""
    rows = held.rows(candidate.table.oid)
    if not candidate.where or not candidate.where_columns:
        return rows
    column = held.columns.get(candidate.table.oid, {}).get(candidate.where_columns[0])
    if column is None:
        return rows
    if candidate.where.endswith(" IS NULL"):
        return rows * (column.nulls if column.nulls is not None else 1.0)
    if candidate.where.endswith(" IS NOT NULL"):
        return rows * (1 - (column.nulls or 0.0))
    return rows / max(1.0, held.distincts(candidate.table.oid, column.name) or 1.0)


def _proposals(
    place: Ground, held: Facts, queries: Sequence[Query], choice: Choice
) -> tuple[tuple[Proposal, ...], tuple[Outcome, ...]]:
    taken = {r.name for r in held.relations.values()}
    names: dict[int, str] = {}
    made: list[Proposal] = []
    total = sum(q.weight for q in queries) or 1.0
    for chosen in choice.chosen:
        proposal = _proposal(chosen, held, queries, taken, total)
        taken.add(proposal.name)
        names[chosen.position] = proposal.name
        made.append(proposal)
    outcomes: list[Outcome] = []
    for query, after in zip(queries, choice.after, strict=True):
        real = {n: names[p] for n in after.indexes() if (p := place.position(n)) is not None and p in names}
        steps = tuple(_renamed(step, real) for step in after.steps())
        outcomes.append(Outcome(query, after, tuple(sorted(set(real.values()))), steps))
    return tuple(made), tuple(outcomes)


def _proposal(chosen: Chosen, held: Facts, queries: Sequence[Query], taken: set[str], total: float) -> Proposal:
    candidate = chosen.candidate
    helped = tuple(queries[q] for q in chosen.helped)
    parts = [k.columns[0] if k.text in {*k.columns} else naming.words(k.text) for k in candidate.keys]
    existing = list(held.indexes_of(candidate.table.oid))
    invalid = next((i for i in existing if advice.same_as(candidate, i)), None)
    name = candidate.wanted.name if candidate.wanted else naming.free(candidate.table.name, parts, taken)
    return Proposal(
        name=invalid.name if invalid else name,
        candidate=candidate,
        saved=chosen.saved / total,
        before=sum(q.before.cost for q in helped),
        after=sum(chosen.after),
        bytes=_bytes(candidate, held),
        helped=helped,
        writes=held.writes(candidate.table.oid),
        hot=tuple(_hot(candidate, queries)),
        redundant=advice.redundant(candidate, existing),
        invalid=invalid,
    )


def _hot(candidate: Candidate, queries: Sequence[Query]) -> Iterator[str]:
    """Updates that can be HOT now and no longer with the index."""
    for query in queries:
        if query.statement.target == candidate.table.name and candidate.columns & set(query.statement.sets):
            yield query.statement.where.removeprefix("statement ")


def _renamed(step: str, names: dict[str, str]) -> str:
    for name, real in names.items():
        step = step.replace(name, real)
    return step


def _untried(candidates: Sequence[Candidate], refused: dict[int, str]) -> Iterator[tuple[Candidate, str]]:
    """One candidate for each reason and table: the others differ in columns only."""
    seen: set[tuple[int, str]] = set()
    for position, reason in refused.items():
        candidate = candidates[position]
        if "IMMUTABLE" in reason and len(candidate.keys) > 1:
            continue
        if (candidate.table.oid, reason) not in seen:
            seen.add((candidate.table.oid, reason))
            yield candidate, reason


def _verified(connection: Connection, answer: Answer) -> Answer:
    """The proposals held against the server by the server: what is there already, or cannot be built, is taken back."""
    new = [p for p in answer.proposals if p.invalid is None]
    if not new:
        return answer
    wanted = [desired.read(f"{p.statement};", LABEL)[0] for p in new]
    wanted = [p.candidate.wanted or w for p, w in zip(new, wanted, strict=True)]
    connection.execute("set default_transaction_read_only = off")
    connection.execute("set search_path = pg_catalog")
    observed = compare.observe(connection, answer.facts.server, wanted)
    if all(s.state is State.NOT_COMPARED for s in observed.states):
        note = f"not compared with the server's own eyes: {observed.states[0].detail}"
        return replace(answer, notes=(*answer.notes, note))
    kept: list[Proposal] = [p for p in answer.proposals if p.invalid is not None]
    untried = list(answer.untried)
    states: list[IndexState] = []
    for proposal, state in zip(new, observed.states, strict=True):
        if state.state in _PRESENT:
            continue
        if state.state is State.CANNOT_BUILD:
            untried.append((proposal.candidate, state.detail))
            continue
        kept.append(proposal)
        states.append(state)
    kept.sort(key=lambda p: -p.saved)
    return replace(
        answer,
        proposals=tuple(kept),
        observed=replace(observed, states=tuple(states)),
        untried=tuple(untried),
    )
