"""`pg.partitions-run-out`: the SQL it advises makes the next partitions, on every type of bound."""

import json
import os
import subprocess
import sys

TABLES = """
create table by_day (at date not null, n int) partition by range (at);
create table by_month (at timestamptz not null) partition by range (at);
create table "By Week" (at timestamp not null) partition by range (at);
create table by_number (id bigint primary key) partition by range (id);
create table parts_of_months (id int, at date not null) partition by range (at);
do $$
declare
  month timestamp := date_trunc('month', now() at time zone 'UTC');
begin
  execute format('create table d partition of by_day for values from (%L) to (%L)', now()::date, now()::date + 1);
  execute format('create table m partition of by_month for values from (%L) to (%L)',
    month - interval '1 month' || '+00', month || '+00');
  execute format('create table w partition of "By Week" for values from (%L) to (%L)',
    date_trunc('week', now()), date_trunc('week', now()) + interval '7 days');
  execute 'create table n partition of by_number for values from (500) to (1000)';
  -- a month that is over, cut once more: not a table of its own
  execute format('create table p partition of parts_of_months for values from (%L) to (%L) partition by range (id)',
    month - interval '1 month', month + interval '5 months');
  execute 'create table p_1 partition of p for values from (0) to (9)';
  insert into p values (1, month);
end
$$;
insert into by_number values (700);
"""


def audit(db):
    made = subprocess.run(
        [sys.executable, "-m", "dbkit", "audit", "--select", "pg.partitions-run-out", "--format", "json", "--fail-on", "never"],
        env={**os.environ, "DBKIT_DSN": db.dsn, "DBKIT_CONFIG": os.devnull},
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    return {f["object"]: f for f in json.loads(made.stdout)["findings"]}


def test_what_is_advised_makes_the_next_partitions(db):
    db.psql(TABLES)
    found = audit(db)
    assert sorted(found) == ['public."By Week"', "public.by_day", "public.by_month", "public.by_number"]
    assert "inserts beyond it fail" in found["public.by_day"]["message"]
    for finding in found.values():
        db.psql(finding["fix"]["text"])
    db.psql("insert into by_number values (1700); insert into by_month values (now() + interval '1 month')")
    assert found["public.by_month"]["fix"]["text"].count("create table") >= 3
    assert found["public.by_day"]["fix"]["text"].count("create table") > 27  # three days on would be too few
    assert audit(db) == {}
