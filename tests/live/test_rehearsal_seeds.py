"""Seeded rows satisfy what the schema demands, and a table that stays empty is named with its reason."""

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dbkit.postgres import ddl
from dbkit.postgres.migrate.names import Name
from dbkit.postgres.migrate.rehearse import hints, wishes
from dbkit.postgres.migrate.rehearse.seed import Seeder

ROWS = 60


def seed(dsn, schema, pending="", rows=ROWS):
    statements = ddl.parse(pending) if pending else ()
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("drop schema public cascade; create schema public")
        connection.execute(schema)
        seeder = Seeder(connection, lambda table, root: rows, lambda tables: wishes.amend(tables, statements))
        found = {s.table.name: s for s in seeder.run()}
        for table, key in connection.execute(
            "select conrelid::regclass::text, conname from pg_constraint where contype = 'f' and conparentid = 0"
        ).fetchall():
            # The server checks every row again: seeding had switched the keys off.
            connection.execute(f"update pg_constraint set convalidated = false where conname = '{key}'")
            connection.execute(f'alter table {table} validate constraint "{key}"')
        if pending:
            connection.execute(pending)
    return found


FULL = {
    "types": """
        create type mood as enum ('sad', 'ok', 'happy');
        create type pair as (a int, b text);
        create table t (i2 smallint not null, i8 bigint not null, n numeric(5,2) not null, f real not null, b bool not null,
          v varchar(3) not null, c char(2) not null, u uuid not null, d date not null, ts timestamptz not null,
          tm time not null, iv interval not null, j jsonb not null, js json not null, by bytea not null, ip inet not null,
          ci cidr not null, ma macaddr not null, mo money not null, tv tsvector not null, pt point not null,
          r int4range not null, tr tstzrange not null, mr nummultirange not null, a int[] not null, ta text[] not null,
          m mood not null, ms mood[] not null, p pair not null, bi bit(5) not null, vb varbit(9) not null)""",
    "checks": r"""
        create table t (age int not null check (age between 18 and 99), pct numeric not null check (pct > 0 and pct < 1),
          status text not null check (status in ('new', 'paid')), code text not null check (code ~ '^[A-Z]{2}-\d{4}$'),
          name text not null check (length(name) >= 5 and length(name) <= 12), low text not null check (low = lower(low)),
          a int not null, b int not null, check (a < b), since timestamp not null, till timestamp not null,
          check (till > since), j jsonb not null check (jsonb_typeof(j) = 'array'), t text not null check (t like 'ab%'),
          x int, y int, check (num_nonnulls(x, y) = 1), big numeric not null check (big >= 1000000))""",
    "domains": r"""
        create domain email as text check (value ~ '^[a-z0-9]+@[a-z]+\.[a-z]+$');
        create domain positive as int check (value > 0) not null;
        create domain more as positive check (value < 1000);
        create table t (e email not null unique, p positive, m more)""",
    "keys": """
        create table users (id bigint generated always as identity primary key, mail text not null unique);
        create table orders (id serial primary key, user_id bigint not null references users);
        create table tags (order_id int references orders, user_id bigint references users, primary key (order_id, user_id));
        create table two (a int, b text, primary key (a, b));
        create table refs (x int not null, y text not null, foreign key (x, y) references two (a, b))""",
    "cycles": """
        create table a (id int primary key, b_id int); create table b (id int primary key, a_id int not null references a);
        alter table a add foreign key (b_id) references b;
        create table c (id int primary key, d_id int not null); create table d (id int primary key, c_id int not null references c);
        alter table c add foreign key (d_id) references d;
        create table tree (id int primary key, parent int references tree, root int not null references tree)""",
    "partitions": """
        create table r (id bigint, at date not null, primary key (id, at)) partition by range (at);
        create table r1 partition of r for values from ('2024-01-01') to ('2024-02-01');
        create table r2 partition of r default;
        create table l (k text not null) partition by list (k); create table l1 partition of l for values in ('eu', 'us');
        create table n (k int not null, v int) partition by range (k);
        create table n1 partition of n for values from (1) to (10) partition by list (v);
        create table n11 partition of n1 for values in (5, 6);
        create table child (id int primary key, r_id bigint, r_at date, foreign key (r_id, r_at) references r)""",
    "apart": """
        create table arc (a int, b int, c text, check (num_nonnulls(a, b, c) = 1), check (a is null or a > 0));
        create table kinds (kind text not null check (kind in ('u', 'g')), u int, g int,
          check ((kind = 'u' and u is not null and g is null) or (kind = 'g' and g is not null and u is null)));
        create table digests (d bytea not null unique check (octet_length(d) = 32))""",
    "generated": """
        create table t (a int not null, b int generated always as (a * 2) stored, check (b < 100), check (b > 10))""",
    "exclusions": """
        create table t (r tstzrange not null, exclude using gist (r with &&))""",
    "triggers": """
        create function refuse() returns trigger language plpgsql as 'begin raise exception ''no''; end';
        create table t (a int not null); create trigger x before insert on t for each row execute function refuse()""",
}  # fmt: skip


@pytest.fixture(scope="module")
def space(pg):
    from dbkit.ephemeral import postgres_databases

    name = postgres_databases.create(pg)
    yield pg.dsn_for(name)
    postgres_databases.drop(pg, name)


