"""The catalogue of hazards, by the numbers of the research behind it: each is found by the rules named here."""

import pytest

from dbkit.postgres.migrate import lint
from dbkit.postgres.migrate.rules import MIGRATION_RULES
from dbkit.postgres.migrate.source import make
from dbkit.rules import Selection

M = "create table m (a int not null, b int) partition by range (a);"
P = "create table p (id int primary key); create table t (a int);"
# number, schema before, migration, rules that must be among those reported (none: nothing but time limits)
CATALOGUE = [
    ("L01", "", "create unique index i on t (a)", "index-not-concurrent"),
    ("L02", M + "create table c partition of m default", "create index i on m (b)", "index-on-partitioned"),
    ("L02", M, "create index concurrently i on m (b)", "index-on-partitioned"),
    ("L03", "", "drop index i", "drop-index-not-concurrent"),
    ("L04", "", "reindex index i", "reindex-not-concurrent"),
    ("L04", "", "reindex system app", "reindex-system"),
    ("L05", "14.1", "create index concurrently i on t (a)", "concurrent-build-corrupts"),
    ("L06", "", "set lock_timeout = '1s'; drop index concurrently i", "concurrently-under-lock-timeout"),
    ("L07", "", "create index concurrently if not exists i on t (a)", "concurrently-if-not-exists"),
    ("L08", "create table t (a int); create index i on t (a)",
     "drop index concurrently i; create index concurrently j on t (a)", "index-dropped-before-replacement"),
    ("L09", "", "create index concurrently i on t (a, b, c, d)", "index-too-wide"),
    ("L09", "", "create index concurrently i on t using hash (a)", "hash-index"),
    ("L10", "", "alter table t add check (a > 0)", "check-scans"),
    ("L11", "", "alter table t add column c int check (c > 0)", "check-scans"),
    ("L12", P, "alter table t add foreign key (a) references p", "foreign-key-scans"),
    ("L13", P, "alter table t add column c int references p", "add-column-references"),
    ("L13", P, "alter table t add column c int default 1 references p", "add-column-references-default"),
    ("L14", P + M, "alter table m add foreign key (b) references p not valid", "foreign-key-on-partitioned"),
    ("L15", "", "begin; alter table t add constraint k check (a > 0) not valid; alter table t validate constraint k; commit",
     "validate-under-lock"),
    ("L15", "", "alter table t validate constraint k, drop column b", "validate-with-stronger-lock"),
    ("L16", "", "alter table t alter a set not null", "not-null-scans"),
    ("L17", "", "alter table t add unique (a)", "unique-builds-index"),
    ("L18", "", "alter table t add column c int unique", "unique-builds-index"),
    ("L18", "", "alter table t add column c int primary key", "primary-key-builds-index"),
    ("L19", "", "alter table t add primary key (a)", "primary-key-builds-index"),
    ("L20", "create table t (a int); create unique index i on t (a)", "alter table t add primary key using index i",
     "primary-key-over-nullable"),
    ("L20", "", "alter table t add primary key using index i", "primary-key-undecided"),
    ("L21", "", "alter table t add exclude using gist (r with &&)", "exclusion-builds-index"),
    ("L22", "", "alter domain d add check (value > 0)", "domain-constraint-scans"),
    ("L22", "", "alter domain d validate constraint k", "domain-validate-scans"),
    ("L22", "", "create domain d as int check (value > 0)", "domain-with-constraint"),
    ("L23", "", "alter domain d set not null", "domain-not-null"),
    ("L24", P + "alter table t add constraint f foreign key (a) references p", "alter table t drop constraint f",
     "drop-foreign-key"),
    ("L25", "", "alter table t drop constraint k", "drop-constraint"),
    ("L25", "", "alter table t alter constraint k deferrable", "drop-constraint"),
    ("L26", "", ("begin; alter table t add foreign key (a) references p not valid;"
     " alter table t add foreign key (b) references q not valid; commit"), "several-parents-locked"),
    ("L27", "", "create table t (a int references p, b int references q)", "create-table-references"),
    ("L28", P + "alter table t add foreign key (a) references p", "drop table t", "drop-table-with-keys"),
    ("L29", "", "create table t (a int references p)", "foreign-key-without-index"),
    ("L29", P + "alter table t add foreign key (a) references p",
     "create index concurrently i on t (a) where a > 0", "foreign-key-index-partial"),
    ("L30", P, "alter table t add column c bigint references p", "foreign-key-type-differs"),
    ("L40", "", "alter table t add column c uuid default gen_random_uuid()", "add-column-volatile-default"),
    ("L40", "", "alter table t add column c timestamptz not null default now()", ""),
    ("L40", "", "alter table t add column c timestamptz default now(3)", "add-column-volatile-default"),
    ("L41", "", "alter table t add column c int default 10", ""),
    ("L42", "", "alter table t add column c bigserial", "add-column-serial"),
    ("L42", "", "alter table t add column c int generated always as identity", "add-column-identity"),
    ("L43", "", "alter table t add column c int generated always as (a) stored", "add-column-generated-stored"),
    ("L44", "create domain d as int check (value > 0)", "alter table t add column c d", "add-column-constrained-domain"),
    ("L45", "create table t (a int)", "alter table t alter a type bigint", "column-type-rewrites"),
    ("L45", "", "alter table t alter a type text", "column-type-undecided"),
    ("L46", "create table t (a text); create index i on t (a)", 'alter table t alter a type text collate "C"',
     "column-type-rebuilds-index"),
    ("L47", "create table t (a varchar(9) check (a <> ''))", "alter table t alter a type text", "column-type-rechecks"),
    ("L48", "create table t (a varchar(9)); create view v as select a from t", "alter table t alter a type text",
     "column-in-view"),
    ("L48", "create table t (a int, g int generated always as (a) stored)", "alter table t drop column a",
     "column-in-view"),
    ("L49", "", "alter table t add column c int", "cached-plan"),
    ("L50", "", "alter table t alter a set expression as (1)", "set-expression"),
    ("L51", "", "alter table t alter a set default 1", "no-lock-timeout"),
    ("L52", "", "alter table t set (fillfactor = 50); alter table t validate constraint k; analyze t", ""),
    ("L53", "create table t (a int)", "alter table t add column if not exists a int", "already-done"),
    ("L53", "create table t (a int); create index i on t (a)", "create index if not exists i on t (a)", "already-done"),
    ("L54", "", "alter table t add column c int not null", "add-required-column"),
    ("L60", "", "truncate t", "truncate"),
    ("L60", "", "truncate t cascade", "truncate-cascade"),
    ("L61", "", "alter table t set unlogged", "set-logged"),
    ("L62", "", "alter table t set tablespace x", "set-tablespace"),
    ("L62", "", "alter table t set access method x", "set-access-method"),
    ("L62", "", "alter materialized view v set access method x", "set-access-method"),
    ("L63", "", "vacuum full t", "vacuum-full"),
    ("L63", "", "cluster t using i", "vacuum-full"),
    ("L64", "", "refresh materialized view v", "refresh-not-concurrent"),
    ("L64", "", "refresh materialized view concurrently v", "refresh-concurrent"),
    ("L65", "", "alter table t disable trigger all", "trigger-changed"),
    ("T03", "", "begin; create trigger x after update on t for each row execute function f(); select * from t; commit",
     "statement-while-writes-wait"),
    ("T10", "", "select set_config('lock_timeout', '2s', false); alter table t add column a int", ""),
    ("L16", "", "alter table t validate constraint a_not_null; alter table t alter a set not null", "not-null-scans"),
    ("L65", "", "create trigger x before insert on t for each row execute function f()", "trigger-changed"),
    ("L66", "", "drop trigger x on t", "drop-trigger"),
    ("L66", "", "create rule r as on insert to t do nothing", "trigger-changed"),
    ("L64", "", "refresh materialized view v with no data", "refresh-not-concurrent"),
    ("T08", "", "explain (analyze, costs off) delete from t", "delete-without-where"),
    ("T08", "", "explain (analyze off) delete from t", ""),
    ("T09", "", "do $$ begin perform shop.rebuild(1); end $$", "not-analysed"),
    ("L67", "", "begin; lock table t; commit", "lock-table"),
    ("L70", "", "alter table m attach partition c default", "attach-partition"),
    ("L70", M + "create index i on m (b); create table c (a int not null, b int)",
     "alter table m attach partition c for values from (0) to (9)", "attach-partition attach-partition-builds"),
    ("L71", "", "alter table m detach partition c", "detach-partition"),
    ("L72", "", "create table c partition of m default", "create-partition"),
    ("L73", M + "create table c partition of m default", "drop table c", "drop-partition"),
    ("L74", "", "alter table t inherit p", "inherit"),
    ("L75", "create table t (a serial)", "alter table t alter a type bigint", "sequence-stays-int"),
    ("T01", M + "create index m_b on m (b)", "begin; reindex index m_b; commit", "not-in-transaction"),
    ("T01", "", "begin; create index concurrently i on t (a); commit", "not-in-transaction"),
    ("T01", "", "begin; vacuum t; commit", "not-in-transaction"),
    ("T01", "", "begin; create database x; commit", "not-in-transaction"),
    ("T02", "one message", "select 1; create index concurrently i on t (a)", "not-in-transaction"),
    ("T03", "", "begin; alter table t add column c int; select count(*) from u; commit",
     "statement-under-access-exclusive"),
    ("T04", "", "begin; alter table t add column c int; alter table u add column c int; commit", "several-tables-locked"),
    ("T05", "", "alter table t add column c int; alter table t add column d int", "several-alters"),
    ("T06", "", "begin; begin; commit", "nested-begin"),
    ("T06", "", "commit", "commit-without-begin"),
    ("T06", "", "begin; select 1", "transaction-left-open"),
    ("T07", "", "begin; alter type m add value 'x'; insert into t values ('x'); commit", "enum-value-in-transaction"),
    ("T08", "", "update t set a = 1", "update-without-where"),
    ("T08", "", "delete from t where 1 = 1", "delete-without-where"),
    ("T08", "", "begin; update t set a = 1 where b = 2; alter table t add column c int; commit",
     "data-with-schema-change"),
    ("T09", "", "do $$ begin execute format('drop table %I', 'x'); end $$", "not-analysed"),
    ("T09", "", "do $$ begin create index i on t (a); end $$", "index-not-concurrent"),
    ("T10", "", "alter table t add column c int; set lock_timeout = '1s'", "no-lock-timeout"),
    ("T10", "", "set lock_timeout = '10min'; alter table t add column c int", "no-lock-timeout"),
    ("T10", "", "set lock_timeout = 0; alter table t add column c int", "no-lock-timeout"),
    ("T11", "", "alter table t add column c int", "no-statement-timeout"),
    ("T11", "", "begin; select 1; commit", "no-idle-timeout"),
    ("T13", "", "create table t (a int); select 1", "not-repeatable"),
    ("T14", "", "set lock_timeout = '1s'", "session-setting"),
]  # fmt: skip
# Only a running server shows it: `dbkit migrate deploy` looks for old snapshots and blockers before it asks for a lock.
AT_RUN_TIME = {"T12"}
EVERY = Selection(select=tuple(r.id for r in MIGRATION_RULES))


