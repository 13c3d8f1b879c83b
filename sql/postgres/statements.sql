-- The statements of this database by total time, one row for each text whoever ran it, as pg_stat_statements kept them.
-- The schema of the extension must be on the search_path. Texts of other roles need pg_read_all_stats: without it they
-- come as null.
-- Rights: none to run it; pg_read_all_stats to see what others ran. Versions: 14 and newer.
select
  s.queryid as id,
  nullif(min(s.query), '<insufficient privilege>') as text,
  sum(s.calls)::bigint as calls,
  sum(s.total_exec_time)::float8 as total_ms,
  sum(s.rows)::bigint as rows
from pg_stat_statements s
join pg_catalog.pg_database d on d.oid = s.dbid
where d.datname = current_database()
group by s.queryid
order by sum(s.total_exec_time) desc
