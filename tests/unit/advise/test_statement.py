"""Statements of a workload: placeholders of every driver, and literals that pg_stat_statements has taken out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbkit.postgres.advise.statement import Statement, Unread, parse, placeholders


def one(text):
    (statement,) = parse(text)
    assert isinstance(statement, Statement), statement
    return statement


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("select * from t where a = :a and b = :b and c = :a", "select * from t where a = $1 and b = $2 and c = $1"),
        ("select * from t where a = %(a)s or b = %s", "select * from t where a = $1 or b = $2"),
        ("select * from t where a = @a", "select * from t where a = $1"),
        ("select * from t where a = :'a'", "select * from t where a = $1"),
        ("select a::text, ':x %s', \"%s\" from t -- :no", "select a::text, ':x %s', \"%s\" from t -- :no"),
        ("select $tag$ :x $tag$, x[1:n] /* :y */ from t", "select $tag$ :x $tag$, x[1:n] /* :y */ from t"),
        ("select * from t where a = $1 and b = :b", "select * from t where a = $1 and b = $2"),
        ("select :a; select :b", "select $1; select $1"),
        ("select * from t where d @> :doc", "select * from t where d @> $1"),
    ],
)
def test_placeholders_become_parameters(text, wanted):
    assert placeholders(text, marks=False) == wanted


def test_a_question_mark_is_a_value_or_an_operator_by_what_stands_before_it():
    assert one("select * from t where a = ? and j ? 'x' limit ?").text == (
        "select * from t where a = $1 and j ? 'x' limit $2"
    )


@pytest.mark.parametrize(
    ("text", "mended", "count"),
    [
        ("select now() - interval $1 from t", "SELECT now() - $1::interval FROM t", 1),
        ("select extract($1 from c) from t", "SELECT date_part($1, c) FROM t", 1),
        (
            "select date_trunc($1, c), count(*) from t group by date_trunc($2, c)",
            "SELECT date_trunc($1, c), count(*) FROM t GROUP BY date_trunc($1, c)",
            1,
        ),
        (
            "select date_trunc($1, c) from t group by date_trunc('day', c) order by date_trunc('day', c)",
            "SELECT date_trunc($1, c) FROM t GROUP BY date_trunc($1, c) ORDER BY date_trunc($1, c)",
            1,
        ),
        ("select * from t where a in ($1 /*, ... */)", "SELECT * FROM t WHERE a IN ($1)", 1),
        ("select * from t where a = $3 and b = $7", "SELECT * FROM t WHERE a = $1 AND b = $2", 2),
    ],
)
def test_constants_that_became_parameters_are_mended(text, mended, count):
    found, parameters = one(text).variants[-1]
    assert parameters == count
    assert found.replace("$2", "$1") == mended.replace("$2", "$1")


def test_an_update_says_what_it_sets():
    statement = one("update s.t set a = 1, b = $1 where c = 2")
    assert (statement.target, statement.sets) == ("t", ("a", "b"))


def test_other_statements_are_left_out_and_broken_ones_are_told():
    found = list(parse("create table t ();\nselect 1;\nselekt 2;\nset x = 1;\nselect 3", label="f.sql"))
    assert [f.text for f in found if isinstance(f, Statement)] == ["select 1", "select 3"]
    (broken,) = [f for f in found if isinstance(f, Unread)]
    assert (broken.file, broken.line, broken.text) == ("f.sql", 3, "selekt 2;")
    assert "selekt" in broken.reason


def test_constants_do_not_change_the_fingerprint():
    assert one("select * from t where a = 1").fingerprint == one("select *  from t where a = $1").fingerprint
    assert one("select * from t where a = 1").fingerprint != one("select * from t where b = 1").fingerprint


PIECES = st.sampled_from(
    ["select ", "?", ":x", "%s", "'", '"', "$1", "$$", "--\n", "/*", "*/", ";", " from t ", "where a = ", "::int", "@>"]
)


@given(st.lists(PIECES | st.text(max_size=3), max_size=25).map("".join))
def test_any_text_is_read_or_refused_in_words(text):
    for found in parse(text.replace("\0", "")):
        assert isinstance(found, Statement) or found.reason


@given(st.text(alphabet="ab'\"; \n$-/*", max_size=30))
def test_text_without_placeholders_stays_as_it_is(text):
    assert placeholders(text, marks=True) == text
