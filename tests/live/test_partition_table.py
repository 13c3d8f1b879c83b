"""A table partitioned under its own name: where rows go, what is refused, the way back with rows of new partitions."""

from datetime import UTC, datetime, timedelta

import pytest

from dbkit.errors import Refused, UsageError
from dbkit.settings import Target
from tests.fixtures.change_case import Case, Shape
from tests.fixtures.traffic import Traffic

ONE = pytest.mark.pg(18)
EVENTS = """
create table t (id bigint generated always as identity primary key, at timestamptz not null default now(), n int);
insert into t (n, at) select n, now() - n * interval '1 hour' from generate_series(1, 500) n;
"""
MONTHS = {"by": "at", "every": "month", "ahead": "2"}


def partitions(place):
    return [
        name
        for (name,) in place.db.execute(
            "select relid::regclass::text from pg_partition_tree('t') where isleaf order by 1"
        )
    ]


def test_rows_go_where_they_belong_and_come_back(place):
    place.run(EVENTS)
    before = place.facts("t")
    change = place.new("partition-table", "t", **MONTHS)
    place.done("expand")
    place.done("contract")
    legacy, rest, *months = sorted(partitions(place), key=lambda n: (n != "t_legacy", n != "t_default", n))
    assert (legacy, rest, len(months)) == ("t_legacy", "t_default", 2)
    first = datetime.strptime(months[0], "t_%Y_%m").replace(tzinfo=UTC)
    assert first > datetime.now(UTC) + timedelta(days=13)
    far = first + timedelta(days=400)
    ((one,), (two,), (three,)) = (
        place.db.execute("insert into t (n, at) values (%s, %s) returning id", n, at)[0]
        for n, at in ((1, datetime.now(UTC)), (2, first), (3, far))
    )
    assert (one, two, three) == (501, 502, 503)  # the sequence went over
    found = place.db.execute("select tableoid::regclass::text from t where id > 500 order by id")
    assert found == [("t_legacy",), (months[0],), ("t_default",)]
    told = place.db.execute("select * from t order by id")
    place.done("rollback", change)
    assert place.db.execute("select * from t order by id") == told
    assert place.db.execute("insert into t (n) values (4) returning id") == [(504,)]
    place.done("rollback", change)
    assert place.facts("t") == before
    assert place.db.execute("select relname from pg_class where relname like 't\\_%' order by 1") == [
        ("t_id_seq",),
        ("t_pkey",),
    ]


@ONE
def test_too_many_rows_are_not_moved_back_under_a_lock(place):
    place.run(EVENTS)
    change = place.new("partition-table", "t", **MONTHS)
    place.done("expand")
    place.done("contract")
    place.run("insert into t (n, at) select n, now() + interval '90 days' from generate_series(1, 30) n")
    place.run(f"alter database {place.db.name} set dbkit.move_at_most = 29")
    applied = place.move("rollback", change)
    assert "more than 29 rows" in applied.error.lines()[1]
    assert place.phase(change) == "contracted"
    place.run(f"alter database {place.db.name} set dbkit.move_at_most = 30")
    place.done("rollback", change)
    assert place.db.execute("select count(*) from t") == [(530,)]


@ONE
@pytest.mark.parametrize(
    ("schema", "options", "why"),
    [
        ("create table t (id int primary key, at timestamptz)", {}, ["may be null", "--accept unique"]),
        (
            """create table t (id serial primary key, at date not null, email text unique);
            create table c (t int references t); create table s (up int references t)""",
            {},
            ["keeps email unique", "the foreign key c_t_fkey of public.c", "s_up_fkey", "--accept foreign-keys"],
        ),
        (
            """create unlogged table t (id serial, at date not null, up int check (up > 0) no inherit);
            alter table t add constraint later check (id > 0) not valid;
            create rule r as on insert to t do also select 1;
            create materialized view m as select * from t;
            create function f(t) returns int language sql as 'select 1';
            create table holds (one t)""",
            {},
            [*"unlogged|NO INHERIT|later is not validated|rule r|materialized view public.m|function public.f(".split("|")],
        ),
        ("create table t (id serial primary key, at date not null); create table t_legacy ()", {}, ["in use", "t_legacy"]),
        ("create table t (id serial primary key, at date not null)", {"from": "2020-01-01"}, ["cannot begin"]),
        (
            "create table t (id serial primary key, at date not null); insert into t (at) values ('2999-06-01')",
            {"from": "2999-06-01"},
            ["holds values up to 2999-06-01"],
        ),
        ("create table t (id int, at date not null) partition by range (at)", {}, ["partitioned already"]),
        ("create table t (id int primary key)", {"by": "id", "every": "1000000000"}, ["cannot hold 12,000,000,000"]),
        (
            """create table t (id serial primary key, at date not null, n int);
            alter table t add constraint x exclude using btree (n with =);
            create publication p for table t""",
            {},
            ["exclusion constraint x", "published by p"],
        ),
    ],
)  # fmt: skip
def test_what_is_refused(place, schema, options, why):
    place.run(schema)
    with pytest.raises(Refused) as raised:
        place.design("partition-table", "t", **{**MONTHS, "ahead": "10", **options})
    told = " ".join(raised.value.lines())
    assert [w for w in why if w not in told] == [], told


