-- An index of a table that holds one of the columns, in a key, an expression or a condition: while there is one, an
-- update of that column needs a new entry in every index (it cannot be HOT).
-- Rights: none. Versions: 14 and newer. Parameters: rel (oid), columns (text[]).
select x.relname::text as name
from pg_catalog.pg_index i
join pg_catalog.pg_class x on x.oid = i.indexrelid
join pg_catalog.pg_attribute a on a.attrelid = i.indrelid and a.attname = any (%(columns)s)
where i.indrelid = %(rel)s::oid
  and (
    a.attnum = any (i.indkey::int2[])
    or exists (
      select
      from pg_catalog.pg_depend d
      where d.classid = 'pg_catalog.pg_class'::regclass
        and d.objid = i.indexrelid
        and d.refclassid = 'pg_catalog.pg_class'::regclass
        and d.refobjid = i.indrelid
        and d.refobjsubid = a.attnum
    )
  )
limit 1
