-- Statements of this database as pg_stat_statements counts them, with what is needed to tell whether they are still run.
-- Rights: pg_read_all_stats, to see the texts of other roles. Versions: 14 and newer.
-- In psql first: set search_path = the schema of the extension pg_stat_statements.
select
  s.queryid::text || ':' || s.userid || ':' || s.toplevel::text as statement,
  pg_catalog.pg_get_userbyid(s.userid)::text as role,
  s.calls::bigint as calls,
  s.query
from pg_stat_statements(true) s
where s.dbid = (select d.oid from pg_catalog.pg_database d where d.datname = current_database())