@ONE
@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"by": "at", "every": "year"}, "one of: month, week, day"),
        ({"by": "id", "every": "month"}, "a whole number"),
        ({"by": "id", "every": "0"}, "a whole number"),
        ({"by": "n", "every": "10"}, "its type is text"),
        ({"by": "nothing", "every": "10"}, "no column"),
        ({"by": "at", "every": "week", "from": "2999-01-01"}, "no week begins"),
        ({"by": "at", "every": "week", "from": "soon"}, "a date such as"),
        ({"by": "at", "every": "week", "ahead": "0"}, "from 1 to"),
        ({"by": "at"}, "--every"),
        ({"by": "at", "every": "month", "name": "x"}, "knows no --name"),
    ],
)
def test_what_makes_no_sense(place, options, why):
    place.run("create table t (id int primary key, at date not null, n text)")
    with pytest.raises(UsageError) as raised:
        place.design("partition-table", "t", **options)
    assert why in " ".join(raised.value.lines())


@ONE
@pytest.mark.parametrize(
    ("meanwhile", "why"),
    [
        ("create index later on t (n)", "index later"),
        ("create view v as select * from t", "view v"),
        ("create table c (t bigint, at timestamptz, foreign key (t, at) references t (id, at))", "foreign key c_t_at_fkey"),
        ("insert into t (at) values ('2999-01-01')", "too near"),
    ],
)  # fmt: skip
def test_contract_knows_the_table_it_was_written_for(place, meanwhile, why):
    place.run(EVENTS)
    change = place.new("partition-table", "t", **MONTHS)
    place.done("expand")
    place.run(meanwhile)
    applied = place.move("contract")
    assert why in applied.error.lines()[1]
    assert "write it anew" in " ".join(applied.error.lines())
    assert place.db.execute("select relname from pg_class where relname = 't_partitioned'") == []
    place.run("drop table if exists c")
    place.done("rollback", change)
    assert place.phase(change) == "new"


@ONE
def test_on_conflict_of_the_old_key_keeps_the_gate_closed(place):
    place.run("create extension pg_stat_statements;" + EVENTS)
    place.new("partition-table", "t", **MONTHS)
    place.done("expand")
    accept = ("observation", "transaction")
    insert = "insert into t (id, n) overriding system value values (9000, 1) on conflict"
    with pytest.raises(Refused, match="the gate of t-partitioned is closed"):
        place.move("contract", accept=())
    place.db.execute("insert into t (n) values (1)")
    place.db.execute(f"{insert} (id, at) do nothing")
    place.db.execute(f"{insert} (id) do update set n = excluded.n")
    place.run(
        "create function f() returns void language plpgsql as $$begin"
        " insert into t (n) values (1) on conflict do nothing; end$$"
    )
    with pytest.raises(Refused) as raised:
        place.move("contract", accept=accept)
    told = " ".join(raised.value.lines())
    assert "on conflict (id) do update" in told
    assert "(id, at)" not in told
    assert "function public.f()" in told
    place.done("contract", accept=(*accept, "statement", "function"))


def test_the_function_makes_the_next_partitions(place):
    place.run(
        EVENTS + "alter table t set (fillfactor = 80); alter table t replica identity full;"
        "create table k (id bigint primary key, n int); insert into k select n, n from generate_series(1, 50) n"
    )
    place.new("partition-table", "t", **{**MONTHS, "every": "day"})
    place.done("expand")
    place.done("contract")
    before = set(partitions(place))
    ((made,),) = place.db.execute("select t_add_partitions(20)")
    new = set(partitions(place)) - before
    assert made == len(new) > 0
    assert place.db.execute("select t_add_partitions(20)") == [(0,)]
    ((options, identity, indexes),) = place.db.execute(
        "select reloptions, relreplident, (select count(*) from pg_index where indrelid = c.oid) "
        "from pg_class c where oid = %s::regclass",
        min(new),
    )
    assert (options, identity, indexes) == (["fillfactor=80"], "f", 1)
    place.run("drop table t cascade")
    change = place.new("partition-table", "k", by="id", every="100", ahead="1")
    place.done("expand", change)
    place.done("contract", change)
    assert place.db.execute("select k_add_partitions(4)") == [(2,)]  # 200 is there; 300 and 400 are made
    place.run("insert into k select n, n from generate_series(190, 420) n")
    assert place.db.execute("select count(*) from only k_default") == [(0,)]


