-- What this role may do in this database, as far as dbkit needs it.
-- Rights: none.
select
  has_database_privilege(current_database(), 'temp') as temp,
  has_database_privilege(current_database(), 'create') as create_schema,
  pg_has_role(current_user, 'pg_read_all_settings', 'usage') as reads_all_settings
