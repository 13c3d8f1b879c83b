"""Rights follow where a change runs: roles that the database it was written for had may be missing there, others be new."""

import pytest

CHANGES = [
    (
        "create table t (id int primary key, a text not null); grant select (a), update (a) on t to {role}",
        ("rename-column", "t.a", "b"),
        {},
        ["t.b SELECT", "t.b UPDATE"],
    ),
    (
        "create table t (id int primary key, a text); grant select (a) on t to {role} with grant option",
        ("split-column", "t"),
        {
            "set_": ["b = split_part(a, ' ', 1)", "c = split_part(a, ' ', 2)"],
            "back": ["a = b || ' ' || c"],
        },
        ["t.b SELECT with grant option", "t.c SELECT with grant option"],
    ),
    (
        """create table t (id int primary key, a text);
        grant select, insert, truncate on t to {role}; grant update (a) on t to {role}""",
        ("rename-table", "t", "u"),
        {},
        ["u INSERT", "u SELECT", "u TRUNCATE", "u.a UPDATE"],
    ),
    (
        """create table t (id bigint primary key, a text); grant select on t to {role}; grant update (a) on t to {role};
        alter table t enable row level security;
        create policy p on t for select to {role} using (a like '1%' or a <> 'it''s')""",
        ("partition-table", "t"),
        {"by": "id", "every": "1000", "from": "5000"},
        ["policy p", "t SELECT", "t.a UPDATE"],
    ),
    (
        """create table u (id int primary key); create table t (id int primary key, a text);
        alter table u add foreign key (id) references t; grant select (a), references (a) on t to {role}""",
        ("move-column", "t.a", "u"),
        {"match": "id=id"},
        ["u.a REFERENCES", "u.a SELECT"],
    ),
]
HELD = """
select c.relname || ' ' || g.privilege_type || case when g.is_grantable then ' with grant option' else '' end
from pg_class c cross join aclexplode(c.relacl) g
where g.grantee = %(role)s::regrole and c.relname in ('t', 'u')
union all
select c.relname || '.' || a.attname || ' ' || g.privilege_type
  || case when g.is_grantable then ' with grant option' else '' end
from pg_class c join pg_attribute a on a.attrelid = c.oid and not a.attisdropped cross join aclexplode(a.attacl) g
where g.grantee = %(role)s::regrole and c.relname in ('t', 'u')
union all
select 'policy ' || polname from pg_policy where polroles = array[%(role)s::regrole::oid] and polrelid = to_regclass('t')
order by 1
"""


@pytest.mark.pg(18)
@pytest.mark.parametrize(("schema", "words", "more", "wanted"), CHANGES, ids=[c[1][0] for c in CHANGES])
def test_rights_are_read_where_the_change_runs(place, schema, words, more, wanted):
    (written_for, _), (other, _) = place.db.role(), place.db.role()
    place.run(schema.format(role=written_for))
    place.change = place.new(*words, **more)
    place.run(f"drop owned by {written_for}; drop role {written_for}; drop table if exists u; drop table t")
    place.run(schema.format(role=other))  # the same table elsewhere

    def held():
        with place.db.connect() as connection:
            return [line for (line,) in connection.execute(HELD, {"role": other}).fetchall()]

    before = held()
    place.done("expand")
    if place.phase(place.change) == "expanded":
        place.fill(place.change)
    if words[0] == "rename-table":  # the old application goes on by the view
        assert [line for line in held() if line.startswith("t")] == ["t INSERT", "t SELECT", "t.a UPDATE"]
    place.done("contract")
    assert held() == wanted
    place.done("rollback", place.change)
    place.done("rollback", place.change)
    assert held() == before


@pytest.mark.pg(18)
def test_a_view_with_its_callers_rights_is_not_made_where_one_may_read_some_columns_only(place):
    role, _ = place.db.role()
    place.run("create table t (id int primary key, a text)")
    place.change = place.new("rename-table", "t", "u")
    place.run(f"grant select (id) on t to {role}")
    applied = place.move("expand")
    assert f"{role} may read some columns of public.u only" in " ".join(applied.error.lines())
    assert place.phase(place.change) == "new"
