"""What --fix writes runs on real servers, lints clean, and leaves the schema that the author's statement leaves."""

import os
import subprocess

import pytest

from dbkit.postgres.migrate import lint, rewrite
from dbkit.postgres.migrate.examples import split
from dbkit.postgres.migrate.rules import MIGRATION_RULES
from dbkit.postgres.migrate.source import make
from dbkit.rules import Selection

HAZARDS = {r.id for r in MIGRATION_RULES if r.category in ("lock", "transaction")} - {
    "migrate.foreign-key-without-index"
}
# The rewritten statement, and what existed before: rule, schema, statement.
CASES = [
    ("index-not-concurrent", "create table t (a int, b text)", "create index i on t (a, lower(b)) where a > 0"),
    ("index-not-concurrent", "create table t (a int)", "CREATE UNIQUE INDEX IF NOT EXISTS i\n    ON t USING btree (a DESC)"),
    ("index-not-concurrent", 'create table "T x" ("é" int)', 'create index on "T x" ("é") include ("é")'),
    ("drop-index-not-concurrent", "create table t (a int); create index i on t (a)", "drop index i"),
    ("drop-index-not-concurrent", "create table t (a int); create index i on t (a); create index j on t (a)",
     "DROP INDEX IF EXISTS i, public.j, nowhere"),
    ("reindex-not-concurrent", "create table t (a int); create index i on t (a)", "reindex table t"),
    ("reindex-not-concurrent", "create table t (a int); create index i on t (a)", "REINDEX INDEX i"),
    ("refresh-not-concurrent",
     "create table t (a int); create materialized view v as select * from t; create unique index v_a on v (a)",
     "refresh materialized view v"),
    ("detach-partition",
     "create table m (a int) partition by range (a); create table c partition of m for values from (0) to (9)",
     "alter table m detach partition c"),
    ("check-scans", "create table t (a int, b int)", "alter table t add check (a > 0)"),
    ("check-scans", "create table t (a int, b int)",
     "alter table t add constraint k check (a between 1 and 9 or b is not null)"),
    ("foreign-key-scans", "create table p (id int primary key); create table t (a int)",
     "alter table t add foreign key (a) references p"),
    ("foreign-key-scans", 'create schema s; create table s.p (c int, d int, unique (c, d)); create table "T x" (a int, b int)',
     ('alter table "T x" add constraint "K y" foreign key (a, b) references s.p (c, d) match full'
     " on delete cascade on update set null deferrable initially deferred")),
    ("foreign-key-scans", "create table p (id int primary key); create table t (a int, b int)",
     "alter table t add constraint f foreign key (a) references p (id) on delete set default not deferrable"),
    ("not-null-scans", "create table t (a int)", "alter table t alter column a set not null"),
    ("not-null-scans", 'create table "T x" ("A b" int)', 'alter table "T x" alter "A b" set not null'),
    ("unique-builds-index", "create table t (a int, b int)", "alter table t add unique (a, b)"),
    ("unique-builds-index", "create table t (a int, b int)",
     "alter table t add constraint u unique nulls not distinct (a) include (b) deferrable initially deferred"),
    ("primary-key-builds-index", "create table t (a int not null)", "alter table t add primary key (a)"),
    ("primary-key-builds-index", "create table t (a int not null, b int not null, c int)",
     "alter table t add constraint k primary key (a, b) include (c)"),
    ("add-column-volatile-default", "create table t (a int)",
     "alter table t add column c numeric(9, 2) default random() * 10"),
    ("add-column-volatile-default", "create table t (a int)", "alter table t add c timestamp(3) default clock_timestamp()"),
    ("add-column-volatile-default", "create table t (a int)",
     "alter table t add c interval day to second (2)[] default array[random() * interval '1 h']"),
]  # fmt: skip


KEPT = {
    # A concurrent detach leaves the bounds behind as a check, so that attaching again needs no scan.
    "alter table m detach partition c": "alter table c drop constraint c_a_check",
}


def dump(database):
    """The schema as pg_dump writes it, without comments and psql's own commands."""
    program = database.server.binaries.program("pg_dump") if database.server.binaries else "pg_dump"
    done = subprocess.run(
        [str(program), "-s", "--no-owner", "-d", database.server.dsn_for(database.name, secret=False)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PGPASSWORD": database.server.password},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def shape(text):
    return [line for line in text.splitlines() if line and not line.startswith(("--", "\\"))]


@pytest.mark.parametrize(("rule", "before", "statement"), CASES, ids=[c[2] for c in CASES])
def test_the_safe_form_leaves_the_same_schema(pg, database_on, rule, before, statement):
    meant, fixed = database_on(pg), database_on(pg)
    for database in (meant, fixed):
        database.psql(before)
    options = lint.Options(version=(pg.version // 10000, None), schema_sql=dump(fixed))
    script = make("m.sql", statement + ";\n")
    result = lint.examine([script], options)
    (change,), left = rewrite.plan([script], result.found)
    assert not left
    assert f"migrate.{rule}" in change.rules
    again = lint.lint([make("m.sql", change.after)], options)
    assert not {f.rule for f in again.active} & HAZARDS

    meant.psql(statement)
    fixed.psql(change.after + KEPT.get(statement, ""))
    assert shape(dump(fixed)) == shape(dump(meant))


def test_every_rule_with_a_rewrite_has_a_case():
    rewriting = set()
    for rule in MIGRATION_RULES:
        example = split(rule.bad)
        options = lint.Options(
            version=example.version, assume=False, schema_sql=example.before, selection=Selection(select=(rule.id,))
        )
        result = lint.examine([make("m.sql", example.migration)], options)
        rewriting |= {found.rule.id for found, _ in result.found if found.hazard.rewrite is not None}
    assert len(rewriting) >= 8
    assert {r.removeprefix("migrate.") for r in rewriting} <= {rule for rule, _, _ in CASES}
