-- Settings of roles and databases (ALTER ROLE ... SET, ALTER DATABASE ... SET): they beat the file for their sessions.
-- `mine` tells whether they count for the session that asks.
-- Rights: none. Versions: 14 and newer.
select
  r.rolname::text as role,
  d.datname::text as database,
  split_part(held.entry, '=', 1) as name,
  substr(held.entry, strpos(held.entry, '=') + 1) as value,
  (s.setdatabase = 0 or d.datname = current_database()) and (s.setrole = 0 or r.rolname = session_user) as mine
from pg_catalog.pg_db_role_setting s
cross join lateral unnest(s.setconfig) as held(entry)
left join pg_catalog.pg_roles r on r.oid = s.setrole
left join pg_catalog.pg_database d on d.oid = s.setdatabase
order by role nulls first, database nulls first, name
