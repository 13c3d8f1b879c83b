-- The schemas this role's statements look into, as the role and the database set it, and where extensions live.
-- Rights: none.
select
  (select s.reset_val from pg_catalog.pg_settings s where s.name = 'search_path') as path,
  current_user::text as username,
  array(select n.nspname::text from pg_catalog.pg_namespace n order by n.nspname) as schemas,
  (
    select coalesce(jsonb_object_agg(e.extname, jsonb_build_array(n.nspname, e.extversion)), '{}')
    from pg_catalog.pg_extension e
    join pg_catalog.pg_namespace n on n.oid = e.extnamespace
  ) as extensions
