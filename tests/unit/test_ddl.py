"""The parser boundary: positions a person can find, and errors with a caret."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbkit.errors import UsageError
from dbkit.postgres import ddl


def test_positions_skip_comments_and_count_characters():
    text = "/* é /* nested */ */ -- x\n\ncreate index é on t (a);\nselect 1"
    first, second = ddl.parse(text)
    assert (first.line, first.sql, first.kind) == (3, "create index é on t (a)", "index_stmt")
    assert (second.line, second.sql) == (4, "select 1")


def test_nothing_but_comments_is_no_statement():
    assert ddl.parse("-- nothing\n/* here */\n;;") == ()


def test_syntax_errors_point_at_the_place():
    with pytest.raises(ddl.SqlSyntaxError) as caught:
        ddl.parse("select 1;\ncreate éé indx on foo", label="a.sql")
    error = caught.value
    assert (error.line, error.column) == (2, 8)
    *_, shown, caret = error.why.splitlines()
    assert shown.index("éé") == caret.index("^")
    assert error.what.startswith("a.sql:2:8:")


def test_deparse_quotes_what_needs_quotes():
    (statement,) = ddl.parse("create index concurrently i on t (a)")
    statement.node.index_stmt.idxname = 'od"d'
    assert 'INDEX CONCURRENTLY "od""d"' in ddl.deparse(statement.node)


@given(st.text())
def test_any_text_parses_or_gives_a_usage_error(text):
    try:
        for statement in ddl.parse(text):
            assert statement.sql
    except UsageError:
        pass


def test_a_nul_byte_hides_nothing():
    with pytest.raises(ddl.SqlSyntaxError, match="NUL"):
        ddl.parse("select 1;\0 drop table users")
