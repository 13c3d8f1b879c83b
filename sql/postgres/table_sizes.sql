-- Every table with its size, its rows as the planner knows them, and counters of what was read and written so far.
-- No value of any row is read.
-- Rights: none; counters and sizes need nothing beyond connecting. Versions: 14 and newer.
select
  c.oid::bigint as oid,
  n.nspname::text as schema,
  c.relname::text as name,
  c.relkind::text as kind,
  greatest(c.reltuples, -1)::float8 as tuples,
  case when c.relkind in ('r', 'm') then pg_catalog.pg_relation_size(c.oid) else 0 end::bigint as heap_bytes,
  case when c.reltoastrelid <> 0 then pg_catalog.pg_total_relation_size(c.reltoastrelid) else 0 end::bigint as toast_bytes,
  case when c.relkind in ('r', 'm') then pg_catalog.pg_table_size(c.oid) else 0 end::bigint as bytes,
  case when c.relkind in ('r', 'm') then pg_catalog.pg_indexes_size(c.oid) else 0 end::bigint as index_bytes,
  parent.nspname::text as parent_schema,
  above.relname::text as parent_name,
  s.seq_scan::bigint as seq_scan,
  coalesce(s.idx_scan, 0)::bigint as idx_scan,
  s.n_tup_ins::bigint as inserted,
  s.n_tup_upd::bigint as updated,
  s.n_tup_del::bigint as deleted,
  s.n_live_tup::bigint as live,
  s.n_dead_tup::bigint as dead
from pg_catalog.pg_class c
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
left join pg_catalog.pg_inherits i on i.inhrelid = c.oid and c.relispartition
left join pg_catalog.pg_class above on above.oid = i.inhparent
left join pg_catalog.pg_namespace parent on parent.oid = above.relnamespace
left join pg_catalog.pg_stat_all_tables s on s.relid = c.oid
where c.relkind in ('r', 'p', 'm')
  and n.nspname not in ('pg_catalog', 'information_schema', 'dbkit')
  and n.nspname not like 'pg\_toast%'
  and n.nspname not like 'pg\_temp%'
order by n.nspname, c.relname
