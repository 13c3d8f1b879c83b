"""A column of a key under two names at once: upserts by either name under contention, and what a view cannot do."""

import random
import threading

import psycopg
import pytest

from dbkit.errors import Refused

KEYS = 7


class Upserts(threading.Thread):
    """A session that counts one up for a key that others want too."""

    def __init__(self, dsn, column, seed):
        super().__init__(daemon=True)
        self.dsn, self.column, self.random = dsn, column, random.Random(seed)
        self.done, self.failed, self.leave = 0, None, threading.Event()

    def run(self):
        query = (
            f"insert into t ({self.column}, hits) values (%s, 1) on conflict ({self.column}) do update"
            f" set hits = t.hits + 1 returning {self.column}"
        )
        try:
            with psycopg.connect(self.dsn, autocommit=True) as connection:
                while not self.leave.is_set():
                    key = f"k{self.random.randrange(KEYS)}"
                    if (
                        self.random.random() < 0.3
                    ):  # an insert that meets another in flight, and not a row that is there
                        key = f"n{self.done // 3}"
                    assert connection.execute(query, [key]).fetchone() == (key,)
                    self.done += 1
        except Exception as error:  # told by the test
            self.failed = error


def at_work(place, columns, step=None, statements=300):
    sessions = [Upserts(place.db.dsn, column, seed) for seed, column in enumerate(columns)]
    for session in sessions:
        session.start()
    try:
        if step is not None:
            place.done(*step)
        while sum(s.done for s in sessions) < statements and not any(s.failed for s in sessions):
            threading.Event().wait(0.01)
    finally:
        for session in sessions:
            session.leave.set()
            session.join(30)
    assert [s.failed for s in sessions if s.failed] == []
    return sum(s.done for s in sessions)


def test_upserts_by_either_name(place):
    place.run(
        "create table t (id bigint generated always as identity primary key, email text unique, hits int not null)"
    )
    change = place.new("rename-column", "t.email", "login")
    old, new = ["email"] * 2, ["login"] * 2
    done = at_work(place, old, ("expand",), 100)
    done += at_work(place, old + new, None, 600)
    done += at_work(place, new, ("contract",), 100)
    assert place.db.execute("select sum(hits) from t") == [(done,)]
    done += at_work(place, new, ("rollback", change), 100)
    done += at_work(place, old, ("rollback", change), 100)
    assert place.db.execute("select sum(hits) from t") == [(done,)]
    assert place.phase(change) == "new"


STATEMENTS = """
create table other (t bigint, n int);
truncate t;
insert into t (id, email) values (1, 'a') on conflict on constraint t_email_key do nothing;
insert into t (id, email) values (2, 'b') on conflict (email) do update set kept = excluded.kept returning id;
select t.id, t.email, count(*) from public.t join other o on o.t = t.id group by t.id;
select email, count(*) from t group by email;
select id from t where ctid = '(0,1)';
select id from t for update;
update t set kept = 1 where email = 'a';
merge into t using other on t.id = other.t when matched then update set kept = other.n;
"""


def test_statements_that_would_fail_are_named(place):
    place.run(
        "create table t (id bigint primary key, email text constraint t_email_key unique, kept int);"
        "create extension pg_stat_statements"
    )
    for statement in STATEMENTS.split(";"):
        place.db.execute(statement)
    with psycopg.connect(place.db.dsn) as connection, connection.cursor().copy("copy t (id) from stdin") as copy:
        copy.write_row((7,))
    with pytest.raises(Refused) as raised:
        place.new("rename-column", "t.email", "login")
    told = raised.value.why.split("; ")
    named = [
        ("truncate t", "TRUNCATE"),
        ("on conflict on constraint", "ON CONFLICT"),
        ("copy t (id)", "COPY FROM"),
        ("group by t.id", "must appear in the GROUP BY"),
        ("ctid", "does not exist"),
    ]
    if place.db.execute("select current_setting('server_version_num')::int < 170000") == [(True,)]:
        named.append(("merge into t", "MERGE"))
    told = raised.value.why
    shown = [n for n in named if n[0] in told]
    assert len(shown) == 5, told
    assert all(why in told for _, why in shown)
    assert ("nor do 1 more" in told) == (len(named) > 5)
    assert "for update" not in told
    assert "kept = excluded.kept" not in told
    assert "--accept statements" in told
    place.new("rename-column", "t.email", "login", accept=["statements"])


def test_what_a_view_cannot_stand_in_for(place):
    place.run(
        "create table t (id bigint primary key, a int); create table t_base (id int);"
        "create function twice(t) returns int language sql as 'select $1.a * 2';"
        "create publication p for table t"
    )
    with pytest.raises(Refused) as raised:
        place.new("rename-column", "t.id", "number")
    told = str(raised.value.why)
    for words in ("twice(public.t) uses the row type", "t_base", "published by p", "--accept publication"):
        assert words in told


def test_its_owner_goes_on_and_others_keep_their_rights(place):
    owner, reader = place.db.role()[0], place.db.role()[0]
    place.run(
        f"create table t (id bigint primary key, a int); alter table t owner to {owner};"
        f"grant select (id), update (a) on t to {reader}; insert into t values (1, 1);"
    )
    place.new("rename-column", "t.id", "number")
    place.done("expand")
    place.run(
        f"set role {owner}; insert into t (number, a) values (2, 2); update t set a = 3 where id = 2; reset role;"
        f"set role {reader}; update t set a = 4 where number = 1; reset role"
    )
    assert place.db.execute("select number, a from t order by 1") == [(1, 4), (2, 3)]
    with place.db.connect() as connection:
        connection.execute(f"set role {reader}")
        assert connection.execute("select id, number from t order by 1").fetchall() == [(1, 1), (2, 2)]
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("select a from t")


def test_policies_are_those_of_the_caller(place):
    reader = place.db.role()[0]
    place.run(
        f"create table t (id bigint primary key, a int); grant select, update on t to {reader};"
        f"insert into t values (1, 1), (2, 2); alter table t enable row level security;"
        f"create policy p on t to {reader} using (id < 2)"
    )
    place.new("rename-column", "t.id", "number")
    place.done("expand")
    place.run(f"set role {reader}; update t set a = 5; reset role")
    assert place.db.execute("select number, a from t order by 1") == [(1, 5), (2, 2)]
    place.done("rollback")
    place.run(f"revoke select on t from {reader}; grant select (id) on t to {reader}")
    with pytest.raises(Refused) as raised:
        place.design("rename-column", "t.id", "key")
    assert "row level security" in raised.value.why


def test_the_gate_knows_the_triggers_behind_the_view(place):
    place.run(
        "create table t (id bigint primary key, email text unique);"
        "create function lower_it() returns trigger language plpgsql as $$begin"
        " new.email := lower(new.email); return new; end$$;"
        "create trigger lower_it before insert or update on t for each row execute function lower_it()"
    )
    design = place.design("rename-column", "t.email", "login")
    assert ["the trigger function public.lower_it names email" in n for n in design.notes] == [True]
    place.new("rename-column", "t.email", "login")
    place.done("expand")
    place.run("insert into t (id, login) values (1, 'A')")
    assert place.db.execute("select email, login from t") == [("a", "a")]
    place.run("create view seen as select email from t; create view whole as select * from t_base")
    with pytest.raises(Refused) as raised:
        place.move("contract")
    assert "function public.lower_it" in raised.value.why
    assert "view public.seen" in raised.value.why
    assert "whole" not in raised.value.why  # it follows the column, whatever it is called
