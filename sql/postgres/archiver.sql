-- Whether WAL archiving works: the last success and the last failure.
-- Rights: none. Versions: 14 and newer.
select
  archived_count,
  failed_count,
  last_archived_time,
  last_failed_wal,
  last_failed_time,
  last_failed_time > coalesce(last_archived_time, '-infinity') as failing
from pg_catalog.pg_stat_archiver
