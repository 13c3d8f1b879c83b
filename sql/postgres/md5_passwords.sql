-- Roles whose stored password is an MD5 hash, and those whose password is their own name.
-- Rights: superuser (pg_authid). Versions: 14 and newer.
select
  rolname::text as role,
  rolpassword = 'md5' || md5(rolname::text || rolname::text) as is_name
from pg_catalog.pg_authid
where rolpassword like 'md5%'
  and rolcanlogin
order by rolname
