"""Which inserts rest on a unique key that goes away: (id) and (user_id) where main, of public.t."""

import pytest

from dbkit.postgres.migrate.gate.conflicts import conflicts
from dbkit.postgres.migrate.gate.shape import Shape

SHAPE = Shape(frozenset({("public", "t")}), frozenset(), keys=frozenset({("id",), ("main", "user_id")}))
CASES = """
insert into t (id) values ($1)                                                              |
insert into t (id) values ($1) on conflict (id) do nothing                                  | on conflict
insert into public.t values ($1) on conflict (id) do update set n = 1                       | on conflict
insert into t (id) values ($1) on conflict do nothing                                       | on conflict
insert into t (id) values ($1) on conflict on constraint t_pkey do nothing                  | on conflict
insert into t (id) values ($1) on conflict (user_id) where main do nothing                  | on conflict
insert into t (id) values ($1) on conflict (lower(email)) do nothing                        | on conflict
insert into t (id) values ($1) on conflict (id, at) do nothing                              |
insert into other.t (id) values ($1) on conflict (id) do nothing                            |
insert into u (id) values ($1) on conflict (id) do nothing                                  |
with new as (insert into t (id) values (1) on conflict (id) do nothing) select 1            | on conflict
insert into t (id) values ($1) on conflict (id) do nothing nonsense main user_id            | cannot be read
"""


@pytest.mark.parametrize("case", CASES.strip().splitlines(), ids=lambda line: line.split("|")[0].strip())
def test_what_rests_on_the_key(case):
    statement, _, how = case.partition("|")
    assert ", ".join(conflicts(statement, SHAPE)) == how.strip()
