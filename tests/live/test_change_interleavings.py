"""Every kind of change under random interleavings of both applications' statements and transactions with its steps.

`DBKIT_TEST_RANDOM=1 DBKIT_TEST_EXAMPLES=500` hunts: other examples on every run, and more of them.
"""

import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fixtures.change_cases import CASES
from tests.fixtures.interleavings import STATEMENTS, TRANSACTIONS, Sessions

ALONE = ("drop-column", "add-enum-value")
"""Its two applications do not see the same rows, or not the same values."""
EXAMPLES = int(os.environ.get("DBKIT_TEST_EXAMPLES", "4"))
ROW = st.integers(0, 30)
VALUE = st.one_of(st.none(), st.integers(1, 50))
STEP = st.tuples(st.just("step"), st.integers(0, 5).map(bool))
OPERATIONS = st.one_of(
    st.tuples(st.sampled_from(STATEMENTS), st.integers(0, 3), VALUE, ROW, ROW),
    st.tuples(st.sampled_from(TRANSACTIONS), st.integers(0, 3), VALUE, ROW, ROW),
    STEP,
    STEP,
)


@pytest.mark.parametrize("case", [c for c in CASES if c.name not in ALONE], ids=str)
def test_two_applications_in_any_order(db, case):
    sessions = Sessions(db, case)

    @settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
    @given(st.lists(OPERATIONS, min_size=15, max_size=50))
    def play(operations):
        sessions.play(operations)

    play()
