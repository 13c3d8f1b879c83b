"""DO blocks and functions are read; what is put together at run time is counted, never passed."""

import json

import pytest

from dbkit.postgres import ddl
from tests.fixtures.migrations import hazards, report, rules


@pytest.mark.parametrize(
    "text",
    [
        "do $$ begin create index i on t (a); end $$;",
        "do $$ begin if true then for i in 1..2 loop create index i on t (a); end loop; end if; end $$;",
        "do $$ begin execute 'create index i on t (a)'; end $$;",
        "do $$ begin begin create index i on t (a); exception when others then null; end; end $$;",
        "do $x$ begin create index i on t (a); end $x$;",
        "create function f() returns void language plpgsql as $$ begin create index i on t (a); end $$; select f();",
        "create function f() returns void language sql as $$ create index i on t (a) $$; select f();",
        "create procedure f() language plpgsql as $$ begin create index i on t (a); end $$; call f();",
    ],
)
def test_a_hazard_inside_a_body_is_found(text):
    assert "index-not-concurrent" in hazards(text)


def test_a_function_that_is_only_defined_does_nothing():
    text = "create function f() returns void language plpgsql as $$ begin create index i on t (a); end $$;"
    assert hazards(text) == set()


def test_lines_are_those_of_the_file():
    text = "select 1;\ndo $$\nbegin\n  create index i on t (a);\nend $$;"
    (finding,) = [f for f in report(text).active if f.rule == "migrate.index-not-concurrent"]
    assert finding.location.line == 4


@pytest.mark.parametrize(
    "text",
    [
        "do $$ begin execute format('drop table %I', 'x'); end $$;",
        "do $$ declare s text := 'drop table x'; begin execute s; end $$;",
        "do language plpython3u 'pass';",
        "call unknown_procedure();",
        "select unknown_function();",
    ],
)
def test_what_cannot_be_read_is_a_finding_and_counted(text):
    assert "not-analysed" in rules(text)
    coverage = report(text).extra["coverage"]
    assert (coverage["not_analysed"], coverage["share"]) == (1, 0.0)


def test_harmless_queries_are_analysed():
    assert "not-analysed" not in rules("select setval('s', 1), now(), count(*) from t where lower(a) = 'x'")


def test_a_body_inside_a_body_ends():
    text = "create function f() returns void language sql as $$ select f() $$; select f();"
    assert report(text).extra["coverage"]["statements"] < 20


def test_the_body_of_a_trigger_function_is_read():
    trigger = (
        "create function f() returns trigger language plpgsql as $$\n"
        "declare s text := '[{}},{}}]'; r record;\n"
        "begin\n  new.a := tg_op || s;\n  create index i on t (a);\n  return new;\nend $$;"
    )
    assert "not-analysed" not in rules(trigger)
    body = ddl.parse_plpgsql(trigger)[0]["PLpgSQL_function"]
    assert "create index i on t (a)" in json.dumps(body)
    assert "[{}},{}}]" in json.dumps(body)
