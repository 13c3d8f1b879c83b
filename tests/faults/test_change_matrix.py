"""Every step of every change meets every fault: the next run ends it or takes it back, and fills each row once.

CI runs a sample, drawn by DBKIT_TEST_FAULTS_SEED. DBKIT_TEST_FAULTS=all cuts every step of every change at every statement, on
both versions, each statement by one of the faults (hours); DBKIT_TEST_FAULTS=20 at every twentieth.
"""

from __future__ import annotations

import copy
import os
import random
import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import psycopg
import pytest

from dbkit.ephemeral import postgres_databases
from dbkit.errors import DbkitError, Refused
from dbkit.postgres.connect import connect, explain
from dbkit.postgres.migrate import deploy, revisions, verify
from dbkit.postgres.migrate.backfill import crew, ranges
from dbkit.postgres.migrate.backfill import run as filling
from dbkit.postgres.migrate.backfill.job import Knobs
from dbkit.postgres.migrate.changes import standing
from dbkit.settings import Target
from tests.fixtures import census
from tests.fixtures.change_cases import CASES
from tests.fixtures.interruptions import Interruption, killed, terminated
from tests.fixtures.traffic import Traffic

ROWS = 60
HOW = os.environ.get("DBKIT_TEST_FAULTS", "sample")
SEED = int(os.environ.get("DBKIT_TEST_FAULTS_SEED", "5"))
COUNTED = """
create table filled (row text);
create function filled() returns trigger language plpgsql as $$begin
  if current_setting('application_name') like 'dbkit%' then insert into public.filled values (old::text); end if;
  return null; end$$;
"""


def steps(case):
    """The steps of a change: what is run, and the state it is run in."""
    yield "expand", "new"
    if case.fills:
        yield "backfill", "expanded"
        yield "verify", "filled"
    if case.contracts:
        yield "contract", "verified" if case.fills else "expanded"
        if case.back:
            yield "rollback", "contracted"
    yield "rollback", "expanded"
    if case.fills:
        yield "rollback", "verified"


ENDS = {"expand": "expanded", "backfill": "filled", "verify": "verified", "contract": "contracted"}


@dataclass
class State:
    """A database at rest before or after a step, to be cloned; and all that is in it."""

    name: str
    catalogue: list[str]
    rows: list[str]
    phase: str


class Scene:
    """One change on one version, with a database for each state it comes through undisturbed."""

    def __init__(self, case, server, place_in, database_on, monkeypatch):
        self.case, self.server, self._database_on = case, server, database_on
        self.place = place_in(database_on(server))
        self.place.run(case.schema)
        columns = ", ".join(case.old.columns)
        with self.place.db.connect() as connection:
            connection.cursor().executemany(
                f"insert into {case.old.table} (id, {columns}) values (%s{', %s' * len(case.old.columns)})",
                [(n, *case.old.show(n)) for n in range(1, ROWS + 1)],
            )
        if case.seed:
            self.place.run(case.seed)
        self.place.change = self.place.new(case.kind, case.place, *case.words, **case.more)
        with connect(self.place.target) as connection:
            deploy.prepared(connection, self.place.target)
        self.place.run(revisions.version_table_ddl(self.place.environment))
        self.states = {"new": self.state(self.place)}
        self.ends, self.lengths = {}, {}
        for what, before in steps(case):
            with self.at(before) as place:
                with Interruption(monkeypatch, 0, killed) as fall:
                    error = run(place, what)
                assert error is None, error.lines()
                self.lengths[what, before] = fall.count
                self.ends[what, before] = self.state(place)
                if what in ENDS:
                    self.states[ENDS[what]] = self.ends[what, before]
                    place.kept = True

    @contextmanager
    def at(self, state):
        """A database in that state, gone afterwards unless the test failed or it is `kept` for others to clone."""
        place = copy.copy(self.place)
        place.kept = False
        source = self.states[state].name
        place.db = self._database_on(self.server, template=source)
        place.target = Target(name="test", address=place.db.dsn)
        yield place
        place.db.stack.close()
        if not place.kept:
            postgres_databases.drop(self.server, place.db.name)

    @staticmethod
    def state(place):
        with psycopg.connect(place.db.dsn, autocommit=True) as connection:
            return State(
                place.db.name, census.catalogue(connection), census.rows(connection), place.phase(place.change)
            )


