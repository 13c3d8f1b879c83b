-- Unique b-tree indexes whose columns are ascending, never null and plain, best first: the primary key, then fewest
-- columns. `correlation` says how well the order of the first column agrees with the order of the rows in the table.
-- Rights: SELECT on the table, to see its statistics. Versions: 14 and newer. In psql first: set dbkit.about = 'public.users';
select
  x.relname::text as name,
  i.indisprimary as is_primary,
  array_agg(a.attname::text order by k.position) as columns,
  array_agg(pg_catalog.format_type(a.atttypid, a.atttypmod) order by k.position) as types,
  min(s.correlation) filter (where k.position = 1) as correlation,
  bool_or(t.typcategory in ('N', 'D')) filter (where k.position = 1) as ordered
from pg_catalog.pg_index i
join pg_catalog.pg_class x on x.oid = i.indexrelid
join pg_catalog.pg_am m on m.oid = x.relam and m.amname = 'btree'
join pg_catalog.pg_class c on c.oid = i.indrelid
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
cross join lateral unnest(i.indkey::int2[]) with ordinality k (attnum, position)
left join pg_catalog.pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
left join pg_catalog.pg_type t on t.oid = a.atttypid
left join pg_catalog.pg_opclass o on o.oid = (i.indclass::oid[])[k.position - 1]
left join pg_catalog.pg_stats s on s.schemaname = n.nspname and s.tablename = c.relname and s.attname = a.attname
  and not s.inherited
where i.indrelid = pg_catalog.to_regclass(current_setting('dbkit.about'))
  and i.indisunique
  and i.indisvalid
  and i.indimmediate
  and i.indpred is null
  and i.indexprs is null
  and k.position <= i.indnkeyatts
group by x.relname, i.indisprimary, i.indexrelid, i.indoption
having bool_and(a.attnotnull)
  and bool_and(o.opcdefault)
  and bool_and((i.indoption::int2[])[k.position - 1] = 0)
order by i.indisprimary desc, count(*), x.relname
