-- The tables that locks on named tables reach: partitions below them, and, where asked for, both sides of foreign keys.
-- Names are looked up on the session's search_path; what is not there is left out.
-- Rights: none.
with named as (
  select to_regclass(n.name) as oid, n.mode, n.neighbours
  from unnest(%(names)s::text[], %(modes)s::int[], %(neighbours)s::bool[]) n (name, mode, neighbours)
),
reached as (
  select n.oid, n.mode
  from named n
  union all
  select t.relid, n.mode
  from named n
  join pg_catalog.pg_class c on c.oid = n.oid and c.relkind = 'p'
  cross join lateral pg_catalog.pg_partition_tree(n.oid) t
  union all
  select case f.conrelid when n.oid then f.confrelid else f.conrelid end, n.mode
  from named n
  join pg_catalog.pg_constraint f on f.contype = 'f' and n.oid in (f.conrelid, f.confrelid)
  where n.neighbours
)
select
  r.oid::oid::bigint as oid,
  max(r.mode) as mode,
  -- LOCK TABLE wants an owner's rights for the strong modes; a view would lock what lies under it.
  c.relkind in ('r', 'p') and pg_catalog.pg_has_role(c.relowner, 'usage') as lockable,
  n.nspname::text as schema,
  c.relname::text as name
from reached r
join pg_catalog.pg_class c on c.oid = r.oid
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
group by r.oid, c.relkind, c.relowner, n.nspname, c.relname
order by n.nspname, c.relname
