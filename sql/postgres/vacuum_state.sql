-- Tables with many dead rows, with their own autovacuum switch, and when they were last cleaned and analysed.
-- Rights: none. Versions: 14 and newer.
select
  format('%I.%I', s.schemaname, s.relname) as name,
  s.n_live_tup as live,
  s.n_dead_tup as dead,
  greatest(s.last_vacuum, s.last_autovacuum) as vacuumed,
  greatest(s.last_analyze, s.last_autoanalyze) as analysed,
  exists (
    select 1
    from pg_catalog.pg_class c
    cross join lateral pg_options_to_table(c.reloptions) o
    where c.oid = s.relid
      and o.option_name = 'autovacuum_enabled'
      and o.option_value::boolean is false
  ) as switched_off
from pg_catalog.pg_stat_user_tables s
order by s.n_dead_tup desc
