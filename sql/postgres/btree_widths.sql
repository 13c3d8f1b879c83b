-- What the entries of each b-tree are like, from column statistics: to estimate how large it would be if built now.
-- Rights: SELECT on the table, else pg_stats hides its columns (known < columns, readable false).
select
  i.indexrelid::bigint as oid,
  n.nspname::text as schema,
  t.relname::text as table_name,
  c.reltuples::float8 as tuples,
  pg_catalog.pg_relation_size(c.oid)::bigint as bytes,
  current_setting('block_size')::int as block,
  coalesce(
    (
      select o.option_value::int
      from pg_catalog.pg_options_to_table(c.reloptions) o
      where o.option_name = 'fillfactor'
    ),
    90
  ) as fillfactor,
  i.indisunique or i.indnatts > i.indnkeyatts as apart,
  count(*)::int as columns,
  count(s.avg_width)::int as known,
  coalesce(sum((1 - s.null_frac) * s.avg_width), 0)::float8 as width,
  coalesce(max(s.null_frac), 0) > 0 as nulls,
  coalesce(array_agg(s.n_distinct::float8 order by a.attnum) filter (where s.n_distinct is not null), '{}') as distincts,
  pg_catalog.has_table_privilege(t.oid, 'select') as readable,
  greatest(st.last_analyze, st.last_autoanalyze) as analyzed
from pg_catalog.pg_index i
join pg_catalog.pg_class c on c.oid = i.indexrelid and c.relkind = 'i'
join pg_catalog.pg_am m on m.oid = c.relam and m.amname = 'btree'
join pg_catalog.pg_class t on t.oid = i.indrelid
join pg_catalog.pg_namespace n on n.oid = t.relnamespace
join pg_catalog.pg_attribute a on a.attrelid = i.indexrelid
left join pg_catalog.pg_attribute ta
  on ta.attrelid = i.indrelid
  and ta.attnum = (i.indkey::int2[])[a.attnum - 1]
  and ta.attnum <> 0
left join pg_catalog.pg_stats s
  on s.schemaname = n.nspname
  and s.tablename = case when ta.attnum is null then c.relname else t.relname end
  and s.attname = coalesce(ta.attname, a.attname)
  and not s.inherited
left join pg_catalog.pg_stat_all_tables st on st.relid = t.oid
where n.nspname not in ('pg_catalog', 'information_schema', 'dbkit')
  and n.nspname not like 'pg\_toast%'
  and n.nspname not like 'pg\_temp%'
  and i.indpred is null
group by i.indexrelid, n.nspname, t.relname, t.oid, c.oid, c.reltuples, c.reloptions, i.indisunique, i.indnatts,
  i.indnkeyatts, st.last_analyze, st.last_autoanalyze
