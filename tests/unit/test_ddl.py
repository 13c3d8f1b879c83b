"""The parser boundary: positions a person can find, and errors with a caret."""

import re

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


def test_one_error_in_a_large_text_costs_little_and_places_stay_right():
    text = "".join(f"select 'é{n}';  select {n};\n" for n in range(4000)) + "selec 1;\nselect 'ü', 2; selec 3;\n"
    statements, errors = ddl.parse_loosely(text)
    assert len(statements) == 8001
    assert [(e.line, e.column) for e in errors] == [(4001, 1), (4002, 16)]
    raw = text.encode()
    assert all(raw[s.start : s.start + 6] == b"select" for s in statements)
    assert all(text.splitlines()[s.line - 1].find(s.sql) >= 0 for s in statements)


def test_what_is_nested_too_deeply_is_an_error_and_the_rest_is_read():
    deep = "alter table t add check (" + "not (" * 2000 + "a" + ")" * 2000 + ")"
    statements, errors = ddl.parse_loosely(f"select 1;\n{deep};\nselect 2;")
    assert [s.sql for s in statements] == ["select 1", "select 2"]
    assert [e.line for e in errors] == [2]
    with pytest.raises(ddl.SqlSyntaxError, match="nested too deeply"):
        ddl.parse(deep)
    with pytest.raises(ddl.SqlSyntaxError, match="nested too deeply"):
        ddl.parse_plpgsql("do $$ begin " + "if true then " * 2000 + "null;" + " end if;" * 2000 + " end $$")


def test_a_misspelt_statement_without_a_keyword_is_not_lost():
    text = "selec 1; select 2; creat x;\nfoo; create rule r as on insert to t do (select 1; select 2);"
    statements, errors = ddl.parse_loosely(text)
    assert [s.kind for s in statements] == ["select_stmt", "rule_stmt"]
    assert [(e.line, e.column) for e in errors] == [(1, 1), (1, 20), (2, 1)]


def test_what_stands_before_an_unclosed_quote_is_read():
    statements, errors = ddl.parse_loosely("select 1;\nselect 2; select 'x;\nselect 3;")
    assert [s.line for s in statements] == [1, 2]
    assert [e.line for e in errors] == [2]


def test_a_body_of_statements_is_one_statement():
    body = "create function f() returns int begin atomic select case when true then 1 end; select 2; end"
    statements, errors = ddl.parse_loosely(f"selec 1; {body}; select 3;")
    assert [s.kind for s in statements] == ["create_function_stmt", "select_stmt"]
    assert len(errors) == 1


PIECES = st.sampled_from(
    ["select 1", "selec", "alter table t ad x int", "select 'é;ü'", "/* ; */ select 2", "-- ;\nselect 3", "",
     "create rule r as on insert to t do (select 1; select 2)", "select $$;$$", "do $x$ begin; end $x$", "\n\t", "(", ")", "begin"]
)  # fmt: skip


@given(st.lists(PIECES, max_size=12), st.sampled_from([";", ";\n", " ; -- é\n", ";\r\n"]))
def test_whatever_is_wrong_places_are_those_of_the_text(pieces, between):
    text = between.join(pieces)
    statements, errors = ddl.parse_loosely(text)
    raw, lines = text.encode(), text.split("\n")
    for statement in statements:
        assert raw[statement.start :].decode().startswith(statement.sql)
        assert raw.count(b"\n", 0, statement.start) + 1 == statement.line
    for error in errors:
        assert 1 <= error.line <= len(lines)
        assert 1 <= error.column <= len(lines[error.line - 1]) + 1


PIECES = st.sampled_from(
    [
        "select 1;",
        "select 1",
        "select 1 -- of many;\nfrom t;",
        "select 1 /* or;\n two */ from t;",
        "insert into t values ('a;\nb', E'it\\'s;\n', $q$x;\ny$q$);",
        "create function f() returns int language sql begin atomic select 1;\nselect 2;\nend;",
        "create rule r as on insert to t do (select 1;\nselect 2;\n);",
        "do $$ begin perform 1;\nend $$;",
        '-- é;\n/* ü;\n */\nalter table t add column "ö;\nö" int;',
        ";",
        "\n",
        "  \t",
    ]
)


@given(texts=st.lists(PIECES, max_size=12), joint=st.sampled_from([" ", "\n", "\r\n", ""]))
def test_a_large_text_is_cut_into_the_statements_that_it_holds(texts, joint):
    text = joint.join(texts)
    places = [(s.kind, s.sql, s.line, s.start, s.end, str(s.node)) for s in _parsed(text)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ddl, "_LARGE", 0)
        patch.setattr(ddl, "_PIECE", 5)
        found = _parsed(text)
        assert [(s.kind, s.sql, s.line, s.start, s.end) for s in found] == [p[:-1] for p in places]
        assert all(s.tree is None for s in found)
        assert [_without_places(str(s.node)) for s in found] == [_without_places(p[-1]) for p in places]


def _parsed(text):
    return ddl.parse_loosely(text)[0]


def _without_places(tree):
    return re.sub(r"(?:location|stmt_len): \d+", "", tree)
