"""One command on several targets and several schemas: one after the other, the worst exit code, a report for each."""

import json
import os

import pytest

from dbkit.postgres.migrate import revisions
from dbkit.postgres.migrate.changes import write
from tests.fixtures import program

TABLE = (
    "create table {0}.users (id int primary key, full_name text not null);"
    "insert into {0}.users select n, 'name ' || n from generate_series(1, 50) n;"
)


def dbkit(place, *arguments, code=0, config=os.devnull, **environment):
    environment["DBKIT_CONFIG"] = str(config)
    made = program.dbkit("migrate", *arguments, "--migrations", place.ini, **environment)
    assert made.returncode == code, (made.stdout, made.stderr)
    return json.loads(made.stdout) if "json" in arguments else made.stdout + made.stderr


@pytest.fixture
def fleet(place, database_on, pg, tmp_path):
    """Three targets of one configuration: the place's database, one more, and one that nobody answers for."""
    other = database_on(pg)
    for db in (place.db, other):
        with db.connect() as connection:
            connection.execute(TABLE.format("public"))
    config = tmp_path / "dbkit.toml"
    config.write_text("".join(f'[targets.{name}]\nengine = "postgres"\ndsn_env = "D_{name}"\n' for name in "abc"))
    addresses = {"D_a": place.db.dsn, "D_b": other.dsn, "D_c": "postgresql://nobody@127.0.0.1:1/none"}
    return lambda *words, code=0: dbkit(place, *words, code=code, config=config, **addresses)


def test_several_targets_one_after_the_other(place, fleet):
    name = place.new("rename-column", "users.full_name", "display_name")
    told = fleet("deploy", "--phase", "pre", "-t", "a", "-t", "b", "--format", "json")
    assert [(r["target"], r["exit_code"], r["error"]) for r in told["runs"]] == [("a", 0, None), ("b", 0, None)]
    assert [t["name"] for t in told["targets"]] == ["a", "b"]
    assert {s["target"] for s in told["statements"]} == {"a", "b"}
    told = fleet("status", "-t", "a", "-t", "b", "--format", "json")
    assert [(c["target"], c["id"], c["phase"]) for c in told["changes"]] == [
        ("a", name, "verified"),
        ("b", name, "verified"),
    ]
    assert "Changes: b" in fleet("status", "-t", "a", "-t", "b")


def test_the_first_that_fails_is_the_last_unless_told_otherwise(place, fleet):
    place.new("rename-column", "users.full_name", "display_name")
    told = fleet("expand", "-t", "c", "-t", "b", code=3)
    assert "error: c: " in told
    assert "not tried after that: b" in told
    told = fleet("expand", "-t", "c", "-t", "b", "--keep-going", "--format", "json", code=3)
    assert [(r["target"], r["exit_code"]) for r in told["runs"]] == [("c", 3), ("b", 0)]
    assert told["not_tried"] == []
    told = fleet("contract", "-t", "a", "-t", "b", "--keep-going", "--format", "json", code=4)
    assert [r["exit_code"] for r in told["runs"]] == [4, 4]
    assert f"`dbkit migrate expand -t a --migrations {place.ini}`" in told["runs"][0]["error"]["hint"]
    (change,) = fleet("status", "-t", "b", "--format", "json")["changes"]
    assert f"-t b --migrations {place.ini}`, then `dbkit migrate verify" in change["blocked_by"][0]["hint"]
    assert "named twice" in fleet("status", "-t", "a", "-t", "a", code=2)


def test_every_schema_that_matches_and_plain_alembic_beside_it(place):
    schemas = ["t_1", "t_2", "T-3", "t_4"]
    for schema in [*schemas, "other"]:
        place.run(f'create schema "{schema}";' + TABLE.format(f'"{schema}"'))
    design = place.design("rename-column", "t_1.users.full_name", "display_name")
    written = write.write(place.environment, design, any_schema=True)
    assert "t_1" not in written.expand.read_text() + written.contract.read_text()
    every = ["--schema-pattern", "t_?", "--schema-pattern", "T-*"]
    plain = os.environ | {"DATABASE_URL": place.db.dsn, "PGOPTIONS": "-csearch_path=t_4"}
    alembic = ("-c", place.ini)
    assert program.alembic(*alembic, "upgrade", "head", **plain).returncode == 0

    def there(schema):
        return sorted(
            c for (c,) in place.db.execute(
                "select attname::text from pg_attribute where attrelid = to_regclass(%s) and attnum > 0 and not attisdropped",
                f'"{schema}".users',
            )
        )  # fmt: skip

    def run(*words, code=0):
        return dbkit(place, *words, *every, "--format", "json", code=code, DBKIT_DSN=place.db.dsn)

    (first, *_) = run("backfill", design.id, code=4)["runs"]
    place_of_it = f"--migrations {place.ini} --schema-pattern T-3"
    assert first["error"]["hint"] == f"`dbkit migrate expand T-3/{design.id} {place_of_it}` first"
    run("deploy", "--phase", "pre")
    assert [there(s) for s in schemas] == [["display_name", "full_name", "id"]] * 3 + [["display_name", "id"]]
    assert there("other") == ["full_name", "id"]
    told = run("status")
    assert [(c["schema"], c["phase"]) for c in told["changes"]] == [
        ("T-3", "verified"), ("t_1", "verified"), ("t_2", "verified"), ("t_4", "contracted"),
    ]  # fmt: skip
    accept = [w for what in ("observation", "transaction") for w in ("--accept", what)]
    run("contract", design.id, *accept)
    assert [there(s) for s in schemas] == [["display_name", "id"]] * 4
    assert place.db.execute("select count(*) from \"T-3\".users where display_name = 'name ' || id") == [(50,)]
    for schema in schemas:
        options = plain | {"PGOPTIONS": f'-csearch_path="{schema}"'}
        done = program.alembic(*alembic, "current", **options)
        assert written.contract_id in done.stdout
    assert "no schema matches" in dbkit(place, "status", "--schema-pattern", "z*", DBKIT_DSN=place.db.dsn, code=2)
    assert "--schema-pattern" in dbkit(place, "status", DBKIT_DSN=place.db.dsn, code=2)
    options = plain | {"PGOPTIONS": "-csearch_path=t_1"}
    assert program.alembic(*alembic, "downgrade", "base", **options).returncode == 0
    assert there("t_1") == ["full_name", "id"]


def test_a_change_of_one_schema_is_not_done_in_many(place):
    place.run("create schema t_1; create schema t_2;" + TABLE.format("t_1") + TABLE.format("t_2"))
    place.new("rename-column", "t_1.users.full_name", "display_name")
    with pytest.raises(revisions.UsageError, match="is of schema t_1, not of every schema"):
        place.environment.within("t_2")
