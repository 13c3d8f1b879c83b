-- Since when this database's counters count, and the moment they are read.
-- Rights: none. Versions: 14 and newer.
select
  clock_timestamp() as now,
  coalesce(d.stats_reset, pg_catalog.pg_postmaster_start_time()) as since
from pg_catalog.pg_stat_database d
where d.datname = current_database()
