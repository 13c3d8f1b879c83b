-- What can be seen of the statements that run: where pg_stat_statements is, and what it keeps.
-- Rights: none. Versions: 14 and newer.
select
  clock_timestamp() as now,
  (
    select n.nspname::text
    from pg_catalog.pg_extension e
    join pg_catalog.pg_namespace n on n.oid = e.extnamespace
    where e.extname = 'pg_stat_statements'
  ) as extension,
  current_setting('pg_stat_statements.track', true) as track,
  pg_catalog.pg_has_role(current_user, 'pg_read_all_stats', 'usage') as reads_all,
  pg_catalog.to_regclass('dbkit.gate_watch') is not null as kept
