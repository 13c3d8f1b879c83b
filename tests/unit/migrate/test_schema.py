"""What lint knows before a statement: from a dump, from the files before, from the file itself; and what it does not."""

import pytest

from dbkit.model import Evidence
from dbkit.postgres.migrate import lint
from dbkit.postgres.migrate.source import make
from tests.fixtures.migrations import hazards, report, rules

DUMP = """
-- PostgreSQL database dump
\\restrict abc
SET search_path = '';
SELECT pg_catalog.set_config('search_path', '', false);
CREATE TABLE public.users (
    id bigint NOT NULL,
    email character varying(50),
    CONSTRAINT email_there CHECK ((email IS NOT NULL))
);
COPY public.users (id, email) FROM stdin;
1\tjust; create index on users (id)
\\.
ALTER TABLE ONLY public.users ADD CONSTRAINT users_pkey PRIMARY KEY (id);
\\unrestrict abc
"""


def chain(*texts, **options):
    scripts = [make(f"{n}.sql", text) for n, text in enumerate(texts)]
    return [(f.rule, f.location.file) for f in lint.lint(scripts, lint.Options(**options)).active]


def test_a_dump_gives_types_and_proofs():
    assert hazards("alter table users alter email type varchar(60)", before=DUMP) == {"column-type-rechecks"}
    assert hazards("alter table public.users alter email set not null", before=DUMP) == set()
    assert hazards("alter table users alter email type varchar(40)", before=DUMP) == {"column-type-rewrites"}
    assert hazards("alter table users alter id set not null", before=DUMP) == set()


def test_the_dump_s_empty_search_path_does_not_outlive_it():
    found = report("create index i on users (email)", before=DUMP).active
    assert {f.object for f in found} == {"users"}
    assert all(f.evidence is Evidence.SCHEMA for f in found if f.rule == "migrate.index-not-concurrent")


def test_earlier_files_give_the_schema_but_are_not_new():
    found = chain("create table t (a varchar(10))", "alter table t alter a type varchar(20); create index on t (a)")
    assert ("migrate.index-not-concurrent", "1.sql") in found
    assert "migrate.column-type-rewrites" not in [rule for rule, _ in found]


def test_a_table_of_the_same_file_is_nobody_s_yet():
    assert hazards("create table t (a int); create index on t (a); alter table t alter a type bigint") == set()
    assert hazards("create table t as select 1 as a; create index on t (a)") == set()
    assert hazards("create temporary table t (a int); create index on t (a)") == set()


def test_dropped_and_made_again_is_new_but_renamed_is_not():
    assert "index-not-concurrent" in hazards(
        "alter table a rename to b; create index on b (x)", before="create table a (x int)"
    )


def test_rollback_takes_the_schema_back():
    text = "begin; create table t (a int); rollback; create index on t (a);"
    assert "index-not-concurrent" in hazards(text)


def test_without_knowledge_evidence_is_text():
    (finding,) = [f for f in report("create index i on t (a)").active if f.rule == "migrate.index-not-concurrent"]
    assert finding.evidence is Evidence.TEXT


def test_what_is_not_known_is_said():
    assert "column-type-undecided" in rules("alter table t alter a type text")
    assert "column-type-rewrites" in rules("alter table t alter a type bigint")


@pytest.mark.parametrize(
    ("before", "sql", "expected"),
    [
        ("create table p (id int primary key); create table c (pid int references p)", "drop table c", "drop-table-with-keys"),
        ("create table p (id int primary key); create table c (pid int references p)", "alter table c drop constraint c_pid_fkey", "drop-foreign-key"),
        ("create table m (a int) partition by range (a); create table d partition of m default", "create table x partition of m for values from (1) to (2)", "create-partition"),
        ("create table m (a int) partition by range (a)", "create index concurrently i on m (a)", "index-on-partitioned"),
        ("create table t (a int)", "alter table t add column if not exists a int", "already-done"),
        ("create table t (id serial)", "alter table t alter id type bigint", "sequence-stays-int"),
    ],
)  # fmt: skip
def test_hazards_that_only_a_schema_shows(before, sql, expected):
    assert expected in rules(sql, before=before)
    assert expected not in rules(sql) or expected == "create-partition"


