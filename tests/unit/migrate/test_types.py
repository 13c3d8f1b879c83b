"""What a type change costs: the table that tests/live/test_migrate_facts.py measures on real servers."""

import pytest

from tests.fixtures.migrations import hazards
from tests.fixtures.type_changes import CHANGES, DEFINITIONS

REWRITES = "column-type-rewrites"
REBUILDS = "column-type-rebuilds-index"


@pytest.mark.parametrize("change", CHANGES, ids=str)
def test_the_verdict_is_what_the_server_does(change):
    before = f"{DEFINITIONS} create table t (c {change.old}, d {change.old});"
    before += " create index i on t (c);" if change.indexed else ""
    sql = f"set timezone = '{change.zone}'; alter table t alter column c type {change.new}"
    sql += f" using {change.using}" if change.using else ""
    found = hazards(sql, before=before) & {REWRITES, REBUILDS}
    expected = {"rewrite": {REWRITES}, "rebuild": {REBUILDS}, "free": set()}[change.cost]
    assert found == expected


def test_without_a_known_time_zone_it_says_so():
    before = "create table t (c timestamp)"
    assert not hazards("alter table t alter column c type timestamptz", before=before)
    from tests.fixtures.migrations import rules

    assert "column-type-undecided" in rules("alter table t alter column c type timestamptz", before=before)


def test_a_check_is_run_again_even_if_the_type_stays():
    before = "create table t (c varchar(10) check (c <> ''))"
    assert hazards("alter table t alter c type varchar(20)", before=before) == {"column-type-rechecks"}
    assert hazards("alter table t alter c type varchar(10)", before=before) == {"column-type-rechecks"}
    before = "create table t (c varchar(10)); alter table t add constraint k check (c <> '') not valid"
    assert hazards("alter table t alter c type varchar(20)", before=before) == set()
