-- How this database sorts text, for a copy of it elsewhere; and the tables this role may not read.
-- Rights: none. Versions: 14 and newer.
select
  d.datcollate::text as collate,
  d.datctype::text as ctype,
  coalesce(to_jsonb(d) ->> 'datlocprovider', 'c') as provider,
  coalesce(to_jsonb(d) ->> 'datlocale', to_jsonb(d) ->> 'daticulocale') as locale,
  pg_catalog.pg_encoding_to_char(d.encoding)::text as encoding,
  array(
    select quote_ident(n.nspname) || '.' || quote_ident(c.relname)
    from pg_catalog.pg_class c
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where c.relkind in ('r', 'p', 'm', 'v', 'f', 'S')
      and n.nspname not in ('pg_catalog', 'information_schema')
      and n.nspname not like 'pg\_toast%'
      and n.nspname not like 'pg\_temp%'
      and not (
        pg_catalog.has_schema_privilege(n.oid, 'usage')
        and case
          when c.relkind = 'S' then pg_catalog.has_sequence_privilege(c.oid, 'select')
          else pg_catalog.has_table_privilege(c.oid, 'select')
        end
      )
  ) as unreadable
from pg_catalog.pg_database d
where d.datname = current_database()
