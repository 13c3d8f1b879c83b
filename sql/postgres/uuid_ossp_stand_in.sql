-- The functions of extension uuid-ossp by the server's own ones: as volatile, and every value differs from the others.
-- Rights: CREATE on the current schema. Versions: 14 and newer.
create or replace function uuid_nil() returns uuid language sql immutable parallel safe
  as $$ select '00000000-0000-0000-0000-000000000000'::uuid $$;
create or replace function uuid_generate_v1() returns uuid language sql volatile parallel safe
  as $$ select pg_catalog.gen_random_uuid() $$;
create or replace function uuid_generate_v1mc() returns uuid language sql volatile parallel safe
  as $$ select pg_catalog.gen_random_uuid() $$;
create or replace function uuid_generate_v4() returns uuid language sql volatile parallel safe
  as $$ select pg_catalog.gen_random_uuid() $$;
create or replace function uuid_generate_v3(namespace uuid, name text) returns uuid language sql immutable parallel safe
  as $$ select pg_catalog.md5(namespace::text || name)::uuid $$;
create or replace function uuid_generate_v5(namespace uuid, name text) returns uuid language sql immutable parallel safe
  as $$ select pg_catalog.md5(namespace::text || name)::uuid $$;
create or replace function uuid_ns_dns() returns uuid language sql immutable parallel safe
  as $$ select '6ba7b810-9dad-11d1-80b4-00c04fd430c8'::uuid $$;
create or replace function uuid_ns_url() returns uuid language sql immutable parallel safe
  as $$ select '6ba7b811-9dad-11d1-80b4-00c04fd430c8'::uuid $$
