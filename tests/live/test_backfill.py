"""Backfills on real servers: every kind of key, partitions, contention, rewrites, limits, refusals; rows exactly once."""

import pytest

from dbkit.errors import Broken, Refused, Stopped, Unreachable, UsageError
from dbkit.postgres.migrate.backfill.job import Knobs
from dbkit.postgres.migrate.backfill.run import fill
from dbkit.settings import Target
from tests.fixtures.backfills import COUNTED, DIFFERS, Filler, slow, users, written_twice

FAST = {"batch_time": "5ms", "max_waiters": "off"}


@pytest.mark.parametrize("by", ["key", "ctid"])
@pytest.mark.parametrize("workers", [1, 3])
def test_every_row_is_filled_once(db, by, workers):
    filler = users(db, 8000)
    facts = filler.whole(by=by, workers=workers, texts=FAST)
    assert facts["rows_filled"] == 8000
    assert facts["pending"] == 0
    assert filler.left() == 0
    assert written_twice(db) == []
    assert filler.events("walk")[0]["by"] == ("by id" if by == "key" else "by ctid")
    again = filler.whole(by=by, texts=FAST)
    assert again["rows_filled"] == 0
    assert written_twice(db) == []


KEYS = {
    "uuid": ("k uuid", "md5(n::text)::uuid", "k"),
    "text": ("k text", "chr(65 + n % 26) || n", "k"),
    "quote": ("k text", "'it''s \" % {' || n", "k"),
    "collated": ('k text collate "C"', "chr(1040 + n % 32) || n", "k"),
    "stamps": ("k timestamptz", "timestamptz '2020-03-01' + n * interval '1 hour 0.123457 s'", "k"),
    "interval": ("k interval", "n * interval '1 hour'", "k"),
    "float": ("k double precision", "(n - 1500) / 7.0::float8", "k"),
    "numeric": ("k numeric", "(n - 1500) / 7.0", "k"),
    "negative": ("k int", "n - 1500", "k"),
    "bytes": ("k bytea", "decode(md5(n::text), 'hex')", "k"),
    "composite": ("k int, l text, m date", "n % 7, n::text, date '2020-01-01' + n", "k, l, m"),
    "padded": ("k char(12)", "n::text", "k"),
    "boolean": ("k boolean, l int", "n % 2 = 0, n", "k, l"),
}


@pytest.mark.parametrize("kind", KEYS)
def test_ranges_of_every_kind_of_key(db, kind):
    columns, values, key = KEYS[kind]
    db.psql(
        f'create table "T %s" ({columns}, a int, "B c" int, primary key ({key}));'
        f'insert into "T %s" select {values}, n from generate_series(1, 3000) n; analyze "T %s";'
    )
    filler = Filler(db, table='public."T %s"', assignments='"B c" = a % 1000', where='"B c" is null')
    facts = filler.whole(by="key", workers=2, texts={**FAST, "batch_time": "5ms"})
    assert facts["rows_filled"] == 3000
    assert facts["retries"] == 0
    assert db.execute('select count(*) from "T %s" where "B c" = a % 1000')[0][0] == 3000


def test_the_order_of_rows_decides_between_key_and_ctid(db):
    db.psql(
        "create table u (k uuid primary key, a int, b int);"
        "insert into u select gen_random_uuid(), n from generate_series(1, 3000) n; analyze u;"
        "create table nokey (a int, b int); insert into nokey select n from generate_series(1, 3000) n; analyze nokey;"
    )
    for table in ("public.u", "public.nokey"):
        filler = Filler(db, table=table, assignments="b = a", where="b is null")
        assert filler.whole()["rows_filled"] == 3000
    walked = {w["object"]: w for w in filler.events("walk")}
    assert walked["public.u"]["by"] == "by ctid"
    assert "correlation" in walked["public.u"]["reason"]
    assert "no unique" in walked["public.nokey"]["reason"]
    with pytest.raises(UsageError, match="no unique"):
        filler.fill(by="key")


def test_partitions_leaf_by_leaf_and_one_attached_meanwhile(db):
    db.psql(
        "create table p (id int, a int, b int, primary key (id, a)) partition by range (a);"
        "create table p_1 partition of p for values from (0) to (400);"
        "create table p_2 partition of p default partition by hash (id);"
        "create table p_20 partition of p_2 for values with (modulus 2, remainder 0);"
        "create table p_21 partition of p_2 for values with (modulus 2, remainder 1);"
        "insert into p select n, n from generate_series(0, 1199) n;"
        "create table p_3 (like p); insert into p_3 select n, n from generate_series(5000, 5199) n;" + slow_b()
    )
    filler = Filler(db, table="public.p", assignments="b = public.slowly(a)", where="b is null")
    running = filler.start(texts=FAST)
    filler.wait_for("select 1 from p where b is not null limit 1")
    db.execute("alter table p_3 alter id set not null")
    db.execute("alter table p attach partition p_3 for values from (5000) to (6000)")
    done = running.end()
    assert done.error is None, done.error.lines()
    assert filler.left() == 0
    assert {w["object"] for w in filler.events("walk")} == {
        "public.p_1", "public.p_20", "public.p_21"
    }  # fmt: skip
    assert {e["object"] for e in filler.events("range")} >= {"public.p_3"}
    with pytest.raises(Refused, match="partition key"):
        Filler(db, table="public.p", assignments="a = id", where="a is null").fill()


