-- Columns of the user's tables as an index sees them: type, order of text, and what ANALYZE knows of their values.
-- `plain_order` says that text is sorted by bytes, so that LIKE 'abc%' can use an ordinary b-tree.
-- Rights: none; the statistics need SELECT on the table and are null without it.
select
  a.attrelid::bigint as table_oid,
  a.attname::text as name,
  base.typname::text as type,
  base.typcategory::text as category,
  coalesce(element.typname, '')::text as element,
  case
    when a.attcollation = 0 then true
    when coll.collprovider = 'd' then
      coalesce(to_jsonb(d) ->> 'datlocprovider', 'c') = 'b'
      or (coalesce(to_jsonb(d) ->> 'datlocprovider', 'c') = 'c' and d.datcollate in ('C', 'POSIX'))
    else coll.collprovider = 'b' or coll.collname in ('C', 'POSIX', 'ucs_basic')
  end as plain_order,
  a.attnotnull as not_null,
  s.avg_width as width,
  s.n_distinct::float8 as distincts,
  s.null_frac::float8 as nulls
from pg_catalog.pg_attribute a
join pg_catalog.pg_class c on c.oid = a.attrelid
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
join pg_catalog.pg_type t on t.oid = a.atttypid
join pg_catalog.pg_type base on base.oid = case when t.typtype = 'd' then t.typbasetype else t.oid end
left join pg_catalog.pg_type element on element.oid = base.typelem and base.typcategory = 'A'
left join pg_catalog.pg_collation coll on coll.oid = a.attcollation
join pg_catalog.pg_database d on d.datname = current_database()
left join pg_catalog.pg_stats s
  on s.schemaname = n.nspname
  and s.tablename = c.relname
  and s.attname = a.attname
  and s.inherited = (c.relkind = 'p')
where a.attnum > 0
  and not a.attisdropped
  and c.relkind in ('r', 'p', 'm')
  and not c.relispartition
  and n.nspname not in ('pg_catalog', 'information_schema', 'dbkit')
  and n.nspname not like 'pg\_toast%'
  and n.nspname not like 'pg\_temp%'
