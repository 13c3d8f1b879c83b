"""What hangs on a column is copied or named: indexes of split and merged columns, and one of each kind of object."""

import pytest

from dbkit.errors import Refused

MERGE = {
    "set_": ("name = first || ' ' || last",),
    "back": ("first = split_part(name, ' ', 1)", "last = split_part(name, ' ', 2)"),
}
SPLIT = {
    "set_": ("first = split_part(name, ' ', 1)", "whole = name"),
    "back": ("name = whole",),
}
# (kind, index on the old columns, the same on the new ones; None where it has no counterpart)
INDEXES = [
    (SPLIT, "(split_part(name, ' ', 1), id)", "(first, id)"),
    (SPLIT, "(name desc) include (touched)", "(whole desc) include (touched)"),
    (SPLIT, "(lower(split_part(name, ' '::text, 1)) text_pattern_ops)", "(lower(first) text_pattern_ops)"),
    (SPLIT, "(id) where name <> 'x' and split_part(name, ' ', 1) > 'b'", "(id) where whole <> 'x' and first > 'b'"),
    (MERGE, "((first || ' ' || last), touched)", "(name, touched)"),
    (
        MERGE,
        "(lower(first)) where last <> ''",
        "(lower(split_part(name, ' ', 1))) where split_part(name, ' ', 2) <> ''",
    ),
    (MERGE, "(last, first)", None),
    (MERGE, "(id) include (first)", None),
]
OTHERS = (
    "select replace(pg_get_indexdef(indexrelid), c.relname, 'i') from pg_index join pg_class c on c.oid = indexrelid "
    "where indrelid = 't'::regclass and not indisprimary and indexrelid::regclass::text <> all (%s)"
)


@pytest.mark.pg(18)
def test_indexes_of_columns_that_are_split_and_merged(place):
    for change, index, wanted in INDEXES:
        columns = "name text" if change is SPLIT else "first text, last text"
        place.run(
            f"drop table if exists t; create table t (id bigint primary key, touched int, {columns});"
            f"create index t_old_idx on t {index}"
        )
        design = place.design("split-column" if change is SPLIT else "merge-columns", "t", **change)
        assert design.lost == (() if wanted else ("index public.t_old_idx",)), index
        assert any("t_old_idx goes with" in n for n in design.notes) == (not wanted), index
        for block in design.expand:
            for line in block.lines:
                place.db.execute(line.sql.removeprefix("set local lock_timeout = '100ms'") or "select 1")
        found = place.db.execute(OTHERS, [["t_old_idx"]])
        if wanted:
            place.run(f"create index t_wanted on t {wanted}")
            assert found == place.db.execute(OTHERS, [["t_old_idx", *_names(place, found)]]), index
        else:
            assert found == [], index


def _names(place, found):
    """Names of the copies: all but the one that is wanted."""
    query = "select indexrelid::regclass::text from pg_index where indrelid = 't'::regclass and not indisprimary"
    return [n for (n,) in place.db.execute(query) if n != "t_wanted"] if found else []


def test_checks_follow_and_an_index_that_is_lost_is_named_until_it_is_accepted(place):
    place.run(
        "create table t (id bigint primary key, first text not null, last text check (last <> 'x'), a int);"
        "insert into t select n, 'a' || n, 'b', n from generate_series(1, 20) n; create index t_last_idx on t (last)"
    )
    change = place.new("merge-columns", "t", **MERGE)
    text = place.environment.revisions[0].path.read_text()
    assert "index t_last_idx goes with first, last and has no copy" in text
    assert "first, last must not be null, name may be" in text.replace("\n", " ")
    place.done("expand")
    (entry,) = place.status()
    assert [b["what"] for b in entry["blocked_by"]] == ["rows that are not proved to agree", "index"]
    place.fill(change)
    for accept in ((), ("observation", "index:public.t_other_idx")):
        with pytest.raises(Refused) as raised:
            place.move("contract", accept=accept)
        assert "index: index public.t_last_idx goes with the old shape and has no copy" in raised.value.why
    place.done("contract", accept=("observation", "index:public.t_last_idx"))
    checks = "select pg_get_constraintdef(oid) from pg_constraint where conrelid = 't'::regclass and contype = 'c'"
    assert place.db.execute(checks) == [("CHECK ((split_part(name, ' '::text, 2) <> 'x'::text))",)]
    place.done("rollback", change)
    place.done("rollback", change)
    assert "t_last_idx" in str(place.facts("t"))
