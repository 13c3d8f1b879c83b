-- Extensions dbkit makes use of: installed in this database, or to be had, and whether the server has them loaded.
-- Rights: none. A library named in shared_preload_libraries shows itself by its settings.
select
  wanted.name,
  a.installed_version::text as installed,
  a.default_version::text as available,
  exists (select from pg_catalog.pg_settings s where s.name like wanted.name || '.%') as loaded
from (values ('hypopg'), ('pg_stat_statements'), ('pg_trgm'), ('pgstattuple')) as wanted (name)
left join pg_catalog.pg_available_extensions a on a.name = wanted.name
order by wanted.name
