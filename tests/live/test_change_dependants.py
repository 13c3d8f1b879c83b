"""One of each kind of object on a column that is renamed, or changes its type: copied, or named. pg_dump is the judge."""

import os
import re
import subprocess
from dataclasses import replace

import pytest

from dbkit.errors import Refused
from dbkit.postgres.connect import connect
from dbkit.postgres.migrate import deploy
from dbkit.postgres.migrate.changes import copies, facts

TABLE = """
create function note() returns trigger language plpgsql as $$begin return new; end$$;
create role {reader};
create table o (id int primary key);
create sequence numbers;
create table t (
  id bigint primary key, kept int, full_name text collate "C" not null default 'x', n int default 3
);
alter sequence numbers owned by t.full_name;
alter table t alter full_name set statistics 50, alter full_name set storage external,
  alter full_name set compression pglz, alter full_name set (n_distinct = -0.5);
alter table t add constraint t_full_name_check check (full_name <> '');
alter table t add constraint short check (length(full_name) < 100) not valid;
comment on constraint short on t is 'not too long';
create index t_full_name_idx on t (lower(full_name) text_pattern_ops, kept desc nulls last) include (n)
  with (fillfactor = 70) where full_name is not null;
comment on index t_full_name_idx is 'search';
alter index t_full_name_idx alter column 1 set statistics 77;
create index plain on t using btree (full_name, kept);
cluster t using plain;
create statistics st (mcv) on full_name, kept from t;
create statistics ex on (lower(full_name)), kept from t;
alter statistics ex set statistics 33;
comment on statistics ex is 'of an expression';
comment on column t.full_name is 'it''s a name';
grant select (full_name), update (full_name) on t to {reader} with grant option;
grant references (full_name) on t to public;
create trigger of_it before update of full_name on t for each row execute function note();
create trigger when_it after update on t for each row
  when (old.full_name is distinct from new.full_name and old.* is distinct from new.*) execute function note();
create trigger when_off after insert on t for each row when (new.full_name <> 'y') execute function note();
alter table t disable trigger when_off;
comment on trigger of_it on t is 'fires';
create policy seen on t using (full_name <> 'hidden');
alter table t enable row level security;
alter table t replica identity full;
"""
NAMED = {
    "view v": "create view v as select full_name from t",
    "materialized view m": "create materialized view m as select lower(full_name) as l from t",
    "rule log": "create rule log as on delete to t do also insert into o select 1 where old.full_name = 'never'",
    "policy seen": "",
    "function counted()": (
        "create function counted() returns bigint language sql begin atomic "
        "select count(*) from t where full_name = 'x'; end"
    ),
    "trigger function public.names_it": (
        "create function names_it() returns trigger language plpgsql as $$begin "
        "if new.full_name = 'q' then return null; end if; return new; end$$; "
        "create trigger by_text before insert on t for each row execute function names_it()"
    ),
}
FIRST = "drop view v; drop materialized view m; drop rule log on t; drop policy seen on t; drop function counted();"
"""What a person has to do before contract."""


@pytest.fixture
def full(place):
    """The table with everything on it; its reader."""
    place.reader = f"role_{place.db.name}"
    place.db.roles.append(place.reader)
    place.run(TABLE.format(reader=place.reader) + ";".join(NAMED.values()))
    place.run("insert into t (id, kept) select n, n from generate_series(1, 50) n")
    return place


def dump(place):
    """The schema as pg_dump writes it: lines in order of the alphabet, since columns move to the end."""
    program = place.db.server.binaries.program("pg_dump") if place.db.server.binaries else "pg_dump"
    done = subprocess.run(
        [
            str(program),
            "-s",
            "-n",
            "public",
            "-T",
            "alembic_version",
            "-d",
            place.db.server.dsn_for(place.db.name, secret=False),
        ],
        env={**os.environ, "PGPASSWORD": place.db.server.password},
        capture_output=True,
        text=True,
        check=True,
    )
    lines = [line.rstrip(" ,;") for line in done.stdout.splitlines() if not re.match(r"--|\\|SET |$", line)]
    return ordered(lines)


