-- Whether this role may change the server's settings: ALTER SYSTEM, and the reload that brings them into force.
-- Rights: none. Versions: 14 and newer; has_parameter_privilege is asked separately from 15 on.
select
  (select rolsuper from pg_catalog.pg_roles where rolname = current_user) as superuser,
  has_function_privilege('pg_catalog.pg_reload_conf()', 'execute') as may_reload,
  coalesce(current_setting('allow_alter_system', true), 'on') = 'on' as allowed
