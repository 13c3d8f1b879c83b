"""Conditions as EXPLAIN (VERBOSE) prints them, read into what an index could serve."""

import pytest

from dbkit.postgres.advise import conditions
from dbkit.postgres.advise.conditions import Reading
from dbkit.postgres.advise.facts import Column


def column(name, type="int4", category="N"):
    return Column(name, type, category, "", True, False, 4, 100.0, 0.0)


TABLES = {
    "t": {
        c.name: c
        for c in (
            column("a"), column("b"), column("s", "varchar", "S"), column("f", "bool", "B"), column("j", "jsonb", "U"),
            column("Odd Name"),
        )
    },
    "u": {"a": column("a")},
}  # fmt: skip


def read(text):
    into = Reading()
    conditions.read(text, TABLES, into)
    return [(p.kind, p.alias, p.key.text) for p in into.predicates], into


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("(t.a = $1)", [("equal", "t", "a")]),
        ("($1 = t.a)", [("equal", "t", "a")]),
        ("(t.a = u.a)", [("equal", "t", "a"), ("equal", "u", "a")]),
        ("(t.a = t.b)", []),
        ("((t.a >= 1) AND (t.b < $1))", [("range", "t", "a"), ("range", "t", "b")]),
        ("(t.a = ANY ('{1,2}'::integer[]))", [("any", "t", "a")]),
        ("(t.a = ANY (ARRAY[$1, $2]))", [("any", "t", "a")]),
        ("(t.a <> ALL ('{1}'::integer[]))", []),
        ("((t.s)::text = 'x'::text)", [("equal", "t", "s")]),
        ("((t.a)::text = 'x'::text)", []),
        ("(t.s IS NULL)", [("null", "t", "s")]),
        ("(t.s IS NOT NULL)", [("not-null", "t", "s")]),
        ("t.f", [("true", "t", "f")]),
        ("(NOT t.f)", [("false", "t", "f")]),
        ("((t.s)::text ~~ 'abc%'::text)", [("prefix", "t", "s")]),
        ("((t.s)::text ~~ '%abc%'::text)", [("like", "t", "s")]),
        ("((t.s)::text ~~ $1)", [("like", "t", "s")]),
        ("((t.s)::text ~~* 'abc%'::text)", [("like", "t", "s")]),
        ("((t.s)::text !~~ 'abc%'::text)", []),
        ("(lower((t.s)::text) = $1)", [("equal", "t", "lower(s::text)")]),
        ("((t.j ->> 'k'::text) = $1)", [("equal", "t", "(j ->> 'k'::text)")]),
        ("((t.j ->> $1) = $2)", []),
        ("(t.j @> $1)", [("contains", "t", "j")]),
        ("($1 <@ t.j)", [("contains", "t", "j")]),
        ("(to_tsvector('english'::regconfig, (t.s)::text) @@ to_tsquery($1))",
         [("match", "t", "to_tsvector('english'::regconfig, s::text)")]),
        ("(ROW(t.a, t.b) < ROW($1, $2))", [("range", "t", "a")]),
        ("((t.a = 1) OR (t.b = 2))", [("or", "t", "a")]),
        ("((t.a = 1) OR (u.a = 2))", []),
        ('(t."Odd Name" = 1)', [("equal", "t", '"Odd Name"')]),
        ("(t.a = (SubPlan 1))", [("equal", "t", "a")]),
        ("(t.a = (InitPlan 1).col1)", [("equal", "t", "a")]),
        ("(NOT (ANY (t.a = (hashed SubPlan 1).col1)))", []),
        ("(t.ctid = '(0,1)'::tid)", []),
    ],
)  # fmt: skip
def test_conditions_of_plans(text, wanted):
    found, into = read(text)
    assert found == wanted
    assert not into.unread


def test_what_cannot_be_read_is_kept_apart():
    found, into = read("(t.a = <<nonsense>>)")
    assert found == []
    assert into.unread == ["(t.a = <<nonsense>>)"]


def test_only_constants_make_the_predicate_of_a_partial_index():
    def where(text):
        return read(text)[1].predicates[0].where

    assert where("((t.s)::text = 'x'::text)") == "s::text = 'x'::text"
    assert where("(t.s IS NULL)") == "s IS NULL"
    assert where("(t.a = $1)") == ""
    assert where("(t.a > now())") == ""
    assert where("(t.a = u.a)") == ""


def test_sort_keys_with_directions():
    found = conditions.sort_keys(["t.a DESC", "t.b", "t.s DESC NULLS LAST", "lower((t.s)::text)"], TABLES)
    assert [(alias, key.sql) for alias, key in found] == [
        ("t", "a desc"), ("t", "b"), ("t", "s desc nulls last"), ("t", "lower(s::text)"),
    ]  # fmt: skip
    assert conditions.sort_keys(["(count(*)) DESC"], TABLES) is None
