"""What --fix writes: valid SQL that lints clean, with the user's own names; and what it leaves alone."""

import subprocess

import pytest

from dbkit.postgres import ddl
from dbkit.postgres.migrate import lint, rewrite
from dbkit.postgres.migrate.rules import MIGRATION_RULES
from dbkit.postgres.migrate.source import make
from tests.fixtures.parts import needed

HAZARDS = {r.id for r in MIGRATION_RULES if r.category in ("lock", "transaction")}


def plan(text, *, name="m.sql", path=None, **options):
    script = make(name, text, path)
    result = lint.examine([script], lint.Options(**options))
    return rewrite.plan([script], result.found)


@pytest.mark.parametrize(
    "statement",
    [
        "create index i on t (a, lower(b)) where a > 0",
        "CREATE UNIQUE INDEX i\n    ON t (a)",
        'create index on "Od""d" (a)',
        "drop index a, b",
        "drop index if exists i",
        "reindex table t",
        "alter table m detach partition p",
        "alter table t add constraint k check (a > 0 and b is not null)",
        "alter table t add check (a > 0)",
        'alter table "T x" add constraint "K y" foreign key (a, b) references s.p (c, d) on delete cascade deferrable',
        "alter table t add foreign key (a) references p",
        "alter table t alter column a set not null",
        "alter table t add constraint u unique nulls not distinct (a, b)",
        "alter table t add column c uuid default gen_random_uuid()",
    ],
)
@pytest.mark.parametrize("major", [15, 18])
def test_a_rewrite_parses_and_lints_clean(statement, major):
    text = f"-- é before\nselect 'ü';\n{statement};\n-- after\nselect 2;\n"
    (change,), left = plan(text, version=(major, None))
    assert not left
    assert change.after.startswith(f"{rewrite.MARK}\n" if change.marked else "-- é before")
    assert "select 'ü';" in change.after
    assert change.after.endswith("-- after\nselect 2;\n")
    ddl.parse(change.after)
    found = lint.lint([make("m.sql", change.after)], lint.Options(version=(major, None)))
    assert not {f.rule for f in found.active} & HAZARDS


def test_a_refresh_is_rewritten_only_where_the_index_it_needs_is_known():
    text = "refresh materialized view v;"
    before = "create materialized view v as select 1 as a;"
    assert plan(text, schema_sql=before) == ((), ())
    (change,), _ = plan(text, schema_sql=f"{before} create unique index i on v (a);")
    assert "refresh materialized view concurrently v" in change.after


def test_not_null_of_18_needs_one_lock_less():
    (change,), _ = plan("alter table t alter a set not null;", version=(18, None))
    assert "NOT NULL a NOT VALID" in change.after
    assert "DROP CONSTRAINT" not in change.after


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("begin; create index i on t (a); commit;", {}),
        ("create index i on t (a);", {"assume": True}),
        ("-- migrate:up\ncreate index i on t (a);", {}),
    ],
)
def test_inside_a_transaction_it_is_left_with_a_reason(text, options):
    changes, left = plan(text, **options)
    assert not changes
    assert len(left) == 1
    assert "transaction" in left[0].why


def test_suppressed_and_combined_statements_are_left():
    assert plan("-- squawk-ignore require-concurrent-index-creation\ncreate index i on t (a);") == ((), ())
    changes, _ = plan("alter table t alter a set not null, drop column b;")
    assert not changes


def test_the_diff_applies(tmp_path):
    file = tmp_path / "m.sql"
    file.write_text("create index i on t (a);\nselect 1;\n")
    (change,), _ = plan(file.read_text(), path=file)
    done = subprocess.run(
        [needed("patch"), "-p1"], input=change.diff, text=True, cwd=tmp_path, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stdout
    assert file.read_text() == change.after


def test_it_writes_in_place_and_twice_is_once(tmp_path):
    file = tmp_path / "m.sql"
    file.write_text("drop index i;\n")
    changes, _ = plan(file.read_text(), name=str(file), path=file)
    rewrite.write(changes)
    assert "concurrently" in file.read_text()
    assert plan(file.read_text(), name=str(file), path=file)[0] == ()


@pytest.mark.parametrize(
    "statement",
    [
        "alter table t add constraint u unique (a) with (fillfactor = 70)",
        "alter table t add constraint u unique (a) using index tablespace fast",
        "alter table t add constraint u unique (a, during without overlaps)",
        "alter table t add constraint f foreign key (a, period during) references p (a, period during)",
        "alter table if exists t add constraint k check (a > 0)",
        "alter table only t alter column a set not null",
        "alter table t add column c text storage external default md5(random()::text)",
        "alter table t alter column a set not null, alter column b set not null",
    ],
)
def test_what_cannot_be_said_in_full_is_not_rewritten(statement):
    changes, left = plan(f"{statement};\n", version=(18, None))
    assert not changes
    assert not left


@pytest.mark.parametrize(
    ("statement", "kept"),
    [
        ("alter table t add check (a > 0) no inherit", "CHECK (a > 0) NO INHERIT NOT VALID"),
        ("alter table t add foreign key (a, b) references p (c, d) match full", "(c, d) MATCH FULL NOT VALID"),
        (
            "alter table t add foreign key (a, b) references p (c, d) on delete set null (b)",
            "ON DELETE SET NULL (b) NOT VALID",
        ),
    ],
)
def test_every_clause_is_kept(statement, kept):
    (change,), _ = plan(f"{statement};\n")
    assert kept in change.after
