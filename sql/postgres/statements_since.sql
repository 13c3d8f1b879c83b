-- For how many seconds pg_stat_statements has been counting. Its schema must be on the search_path.
-- Rights: none. Versions: 14 and newer.
select
  extract(epoch from clock_timestamp() - coalesce(i.stats_reset, pg_catalog.pg_postmaster_start_time()))::float8 as seconds
from pg_stat_statements_info i
