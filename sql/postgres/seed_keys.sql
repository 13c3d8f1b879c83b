-- Foreign keys with their columns in order; what a key on partitioned tables makes by itself is left out where the
-- referencing table is the same.
-- Rights: none. Versions: 14 and newer.
select
  k.conname::text as name,
  k.conrelid::bigint as child,
  k.confrelid::bigint as parent,
  array(
    select a.attname::text
    from unnest(k.conkey) with ordinality u(attnum, position)
    join pg_catalog.pg_attribute a on a.attrelid = k.conrelid and a.attnum = u.attnum
    order by u.position
  ) as columns,
  array(
    select a.attname::text
    from unnest(k.confkey) with ordinality u(attnum, position)
    join pg_catalog.pg_attribute a on a.attrelid = k.confrelid and a.attnum = u.attnum
    order by u.position
  ) as parent_columns
from pg_catalog.pg_constraint k
left join pg_catalog.pg_constraint above on above.oid = k.conparentid
where k.contype = 'f'
  and (above.oid is null or above.conrelid <> k.conrelid)
order by array_length(k.conkey, 1) desc, k.oid
