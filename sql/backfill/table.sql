-- The table that is to be filled and its leaves, with what decides how they are walked.
-- Rights: none. Versions: 14 and newer. In psql first: set dbkit.about = 'public.users';
with recursive tree as (
  select c.oid, c.oid as root
  from pg_catalog.pg_class c
  where c.oid = pg_catalog.to_regclass(current_setting('dbkit.about'))
  union all
  select i.inhrelid, tree.root
  from tree
  join pg_catalog.pg_class p on p.oid = tree.oid and p.relkind = 'p'
  join pg_catalog.pg_inherits i on i.inhparent = tree.oid
)
select
  tree.root::bigint as root,
  c.oid::bigint as oid,
  n.nspname::text as schema,
  c.relname::text as name,
  c.relkind::text as kind,
  c.relpersistence::text as persistence,
  pg_catalog.pg_relation_filenode(c.oid)::bigint as filenode,
  coalesce(pg_catalog.pg_relation_size(c.oid), 0)::bigint as bytes,
  current_setting('block_size')::int as block_size,
  c.reltuples::float8 as tuples,
  c.relpages::float8 as pages,
  coalesce(am.amname = 'heap', false) as heap,
  pg_catalog.has_table_privilege(c.oid, 'update') and pg_catalog.has_table_privilege(c.oid, 'select') as writable,
  pg_catalog.row_security_active(c.oid) as row_security
from tree
join pg_catalog.pg_class c on c.oid = tree.oid
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
left join pg_catalog.pg_am am on am.oid = c.relam
order by tree.oid = tree.root desc, pg_catalog.pg_relation_size(c.oid) desc, n.nspname, c.relname