def run(place, what):
    """One step of the change; the error it ended with or raised."""
    try:
        if what in ("backfill", "verify"):
            with connect(place.target) as connection:
                change = standing.one(connection, place.environment, place.change)
            if what == "verify":
                done = verify.verify(change.backfills, place.target)
                assert done.error or done.whole, done.verdicts
                return done.error
            knobs = Knobs(workers=2, texts={"max_waiters": "off"})
            for spec in change.backfills:
                done = filling.fill(spec, place.target, knobs)
                if done.error:
                    return done.error
            return None
        return place.move(what, place.change).error
    except DbkitError as error:
        return error
    except psycopg.Error as error:  # as the command line shows it
        return explain(error, "lost before anything was begun")


def second_runner(place, what, interruption):
    """Another runner of the same step comes: it is refused, or the first has nothing yet that it could disturb."""
    interruption.resting = True
    error = run(place, what)
    interruption.resting = False
    assert error is None or isinstance(error, Refused), error.lines()


FAULTS = {
    "killed": lambda place, what: killed,
    "terminated": lambda place, what: terminated(place.db.dsn),
    "second runner": lambda place, what: partial(second_runner, place, what),
}


def disturbed(scene, what, before, fault, number, monkeypatch, *, back=False, traffic=False):
    """One cell: run a step, let the fault fall before its n-th statement, run it again (or take it back), compare.

    Returns whether the run came as far as that statement.
    """
    case, began = scene.case, scene.states[before]
    if back and what == "contract" and (case.old.table, case.old.columns) != (case.new.table, case.new.columns):
        traffic = False  # no version of the application lives both with the old shape gone and with the new one gone
    with scene.at(before) as place:
        watched = counted(place) if what == "backfill" else None
        applications = None
        if traffic:
            applications = Traffic(place.db.dsn, case, number)
            applications.rest = 0.004
            applications.start(case.new if before == "contracted" or what == "contract" else case.old, 1)
            applications.run_for(5)
        with Interruption(monkeypatch, number, FAULTS[fault](place, what)) as fall:
            error = run(place, what)
        told = f"{fault} at statement {number} ({fall.at}); then {error.lines() if error else 'done'}"
        if not fall.fell or fault == "second runner":
            assert error is None or (fault == "second runner" and isinstance(error, Refused)), told
        if error is not None:
            assert error.exit_code in (3, 4, 5), told
            if error.exit_code in (3, 4) and fault != "second runner" and not traffic:
                assert not differing(place, began), told
        if back:
            again, wanted = run(place, "rollback"), scene.ends["rollback", "expanded"]
            if what == "contract" and place.phase(place.change) != "new":
                ends = [s for s in (scene.ends.get(("rollback", "contracted")), scene.states["contracted"]) if s]
                wanted = next((s for s in ends if s.phase == place.phase(place.change)), wanted)
            elif what == "expand" and not differing(place, scene.states["new"], rows=not traffic):
                wanted = scene.states["new"]  # it had not begun: some leave a trace that is told of, an enum's value
        else:
            # A rollback that ended well is not asked for again: that would take back the phase before.
            again, wanted = None if what == "rollback" and error is None else run(place, what), scene.ends[what, before]
            if before == "contracted" and fault == "second runner" and place.phase(place.change) == "new":
                wanted = scene.ends["rollback", "expanded"]  # the second came when the first was through
        told += f"; again: {again.lines() if again else 'done'}"
        if again is not None:
            assert isinstance(again, Refused), told
            assert wanted is scene.states.get("contracted"), told
        if watched is not None and not back:
            filled = place.db.execute("select count(*) from filled")[0][0]
            assert filled == watched, told
        if applications:
            applications.run_for(10)
            applications.stop()
        if watched is not None:
            uncounted(place)
        assert place.phase(place.change) == wanted.phase, told
        assert not differing(place, wanted, rows=not traffic), told
        if traffic:
            held(place, case, applications, case.new if before == "contracted" or what == "contract" else case.old)
    return fall.fell


