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
    select json_object_agg(name, reset_val::float8 / 1000)
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
  pg_has_role(current_user, 'pg_read_all_stats', 'usage') as reads_all_stats;