def slow_b():
    return (
        "create function slowly(v int) returns int language plpgsql immutable as "
        "$$begin perform pg_catalog.pg_sleep(0.0005); return v; end$$;"
    )


@pytest.mark.parametrize("indexed", ["", "create index on users (lower(display_name))"])
def test_a_change_is_filled_by_pages_and_most_rows_stay_where_they_are(db, indexed):
    filler = users(db, 20_000)
    # An autovacuum's ANALYZE would hold a snapshot, and no dead row could make room then.
    db.psql(f"{indexed}; alter table users set (autovacuum_enabled = off); vacuum users")
    before = db.execute("select pg_relation_size('users')")[0][0]
    assert filler.whole(ours=True, texts={"batch_time": "20ms", "max_waiters": "off"})["rows_filled"] == 20_000
    assert filler.events("walk")[0]["by"] == "by ctid"
    assert filler.left() == 0
    hot = db.execute(
        "select n_tup_hot_upd::float8 / n_tup_upd from pg_stat_user_tables where relname = 'users' and n_tup_upd > 0"
    )[0][0]
    grown = db.execute("select pg_relation_size('users')")[0][0] / before
    assert (hot, grown > 1.9) == (0, True) if indexed else (hot > 0.1 and grown < 1.9)


def test_a_rewritten_table_is_begun_again(db):
    filler = users(db, 6000, counted=False)
    slow(filler, 0.3)
    running = filler.start(by="ctid", texts={**FAST, "batch_time": "50ms"})
    filler.wait_for("select 1 from users where display_name is not null limit 1")
    with db.connect() as other:
        # Rows in another order on fewer pages: the cursor's place means nothing any more.
        other.execute("create index users_back on users (full_name desc)")
        other.execute("cluster users using users_back")
    done = running.end()
    assert done.error is None, done.error.lines()
    assert filler.left() == 0
    assert "was rewritten" in filler.events("restart")[0]["reason"]


def test_a_held_row_is_waited_for_and_the_batch_halved(db):
    filler = users(db, 3000)
    holder = db.connect(autocommit=False)
    holder.execute("update users set full_name = 'held' where id = 1500")
    running = filler.start(by="key")
    filler.wait_for_event("retry")
    retry = filler.events("retry")[0]
    assert "55P03" in retry["reason"]
    assert "now" in retry["size"]
    holder.commit()
    done = running.end()
    assert done.error is None, done.error.lines()
    assert db.execute("select display_name from users where id = 1500") == [("held",)]
    assert filler.left() == 0
    assert written_twice(db) == [("1500", 2)]  # once by its holder


def test_in_a_deadlock_the_backfill_gives_way(db):
    filler = users(db, 400)
    slow(filler, 1)
    other = db.connect(autocommit=False)
    other.execute("set deadlock_timeout = '2s'")
    other.execute("update users set full_name = 'x' where id = 400")
    running = filler.start(by="key", texts={"batch_time": "2s", "max_waiters": "off"})
    filler.wait_for(
        "select 1 from pg_stat_activity where application_name = 'dbkit backfill' and query like '%update%'"
    )
    other.execute("update users set full_name = 'x' where id = 1")  # waits for the batch, which comes to wait for 400
    other.commit()
    done = running.end()
    assert done.error is None, done.error.lines()
    assert filler.left() == 0


def test_row_level_security_is_refused_not_half_done(db):
    users(db, 10, counted=False)
    name, dsn = db.role()
    db.psql(
        f"alter table users owner to {name}; alter table users enable row level security;"
        f"alter table users force row level security; create policy half on users using (id % 2 = 0);"
        f"grant create on database {db.name} to {name};"
    )
    filler = Filler(db)
    with pytest.raises(Unreachable, match="row level security"):
        fill(filler.spec, Target(name="t", address=dsn), Knobs(), ours=False)
    assert filler.left() == 10


def test_a_plain_role_fills_without_rights_of_a_superuser(db):
    filler = users(db, 500)
    name, dsn = db.role()
    db.psql(
        f"alter table users owner to {name}; alter table written owner to {name};"
        f"grant create on database {db.name} to {name};"
    )
    done = fill(filler.spec, Target(name="t", address=dsn), Knobs(), ours=False)
    assert done.error is None
    assert filler.left() == 0
    assert "deadlock_timeout" in filler.events("session")[0]["reason"]


