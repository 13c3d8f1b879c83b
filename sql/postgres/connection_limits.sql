-- What a server offers to its clients: connections, reserves, timeouts of the server (not of this session), use.
-- Rights: none beyond connecting.
select
  (select setting::int from pg_settings where name = 'max_connections') as max_connections,
  (
    select sum(setting::int)
    from pg_settings
    where name in ('superuser_reserved_connections', 'reserved_connections')
  )::int as reserved,
  (select sum(numbackends) from pg_stat_database)::int as in_use,
  (
    -- Null where the auditor's own role, database or address hides what the server gives to others.
    select json_object_agg(
      name,
      case when source in ('database', 'user', 'database user', 'client') then null else reset_val::float8 / 1000 end
    )
    from pg_settings
    where name in (
      'statement_timeout',
      'lock_timeout',
      'idle_in_transaction_session_timeout',
      'idle_session_timeout',
      'transaction_timeout'
    )
  ) as timeouts,
  (
    select n.nspname
    from pg_extension as e
    join pg_namespace as n on n.oid = e.extnamespace
    where e.extname = 'pg_stat_statements'
  ) as statements_schema,
  current_setting('server_version_num')::int / 10000 as major,
  current_setting('pg_stat_statements.track', true) as track,
  current_setting('pg_stat_statements.track_utility', true) as track_utility,
  (
    select json_agg(json_build_object('of', concat_ws(' in ', r.rolname, d.datname), 'setting', o.setting))
    from pg_db_role_setting as s
    cross join unnest(s.setconfig) as o (setting)
    left join pg_roles as r on r.oid = s.setrole
    left join pg_database as d on d.oid = s.setdatabase
    where o.setting ~ '^(statement|idle_in_transaction_session|transaction)_timeout='
  ) as own_timeouts,
  pg_has_role(current_user, 'pg_read_all_stats', 'usage') as reads_all_stats;
