-- Tablespaces, and whether they lie inside the data directory.
-- Rights: pg_read_all_settings to see data_directory. Versions: 14 and newer.
select
  spcname::text as name,
  pg_tablespace_location(oid) as location,
  pg_tablespace_location(oid) like current_setting('data_directory') || '/%' as inside
from pg_catalog.pg_tablespace
where pg_tablespace_location(oid) <> ''
order by spcname
