"""Every step of every change meets every fault: the next run ends it or takes it back, and fills each row once.

CI runs a sample, drawn by DBKIT_TEST_FAULTS_SEED; in it the command line itself is killed by SIGKILL, at one step of each
change. DBKIT_TEST_FAULTS=all cuts every step of every change at every statement, on both versions, each statement by one
of the faults (hours); DBKIT_TEST_FAULTS=20 at every twentieth.
"""

from __future__ import annotations

import random
import zlib

from tests.fixtures.change_cases import CASES
from tests.fixtures.change_scenes import FAULTS, HOW, SEED, SIGKILL, Scene, disturbed


def cells(scene, number):
    """The cells to run: step, state, fault, statement, whether it is taken back, whether an application works."""
    faults = FAULTS
    chance = random.Random(f"{SEED} {scene.case.name} {number}")
    if HOW == "sample":
        real = list(scene.lengths)[(CASES.index(scene.case) + SEED) % len(scene.lengths)]
        turns = [step for step in scene.lengths.items() for _ in range(1 + step[1] // 100)]  # long ones more than once
        for (what, before), most in turns:
            back = what in ("expand", "backfill", "contract") and chance.random() < 0.4
            traffic = scene.case.traffic and chance.random() < 0.3
            fault, at = chance.choice(faults), chance.randint(1, most)
            if (what, before) == real:
                fault, real = SIGKILL, None
            yield what, before, fault, at, back, traffic
        return
    for (what, before), most in scene.lengths.items():
        yield what, before, SIGKILL, chance.randint(1, most), False, False
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
        story = f"{what} of {before}, {fault.name} at {at}{', taken back' if back else ''}{', with traffic' if traffic else ''}"
        try:
            disturbed(scene, what, before, fault, at, monkeypatch, back=back, traffic=traffic)
        except Exception as error:
            failed.append(f"{story}: {type(error).__name__}: {str(error)[:900]}")
            if len(failed) >= 10:
                break
    print(f"{count} cells")
    assert not failed, "\n\n".join([f"DBKIT_TEST_FAULTS={HOW} DBKIT_TEST_FAULTS_SEED={SEED}", *failed])