def differing(place, wanted, *, rows=True):
    with psycopg.connect(place.db.dsn, autocommit=True) as connection:
        found = census.differences(census.catalogue(connection), wanted.catalogue)
        found += census.differences(census.rows(connection), wanted.rows) if rows else []
    return [line for line in found if "filled" not in line]


def counted(place):
    """Write a line for each time dbkit writes a row; how many rows are to be filled."""
    with connect(place.target) as connection:
        fills = standing.one(connection, place.environment, place.change).backfills
    script, pending = COUNTED, 0
    for spec in fills:
        name = f'"{spec.schema}"."{spec.table}"'
        pending += place.db.execute(f"select count(*) from {name} where {spec.pending}")[0][0]
        script += f"create trigger filled after update on {name} for each row execute function filled();"
        script += f"alter table {name} enable always trigger filled;"
    place.run(script)
    return pending


def uncounted(place):
    place.run("drop function filled() cascade; drop table filled;")


def held(place, case, traffic, shape):
    """Every row as one version of the application must see it."""
    found = {r[0]: tuple(r[1:]) for r in place.db.execute(f"select id, {', '.join(shape.columns)} from {shape.table}")}
    wanted = {n: case.convert(case.old.show(n), case.old, shape) for n in range(1, ROWS + 1)}
    for application in traffic.applications:
        wanted.update({k: case.convert(v, application.shape, shape) for k, v in application.model.items()})
    assert found == wanted


@pytest.fixture
def quick(monkeypatch):
    """Batches of a few rows, so that there are several; and a second runner that is refused without much waiting."""
    for module in (ranges, crew):
        monkeypatch.setattr(module, "FIRST", {"key": 12, "ctid": 1})
        monkeypatch.setattr(module, "LARGEST", {"key": 12, "ctid": 1})
    for module in (deploy, filling, verify):
        monkeypatch.setattr(module, "Hooks", partial(module.Hooks, lock_wait=0.01))


def cells(scene, number):
    """The cells to run: step, state, fault, statement, whether it is taken back, whether an application works."""
    faults = sorted(FAULTS)
    if HOW == "sample":
        chance = random.Random(f"{SEED} {scene.case.name} {number}")
        for (what, before), most in scene.lengths.items():
            back = what in ("expand", "backfill", "contract") and chance.random() < 0.4
            traffic = scene.case.traffic and chance.random() < 0.3
            yield what, before, chance.choice(faults), chance.randint(1, most), back, traffic
        return
    stride = 1 if HOW == "all" else int(HOW)
    for (what, before), most in scene.lengths.items():
        for at in range(1 + number % stride, most + 1, stride):
            turn = zlib.crc32(f"{at} {number}".encode())
            back = what in ("expand", "backfill", "contract") and turn // 3 % 3 == 0
            yield (
                what,
                before,
                faults[(at // stride + number) % len(faults)],
                at,
                back,
                scene.case.traffic and turn % 10 == 0,
            )


def pytest_generate_tests(metafunc):
    if "pair" in metafunc.fixturenames:
        pairs = [
            (case, major)
            for n, case in enumerate(CASES)
            for major in ((18, 15)[n % 2 :][:1] if HOW == "sample" else (18, 15))
        ]
        metafunc.parametrize("pair", pairs, ids=[f"{case}-pg{major}" for case, major in pairs])


def test_every_step_is_run_again_or_taken_back(request, pair, place_in, database_on, quick, monkeypatch):
    case, major = pair
    scene = Scene(case, request.getfixturevalue(f"pg{major}"), place_in, database_on, monkeypatch)
    failed, count = [], 0
    for what, before, fault, at, back, traffic in cells(scene, major):
        count += 1
        story = (
            f"{what} of {before}, {fault} at {at}{', taken back' if back else ''}{', with traffic' if traffic else ''}"
        )
        try:
            disturbed(scene, what, before, fault, at, monkeypatch, back=back, traffic=traffic)
        except Exception as error:
            failed.append(f"{story}: {type(error).__name__}: {str(error)[:900]}")
            if len(failed) >= 10:
                break
    print(f"{count} cells")
    assert not failed, "\n\n".join([f"DBKIT_TEST_FAULTS={HOW} DBKIT_TEST_FAULTS_SEED={SEED}", *failed])
