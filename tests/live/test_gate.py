"""The gate on real servers: statements seen to run, dependants, old transactions, what it cannot see, what is accepted."""

import time

import psycopg
import pytest

from dbkit.postgres.connect import connect
from dbkit.postgres.jobstore import PostgresStore
from dbkit.postgres.migrate import gate
from dbkit.postgres.migrate.backfill import state
from dbkit.postgres.migrate.changes.spec import Change, Phase
from dbkit.settings import Target
from tests.fixtures.backfills import users

WINDOW = 0.4


def change(old=("full_name",), new=("display_name",), **rest):
    held = {"reads_old": (), "backfills": (), **rest}
    return Change("users-rename", "rename-column", "public", "users", old, new, "e1", "c1", Phase.VERIFIED, **held)


class Gate:
    def __init__(self, db, dsn=None):
        self.db, self.target = db, Target(name="t", address=dsn or db.dsn)

    def look(self, made=None, accept=(), window=3600):
        with connect(self.target, purpose="gate") as connection:
            return gate.look(connection, made or change(), accept=accept, window=window)

    def kinds(self, **options):
        return sorted({b.what for b in self.look(**options)})

    def settled(self, **options):
        """The kinds that are left after the window has passed."""
        time.sleep(WINDOW + 0.1)
        return self.kinds(window=WINDOW, **options)


@pytest.fixture
def gated(db):
    users(db, 50, counted=False)
    db.execute("create extension pg_stat_statements")
    with connect(Target(name="t", address=db.dsn)) as connection:
        PostgresStore(connection).prepare()
        state.prepare(connection)
    return Gate(db)


def test_it_opens_when_nothing_has_used_the_old_shape_for_a_while(gated):
    gated.db.execute("select full_name from users")  # before the watch: the old application, as it should
    (blocked,) = gated.look()
    assert blocked.what == "observation"
    assert "watch" in blocked.who
    assert "look again in" in blocked.hint
    assert gated.settled() == []


def test_a_statement_that_runs_again_keeps_it_closed(gated):
    statement = "select full_name from users where id = 3"
    gated.db.execute(statement)
    gated.look()
    gated.db.execute(statement)
    gated.db.execute("select id, display_name from users")
    time.sleep(WINDOW + 0.1)
    (blocked,) = gated.look(window=WINDOW)
    assert blocked.what == "statement"
    assert "select full_name from users where id = $1" in blocked.who
    assert "reads" in blocked.who
    assert gated.settled() == []
    assert gated.db.execute("select how from dbkit.gate_use where last_used is not null") == [("reads",)]


@pytest.mark.parametrize(
    ("statement", "kind"),
    [
        ("select * from users", "all columns"),
        ("insert into users values (1000, 'x', 'x')", "all columns"),
        ("insert into users (id, full_name) values (1001, 'x') returning id", "statement"),
        ("with u as (select * from users) select u.full_name from u", "statement"),
        ("copy users to stdout", None),
    ],
)
def test_new_statements_are_seen_whatever_their_form(gated, statement, kind):
    gated.look()
    with psycopg.connect(gated.db.dsn, autocommit=True) as connection:
        if statement.startswith("copy"):
            with connection.cursor().copy(statement) as copy:
                list(copy)
        else:
            connection.execute(statement)
    assert (kind or "all columns") in gated.kinds()


def test_the_use_of_other_tables_and_of_dbkit_itself_does_not_count(gated):
    gated.db.execute("create table people (id int, full_name text)")
    gated.look()
    gated.db.execute("select full_name from people")
    from tests.fixtures.backfills import Filler

    Filler(gated.db).whole()
    time.sleep(WINDOW + 0.1)
    assert [b for b in gated.look() if "full_name from people" in b.who or "update only" in b.who] == []


def test_a_reset_of_the_statistics_begins_the_watch_anew(gated):
    gated.look()
    time.sleep(WINDOW + 0.1)
    gated.db.execute(f"select pg_stat_statements_reset(0, oid, 0) from pg_database where datname = '{gated.db.name}'")
    gated.db.execute(
        "update dbkit.gate_watch set stats_reset = stats_reset - interval '1 h', since = since - interval '1 h'"
    )
    # The counters of one database were reset, the time of a whole reset is set here: others share this server.
    blocked = [b for b in gated.look(window=10_000_000) if b.what == "observation"]
    assert "was reset" in blocked[0].who


@pytest.mark.parametrize("than", ["the watch", "the last look"])
def test_the_statistics_of_another_primary_begin_the_watch_anew(gated, than):
    """After a failover they may be older than the watch, or younger than its last look: neither tells what ran before."""
    gated.look()
    shift = "+ interval '1 d'" if than == "the watch" else "- interval '1 d', looked = looked - interval '2 d'"
    gated.db.execute(f"update dbkit.gate_watch set since = since - interval '3 d', stats_reset = stats_reset {shift}")
    (blocked,) = [b for b in gated.look() if b.what == "observation"]
    assert "failover" in blocked.who


def test_evicted_entries_begin_the_watch_anew(gated):
    gated.look()
    time.sleep(WINDOW + 0.1)
    gated.db.execute("update dbkit.gate_watch set dealloc = -5")
    (blocked,) = gated.look()
    assert blocked.what == "observation"
    assert "evicted" in blocked.who


