"""The parts of a backfill that need no server: pace, limits, time behind; by properties where there are many ways."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbkit.errors import UsageError
from dbkit.postgres.migrate.backfill import text
from dbkit.postgres.migrate.backfill.limits import NAMES, Limits, told
from dbkit.postgres.migrate.backfill.pace import Pace
from dbkit.postgres.migrate.backfill.throttle import Trace


@given(
    st.lists(st.one_of(st.floats(0.0001, 10), st.none()), max_size=200),
    st.floats(0.005, 2),
    st.integers(1, 1000),
)
def test_a_pace_stays_within_its_bounds_whatever_happens(times, target, first):
    pace = Pace(target, 1, 5000, first)
    for seconds in times:
        before = pace.size
        if seconds is None:
            pace.lost()
            assert pace.size == max(1, round(before / 2))
        else:
            pace.ran(pace.size, seconds)
            assert before // 2 <= pace.size <= max(2 * before, 1)
            assert seconds <= target or pace.size <= before
        assert 1 <= pace.size <= 5000


@given(st.floats(0.00001, 0.01), st.floats(0, 0.5), st.floats(0.02, 1))
def test_a_pace_finds_the_size_that_takes_the_target(per_row, share, target):
    fixed = share * target
    pace = Pace(target, 1, 1_000_000, 100)
    for _ in range(60):
        pace.ran(pace.size, fixed + per_row * pace.size)
    takes = fixed + per_row * pace.size
    best = max(1, (target - fixed) / per_row)
    assert pace.size <= 2 * best + 1
    assert takes >= target / 2 or pace.size == 1_000_000


def test_batches_that_somebody_waits_for_become_shorter_down_to_ten_milliseconds():
    pace = Pace(0.05, 1, 100_000, 1000)
    aims = []
    for _ in range(4):
        pace.waited(pace.size)
        aims.append(pace.aim)
    assert aims == [0.025, 0.0125, 0.01, 0.01]
    for _ in range(200):
        pace.ran(pace.size, pace.size * 0.00001)
    assert pace.aim == 0.05
    assert 0.02 < pace.size * 0.00001 <= 0.05


@given(st.lists(st.booleans(), max_size=200), st.floats(0.005, 2))
def test_waiting_never_asks_for_more_than_the_target_nor_for_less_than_is_worth_while(waits, target):
    pace = Pace(target, 1, 5000, 100)
    for somebody in waits:
        if somebody:
            pace.waited(pace.size)
        else:
            pace.ran(pace.size, 0.01)
        assert min(target, 0.01) <= pace.aim <= target * 1.0001
        assert 1 <= pace.size <= 5000


def test_after_a_lost_race_it_grows_slowly():
    pace = Pace(0.1, 1, 100_000, 1000)
    pace.lost()
    sizes = []
    for _ in range(5):
        pace.ran(pace.size, 0.01)
        sizes.append(pace.size)
    assert sizes == [550, 605, 666, 733, 806]


def test_a_size_is_told_when_it_has_changed_enough():
    pace = Pace(0.1, 1, 100_000, 1000)
    assert pace.news()
    pace.ran(1000, 0.09)
    assert not pace.news()
    pace.lost()
    assert pace.news()


@given(st.lists(st.tuples(st.floats(0.01, 5), st.integers(0, 10_000)), min_size=1, max_size=50), st.data())
def test_time_behind_is_when_the_server_stood_there(steps, data):
    trace, now, wal, true = Trace(), 0.0, 0.0, []
    for pause, written in steps:
        now, wal = now + pause, wal + written
        trace.add(now, wal)
        true.append((now, wal))
    replay = data.draw(st.integers(0, int(wal)))
    behind = trace.behind(now, replay)
    ahead = [at for at, position in true if position > replay]
    assert behind == (now - min(ahead) if ahead else 0.0)
    assert trace.rate(now) >= 0


def test_limits_are_the_same_as_text_and_back():
    assert Limits.of_texts(Limits().texts()) == Limits()
    given_ = {"max_lag": "5s", "max_wal": "50MB/s", "max_dead": "20%", "rest": "0.5", "max_waiters": "off"}
    held = Limits.of_texts(given_)
    assert (held.max_lag, held.max_wal, held.max_dead, held.rest, held.max_waiters) == (5, 50 * 1024**2, 0.2, 0.5, None)
    assert Limits.of_texts(held.texts()) == held
    assert set(held.texts()) == set(NAMES)
    assert told("max_wal", held.max_wal) == "50 MB"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_lag", "soon"),
        ("max_dead", "200%"),
        ("max_active", "-1"),
        ("max_active", "nan"),
        ("batch_time", "off"),
        ("batch_time", "0s"),
        ("rest", "inf"),
        ("max_wal", "much"),
        ("nosuch", "1"),
    ],
)
def test_a_limit_that_is_none_is_refused_by_its_flag(name, value):
    with pytest.raises(UsageError) as raised:
        Limits.of_texts({name: value})
    assert name.replace("_", "-") in raised.value.what or name in raised.value.what


def test_texts_are_read_by_the_grammar_and_written_back():
    spec = text.read('"Odd".users', "b = f(a) , \"C d\" = a||'x'", None)
    assert (spec.schema, spec.table, spec.columns) == ("Odd", "users", ("b", "C d"))
    assert spec.assignments == "b = (f(a)), \"C d\" = (a || 'x')"
    assert spec.pending == "b is distinct from (f(a)) or \"C d\" is distinct from (a || 'x')"
    assert text.expressions(spec) == [("b", "f(a)"), ("C d", "a || 'x'")]
    assert text.read("users", "a = 1", "a is null and b > 1 -- so").pending == "a IS NULL AND b > 1"


@pytest.mark.parametrize("name", ["", "a b c d", "a.b.c", "users; drop table x", "users where true", "(select 1)"])
def test_a_table_is_a_name(name):
    with pytest.raises(UsageError):
        text.read(name, "a = 1", None)
