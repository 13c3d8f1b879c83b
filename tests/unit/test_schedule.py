"""Which table a worker gets next: the largest first, what holds others up last, no table to two workers."""

import random
import threading
import time

from hypothesis import given
from hypothesis import strategies as st

from dbkit.postgres.indexes import desired
from dbkit.postgres.indexes.outcome import Outcome
from dbkit.postgres.indexes.schedule import Schedule, Task, _holds_others


def task(table, name="i", *, holds=False):
    return Task(Outcome(name, table), lambda builder: None, holds)


def drained(schedule):
    order = []
    while True:
        with schedule.take(lambda: False) as tasks:
            if not tasks:
                return order
            order.append([t.outcome.object for t in tasks])


def test_the_largest_table_first_and_what_holds_others_up_last():
    tasks = [
        task("small", "s"),
        task("large", "partial", holds=True),
        task("large", "l1"),
        task("large", "l2"),
        task("small", "expression", holds=True),
    ]
    order = drained(Schedule(tasks, {"small": 10, "large": 1000}))
    assert order == [["l1", "l2"], ["s"], ["expression"], ["partial"]]


def test_a_worker_waits_for_a_table_that_another_has():
    schedule = Schedule([task("t", "first"), task("t", "second", holds=True)], {})
    seen = []

    def second():
        with schedule.take(lambda: False) as tasks:
            seen.extend(t.outcome.object for t in tasks)

    with schedule.take(lambda: False) as tasks:
        assert [t.outcome.object for t in tasks] == ["first"]
        other = threading.Thread(target=second)
        other.start()
        other.join(0.2)
        assert other.is_alive()
        assert seen == []
    other.join(10)
    assert seen == ["second"]


def test_a_stopping_run_hands_out_nothing_more():
    schedule = Schedule([task("t"), task("u")], {})
    with schedule.take(lambda: True) as tasks:
        assert tasks == []


@given(
    st.lists(st.tuples(st.sampled_from("abcd"), st.booleans()), max_size=20),
    st.integers(1, 4),
    st.integers(0, 2**16),
)
def test_every_task_once_and_no_table_to_two(pieces, workers, seed):
    dice = random.Random(seed)
    tasks = [task(table, str(n), holds=holds) for n, (table, holds) in enumerate(pieces)]
    schedule = Schedule(tasks, {table: dice.randrange(100) for table in "abcd"})
    lock, busy, done, clashes = threading.Lock(), set(), [], []

    def work():
        while True:
            with schedule.take(lambda: False) as taken:
                if not taken:
                    return
                table = taken[0].outcome.table
                with lock:
                    clashes.extend([table] if table in busy else [])
                    busy.add(table)
                time.sleep(0.0005)
                with lock:
                    done.extend(t.outcome.object for t in taken)
                    busy.discard(table)

    threads = [threading.Thread(target=work) for _ in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert not any(thread.is_alive() for thread in threads)
    assert sorted(done, key=int) == [str(n) for n in range(len(pieces))]
    assert clashes == []


def test_expressions_and_predicates_hold_others_up():
    text = (
        "create index i_plain on t (a, b desc) include (c);"
        "create index i_partial on t (a) where b > 1;"
        "create index i_expression on t (a, lower(b));"
    )
    found = {wish.name: _holds_others(wish) for wish in desired.read(text, "wish.sql")}
    assert found == {"i_plain": False, "i_partial": True, "i_expression": True}
