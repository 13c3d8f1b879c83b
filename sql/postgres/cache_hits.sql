-- How often tables and indexes of this database were found in shared_buffers, and how large the database is.
-- Rights: none. Versions: 14 and newer.
select
  (select sum(heap_blks_hit) from pg_catalog.pg_statio_user_tables)::bigint as table_hits,
  (select sum(heap_blks_read) from pg_catalog.pg_statio_user_tables)::bigint as table_reads,
  (select sum(idx_blks_hit) from pg_catalog.pg_statio_user_indexes)::bigint as index_hits,
  (select sum(idx_blks_read) from pg_catalog.pg_statio_user_indexes)::bigint as index_reads,
  pg_database_size(current_database()) as bytes
