-- Who and what this session is: identity, version, rights.
-- Rights: none. The system identifier needs EXECUTE on pg_control_system(), which every role has by default.
select
  (select system_identifier::text from pg_catalog.pg_control_system()) as system,
  current_database()::text as database,
  current_user::text as username,
  current_setting('server_version_num')::int as version,
  current_setting('server_version') as version_text,
  pg_catalog.pg_is_in_recovery() as in_recovery,
  pg_catalog.pg_backend_pid() as backend_pid,
  (select r.rolsuper from pg_catalog.pg_roles r where r.rolname = current_user) as superuser,
  pg_catalog.pg_has_role(current_user, 'pg_read_all_stats', 'usage') as reads_all_stats
