-- Since when this database's statistics are counted; null when they were never reset and the start is unknown.
-- Rights: none.
select stats_reset
from pg_catalog.pg_stat_database
where datname = current_database()