@pytest.mark.parametrize("schema", FULL.values(), ids=FULL)
def test_every_table_is_filled(space, schema):
    found = seed(space, schema)
    assert {name: (s.rows, s.reason) for name, s in found.items() if s.rows < ROWS} == {}


def test_what_cannot_be_met_is_said(space):
    found = seed(
        space,
        "create table none (a int not null check (a > 5 and a < 3));"
        " create table one (a bool primary key default true check (a));"
        " create table child (id int primary key, a int not null);"
        " create table q (n int not null); alter table q add constraint k check (n > 5 and n < 3);",
    )
    assert (found["none"].rows, found["q"].rows) == (0, 0)
    assert "checks" in found["none"].reason
    assert found["one"].rows == 1
    assert "unique" in found["one"].reason
    assert found["child"].rows == ROWS


def test_a_child_of_an_empty_parent_says_so(space):
    found = seed(
        space,
        "create table p (id int primary key check (id > 5 and id < 3));"
        " create table c (p_id int not null references p); create table d (p_id int references p);",
    )
    assert found["c"].rows == 0
    assert "references" in found["c"].reason
    assert found["d"].rows == ROWS


@pytest.mark.parametrize(
    ("schema", "pending"),
    [
        ("create table t (price int)", "alter table t add check (price between 500 and 510)"),
        ("create table p (id int primary key check (id > 1000)); create table t (p_id int)",
         "alter table t add foreign key (p_id) references p"),
        ("create table t (n text)", "alter table t alter column n type int using n::int"),
        ("create domain d as int; create table t (a d)", "alter domain d add check (value > 700)"),
        ("create table m (a int) partition by range (a); create table t (a int)",
         "alter table m attach partition t for values from (5000) to (6000)"),
        ("create table m (a int) partition by range (a); create table md partition of m default",
         "create table m2 partition of m for values from (1) to (50)"),
        ("create table t (a text)", "alter table t add unique (a)"),
        ("create table t (a int)", "alter table t add column b int, add check (b is null)"),
    ],
)  # fmt: skip
def test_rows_meet_what_the_pending_migration_demands(space, schema, pending):
    found = seed(space, schema, pending)
    assert all(s.rows == ROWS for s in found.values())


def test_sequences_go_on_after_the_seeds(space):
    with psycopg.connect(space, autocommit=True) as connection:
        seed(space, "create table t (id int generated by default as identity primary key, s serial unique)")
        connection.execute("insert into t default values")


COLUMN = st.sampled_from(
    [
        ("int", "{c} > {n}"), ("int", "{c} between {n} and {n} + 70"), ("bigint", "{c} % 2 = 0"), ("smallint", "{c} < {n}"),
        ("numeric(8,2)", "{c} >= {n}"), ("text", "length({c}) > 3"), ("text", "{c} in ('a', 'b', 'c')"),
        ("varchar(20)", "{c} ~ '^[a-z]+[0-9]*$'"), ("text", "{c} <> ''"), ("date", "{c} > '2020-01-01'"),
        ("timestamptz", "{c} < '2100-01-01'"), ("uuid", ""), ("bool", ""), ("jsonb", "jsonb_typeof({c}) = 'object'"),
        ("int[]", "cardinality({c}) > 0"), ("float8", "{c} > 0 and {c} < 1"), ("interval", ""), ("char(3)", "{c} = upper({c})"),
    ]
)  # fmt: skip


@st.composite
def schemas(draw):
    """Some tables with checked columns, unique where values are many, and keys to earlier or later tables."""
    tables = []
    count = draw(st.integers(1, 3))
    for number in range(count):
        columns = ["id int primary key"]
        for position, (kind, check) in enumerate(draw(st.lists(COLUMN, min_size=1, max_size=4))):
            name = draw(st.sampled_from([f"c{position}", f'"C {position}"', f'"o\'{position}"']))
            bound = draw(st.integers(-100, 5000))
            text = f" check ({check.format(c=name, n=bound)})" if check else ""
            unique = (
                " unique"
                if kind in ("int", "uuid", "text") and check in ("{c} > {n}", "") and draw(st.booleans())
                else ""
            )
            columns.append(f"{name} {kind}{draw(st.sampled_from(['', ' not null']))}{unique}{text}")
        for other in range(count):
            if draw(st.integers(0, 3)) == 0:
                columns.append(f"r{other} int{draw(st.sampled_from(['', ' not null']))}")
                tables.append(f"alter table t{number} add foreign key (r{other}) references t{other}")
        tables.insert(number, f"create table t{number} ({', '.join(columns)})")
    return "; ".join(tables)


@pytest.mark.pg(18)
@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(schema=schemas())
def test_random_schemas_are_filled_and_hold(space, schema):
    found = seed(space, schema, rows=25)
    assert {name: (s.rows, s.reason) for name, s in found.items() if s.rows < 25} == {}


@given(pattern=st.from_regex(r"(\^?([a-c]|[0-9]{1,3}|\[a-z\]\+|\\d\{2,4\}|\(x\|yy\)|\.)+\$?)", fullmatch=True))
def test_samples_of_a_pattern_match_it(pattern):
    import re

    for sample in hints.from_pattern(pattern):
        assert re.search(pattern, sample), (pattern, sample)


def test_a_name_of_a_table_is_quoted(space):
    found = seed(space, 'create table "Odd ""name" ("Col umn" int primary key check ("Col umn" > 3), "select" text)')
    assert found['Odd "name'].rows == ROWS
    assert found['Odd "name'].table == Name("public", 'Odd "name')
