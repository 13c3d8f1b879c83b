-- Roles that may log in, with what they may do and whether a session of theirs is open.
-- Rights: none; whose sessions are open only with pg_read_all_stats. Versions: 14 and newer.
select
  r.rolname::text as role,
  r.rolsuper as superuser,
  r.rolbypassrls as bypasses_rls,
  r.rolreplication as replicates,
  r.oid = 10 as bootstrap,
  r.rolvaliduntil as valid_until,
  extract(epoch from r.rolvaliduntil - now()) as seconds_left,
  r.rolname = session_user as mine,
  coalesce(s.sessions, 0)::int as sessions,
  coalesce(s.applications, '{}') as applications
from pg_catalog.pg_roles r
left join lateral (
  select
    count(*) as sessions,
    array_agg(distinct a.application_name) filter (where a.application_name <> '') as applications
  from pg_catalog.pg_stat_activity a
  where a.usesysid = r.oid
    and a.backend_type = 'client backend'
    and a.pid <> pg_backend_pid()
) s on true
where r.rolcanlogin
  and r.rolname !~ '^(rds|azure|cloudsql)'
order by r.rolname
