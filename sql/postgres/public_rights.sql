-- What everybody may do: create in a schema, read or write tables.
-- Rights: none. Versions: 14 and newer.
select
  'schema' as kind,
  n.nspname::text as name,
  'create' as right
from pg_catalog.pg_namespace n
cross join lateral aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) a
where a.grantee = 0
  and a.privilege_type = 'CREATE'
  and n.nspname !~ '^pg_temp|^pg_toast_temp'
union all
select
  'table',
  format('%I.%I', n.nspname, c.relname),
  string_agg(lower(a.privilege_type), ', ' order by a.privilege_type)
from pg_catalog.pg_class c
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
cross join lateral aclexplode(c.relacl) a
where a.grantee = 0
  and c.relkind in ('r', 'p')
  and n.nspname not in ('pg_catalog', 'information_schema')
  and not exists (
    select 1
    from pg_catalog.pg_depend d
    where d.classid = 'pg_class'::regclass
      and d.objid = c.oid
      and d.deptype = 'e'
  )
group by n.nspname, c.relname
order by 1, 2
