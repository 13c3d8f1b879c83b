"""`dbkit migrate stats`: sizes and rates of a real server, readable by lint and rehearsal, without a value of any row."""

import json
import threading

import jsonschema
import pytest

from dbkit.postgres.migrate import stats
from dbkit.postgres.migrate.names import Name
from dbkit.postgres.migrate.stats_schema import STATS
from tests.cli import canary
from tests.fixtures.program import dbkit

SECRET = "a value nobody may see"
SCHEMA = f"""
create table users (id bigint generated always as identity primary key, name text, note text);
create table orders (id int primary key, user_id bigint constraint owner references users (id), at date);
create index on orders (user_id) where user_id > 41;
insert into users (name) select '{SECRET} ' || i from generate_series(1, 2000) i;
insert into orders select i, i, '2024-01-01' from generate_series(1, 500) i;
create table m (id int) partition by range (id);
create table m1 partition of m for values from (1) to (1000);
create table m2 partition of m default;
insert into m select generate_series(1, 1500);
create materialized view seen as select id from orders;
analyze;
"""


def take(dsn, *arguments):
    done = dbkit("migrate", "stats", "--window", "0", *arguments, DBKIT_DSN=dsn)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), done


def test_sizes_keys_indexes_and_partitions(db):
    db.psql(SCHEMA)
    data, done = take(db.dsn)
    jsonschema.validate(data, STATS)
    tables = {t["name"]: t for t in data["tables"]}
    users, orders, whole = tables["public.users"], tables["public.orders"], tables["public.m"]
    assert users["rows"] == 2000
    assert users["bytes"] >= users["heap_bytes"] > 0
    assert users["index_bytes"] == sum(i["bytes"] for i in users["indexes"])
    assert orders["foreign_keys"] == [{"name": "owner", "columns": ["user_id"], "references": "public.users"}]
    assert {i["partial"] for i in orders["indexes"]} == {True, False}
    assert whole["kind"] == "partitioned table"
    assert set(whole["partitions"]) == {"public.m1", "public.m2"}
    assert whole["rows"] == 1500
    assert whole["bytes"] == sum(tables[n]["bytes"] for n in whole["partitions"])
    assert tables["public.m1"]["partition_of"] == "public.m"
    assert tables["public.seen"]["kind"] == "materialized view"
    assert data["rates"]["basis"] == "since reset"
    assert SECRET not in done.stdout
    assert "41" not in json.dumps(orders["indexes"])


def test_lint_and_rehearsal_read_it(db, tmp_path):
    db.psql(SCHEMA)
    file = tmp_path / "stats.json"
    file.write_text(json.dumps(take(db.dsn)[0]))
    loaded = stats.load(file)
    size = loaded.of(Name("", "users"))
    assert size is not None
    assert (size.rows, size.small) == (2000, True)
    assert size.reads is not None

    migration = tmp_path / "m.sql"
    migration.write_text(
        "create index on users (name); create index on elsewhere (x); alter table users add check (id > 0);"
    )

    def builds():
        done = dbkit("migrate", "lint", str(migration), "--stats", str(file), "--format", "json")
        report = json.loads(done.stdout)
        found = {(f["rule"], f["object"]): f for f in report["findings"]}
        return found, done.returncode

    found, code = builds()
    small = found["migrate.index-not-concurrent", "users"]
    assert (small["severity"], code) == ("info", 1)
    assert small["data"]["size"].endswith("2 k rows")
    assert small["data"]["size"] in small["message"]
    assert found["migrate.check-scans", "users"]["severity"] == "info"
    unknown = found["migrate.index-not-concurrent", "elsewhere"]
    assert unknown["severity"] == "error"
    assert "size" not in unknown["data"]

    data = json.loads(file.read_text())
    for table in data["tables"]:
        if table["name"] == "public.users":
            table.update(bytes=20 * 1024**3, rows=50_000_000)
    file.write_text(json.dumps(data))
    large = builds()[0]["migrate.index-not-concurrent", "users"]
    assert large["severity"] == "error"
    assert "20 GB, 50 M rows" in large["message"]


def test_rates_over_a_window(db):
    db.psql(SCHEMA)
    stop = threading.Event()

    def write():
        with db.connect() as connection:
            while not stop.is_set():
                connection.execute("update orders set at = at where id < 20")

    thread = threading.Thread(target=write)
    thread.start()
    try:
        done = dbkit("migrate", "stats", "--window", "3s", DBKIT_DSN=db.dsn)
    finally:
        stop.set()
        thread.join()
    data = json.loads(done.stdout)
    assert data["rates"]["basis"] == "window"
    assert data["rates"]["seconds"] >= 3
    tables = {t["name"]: t for t in data["tables"]}
    assert tables["public.orders"]["updated_per_second"] > 0
    assert tables["public.orders"]["reads_per_second"] > 0
    assert tables["public.users"]["writes_per_second"] == 0


def test_statements_by_table_where_the_extension_is(db):
    db.psql(SCHEMA + "create extension pg_stat_statements;")
    with db.connect() as connection:
        for number in range(30):
            connection.execute(f"select name from users where id = {number}")
    data, _ = take(db.dsn)
    tables = {t["name"]: t for t in data["tables"]}
    assert tables["public.users"]["statements_per_second"] > 0
    assert tables["public.users"]["different_statements"] >= 1
    assert "select name" not in json.dumps(data)


def test_what_is_not_seen_is_said_with_what_opens_it(db):
    db.psql(SCHEMA)
    name, dsn = db.role()
    data, done = take(dsn)
    opens = {s["what"]: s["opens"] for s in data["skipped"]}
    assert opens["statements per table"] == "create extension pg_stat_statements"
    assert any(f"grant pg_read_all_stats to {name}" in o for o in opens.values())
    assert "not seen" in done.stderr
    assert {t["name"]: t["rows"] for t in data["tables"]}["public.users"] == 2000


def test_no_password_anywhere(db, tmp_path):
    db.psql(SCHEMA)
    file = tmp_path / "stats.json"
    done = dbkit("migrate", "stats", "--window", "0", "-o", file, DBKIT_DSN=canary.give(db))
    assert done.returncode == 0, done.stderr
    assert not canary.traces(done, file)
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "environment", "code", "words"),
    [
        (["--window", "soon"], {}, 2, "--window"),
        (["-t", "nobody"], {}, 2, "no target is called"),
        ([], {"DBKIT_DSN": "postgresql://127.0.0.1:1/x"}, 3, "cannot connect"),
    ],
)
def test_bad_input(arguments, environment, code, words):
    done = dbkit("migrate", "stats", *arguments, **environment)
    assert done.returncode == code
    assert words in done.stderr
    assert done.stdout == ""


def test_its_schema_is_printed():
    done = dbkit("policy", "schema", "--stats")
    assert json.loads(done.stdout) == STATS
