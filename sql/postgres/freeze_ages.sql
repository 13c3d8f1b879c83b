-- How far transaction ids have gone since each database and each large table of this one was frozen.
-- Rights: none. Versions: 14 and newer.
select
  'database' as kind,
  datname::text as name,
  age(datfrozenxid) as age,
  mxid_age(datminmxid) as multixact_age
from pg_catalog.pg_database
where datallowconn
union all
(
  select
    'table',
    c.oid::regclass::text,
    age(c.relfrozenxid),
    mxid_age(c.relminmxid)
  from pg_catalog.pg_class c
  where c.relkind in ('r', 'm', 't')
  order by age(c.relfrozenxid) desc
  limit 5
)
order by 1, 3 desc
