-- Key columns and predicate of every INVALID unique index, as SQL: for finding the rows that collide under it.
-- Rights: none. Fully qualified when search_path is pg_catalog.
select
  i.indexrelid::bigint as oid,
  array(
    select pg_catalog.pg_get_indexdef(i.indexrelid, k.position, true)
    from generate_series(1, i.indnkeyatts) k (position)
    order by k.position
  ) as keys,
  pg_catalog.pg_get_expr(i.indpred, i.indrelid, true) as predicate,
  coalesce((pg_catalog.to_jsonb(i) ->> 'indnullsnotdistinct')::boolean, false) as nulls_collide,
  n.nspname::text as schema,
  c.relname::text as table_name
from pg_catalog.pg_index i
join pg_catalog.pg_class c on c.oid = i.indrelid
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where i.indisunique
  and not i.indisvalid
