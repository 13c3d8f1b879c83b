-- Every partition of every partitioned table, parents before children.
-- Rights: none. Versions: 14 and newer.
with recursive tree as (
  select
    c.oid as root_oid,
    c.oid as oid,
    null::oid as parent_oid,
    0 as level
  from pg_catalog.pg_class c
  where c.relkind = 'p'
    and not c.relispartition
  union all
  select
    tree.root_oid,
    i.inhrelid,
    i.inhparent,
    tree.level + 1
  from tree
  join pg_catalog.pg_inherits i on i.inhparent = tree.oid
)
select
  tree.root_oid::bigint as root_oid,
  tree.oid::bigint as oid,
  tree.parent_oid::bigint as parent_oid,
  tree.level,
  n.nspname::text as schema,
  c.relname::text as name,
  c.relkind = 'p' as is_partitioned,
  c.relkind = 'f' as is_foreign,
  c.reltuples::float8 as tuples,
  coalesce(pg_catalog.pg_relation_size(c.oid), 0)::bigint as bytes
from tree
join pg_catalog.pg_class c on c.oid = tree.oid
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where tree.level > 0
order by tree.root_oid, tree.level, n.nspname, c.relname
