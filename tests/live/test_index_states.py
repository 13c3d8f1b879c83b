"""What is found for a wanted index, decided by real servers: one line a case, none of them by comparing text."""

import json
from pathlib import Path

import pytest

from dbkit.postgres.connect import connect, server
from dbkit.postgres.indexes import desired, planning
from dbkit.postgres.indexes.compare import observe
from dbkit.postgres.indexes.states import State
from dbkit.settings import Target
from tests.fixtures.program import dbkit

SCHEMA = """
create schema other; create schema ext; create extension pg_trgm schema ext;
create type mood as enum ('sad', 'ok');
create table t (
  a int, b int not null, c text, v varchar(30), m mood, ok boolean, at timestamptz, "Odd Name" int
);
create table other.t (a int);
create view w as select 1 as a;
create function stable_lower(text) returns text language plpgsql stable as $$ begin return lower($1); end $$;
"""

CASES = [
    # The author's words against the server's: the same index.
    ("create index i on t (a)", "create index i on t (a)", "ok"),
    ("create index i on t (a asc nulls last)", "create index i on t (a)", "ok"),
    ("create index i on t using btree (v varchar_ops)", "create index i on t (v)", "ok"),
    ("create index i on t (v text_ops)", "create index i on t (v)", "ok"),
    ('create index i on t (c collate "default")', "create index i on t (c)", "ok"),
    ("create index i on t (lower(v))", "create index i on t (lower((v)::text))", "ok"),
    ("create index i on t (a) where v in ('x', 'y')", "create index i on t (a) where v in ('x', 'y')", "ok"),
    ("create index i on t (a) where m = 'ok'", "create index i on t (a) where m = 'ok'::mood", "ok"),
    ("create index i on t (a) where a <> 3", "create index i on t (a) where a != 3", "ok"),
    ("create index i on t (a) where a between 1 and 9", "create index i on t (a) where a >= 1 and a <= 9", "ok"),
    ('create index i on t ("Odd Name")', 'create index i on public.t ("Odd Name")', "ok"),
    ("create index i on t (a) with (fillfactor = 80)", "create index i on t (a) with (fillfactor='80')", "ok"),
    ("create index i on t (a) include (b, c)", "create index i on t (a) include (c, b)", "ok"),
    ("create index i on t (a desc, b)", "create index i on t (a, b desc)", "ok"),  # a b-tree is read both ways
    ("create index i on t using gin (c ext.gin_trgm_ops)", "create index i on t using gin (c ext.gin_trgm_ops)", "ok"),
    ("create index i on t (extract(epoch from at at time zone 'utc'))",
     "create index i on t (extract(epoch from at at time zone 'utc'))", "ok"),
    # The same name, another index.
    ("create index i on t (a)", "create index i on t (b)", "other-definition"),
    ("create index i on t (a, b)", "create index i on t (b, a)", "other-definition"),
    ("create index i on t (a)", "create index i on t (a, b)", "other-definition"),
    ("create index i on t (a)", "create index i on t (a) include (b)", "other-definition"),
    ("create index i on t (a)", "create unique index i on t (a)", "other-definition"),
    ("create index i on t (a)", "create index i on t (a) where a > 0", "other-definition"),
    ("create index i on t (a) where a > 1", "create index i on t (a) where a > 0", "other-definition"),
    ("create index i on t (a) where ok", "create index i on t (a) where ok is true", "other-definition"),
    ("create index i on t (a, b desc)", "create index i on t (a, b)", "other-definition"),
    ("create index i on t (a desc)", "create index i on t (a desc nulls last)", "other-definition"),
    ("create index i on t (a)", "create index i on t using hash (a)", "other-definition"),
    ("create index i on t (c)", "create index i on t (c text_pattern_ops)", "other-definition"),
    ("create index i on t (c)", 'create index i on t (c collate "C")', "other-definition"),
    ("create index i on t (lower(c))", "create index i on t (upper(c))", "other-definition"),
    ("create index i on t (a) with (fillfactor = 80)", "create index i on t (a)", "other-definition"),
    ("create unique index i on t (a)", "create unique index i on t (a) nulls not distinct", "other-definition"),
    # Another name, the same index; or one that does not do.
    ("create index i on t (a)", "create index j on t (a)", "ok-other-name"),
    ("create index i on t (a)", "create unique index j on t (a)", "missing"),
    ("create index i on t (a)", "create index j on t (a, b)", "missing"),
    ("create index i on t (a)", "create index j on other.t (a)", "missing"),
    ("create index i on t (a)", "create index i on other.t (a)", "missing"),  # names are per schema
    # In the way.
    ("create index i on t (a)", "create table i (x int)", "name-taken"),
    ("create index i on t (a)", "create sequence i", "name-taken"),
    ("create index i on t (a)", "create table u (a int); create index i on u (a)", "name-taken"),
    # Cannot be.
    ("create index i on nowhere (a)", "", "no-table"),
    ("create index i on w (a)", "", "cannot-build"),
    ("create index i on t (nothing)", "", "cannot-build"),
    ("create index i on t using gin (c gin_trgm_ops)", "", "cannot-build"),
    ("create index i on t using gist (a)", "", "cannot-build"),
    ("create index i on t (stable_lower(c))", "", "cannot-build"),
    ("create index i on t (a) where at > now()", "", "cannot-build"),
    ("create unique index i on t using hash (a)", "", "cannot-build"),
]  # fmt: skip
HINTS = {
    "gin (c gin_trgm_ops)": "pg_trgm",
    "stable_lower": "IMMUTABLE",
    "now()": "IMMUTABLE",
    "nothing": "migration",
    "nowhere": "migration",
}