REFUSED = [
    ("display_name = gen_random_uuid()::text", None, "not immutable"),
    ("display_name = now()::text", None, "not immutable"),
    ("display_name = full_name || random()", None, "not immutable"),
    ("display_name = display_name || 'x'", None, "reads display_name"),
    ("display_name = display_name || 'x'", "display_name is not null", None),
    ("display_name = full_name", "random() < 0.5", "volatile"),
    ("display_name = full_name", "true", "pending still"),
    ("display_name = full_name; drop table users", None, "more than one"),
    ("display_name = full_name where id = 1", None, "more than assignments"),
    ("display_name = full_name returning 1", None, "more than assignments"),
    ("(display_name, full_name) = (full_name, 'x')", None, "plain expression"),
    ("display_name = default", None, "plain expression"),
    ("display_name = full_name, display_name = 'x'", None, "twice"),
    ("display_name = nosuch", None, "rejects"),
    ("nosuch = full_name", None, "rejects"),
    ("id = full_name", "id is null", "rejects"),
    ("display_name = nosuch(full_name)", None, "with their schema"),
    ("display_name = full_name", "id = 1; delete from users", "syntax"),
]


@pytest.mark.parametrize(("assignments", "where", "words"), REFUSED)
def test_what_cannot_be_asked_twice_is_refused(db, assignments, where, words):
    users(db, 20, counted=False)
    if words is None:  # pending holds for no row: nothing to fill, nothing to refuse
        Filler(db, assignments=assignments, where=where).whole()
        return
    with pytest.raises(UsageError) as raised:
        Filler(db, assignments=assignments, where=where).fill()
    assert words in "\n".join(raised.value.lines())
    assert db.execute("select count(*) from users where display_name is not null") == [(0,)]


def test_a_volatile_default_fills_each_row_once(db):
    filler = users(db, 5000)
    filler.assignments, filler.where = "display_name = gen_random_uuid()::text", "display_name is null"
    assert filler.whole(by="ctid", texts=FAST)["rows_filled"] == 5000
    assert written_twice(db) == []
    assert db.execute("select count(distinct display_name) from users") == [(5000,)]


@pytest.mark.parametrize("by", ["key", "ctid"])
def test_a_row_the_server_rejects_is_named_and_the_rest_before_it_done(db, by):
    db.psql(
        "create table t (id int primary key, a bigint, b int);"
        "insert into t select n, n from generate_series(1, 4000) n; update t set a = 3000000000 where id = 2500; analyze t"
    )
    filler = Filler(db, table="public.t", assignments="b = a::int", where="b is null")
    done = filler.fill(by=by)
    assert isinstance(done.error, Broken)
    assert "22003" in done.error.why
    if by == "key":
        assert "row id = 2500" in done.error.what
        assert db.execute("select count(*) from t where b is not null") == [(2499,)]
    db.execute("update t set a = 1 where id = 2500")
    assert filler.whole(by=by)["pending"] == 0


def test_rows_written_meanwhile_by_an_application_that_does_not_fill_are_told(db):
    filler = users(db, 3000)
    slow(filler, 0.5)
    filler.where = DIFFERS
    running = filler.start(by="key", texts=FAST)
    filler.wait_for("select 1 from users where id = 1 and display_name is not null")
    db.execute("update users set full_name = 'late' where id = 1")
    done = running.end()
    assert isinstance(done.error, Stopped)
    assert "1 rows are pending again" in done.error.what
    assert "id = 1" in done.report.findings[0].data["sample"][0]
    assert filler.whole()["rows_filled"] == 1


def test_triggers_skipped_fired_or_checked_by_a_foreign_key(db):
    filler = users(db, 100)
    filler.whole(triggers="skip")
    assert db.execute("select count(*) from written") == [(0,)]
    assert "counted" in filler.events("session")[-1]["reason"]
    db.psql(
        "create table kinds (name text primary key); insert into kinds values ('x');"
        "alter table users add kind text references kinds"
    )
    filler.assignments, filler.where = "kind = 'nosuch'", "kind is null"
    with pytest.raises(Unreachable, match="skipped"):
        filler.fill(triggers="skip")
    done = filler.fill(ours=True)
    assert "23503" in done.error.why
    assert "foreign key" in filler.events("session")[-1]["reason"]


def test_children_by_inheritance_are_refused(db):
    filler = users(db, 10, counted=False)
    db.execute("create table heirs () inherits (users)")
    with pytest.raises(Refused, match="inheritance"):
        filler.fill()


@pytest.mark.parametrize(
    ("table", "error"), [("public.nowhere", UsageError), ("public.v", Refused), ("public.users u", UsageError)]
)
def test_what_is_not_a_table(db, table, error):
    users(db, 10, counted=False)
    db.execute("create view v as select * from users")
    with pytest.raises(error):
        Filler(db, table=table).fill()


def test_an_empty_table_and_one_without_rows_to_fill(db):
    users(db, 0)
    assert Filler(db).whole()["rows_filled"] == 0
    db.psql(
        COUNTED.format(table="users").replace("create table", "create table if not exists").split("create function")[0]
    )
    assert Filler(db, where="false").whole(by="ctid")["rows_filled"] == 0
