"""Changes of the values a column may hold, beyond what every change has to show: what is refused, told and kept."""

import re

import pytest

from dbkit.errors import DbkitError, Refused

MOODS = """
create type mood as enum ('sad', 'ok');
create type "Odd ""type" as enum ('a');
create domain good_mood as mood;
create table t (id int primary key, m mood default 'ok', ms mood[], d good_mood);
create table l (m mood) partition by list (m);
create view v as select id from t where m > 'sad';
create function f(x int) returns text language plpgsql as $$ declare m mood; begin return m; end $$;
insert into t values (1, 'ok');
"""


def told(place, kind, *words, **more):
    """Why a change is not written, as one text."""
    with pytest.raises(DbkitError) as caught:
        place.design(kind, *words, **more)
    return f"{caught.value.exit_code}: {' '.join(caught.value.lines())}"


@pytest.mark.pg(18)
def test_a_value_is_refused_with_reasons(place):
    place.run(MOODS)
    for words, more, wanted in (
        (("mood", "ok"), {}, "4: .*it has that value already: sad, ok"),
        (("moood", "x"), {}, "2: .*did you mean public.mood"),
        (("t", "x"), {}, "2: .*not an enum type"),
        (("mood; drop type mood", "x"), {}, "2: .*not the name of a type"),
        (("mood", "x"), {"before": "no"}, "2: .*has no value 'no'.*sad, ok"),
        (("mood", "x"), {"before": "ok", "after": "ok"}, "2: .*exclude each other"),
        (("mood", "é" * 32), {}, "2: .*63 bytes"),
        (("mood", "x"), {"using": "1"}, "2: .*knows no --using"),
    ):
        assert re.match(wanted, told(place, "add-enum-value", *words, **more)), words


@pytest.mark.pg(18)
def test_what_knows_the_values_is_named(place):
    place.run(MOODS)
    notes = "\n".join(place.design("add-enum-value", "mood", "x").notes)
    for name in ("public.t.m", "public.t.ms", "public.t.d", "partitioned by lists of m", "view public.v", "public.f("):
        assert name in notes, notes


@pytest.mark.parametrize("where", ["m", "ms", "d"])
def test_a_value_in_use_keeps_its_revision(place, where):
    """Refused with where it is stored, and nothing is changed; free again, the way back is open and forward too."""
    place.run(MOODS)
    value = "it's 100% :new"
    change = place.new("add-enum-value", "mood", value, before="sad")
    place.done("expand")
    place.done("expand")
    stored = [value] if where == "ms" else value
    with place.db.connect() as connection:
        connection.execute(f"update t set {where} = %s", [stored])
    refused = place.move("rollback").error
    assert isinstance(refused, Refused)
    assert refused.what == f"rows of t hold {value} in {where}"
    assert place.phase(change) == "contracted"
    place.run(f"update t set {where} = null")
    place.done("rollback")
    place.done("expand")
    labels = place.db.execute("select enumlabel from pg_enum where enumtypid = 'mood'::regtype order by enumsortorder")
    assert labels == [(value,), ("sad",), ("ok",)]


@pytest.mark.pg(18)
def test_a_type_with_an_odd_name(place):
    place.run(MOODS)
    place.new("add-enum-value", '"Odd ""type"', "b")
    place.done("expand")
    place.done("rollback")