INDEXED = "create table p (id int primary key); create table t (a int); create index i on t (a);"


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("create index if not exists i on t (a)", {"already-done", "no-lock-timeout"}),
        ("create index if not exists j on t (a)", {"index-not-concurrent", "no-lock-timeout"}),
        ("create index concurrently if not exists i on t (a)", {"concurrently-if-not-exists"}),
        ("drop index concurrently i; create index if not exists i on t (a)",
         {"index-dropped-before-replacement", "index-not-concurrent", "no-lock-timeout"}),
        ("alter table t add column if not exists a uuid default gen_random_uuid()", {"already-done", "no-lock-timeout"}),
        ("create table if not exists t (a int references p, b int references p)", set()),
        ("create table if not exists t (a int); create index j on t (a)", {"index-not-concurrent", "no-lock-timeout"}),
    ],
)  # fmt: skip
def test_what_is_there_already_is_not_made(sql, expected):
    assert rules(sql, before=INDEXED) == expected


def test_search_path_and_schemas_are_told_apart():
    found = report(
        "set search_path = app; create table t (a int); create index on app.t (a); create index on public.t (a)"
    )
    objects = [f.location.line for f in found.active if f.rule == "migrate.index-not-concurrent"]
    assert len(objects) == 1


def test_validated_only_counts_once_validated():
    steps = "alter table t add constraint k check (a is not null) not valid;"
    assert "not-null-scans" in hazards(
        steps,
    ) | hazards(steps + "alter table t alter a set not null;")
    assert "not-null-scans" not in hazards(
        steps + "alter table t validate constraint k; alter table t alter a set not null;"
    )
    assert "not-null-scans" in hazards(
        steps + "alter table t validate constraint k; alter table t alter a set not null;", version=(11, None)
    )


TWO = "create table t (id int, name text); create table u (id int, who int, what text);"


@pytest.mark.parametrize(
    ("view", "change", "fails"),
    [
        ("select *, (select name from t where t.id = u.who) as owner from u", "alter table t drop column id", True),
        ("select *, (select count(*) from t) as many from u", "alter table t drop column name", False),
        ("select *, (select count(*) from t) as many from u", "alter table u drop column what", True),
        ("select what, (select count(*) from t) as many from u", "alter table t alter what type text", False),
        ("select x.* from (select name from t) as x", "alter table t drop column id", False),
        ("select x.* from (select * from t) as x", "alter table t drop column id", True),
        ("select (select x.what from u as x limit 1), x.id from t as x", "alter table t drop column name", False),
        ("select u.id from u where exists (select 1 from t where name = what)", "alter table u drop column what", True),
        ("with t as (select id from u) select * from t", "alter table t drop column name", False),
        ("select id from t union select who from u", "alter table u drop column id", False),
        ("select name from t join u using (id)", "alter table u drop column id", True),
    ],
)
def test_a_view_reads_the_columns_of_its_own_scope(view, change, fails):
    found = rules(change, before=f"{TWO} create view v as {view}")
    assert ("column-in-view" in found) is fails


@pytest.mark.parametrize(
    ("sql", "times"),
    [
        ("drop index concurrently a1; drop index concurrently a2; create index concurrently n on t (a, b)", 1),
        ("drop index concurrently a1; drop index concurrently a2; create index n on t (a); create index m on t (a)", 2),
        ("drop index concurrently a1; create index concurrently a1 on t (b)", 1),
        ("drop index concurrently e; create index concurrently n on t (upper(b))", 0),
        ("begin; drop index a1; create index n on t (a); commit", 0),
        ("drop index a1; create index n on t (a)", 1),
    ],
)
def test_an_index_is_replaced_by_the_one_most_like_it(sql, times):
    before = """create table t (a int, b text); create index a1 on t (a); create index a2 on t (a, b);
    create index e on t (lower(b))"""
    found = [f for f in report(sql, before=before).active if f.rule == "migrate.index-dropped-before-replacement"]
    assert len(found) == times


def test_a_table_that_would_inherit_from_itself_ends_nothing():
    circle = "create table t (a int); create table u () inherits (t);"
    for statement in (
        "alter table t inherit t",
        "alter table t inherit u",
        "alter table t attach partition t default",
        "alter table v inherit w; alter table w inherit v",
        "create table x (a int) inherits (x)",
    ):
        assert rules(f"{statement}; alter table t add column b int; drop table t cascade", before=circle)