def look(dsn, wish):
    with connect(Target(name="test", address=dsn)) as connection:
        return observe(connection, server(connection), desired.read(wish, "wish.sql"))


def test_every_case(db):
    db.psql(SCHEMA)
    wrong = []
    for wish, there, state in CASES:
        db.psql(there + ";" if there else "")
        (found,) = look(db.dsn, wish).states
        if found.state.value != state:
            wrong.append((wish, there, state, found.state.value, found.detail))
        for part, word in HINTS.items():
            if part in wish and word not in found.hint:
                wrong.append((wish, "hint", word, found.hint))
        if found.state in (State.OK, State.OTHER_NAME):
            assert not planning.plan(look(db.dsn, wish), "test").steps
        db.psql(
            "drop index if exists i, j, other.i, other.j; drop table if exists u cascade"
            if "table i" not in there and "sequence i" not in there
            else "drop table if exists i; "
            if "table i" in there
            else "drop sequence i"
        )
    assert wrong == []


def test_looking_leaves_nothing_and_blocks_nobody(db):
    db.psql(SCHEMA)
    before = db.execute("select count(*), max(oid::bigint) from pg_class")
    holder = db.connect(autocommit=False)
    holder.execute("lock table t in share update exclusive mode")  # a build of somebody else, say
    writer = db.connect(autocommit=False)
    writer.execute("insert into other.t values (1)")
    assert [s.state for s in look(db.dsn, "create index i on t (a); create index j on other.t (a)").states] == [
        State.MISSING,
        State.MISSING,
    ]
    assert db.execute("select count(*), max(oid::bigint) from pg_class") == before


def test_the_roles_search_path_is_the_authors(db):
    db.psql(SCHEMA)
    name, dsn = db.role("superuser")
    db.psql(f"alter role {name} set search_path = other, ext")
    (found,) = look(dsn, "create index i on t (a)").states
    assert found.object == "other.i"
    (found,) = look(dsn, "create index i on public.t using gin (c gin_trgm_ops)").states
    assert found.state is State.MISSING


def test_what_this_role_may_not_compare_is_said_with_its_grant(db):
    db.psql(SCHEMA)
    name, dsn = db.role()
    (found,) = look(dsn, "create index i on t (a)").states
    assert found.state is State.NOT_COMPARED
    db.psql(found.hint)
    assert look(dsn, "create index i on t (a)").states[0].state is State.MISSING
    db.psql(f"revoke temporary on database {db.name} from public")
    (found,) = look(dsn, "create index i on t (a)").states
    assert found.hint == f"grant temporary on database {db.name} to {name}"


@pytest.mark.parametrize("stage", ["parent only", "one leaf", "all but the default", "all", "a leaf of another order"])
def test_a_partitioned_table_at_every_stage(db, stage):
    db.psql(
        "create table p (a int, b int) partition by range (a);"
        "create table p_1 partition of p for values from (0) to (10);"
        "create table p_default partition of p default;"
        "create index i on only p (a desc);"
    )
    if stage == "a leaf of another order":  # ATTACH accepts it: sort options are not compared there
        db.psql("create index i_p_1 on p_1 (a); alter index i attach partition i_p_1")
        db.psql("create index i_p_default on p_default (a desc); alter index i attach partition i_p_default")
    if stage in ("one leaf", "all but the default", "all"):
        db.psql("create index i_p_1 on p_1 (a desc)")
    if stage in ("all but the default", "all"):
        db.psql("alter index i attach partition i_p_1")
    if stage == "all":
        db.psql("create index i_p_default on p_default (a desc); alter index i attach partition i_p_default")
    observed = look(db.dsn, "create index i on p (a desc)")
    assert observed.states[0].state is (
        State.OK if stage in ("all", "a leaf of another order") else State.INVALID_PARENT
    )
    steps = [(s.action, s.object) for s in planning.plan(observed, "test").steps]
    default = [("create-index", "public.i_default"), ("attach-index", "public.i_default")]
    assert steps == {
        "parent only": [("create-index", "public.i_1"), ("attach-index", "public.i_1"), *default],
        "one leaf": [("attach-index", "public.i_p_1"), *default],
        "all but the default": default,
    }.get(stage, [])