def ordered(lines):
    return sorted(re.sub(r"(?<= ON )(\w+), (\w+)(?= FROM)", _in_order, line) for line in lines)


def _in_order(found):
    """The columns of a statistics object come in the order of the table's."""
    return ", ".join(sorted(found.groups()))


def same(found, wanted):
    lost, new = [w for w in wanted if w not in found], [f for f in found if f not in wanted]
    assert (lost, new) == ([], [])


def test_what_no_copy_is_made_of_is_named(full):
    change = full.new("rename-column", "t.full_name", "display_name")
    told = full.environment.revisions[0].doc + full.environment.revisions[0].path.read_text()
    for name in NAMED:
        assert name.split()[-1].strip("()") in told, name
    full.done("expand")
    full.fill(change)
    with pytest.raises(Refused) as raised:
        full.move("contract")
    for kind in ("view", "materialized view", "rule", "policy", "function"):
        assert f"{kind}: " in raised.value.why, raised.value.why
    assert "function public.names_it" in raised.value.why
    assert "trigger:" not in raised.value.why


@pytest.mark.parametrize(
    ("change", "was", "is_"),
    [
        (("rename-column", "t.full_name", "display_name"), "full_name", "display_name"),
        (("change-type", "t.kept", "bigint"), "kept integer", "kept bigint"),
    ],
    ids=["rename-column", "change-type"],
)
def test_the_rest_is_copied(full, change, was, is_):
    full.run(FIRST + "drop trigger by_text on t; drop function names_it()")
    before = dump(full)
    assert len([line for line in before if "full_name" in line]) >= 20
    name = full.new(*change)
    full.done("expand")
    full.done("rollback")
    same(dump(full), before)
    full.done("expand")
    full.fill(name)
    full.done("contract")
    same(dump(full), ordered(line.replace(was, is_) for line in before))
    full.done("rollback", name)
    full.done("rollback", name)
    same(dump(full), before)


def test_a_view_on_a_swapped_column_closes_the_gate(place):
    place.run("create table t (id int primary key); create view v as select id from t")
    change = place.new("change-type", "t.id", "bigint")
    assert "view public.v uses id" in place.environment.revisions[0].path.read_text()
    place.done("expand")
    place.fill(change)
    with pytest.raises(Refused) as raised:
        place.move("contract")
    assert raised.value.why == "view: view public.v"
    place.run("drop view v")
    place.done("contract")


def test_a_security_label_goes_with_its_column(place):
    """No provider of labels is at hand: what would be said is looked at."""
    place.run("create table t (id int primary key, email text)")
    with connect(place.target) as connection:
        table = facts.read(connection, "t")
    labelled = tuple(replace(c, labels=(("anon", "MASKED"),)) if c.name == "email" else c for c in table.columns)
    lines = copies.of(replace(table, columns=labelled), {"email": "login"}).beside
    assert lines[0].sql == "security label for anon on column public.t.login is 'MASKED'"


def test_an_event_trigger_that_forbids_it_is_heard(place):
    """Its words are shown, and nothing of the change is left."""
    place.run(
        "create table t (id int primary key, a int);"
        "create function no() returns event_trigger language plpgsql as $$begin "
        "raise exception 'no DDL today'; end$$"
    )
    change = place.new("rename-column", "t.a", "b")
    before = place.facts("t")
    with connect(place.target) as connection:
        deploy.prepared(connection, place.target)  # dbkit's own tables are there
    place.run("create event trigger nothing on ddl_command_end when tag in ('CREATE TRIGGER') execute function no()")
    applied = place.move("expand")
    assert "no DDL today" in str(applied.error.why)
    place.run("drop event trigger nothing")
    assert (place.phase(change), place.facts("t")) == ("new", before)
