-- The two tables of each foreign key of the given name.
-- Rights: none. Versions: 14 and newer. The parameter is an array of constraint names.
select
  k.conname::text as name,
  k.conrelid::bigint as child,
  k.confrelid::bigint as parent
from pg_catalog.pg_constraint k
where k.contype = 'f'
  and k.conname = any (%s::text[])
