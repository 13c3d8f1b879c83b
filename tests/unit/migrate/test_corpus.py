"""The open corpus: recall and false alarms at the bar, and every disagreement explained."""

import importlib.util
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve()
spec = importlib.util.spec_from_file_location("lint_corpus", HERE.parents[2] / "bench" / "lint_corpus.py")
corpus = importlib.util.module_from_spec(spec)
sys.modules[spec.name] = corpus
spec.loader.exec_module(corpus)

pytestmark = pytest.mark.skipif(not corpus.CORPUS.is_file(), reason="the shared corpus is not beside the checkout")


@pytest.fixture(scope="module")
def verdicts():
    return [corpus.judge(case) for case in corpus.cases()]


def test_recall_and_false_alarms(verdicts):
    # Labels that hold for PostgreSQL 10 and older cannot be met: dbkit judges 11 to 18.
    unsafe = [v for v in verdicts if v.case["expect_unsafe"] and v.case["id"] not in corpus.UNSUPPORTED]
    safe = [v for v in verdicts if not v.case["expect_unsafe"]]
    assert len(unsafe) >= 100
    assert sum(1 for v in unsafe if v.found) / len(unsafe) >= 0.98
    assert sum(1 for v in safe if v.found) / len(safe) <= 0.05


def test_every_disagreement_has_its_reason(verdicts):
    wrong = {v.case["id"] for v in verdicts if not v.right}
    assert wrong == set(corpus.REASONS)


def test_the_other_categories_too():
    wrong = {v.case["id"] for v in corpus.others() if not v.right}
    assert wrong == set(corpus.OTHER_REASONS)
