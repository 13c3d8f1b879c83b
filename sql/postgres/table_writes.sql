-- What is written to each table since statistics began: each insert and each update that is not HOT adds an entry to
-- every index. A row for each table that holds rows itself; partitions are added up by dbkit.
-- Rights: none.
select
  s.relid::bigint as oid,
  s.n_tup_ins as inserts,
  s.n_tup_upd as updates,
  s.n_tup_hot_upd as hot_updates,
  s.n_tup_del as deletes
from pg_catalog.pg_stat_user_tables s
