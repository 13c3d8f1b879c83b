-- What ANALYZE knows of the columns of some tables and of their expression indexes, as text another server can read.
-- The tables are given as two arrays of the same length, %(schemas)s and %(names)s.
-- Rights: SELECT on the tables; rows of tables under row-level security come for their owner only.
select
  s.schemaname::text as schema,
  s.tablename::text as relation,
  s.attname::text as name,
  s.inherited,
  s.null_frac as nulls,
  s.avg_width as width,
  s.n_distinct as distincts,
  s.most_common_vals::text as common_values,
  s.most_common_freqs as common_shares,
  s.histogram_bounds::text as bounds,
  s.correlation,
  s.most_common_elems::text as common_elements,
  s.most_common_elem_freqs as element_shares,
  s.elem_count_histogram as element_counts
from pg_catalog.pg_stats s
join unnest(%(schemas)s::text[], %(names)s::text[]) as wanted (schema, name)
  on wanted.schema = s.schemaname
  and wanted.name = s.tablename
