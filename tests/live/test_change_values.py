"""Changes of the values a column may hold, beyond what every change has to show: what is refused, told and kept."""

import re

import psycopg
import pytest

from dbkit.errors import DbkitError, Refused
from dbkit.postgres.migrate.changes import exclusion

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
    for name in ("public.t.m", "public.t.ms", "public.t.d", "partitioned by m", "view public.v", "public.f("):
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


@pytest.mark.pg(18)
def test_an_enum_is_kept_with_reasons(place):
    place.run(
        MOODS
        + """
        create table p (m mood primary key);
        create table c (m mood references p, w mood) partition by list (w);
        create function takes(mood) returns bool language sql immutable as 'select true';
        alter table t add check (takes(m)), add w mood check (w < 'ok');
        create index by_w on t (w) where takes(w);
        create function nothing() returns trigger language plpgsql as 'begin return new; end';
        create trigger tells before update on t for each row when (new.w = 'ok') execute function nothing();
        """
    )
    for where, more, wanted in (
        ("t.id", {}, "2: .*public.t.id is integer, not an enum"),
        ("t.ms", {}, "2: .*is public.mood\\[\\], not an enum"),
        ("t.d", {}, "2: .*a domain"),
        ("t.m", {}, "4: .*check t_m_check is written for.*takes.*--accept ordering"),
        ("t.m", {"name": "id"}, "4: .*has a default and may be null.*has a column id already"),
        (
            "t.w",
            {},
            "4: .*trigger tells.*index by_w is written for.*sorts ok, sad and not sad, ok.*by_w, check t_w_check",
        ),
        ("p.m", {"accept": ["ordering"]}, "4: .*foreign key c_m_fkey of public.c points at public.p.m$"),
        ("p.m", {"accept": ["ordering"], "name": "x"}, "4: .*primary key.*leave --name out"),
        ("c.m", {"accept": ["ordering"]}, "4: .*c_m_fkey points from.*is partitioned"),
        ("c.w", {"accept": ["ordering"], "name": "x"}, "4: .*part of the partition key"),
    ):
        assert re.match(wanted, told(place, "enum-to-text", where, **more)), told(place, "enum-to-text", where, **more)


def test_values_that_come_or_change_meanwhile(place):
    """A new value is refused where it is written, never lost; a renamed one keeps the contract from being run."""
    place.run("create type mood as enum ('ok', 'sad'); create table t (id int primary key, m mood, x mood)")
    place.run("insert into t select n, 'sad' from generate_series(1, 9) n")
    assert "stays in use after contract: public.t.x" in "".join(place.design("enum-to-text", "t.m").story)
    change = place.new("enum-to-text", "t.m")
    place.done("expand")
    place.run("alter type mood add value 'wild'")
    with pytest.raises(psycopg.errors.CheckViolation, match="t_m_check"):
        place.run("update t set m = 'wild' where id = 1")
    place.fill(change)
    refused = place.move("contract").error
    assert isinstance(refused, Refused)
    assert "public.mood has other values" in refused.what
    assert place.phase(change) == "verified"
    place.done("rollback", change)
    place.run("update t set m = 'wild' where id = 1")
    refused = place.move("expand").error
    assert isinstance(refused, Refused)
    assert place.phase(change) == "new"


def test_text_that_the_enum_does_not_know_is_refused(place):
    """The new application writes no value that the old one could not read."""
    place.run("create type mood as enum ('ok', 'sad'); create table t (id int primary key, m mood)")
    change = place.new("enum-to-text", "t.m", name="w")
    place.done("expand")
    place.fill(change)
    for statement in ("insert into t (id, w) values (1, 'wild')", "insert into t (id, w) values (1, '')"):
        with pytest.raises(psycopg.errors.InvalidTextRepresentation):
            place.run(statement)
    place.done("contract")
    with pytest.raises(psycopg.errors.CheckViolation, match="t_w_check"):
        place.run("insert into t (id, w) values (1, 'wild')")


COMPUTED = """
create table t (id int primary key, n int, s text, j json, g1 int generated always as (n + 1) stored);
create function own(int) returns int language sql immutable as 'select $1 * 2';
insert into t (id, n) select n, n from generate_series(1, 50) n;
"""


