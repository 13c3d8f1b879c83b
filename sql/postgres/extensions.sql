-- Extensions dbkit makes use of, and whether they are installed in this database or could be.
-- Rights: none.
select
  a.name::text as name,
  a.installed_version is not null as installed
from pg_catalog.pg_available_extensions a
where a.name in ('pg_stat_statements', 'pg_trgm', 'hypopg', 'pgstattuple')
order by a.name
