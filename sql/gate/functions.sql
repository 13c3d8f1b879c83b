-- Functions whose body is text, outside the system's schemas and dbkit's own: the catalogue does not know what they use.
-- `fires_on` names the tables whose triggers call the function.
-- Rights: none. Versions: 14 and newer.
select
  p.oid::regprocedure::text as name,
  p.proname::text as plain,
  l.lanname::text as language,
  p.prosrc as body,
  coalesce(array_agg(t.tgrelid::bigint) filter (where t.oid is not null), '{}')::bigint[] as fires_on
from pg_catalog.pg_proc p
join pg_catalog.pg_language l on l.oid = p.prolang
join pg_catalog.pg_namespace n on n.oid = p.pronamespace
left join pg_catalog.pg_trigger t on t.tgfoid = p.oid and not t.tgisinternal
where l.lanname not in ('internal', 'c')
  and (pg_catalog.to_jsonb(p) ->> 'prosqlbody') is null
  and n.nspname not in ('pg_catalog', 'information_schema', 'dbkit')
  and p.proname !~ '^dbkit_'
  and not exists (
    select
    from pg_catalog.pg_depend d
    where d.classid = 'pg_proc'::regclass
      and d.objid = p.oid
      and d.deptype = 'e'
  )
  and not exists (
    select
    from pg_catalog.pg_trigger own
    where own.tgfoid = p.oid
      and own.tgname ~ '^[!~]dbkit_'
  )
group by p.oid, p.proname, l.lanname, p.prosrc
order by 1