def test_a_column_is_computed_whoever_writes(place):
    """What the application gives is overridden, replicas' workers and fills included; the check refuses the rest."""
    place.run(COMPUTED)
    change = place.new("add-generated-column", "t.g", "bigint", expression="own(n)")
    place.done("expand")
    place.run("insert into t (id, n, g) values (51, 51, -1); update t set g = 7 where id = 3")
    place.run("set session_replication_role = replica; update t set n = 40 where id = 4; insert into t values (52, 52)")
    place.fill(change)
    right = "select count(*) filter (where g = n * 2), count(*) from t"
    assert place.db.execute(right) == [(52, 52)]
    place.done("contract")
    place.run("update t set n = 9, g = 1 where id = 9; insert into t (id) values (53)")
    assert place.db.execute(right) == [(52, 53)]
    assert place.db.execute("select convalidated from pg_constraint where conname = 't_g_generated'") == [(True,)]
    with pytest.raises(psycopg.errors.CheckViolation, match="t_g_generated"):
        place.run('alter table t disable trigger "~_g_generated"; update t set g = 1 where id = 1')


@pytest.mark.pg(18)
def test_what_a_computed_column_rests_on_stays(place):
    """A later change that would take a column from under the trigger is refused, never an outage."""
    place.run(COMPUTED + "create extension pg_stat_statements")
    place.new("add-generated-column", "t.g", "bigint", expression="own(n) + length(s)")
    place.done("expand")
    place.fill("t-g")
    place.done("contract")
    for words in (("drop-column", "t.s"), ("rename-column", "t.s", "m")):
        change = place.new(*words)
        place.done("expand", change)
        if words[0] == "rename-column":
            place.fill(change)
            place.run("insert into t (id, n, m) values (60, 1, 'xyz')")
            assert place.db.execute("select g, s from t where id = 60") == [(5, "xyz")]
        with pytest.raises(Refused) as caught:
            place.move("contract", change)
        assert "function public.t_g_generated()" in (caught.value.why or "")
        place.done("rollback", change)
        for file in (place.folder / "versions").glob(f"*{words[0].partition('-')[0]}*"):
            file.unlink()


@pytest.mark.pg(18)
def test_a_virtual_column_is_metadata_only(place):
    place.run(COMPUTED)
    before = place.db.execute("select pg_relation_filenode('t')")
    change = place.new("add-generated-column", "t.v", "bigint", expression="n * 2", virtual="yes")
    place.done("expand")
    assert place.phase(change) == "contracted"
    assert place.db.execute("select pg_relation_filenode('t')") == before
    assert place.db.execute("select count(*) from t where v = n * 2") == [(50,)]
    place.done("rollback")
    assert place.phase(change) == "new"


def test_an_expression_is_refused_with_reasons(place, pg_major):
    place.run(COMPUTED)
    for where, type_, more, wanted in (
        ("t.g", "int", {}, "2: .*needs --expression"),
        ("t.g", "int", {"expression": "n; drop table t"}, "2: .*not one expression"),
        ("t.g", "int", {"expression": "nn + 1"}, "2: .*no column nn.*did you mean n"),
        ("t.g", "int", {"expression": "g1 + 1"}, "4: .*generated column"),
        ("t.g", "int", {"expression": "(select 1)"}, "[24]: .*subquery"),
        ("t.g", "int", {"expression": "n + (random() * 9)::int"}, "4: .*not immutable"),
        ("t.g", "text", {"expression": "now()::text"}, "4: .*not immutable"),
        ("t.g", "int", {"expression": "s"}, "2: .*is of type integer but default expression is of type text"),
        ("t.g", "int", {"expression": "100 / (n - 7)"}, "4: .*a row that is there fails.*division by zero"),
        ("t.g", "json", {"expression": "j"}, "2: .*json"),
        ("t.g", "varchar(2)", {"expression": "s"}, "4: .*cuts what is too long"),
        ("t.n", "int", {"expression": "1"}, "4: .*has a column n already"),
        ("t.g", "nosuch", {"expression": "1"}, "2: .*not a type"),
        ("t.g", "int", {"expression": "own(n)", "virtual": "y"}, "4: .*user-defined|4: .*begin with PostgreSQL 18"),
    ):
        assert re.match(wanted, told(place, "add-generated-column", where, type_, **more)), wanted
    place.run("create function t_g_generated() returns int language sql return 1")
    assert "function public.t_g_generated() is there" in told(
        place, "add-generated-column", "t.g", "int", expression="n"
    )
    if pg_major >= 18:
        assert "--virtual" in "".join(place.design("add-generated-column", "t.h", "int", expression="n").story)


