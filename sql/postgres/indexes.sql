-- Every index of the user's schemas with all that decides whether two of them are the same, and how it is used.
-- Temporary tables of this session are included: wanted indexes are built on one to be compared.
-- Rights: none; sizes and statistics need nothing beyond connecting. Versions: 14 and newer.
select
  c.oid::bigint as oid,
  n.nspname::text as schema,
  c.relname::text as name,
  t.oid::bigint as table_oid,
  tn.nspname::text as table_schema,
  t.relname::text as table_name,
  t.relkind = 'p' as on_partitioned,
  c.relkind = 'I' as is_partitioned,
  parent.inhparent::bigint as parent_oid,
  am.amname::text as method,
  i.indisunique as is_unique,
  i.indisprimary as is_primary,
  i.indisexclusion as is_exclusion,
  i.indisreplident as is_replica_identity,
  i.indisclustered as is_clustered,
  i.indisvalid as is_valid,
  i.indisready as is_ready,
  i.indislive as is_live,
  i.indimmediate as is_immediate,
  coalesce((to_jsonb(i) ->> 'indnullsnotdistinct')::boolean, false) as nulls_not_distinct,
  i.indnkeyatts::int as key_count,
  array(
    select coalesce(a.attname::text, '')
    from unnest(i.indkey::int2[]) with ordinality k(attnum, position)
    left join pg_catalog.pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum and k.attnum <> 0
    order by k.position
  ) as columns,
  array(
    select opcn.nspname || '.' || opc.opcname || coalesce('(' || array_to_string(a.attoptions, ', ') || ')', '')
    from unnest(i.indclass::oid[]) with ordinality k(opclass, position)
    join pg_catalog.pg_attribute a on a.attrelid = i.indexrelid and a.attnum = k.position
    join pg_catalog.pg_opclass opc on opc.oid = k.opclass
    join pg_catalog.pg_namespace opcn on opcn.oid = opc.opcnamespace
    order by k.position
  ) as opclasses,
  array(
    select coalesce(colln.nspname || '.' || coll.collname, '')
    from unnest(i.indcollation::oid[]) with ordinality k(collation_oid, position)
    left join pg_catalog.pg_collation coll on coll.oid = k.collation_oid
    left join pg_catalog.pg_namespace colln on colln.oid = coll.collnamespace
    order by k.position
  ) as collations,
  i.indoption::int2[]::int[] as options,
  pg_catalog.pg_get_expr(i.indexprs, i.indrelid) as expressions,
  pg_catalog.pg_get_expr(i.indpred, i.indrelid) as predicate,
  coalesce(c.reloptions, '{}')::text[] as storage,
  space.spcname::text as tablespace,
  pg_catalog.pg_get_indexdef(c.oid) as definition,
  con.conname::text as constraint_name,
  con.contype::text as constraint_type,
  exists (
    select from pg_catalog.pg_constraint fk where fk.contype = 'f' and fk.conindid = c.oid
  ) as supports_foreign_key,
  coalesce(pg_catalog.pg_relation_size(c.oid), 0)::bigint as bytes,
  c.reltuples::float8 as tuples,
  c.relpages::bigint as pages,
  coalesce(s.idx_scan, 0)::bigint as scans,
  (to_jsonb(s) ->> 'last_idx_scan')::timestamptz as last_scan,
  t.reltuples::float8 as table_tuples
from pg_catalog.pg_index i
join pg_catalog.pg_class c on c.oid = i.indexrelid
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
join pg_catalog.pg_class t on t.oid = i.indrelid
join pg_catalog.pg_namespace tn on tn.oid = t.relnamespace
join pg_catalog.pg_am am on am.oid = c.relam
left join pg_catalog.pg_inherits parent on parent.inhrelid = c.oid
left join pg_catalog.pg_tablespace space on space.oid = c.reltablespace
left join pg_catalog.pg_constraint con on con.conindid = c.oid and con.contype in ('p', 'u', 'x')
left join pg_catalog.pg_stat_all_indexes s on s.indexrelid = c.oid
where tn.nspname not in ('pg_catalog', 'information_schema', 'dbkit')
  and tn.nspname not like 'pg\_toast%'
  and (tn.nspname not like 'pg\_temp%' or tn.oid = pg_catalog.pg_my_temp_schema())
order by tn.nspname, t.relname, c.relname
