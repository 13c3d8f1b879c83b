-- Constraints that were added NOT VALID and never validated: rows from before may break them.
-- Rights: none. Versions: 14 and newer.
select
  c.conname::text as name,
  format('%I.%I', n.nspname, t.relname) as table_name,
  pg_get_constraintdef(c.oid) as definition
from pg_catalog.pg_constraint c
join pg_catalog.pg_class t on t.oid = c.conrelid
join pg_catalog.pg_namespace n on n.oid = t.relnamespace
where not c.convalidated
order by 2, 1