ROOMS = """
create extension btree_gist;
create table t (id int primary key, room int, during int4range);
insert into t select n, n, '[1,5)' from generate_series(1, 200) n;
"""
APART = "exclude using gist (room with =, during with &&) where (id > 0)"


@pytest.mark.pg(18)
def test_an_exclusion_is_refused_with_reasons(place, monkeypatch):
    place.run(ROOMS + "create table p (a int4range) partition by hash (a)")
    for table, text, wanted in (
        ("t", "check (id > 1)", "2: .*no EXCLUDE"),
        ("t", "exclude using gist (roo with =)", "2: .*did you mean room"),
        ("t", "exclude using gist (room with =) not valid", "2: .*cannot be marked NOT VALID"),
        ("t", "exclude using gist (room with =), drop column room", "2: .*no EXCLUDE"),
        ("t", "exclude using gist (room with ~~)", "2: .*operator does not exist"),
        ("p", "exclude using gist (a with &&)", "4: .*is partitioned"),
    ):
        assert re.match(wanted, told(place, "add-exclusion", table, text)), text
    monkeypatch.setattr(exclusion, "LONGEST", 0.0)
    refused = told(place, "add-exclusion", "t", APART)
    assert re.match(r"4: .*takes \d+ ms for 200 rows.*--accept stall.*hint: take a window", refused), refused
    monkeypatch.setattr(exclusion, "SAMPLE", 50)
    assert re.search(r"about .* for 200 rows", told(place, "add-exclusion", "t", APART))
    place.run("insert into t values (0, 1, '[4,9)')")
    assert place.design("add-exclusion", "t", APART, accept=["stall"]).notes == ()
    monkeypatch.setattr(exclusion, "SAMPLE", 5000)
    place.run("update t set id = 300 where id = 0")
    refused = told(place, "add-exclusion", "t", APART, accept=["stall"])
    query = refused.partition("to see them: ")[2]
    assert place.db.execute(query) != [], refused
    place.run("drop extension btree_gist")
    assert "`create extension btree_gist`" in told(place, "add-exclusion", "t", APART)


def test_what_happens_before_an_exclusion_is_made(place, monkeypatch):
    """Rows that collide since: taken back, nothing is left. A table that has grown since: refused, nothing was done."""
    place.run(ROOMS)
    monkeypatch.setattr(exclusion, "SMALL", 20_000)
    change = place.new("add-exclusion", "t", APART, accept=["stall"], name="apart")
    before = place.facts("t")
    place.run("insert into t values (300, 1, '[4,9)')")
    failed = place.move("expand").error
    assert failed is not None
    assert (failed.exit_code, "collide" in (failed.hint or "")) == (6, True), failed.lines()
    place.run("delete from t where id = 300")
    place.run("insert into t select n, n, '[1,5)' from generate_series(1000, 5000) n")
    refused = place.move("expand").error
    assert isinstance(refused, Refused), refused
    assert "has grown too large" in refused.what
    assert (place.phase(change), place.facts("t")) == ("new", before)
    place.run("truncate t; insert into t values (1, 1, '[1,5)')")
    place.done("expand")
    with pytest.raises(psycopg.errors.ExclusionViolation, match="apart"):
        place.run("insert into t values (2, 1, '[4,9)')")


@pytest.mark.pg(18)
def test_text_goes_back_to_the_enum_while_it_fits(place):
    place.run("create type mood as enum ('ok', 'sad'); create table t (id int primary key, m mood)")
    change = place.new("enum-to-text", "t.m")
    place.done("expand")
    place.fill(change)
    place.done("contract")
    place.run("alter table t drop constraint t_m_check; insert into t values (1, 'wild'), (2, null), (3, 'sad')")
    with pytest.raises(Refused) as caught:
        place.move("rollback", change)
    assert "does not fit into public.mood" in " ".join(caught.value.lines())
    place.run("delete from t where id = 1")
    place.done("rollback", change)
    assert place.phase(change) == "expanded"
    assert place.db.execute("select m, pg_typeof(m)::text from t order by id") == [(None, "mood"), ("sad", "mood")]
