"""The way back after contract: refused with the number of rows that would not fit, and whole where all do."""

import pytest

from dbkit.errors import Refused
from dbkit.postgres.connect import connect
from dbkit.postgres.migrate.changes import facts, fitting

KEY = """
create table t (id int generated always as identity primary key, n int);
create table child (id serial primary key, pid int references t on delete cascade);
insert into t (n) select 1 from generate_series(1, 20); insert into child (pid) select id from t;
"""


@pytest.fixture
def wide(place):
    place.run(KEY)
    place.change = place.new("change-type", "t.id", "bigint")
    place.done("expand")
    place.fill(place.change)
    place.done("contract")
    return place


def types(place):
    query = (
        "select a.attrelid::regclass || '.' || a.attname, format_type(a.atttypid, null) from pg_attribute a "
        "where a.attrelid in ('t'::regclass, 'child'::regclass, 't_id_seq'::regclass) and a.attnum > 0 "
        "and a.attname in ('id', 'pid') and not a.attisdropped order by 1"
    )
    return [t for _, t in place.db.execute(query)]


def test_rows_that_do_not_fit_are_counted(wide):
    wide.run("select setval('t_id_seq', 3000000000)")
    wide.run("insert into t (n) values (2), (2); insert into child (pid) select max(id) from t")
    before = [wide.facts(name) for name in ("t", "child")]
    with pytest.raises(Refused) as raised:
        wide.move("rollback", wide.change)
    assert "cannot be rolled back; nothing was changed" in raised.value.what
    assert raised.value.why == "in 2 rows t.id does not fit into integer; in 1 row child.pid does not fit into integer"
    done = wide.alembic("downgrade", "-1")
    assert done.returncode != 0
    assert "public.t has values that do not fit into the old type" in done.stderr
    assert [wide.facts(name) for name in ("t", "child")] == before
    assert wide.phase(wide.change) == "contracted"
    wide.run("delete from t where id > 3000000000")
    wide.done("rollback", wide.change)
    assert types(wide) == ["integer"] * 3
    assert wide.phase(wide.change) == "expanded"
    wide.done("rollback", wide.change)
    assert wide.db.execute("insert into t (n) values (3) returning id") == [(21,)]  # behind the rows that are left
    assert wide.db.execute("select seqtypid::regtype::text from pg_sequence where seqrelid = 't_id_seq'::regclass") == [
        ("integer",)
    ]


def test_a_contract_that_comes_again_reads_no_table_under_its_lock(place):
    place.run("create table t (id int primary key, a text not null default 'v'); insert into t select 1")
    place.change = place.new("rename-column", "t.a", "b")
    place.done("expand")
    place.fill(place.change)
    place.done("contract")
    place.done("rollback", place.change)
    with place.db.connect() as connection:
        told: list[str] = []
        connection.add_notice_handler(lambda notice: told.append(notice.message_primary or ""))
        connection.execute("set client_min_messages = debug1")
        connection.execute("alter table t alter b set not null")
    assert any("sufficient to prove" in line for line in told), told


# (old, new, values that fit, values that do not); None for the latter: the way back cannot be asked about
FITS = [
    ("int", "bigint", ["1", "null", "-2147483648"], ["2147483648"]),
    ("smallint", "numeric", ["7"], ["7.5", "40000"]),
    ("bigint", "numeric", ["9223372036854775807"], ["9223372036854775808", "'NaN'"]),
    ("int", "double precision", ["1e3"], ["1e30", "0.5", "'NaN'"]),
    ("numeric(5,2)", "numeric(8,4)", ["999.99", "1.1"], ["1000", "1.111"]),
    ("varchar(3)", "text", ["'abc'", "null"], ["'abcd'"]),
    ("varchar(3)", "int", ["123"], ["1234"]),
    ("text", "varchar", ["'x'"], []),
    ("date", "timestamp", ["'2026-01-01'", "'infinity'"], ["'2026-01-01 12:00'"]),
    ("boolean", "int", ["0", "1"], ["2"]),
    ("json", "jsonb", ["'{}'"], []),
    ("int", "text", [], None),
    ("uuid", "text", [], None),
]


def test_what_fits(place):
    for old, new, good, bad in FITS:
        place.run(f"drop table if exists o, n; create table o (v {old}); create table n (v {new})")
        with connect(place.target) as connection:
            told = facts.read(connection, "o").column("v")
            wide = facts.read(connection, "n").column("v")
        holds = fitting.condition(told, wide.type, wide.category)
        if bad is None:
            assert holds is None, (old, new)
            continue
        assert holds is not None, (old, new)
        for value in [*good, *bad]:
            place.run(f"truncate n; insert into n values ({value})")
            unfit = place.db.execute(f"select count(*) from n where not ({holds or 'true'})")[0][0]
            assert unfit == (value in bad), (old, new, value)
            if not unfit:  # and the server agrees
                place.run(f"insert into o select v::{old} from n")


def test_a_change_whose_way_back_is_not_known_says_so(place):
    place.run("create table t (id int primary key, n int)")
    design = place.design("change-type", "t.n", "bigint", using="n::bigint * 100")
    assert design.final == "the old column is gone, and an expression tells no way back: make a new change instead"
    design = place.design("change-type", "t.n", "text")
    assert "which values fit into integer cannot be asked without an error" in design.final