def test_what_it_cannot_see_keeps_it_closed_with_the_way_to_open_it(gated):
    name, dsn = gated.db.role()
    gated.db.psql(
        f"grant usage on schema dbkit to {name}; grant select, insert, update on all tables in schema dbkit to {name};"
    )
    (blocked,) = Gate(gated.db, dsn).look()
    assert (blocked.what, blocked.hint) == ("observation", "grant pg_read_all_stats to this role")
    gated.db.execute("drop extension pg_stat_statements")
    (blocked,) = gated.look()
    assert "nobody can see" in blocked.who
    assert gated.kinds(accept=["observation"]) == []
    assert gated.db.execute("select change, what from dbkit.gate_accept") == [("users-rename", "observation")]


DEPENDANTS = """
create view v as select id, full_name from users;
create view harmless as select id from users;
create materialized view mv as select full_name from users;
create policy mine on users using (full_name = current_user);
create rule r as on delete to users where old.full_name = 'root' do instead nothing;
create function reader() returns bigint language sql as $$select count(*) from users where full_name is null$$;
create function atomic() returns bigint language sql begin atomic select count(full_name) from users; end;
create function writer() returns void language plpgsql as $$begin update users set full_name = ''; end$$;
create function dynamic(t text) returns void language plpgsql as $$begin execute format('select full_name from users where %s', t); end$$;
create function innocent() returns text language plpgsql as $$begin return (select display_name from users limit 1); end$$;
create function other() returns text language sql as $$select full_name from (values ('x')) p (full_name)$$;
create function fires() returns trigger language plpgsql as $$begin new.full_name := trim(new.full_name); return new; end$$;
create trigger fires before insert on users for each row execute function fires();
create publication cols for table users (id, full_name);
create table child (name text references users (full_name));
"""


def test_dependants_in_the_catalogue_and_in_function_bodies(gated):
    gated.db.psql("alter table users add unique (full_name);" + DEPENDANTS)
    found = {(b.what, b.key) for b in gated.look() if b.what != "observation"}
    assert found == {
        ("view", "public.v"),
        ("materialized view", "public.mv"),
        ("policy", "mine on public.users"),
        ("rule", "r on public.users"),
        ("function", "public.reader()"),
        ("function", "public.atomic()"),
        ("function", "public.writer()"),
        ("function", "public.dynamic(text)"),
        ("function", "public.fires()"),
        ("publication", "cols"),
        ("foreign key", "child_name_fkey on public.child"),
    } - ({("publication", "cols")} if gated.db.server.version_text.startswith("14") else set())
    left = {b.key for b in gated.look(accept=["view", "function:public.reader()"]) if b.what != "observation"}
    assert "public.v" not in left
    assert "public.reader()" not in left
    assert "public.mv" in left


def test_what_a_dropped_column_takes_along_is_told_where_nothing_replaces_it(gated):
    gated.db.psql(
        "create statistics st on id, full_name from users;"
        "alter table users add constraint differ check (full_name <> display_name);"
        "create function noop() returns trigger language plpgsql as $$begin return new; end$$;"
        "create trigger watch_name before update of full_name on users for each row execute function noop();"
    )
    assert gated.kinds() == ["observation"]
    found = {b.what for b in gated.look(change(new=()))}
    assert found == {"observation", "constraint", "statistics object", "trigger"}


def test_a_whole_table(gated):
    gated.db.psql("create view v as select id from users; create table child (id bigint references users)")
    made = change(old=(), new=(), reads_old=("public.users",))
    gated.look(made)
    gated.db.execute("select id from users where id = 1")
    assert {b.what for b in gated.look(made)} == {"observation", "statement", "view", "foreign key"}


def test_transactions_older_than_the_watch_and_prepared_ones(gated):
    old = gated.db.connect(autocommit=False)
    old.execute("select 1")
    prepared = gated.db.connect(autocommit=False)
    prepared.execute("update users set display_name = 'x' where id = 1")
    prepared.execute("prepare transaction 'later'")
    gated.look()
    blocked = {b.what: b for b in gated.look()}
    assert str(old.info.backend_pid) in blocked["transaction"].who
    assert blocked["prepared transaction"].key == "later"
    assert "rollback prepared 'later'" in blocked["prepared transaction"].hint
    old.rollback()
    gated.db.execute("rollback prepared 'later'")
    young = gated.db.connect(autocommit=False)
    young.execute("update users set display_name = 'x' where id = 1")
    assert gated.settled() == []


def test_a_partition_named_directly_counts(db):
    db.psql(
        "create extension pg_stat_statements;"
        "create table users (id int, full_name text, display_name text) partition by range (id);"
        "create table users_1 partition of users default"
    )
    with connect(Target(name="t", address=db.dsn)) as connection:
        PostgresStore(connection).prepare()
        state.prepare(connection)
    gated = Gate(db)
    gated.look()
    db.execute("select full_name from users_1")
    assert "statement" in gated.kinds()


def test_after_contract_there_is_nothing_to_look_for(gated):
    gated.db.execute("alter table users drop column full_name")
    assert gated.look() == []