@pytest.mark.parametrize(
    ("number", "before", "migration", "expected"), CATALOGUE, ids=[f"{c[0]}-{n}" for n, c in enumerate(CATALOGUE)]
)
def test_a_hazard_of_the_catalogue_is_found(number, before, migration, expected):
    version = lint.parse_version(before) if before[:2] == "14" else (17 if number == "L50" else 15, None)
    schema = before if before.startswith("create") else ""
    script = make("m.sql", migration)
    script.one_message = before == "one message"
    found = lint.lint([script], lint.Options(version=version, schema_sql=schema, selection=EVERY)).active
    rules = {f.rule.removeprefix("migrate.") for f in found}
    if expected:
        assert set(expected.split()) <= rules
    else:
        categories = {r.id: r.category for r in MIGRATION_RULES}
        assert not [f for f in found if categories[f.rule] in ("lock", "transaction")]


def test_the_catalogue_is_whole():
    lock = [*range(1, 10), *range(10, 31), *range(40, 55), *range(60, 68), *range(70, 76)]
    numbers = {f"L{n:02}" for n in lock} | {f"T{n:02}" for n in range(1, 15)}
    assert {c[0] for c in CATALOGUE} | AT_RUN_TIME == numbers
    known = {r.id.removeprefix("migrate.") for r in MIGRATION_RULES}
    assert {rule for c in CATALOGUE for rule in c[3].split()} <= known