def test_odd_names_and_a_role_without_privileges(place):
    """All there and back as a plain owner, in a schema of its own, with every name to be quoted."""
    name, dsn = place.db.role()
    place.run(
        f'create schema "My Schema" authorization {name}; grant create on database {place.db.name} to {name};'
        f"grant create on schema public to {name};"
        f'set role {name}; create table "My Schema"."Log: of ""all""" ('
        '"Id" serial, "When it was" timestamp not null, "select" text default \'a:b\', primary key ("Id"));'
        'create index "By: when" on "My Schema"."Log: of ""all""" ("When it was" desc, lower("select"));'
        'insert into "My Schema"."Log: of ""all""" ("When it was") select now() from generate_series(1, 20);'
    )
    place.target = Target(name="plain", address=dsn)
    table = '"My Schema"."Log: of ""all"""'
    before = place.facts(table)
    change = place.new("partition-table", table, by='"When it was"', every="week", ahead="2")
    for _ in range(2):
        place.done("expand")
        place.done("contract")
        assert place.db.execute('select "My Schema"."Log: of ""all""_add_partitions"(60)')[0][0] > 5
        place.run(f"insert into {table} (\"When it was\") values (now() + interval '1 year')")
        place.done("rollback", change)
        place.done("rollback", change)
        assert place.facts(table) == before
        assert place.db.execute(f'delete from {table} where "When it was" > now() returning 1') == [(1,)]


@ONE
def test_rows_that_a_policy_hides_are_not_lost(place):
    """With FORCE ROW LEVEL SECURITY the owner does not see all: the way back refuses instead of dropping the rest."""
    name, dsn = place.db.role()
    place.run(
        f"grant create on database {place.db.name} to {name}; grant create on schema public to {name}; set role {name};"
        + EVENTS
        + "create policy few on t using (n < 10); alter table t enable row level security;"
        "alter table t force row level security"
    )
    change = place.new("partition-table", "t", **MONTHS)
    place.done("expand")
    place.done("contract")
    place.run("insert into t (n, at) values (99, now() + interval '90 days')")
    place.run(
        f"grant all on schema dbkit to {name}; grant all on all tables in schema dbkit to {name};"
        f"grant all on all sequences in schema dbkit to {name}; grant all on alembic_version to {name}"
    )
    place.target = Target(name="plain", address=dsn)
    applied = place.move("rollback", change)
    assert "row-level security" in " ".join(applied.error.lines())
    assert place.phase(change) == "contracted"
    assert place.db.execute("select count(*) from t where n = 99") == [(2,)]


WIDE = Shape("t", ("n",), lambda v: (v,))
ROUTED = Case(
    "routed",
    "create table t (id bigint primary key, touched int not null default 0, n int default 7); create index on t (n);",
    "partition-table", "t", (), WIDE, WIDE, nullable=True, default=(7,),
    more={"by": "id", "every": "1000000", "from": "4000000", "ahead": "1"},
)  # fmt: skip


def test_two_applications_over_the_swap_and_back(place):
    """Rows below and beyond the bound are written and read all the time; the way back loses none."""
    place.run(ROUTED.schema)
    change = place.new(ROUTED.kind, ROUTED.place, **ROUTED.more)
    traffic = Traffic(place.db.dsn, ROUTED, 5)
    traffic.start(WIDE, 3)
    place.done("expand")
    traffic.run_for(100)
    traffic.phase = "contract"
    place.done("contract")
    traffic.phase = "partitioned"
    traffic.start(WIDE, 2)  # ids from 4 and 5 millions: a new partition and the default one
    traffic.run_for(400)
    ((beyond,),) = place.db.execute("select count(*) from t where tableoid <> 't_legacy'::regclass")
    assert beyond > 0
    traffic.phase = "rollback"
    place.done("rollback", change)
    traffic.run_for(200)
    traffic.stop()
    found = dict(place.db.execute("select id, n from t"))
    assert found == {k: v[0] for a in traffic.applications for k, v in a.model.items()}
