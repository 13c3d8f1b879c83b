"""A column moved to another table: pairs under contention, rows that lack, rights, what is refused."""

import random
import threading

import psycopg
import pytest

from dbkit.errors import Refused, UsageError

ONE = pytest.mark.pg(18)
USERS = """
create table users (id int primary key, bio text, touched int not null default 0);
create table profiles (user_id int primary key references users, touched int not null default 0);
insert into users select n, 'bio ' || n from generate_series(1, 40) n;
insert into profiles select id from users;
"""
MOVE = ("move-column", "users.bio", "profiles")
PAIRS = "select count(*) from users u join profiles p on p.user_id = u.id where p.bio is distinct from u.bio"


@pytest.fixture
def moving(place):
    place.run(USERS)
    place.change = place.new(*MOVE, match="id=user_id")
    return place


def write(dsn, seed, errors):
    """Writes the same few pairs through either table; a deadlock is tried again, as the page asks."""
    draw = random.Random(seed)
    try:
        with psycopg.connect(dsn, autocommit=True) as connection:
            for n in range(60):
                key, value = draw.randrange(1, 6), draw.choice([None, f"{seed} {n}"])
                table, column = draw.choice([("users", "id"), ("profiles", "user_id")])
                while True:
                    try:
                        connection.execute(
                            f"update {table} set bio = %s, touched = %s where {column} = %s", (value, n, key)
                        )
                        break
                    except psycopg.errors.DeadlockDetected:
                        continue
    except Exception as error:
        errors.append(f"{type(error).__name__}: {error}")


def test_pairs_agree_however_many_write_them_at_once(moving):
    """Backfill and verify run while four sessions write the same five pairs through both tables."""
    moving.run(f"alter database {moving.db.name} set deadlock_timeout = '20ms'")
    moving.done("expand")
    errors: list[str] = []
    writers = [threading.Thread(target=write, args=(moving.db.dsn, seed, errors)) for seed in range(4)]
    for writer in writers:
        writer.start()
    for command in ("backfill", "verify"):
        process = moving.cli(command, moving.change)
        out, told = process.communicate(timeout=120)
        assert process.returncode == 0, (out, told)
    for writer in writers:
        writer.join(60)
    assert errors == []
    assert moving.phase(moving.change) == "verified"
    assert moving.db.execute(PAIRS) == [(0,)]
    moving.done("contract")
    assert moving.db.execute("select bio from profiles where user_id = 40") == [("bio 40",)]


@ONE
def test_a_value_without_a_row_is_named_and_not_lost(moving):
    moving.run("delete from profiles where user_id = 7; insert into users values (99, null)")
    moving.done("expand")
    process = moving.cli("backfill", moving.change)
    process.communicate(timeout=60)
    process = moving.cli("verify", moving.change)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "id = 7" in out
    assert moving.move_refused("contract")
    moving.run("insert into profiles (user_id) values (7)")  # it takes the value that is there
    moving.fill(moving.change)
    moving.run("insert into users values (100, 'too late')")  # after verify
    applied = moving.move("contract")
    assert "1 values of public.users have no row there" in applied.error.lines()[1]
    with pytest.raises(psycopg.errors.RaiseException, match=r"users\.bio has moved to profiles\.bio"):
        moving.db.execute("update users set bio = 'x' where id = 7")
    moving.db.execute("update profiles set bio = 'y' where user_id = 7")
    moving.run("insert into profiles (user_id) values (100)")
    moving.done("contract")
    told = moving.db.execute("select user_id, bio from profiles where user_id in (7, 100) order by 1")
    assert told == [(7, "y"), (100, "too late")]


@ONE
def test_verified_goes_with_the_trigger(moving):
    moving.done("expand")
    moving.fill(moving.change)
    assert moving.phase(moving.change) == "verified"
    moving.run('alter table profiles disable trigger "!dbkit_bio_own"')
    assert moving.phase(moving.change) == "expanded"
    moving.done("rollback")
    moving.done("expand")
    assert moving.phase(moving.change) == "expanded"


@ONE
def test_only_who_may_make_triggers_can_pass_one_by(moving):
    """What the backfill says of itself, said by an application, keeps none of its writes from the other table."""
    name, dsn = moving.db.role()
    moving.run(f"grant select, insert, update, delete on profiles to {name}")
    moving.done("expand")
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("set dbkit.filling = '~dbkit_bio_push_u'")
        connection.execute("update profiles set bio = 'mine' where user_id = 2")
    assert moving.db.execute("select bio from users where id = 2") == [("mine",)]


@ONE
def test_what_a_trigger_of_the_table_makes_of_a_filled_row_reaches_the_other(moving):
    """It fires always: the pair is looked at, as for any write."""
    moving.run(
        "create function shout() returns trigger language plpgsql as "
        "$$ begin new.touched := new.touched + 1; new.bio := upper(new.bio); return new; end $$; "
    )
    moving.done("expand")
    moving.run(
        "create trigger shout before update on profiles for each row execute function shout(); "
        "alter table profiles enable always trigger shout"
    )
    process = moving.cli("backfill", moving.change)
    out, told = process.communicate(timeout=120)
    assert process.returncode == 0, (out, told)
    assert moving.db.execute(PAIRS) == [(0,)]
    assert moving.db.execute("select bio from users where id = 7") == [("BIO 7",)]


@ONE
def test_an_application_needs_no_rights_on_the_other_table(moving):
    name, dsn = moving.db.role()
    moving.run(f"grant select, insert, update on profiles to {name}; delete from profiles where user_id = 3")
    moving.done("expand")
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("update profiles set bio = 'mine' where user_id = 2")
        connection.execute("insert into profiles (user_id) values (3)")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("select dbkit_users_bio_read(1)")
    assert moving.db.execute("select bio from users where id = 2") == [("mine",)]
    assert moving.db.execute("select bio from profiles where user_id = 3") == [("bio 3",)]


@ONE
@pytest.mark.parametrize(
    ("schema", "why"),
    [
        ("alter table users alter bio set not null", "drop the not null first"),
        ("alter table profiles add bio int", "has a column bio already"),
        ("alter table users add unique (bio)", "unique constraint"),
        ("alter table profiles drop constraint profiles_user_id_fkey", "no validated foreign key"),
        ("alter table profiles drop constraint profiles_pkey", "not unique and not null"),
        ("alter table users force row level security", "forces row level security"),
        ("alter table users add upper_bio text generated always as (upper(bio)) stored", "generated column upper_bio"),
        ("alter table profiles rename to p; create table profiles (user_id bigint primary key)", "of different types"),
    ],
)
def test_what_is_refused(place, schema, why):
    place.run(USERS + schema)
    with pytest.raises(Refused) as raised:
        place.design(*MOVE, match="id=user_id")
    assert why in " ".join(raised.value.lines())


@ONE
@pytest.mark.parametrize(
    ("options", "why"),
    [({}, "needs --match"), ({"match": "id"}, "is not column = column"), ({"match": "id=nothing"}, "no column")],
)
def test_what_makes_no_sense(place, options, why):
    place.run(USERS)
    with pytest.raises(UsageError) as raised:
        place.design(*MOVE, **options)
    assert why in " ".join(raised.value.lines())