F = "create foreign table f (a int, b text) server s;"
# (schema before, migration, rule, whether it is reported): what is no ordinary table, and what is no table at all
BEYOND_TABLES = [
    ("", "alter foreign table f alter column a set not null", "not-null-scans", False),
    ("", "alter foreign table f add constraint k check (a > 0)", "check-scans", False),
    ("", "alter foreign table f add column c uuid default gen_random_uuid()", "add-column-volatile-default", False),
    (F, "alter table f alter column a type bigint", "column-type-rewrites", False),
    (F, "alter table f alter column a set not null", "not-null-scans", False),
    (F, "alter table f drop column a", "drop-column", True),
    (F, "alter table f drop column a", "no-lock-timeout", True),
    ("", "drop server s", "drop-object", True),
    ("", "drop event trigger e", "drop-object", True),
    ("", "drop operator class o using btree", "drop-object", True),
    ("", "drop cast (a as b)", "drop-object", True),
    ("", "drop aggregate g (int)", "drop-object", True),
    ("", "drop user mapping for x server s", "drop-object", True),
    ("", "drop role app", "drop-object", True),
    ("", "drop owned by app", "drop-object", True),
    ("", "drop statistics s", "drop-object", False),
    ("", "drop publication p", "replication-changed", True),
    ("", "alter publication p drop table t", "replication-changed", True),
    ("", "alter publication p set table t", "replication-changed", True),
    ("", "alter publication p set (publish = 'insert')", "replication-changed", True),
    ("", "alter publication p add table t", "replication-changed", False),
    ("", "create publication p for all tables", "replication-changed", False),
    ("", "drop subscription s", "replication-changed", True),
    ("", "begin; drop subscription s; commit", "not-in-transaction", True),
    ("", "alter subscription s disable", "replication-changed", True),
    ("", "alter subscription s enable", "replication-changed", False),
    ("", "alter subscription s refresh publication", "replication-changed", False),
    ("", "alter group writers drop user app", "access-changed", True),
    ("", "alter group writers add user app", "access-changed", False),
    ("", "alter table t alter column id restart with 5", "sequence-changed", True),
    ("", "alter table t alter column id restart with 5", "filled-otherwise", False),
    ("", "alter table t alter column id set generated always restart", "filled-otherwise", True),
    ("", f'create table "{"é" * 33}" (id bigint)', "name-too-long", True),
    ("", "drop table t", "unqualified-name", True),
    ("", "drop table app.t", "unqualified-name", False),
]  # fmt: skip


@pytest.mark.parametrize(("before", "migration", "rule", "reported"), BEYOND_TABLES)
def test_what_is_not_a_table_of_this_server(before, migration, rule, reported):
    options = lint.Options(schema_sql=before, selection=EVERY)
    found = {f.rule for f in lint.lint([make("m.sql", migration)], options).active}
    assert (f"migrate.{rule}" in found) is reported
    assert "migrate.not-analysed" not in found


@pytest.mark.parametrize(
    ("migration", "lock"),
    [
        ("create rule r as on insert to t do nothing", "ACCESS EXCLUSIVE"),
        ("alter table t disable rule r", "ACCESS EXCLUSIVE"),
        ("alter table t disable trigger x", "SHARE ROW EXCLUSIVE"),
    ],
)
def test_a_rule_is_made_under_another_lock_than_a_trigger(migration, lock):
    found = lint.lint([make("m.sql", migration)], lint.Options()).active
    assert [f.data["lock"] for f in found if f.rule == "migrate.trigger-changed"] == [lock]
