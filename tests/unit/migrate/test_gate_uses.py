"""Which statements use a column: one line each, the column being full_name of public.users (id, full_name, email)."""

import pytest

from dbkit.postgres.migrate.gate.shape import Shape
from dbkit.postgres.migrate.gate.uses import uses

SHAPE = Shape(
    frozenset({("public", "users"), ("public", "users_2024")}),
    frozenset({"full_name"}),
    frozenset({"id", "full_name", "email"}),
)
TABLE = Shape(frozenset({("public", "users")}), frozenset())
CATALOGUE = {"orders": {"id", "user_id", "total"}, "people": {"id", "full_name"}}


def columns(schema, name):
    return frozenset(CATALOGUE[name]) if name in CATALOGUE else None


CASES = """
select full_name from users                                                              | reads
select u.full_name from users u where id = $1                                            | reads
select public.users.full_name from public.users                                          | reads
select id from users where full_name = $1                                                | reads
select id from users order by full_name                                                  | reads
select count(*) from users group by full_name                                            | reads
select lower(full_name) from users_2024                                                  | reads
select id, email from users where email like $1                                          |
select full_name from people                                                             |
select p.full_name from people p join users u using (id)                                 |
select full_name from other.users                                                        |
select u.full_name from other.users u join users v using (id)                            |
select id from users join people using (full_name)                                       | reads
select 1 from users natural join people                                                  | reads
select * from users                                                                      | all columns
select u.* from users u join orders o on o.user_id = u.id                                | all columns
select o.* from users u join orders o on o.user_id = u.id                                |
select * from orders where user_id in (select id from users)                             |
select exists (select * from users where id = $1)                                        |
select count(*) from users                                                               |
select id from (select * from users) s                                                   |
select s.full_name from (select * from users) s                                          | reads
select * from (select * from users) s                                                    | all columns
select * from (select id, email from users) s                                            |
with u as (select * from users) select email from u                                      |
with u as (select * from users) select full_name from u                                  | reads
with users as (select 1 as full_name) select full_name from users                        |
with recursive r as (select id from users union all select u.id from users u, r) select * from r |
select id from orders o where exists (select 1 from users u where u.id = o.user_id and full_name = $1) | reads
select (select full_name from users u where u.id = o.user_id) from orders o              | reads
select id from users where exists (select 1 from people p where p.full_name = $1)        |
select id from users u where exists (select 1 from people where full_name = u.email)     |
select id from orders, lateral (select full_name from users where id = user_id) l        | reads
select row_to_json(u) from users u                                                       | all columns
select row_to_json(u.*) from users u                                                     | all columns
select u from users u                                                                    | all columns
select (u).full_name from users u                                                        | all columns
select jsonb_agg(o) from orders o join users u on u.id = o.user_id                       |
select id from users union select id from people where full_name = $1                    |
select id from people union select id from users where full_name = $1                    | reads
select * from users union all select * from people                                       | all columns
table users                                                                              | all columns
values (1, 'full_name')                                                                  |
select 'full_name' from users                                                            |
select "Full_Name" from users                                                            |
select id from users for update                                                          |
insert into users (id, full_name) values ($1, $2)                                        | writes
insert into users (id, email) values ($1, $2)                                            |
insert into users values ($1, $2, $3)                                                    | all columns
insert into users default values                                                         |
insert into users (id, email) values ($1, $2) returning *                                | all columns
insert into users (id, email) values ($1, $2) returning id, full_name                    | reads
insert into users (id) values ($1) on conflict (id) do update set full_name = $2         | writes
insert into users (id) values ($1) on conflict (id) do update set email = excluded.full_name | reads
insert into users (id) values ($1) on conflict (full_name) do nothing                    | reads
insert into archive select * from users where id < $1                                    | all columns
insert into archive (a) select email from users                                          |
insert into orders (user_id) select id from users where full_name = $1                   | reads
update users set full_name = $1 where id = $2                                            | writes
update users set email = $1 where id = $2                                                |
update users set (id, full_name) = ($1, $2)                                              | writes
update users set email = full_name                                                       | reads
update users u set email = $1 from people p where p.id = u.id and p.full_name = $2       |
update users u set email = $1 where u.full_name is null                                  | reads
update orders set total = $1 from users where users.id = user_id and full_name = $2      | reads
update users set email = $1 returning *                                                  | all columns
with w as (update users set email = $1 returning *) select id from w                     |
with w as (insert into users (full_name) values ($1) returning id) select id from w      | writes
delete from users where id = $1                                                          |
delete from users where full_name = $1                                                   | reads
delete from orders using users u where u.id = user_id and u.full_name = $1               | reads
merge into users u using people p on u.id = p.id when matched then update set full_name = p.full_name | writes
merge into users u using people p on u.id = p.id when matched then update set email = p.full_name |
merge into users u using people p on u.id = p.id when not matched then insert values (p.id, p.full_name, $1) | all columns
merge into users u using people p on u.full_name = p.full_name when matched then delete  | reads
copy users to stdout                                                                     | all columns
copy users (id, full_name) from stdin                                                    | writes
copy users (id, email) from stdin                                                        |
copy (select full_name from users) to stdout                                             | reads
copy (select id from users) to stdout                                                    |
prepare q as select full_name from users                                                 | reads
declare c cursor for select * from users                                                 | all columns
create table t as select full_name from users                                            | reads
explain select full_name from users                                                      | reads
do $$begin update users set full_name = ''; end$$                                        | writes
do $$begin execute 'select full_name' || ' from users'; end$$                            | cannot be read
do $$begin perform 1; end$$                                                              |
begin                                                                                    |
vacuum users                                                                             |
analyze users (full_name)                                                                |
lock table users                                                                         |
selectt full_name from users                                                             | cannot be read
selectt full_name from people                                                            |
select id from users window w as (partition by full_name)                                | reads
select sum(id) filter (where full_name = $1) from users                                  | reads
select case when full_name is null then 1 end from users                                 | reads
select id from users tablesample system (10) where full_name is null                     | reads
select id from orders o left join (users u join people p on u.id = p.id) on u.full_name = $1 | reads
select j.full_name from (users u cross join orders o) j                                  | reads
select g from generate_series(1, 3) g, users                                             |
select array(select full_name from users)                                                | reads
select full_name from nowhere                                                            |
select full_name from nowhere, users                                                     | reads
"""


@pytest.mark.parametrize("case", CASES.strip().splitlines(), ids=lambda line: line.split("|")[0].strip())
def test_use_of_a_column(case):
    sql, _, expected = case.rpartition("|")
    found = uses(sql.strip(), SHAPE, columns)
    assert found == {word.strip() for word in expected.split(",") if word.strip()}


@pytest.mark.parametrize(
    ("sql", "used"),
    [
        ("select 1 from users", True),
        ("update users set a = 1", True),
        ("delete from public.users", True),
        ("select 1 from orders where id in (select id from users)", True),
        ("with users as (select 1) select * from users", False),
        ("select users from orders", False),
        ("select 1 from other.users", False),
        ("copy users to stdout", True),
    ],
)
def test_use_of_a_table(sql, used):
    assert bool(uses(sql, TABLE)) is used