@pytest.mark.parametrize("stage", ["nothing", "an invalid parent", "a valid parent"])
def test_a_partition_that_is_a_foreign_table(db, stage):
    """An index made ON ONLY never becomes valid beside one; a plain one leaves it out and takes what is there."""
    db.psql(
        "create table p (a int, b int) partition by range (a);"
        "create table p_1 partition of p for values from (0) to (10);"
        "create extension file_fdw; create server s foreign data wrapper file_fdw;"
        "create foreign table p_2 partition of p for values from (10) to (20) server s options (filename '/dev/null')"
    )
    if stage == "an invalid parent":
        db.psql("create index i on only p (a); create index i_1 on p_1 (a); alter index i attach partition i_1")
    if stage == "a valid parent":
        db.psql("create index concurrently i_1 on p_1 (a)")
        db.psql("create index i on p (a)")
    observed = look(db.dsn, "create index i on p (a); create unique index u on p (a)")
    plain, unique = observed.states
    assert plain.state is (State.OK if stage == "a valid parent" else State.CANNOT_BUILD)
    assert (unique.state, "no unique index" in unique.detail) == (State.CANNOT_BUILD, True)
    plan = planning.plan(observed, "test")
    assert plan.steps == ()
    assert {p.rule for p in plan.problems} == {"pg.index-cannot-build"}
    (tablespace,) = planning.plan(look(db.dsn, "create index t on p_1 (a) tablespace nope"), "test").problems
    assert "create the tablespace" in tablespace.hint
    done = dbkit("audit", "--select", "pg.index-invalid", "--format", "json", DBKIT_DSN=db.dsn)
    told = [f["message"] for f in json.loads(done.stdout)["findings"]]
    assert ["public.p_2 is a foreign table" in message for message in told] == [True] * (stage == "an invalid parent")


def test_the_script_of_a_plan_does_what_the_plan_says_and_takes_it_back(platform_db):
    """`dbkit index plan --sql | psql` by hand, and then its undo lines, leave what they say."""
    before = platform_db.execute("select indexrelid::regclass::text from pg_index order by 1")
    with connect(Target(name="test", address=platform_db.dsn)) as connection:
        plan = planning.plan(observe(connection, server(connection), desired.load([])), "test")
    script = plan.to_sql()
    platform_db.psql(script)
    with connect(Target(name="test", address=platform_db.dsn)) as connection:
        after = observe(connection, server(connection), desired.load([]))
    assert {s.state for s in after.states} == {State.OK}
    undo = script.partition("-- Undo, last step first:\n")[2]
    platform_db.psql("\n".join(line.removeprefix("-- ") for line in undo.splitlines()))
    assert platform_db.execute("select indexrelid::regclass::text from pg_index order by 1") == before


def test_a_name_of_64_bytes_is_refused_before_anything_is_asked():
    with pytest.raises(Exception, match="64 bytes"):
        desired.read(f"create index {'ü' * 32} on t (a)", "wish.sql")
    assert desired.read(f"create index {'n' * 63} on t (a)", "wish.sql")


def test_leaf_names_stay_unique_when_cut(db):
    long = "n" * 60
    db.psql(
        "create table p (a int) partition by list (a);"
        "create table p_first partition of p for values in (1);"
        "create table p_second partition of p for values in (2);"
    )
    observed = look(db.dsn, f"create index {long} on p (a)")
    names = [s.object for s in planning.plan(observed, "test").steps if s.action == "create-index"]
    assert len(set(names)) == 2
    assert all(len(name.removeprefix("public.").encode()) <= 63 for name in names)


def test_the_shipped_files_are_found():
    assert {Path(w.file).name for w in desired.load([])} == {
        p.name for p in (Path(__file__).resolve().parents[2] / "sql" / "indexes").glob("*.sql")
    }
