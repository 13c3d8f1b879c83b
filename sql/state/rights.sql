-- Whether dbkit's state is there, and what this role may do with it. Reads the catalogue only.
-- Rights: none.
select
  count(c.oid) filter (where c.relname in ('job', 'run', 'job_event', 'run_history', 'migration_part')) = 5 as complete,
  coalesce(bool_or(pg_catalog.has_schema_privilege(n.oid, 'usage')), false) as usage,
  coalesce(bool_and(pg_catalog.has_table_privilege(c.oid, 'select')) filter (where c.relkind in ('r', 'v')), false) as reads,
  coalesce(
    bool_and(
      pg_catalog.has_table_privilege(c.oid, 'select')
      and pg_catalog.has_table_privilege(c.oid, 'insert')
      and pg_catalog.has_table_privilege(c.oid, 'update')
    ) filter (where c.relkind = 'r'),
    false
  ) as writes
from pg_catalog.pg_namespace n
left join pg_catalog.pg_class c on c.relnamespace = n.oid and c.relkind in ('r', 'v')
where n.nspname = 'dbkit'
