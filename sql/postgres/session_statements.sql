-- Statements that need a session of their own, such as SET, LISTEN and session advisory locks, as often as they ran.
-- What dbkit itself sets in its sessions is left out; so are settings that PgBouncer follows by itself.
-- Rights: pg_read_all_stats, to see the text of other roles' statements. pg_stat_statements must be on the search path.
select
  d.datname::text as database,
  case
    when query ~* '^\s*(listen)\M' then 'LISTEN'
    when query ~* '\mpg_(try_)?advisory_(lock|unlock)' then 'advisory lock'
    when query ~* '^\s*create\s+((global|local)\s+)?(temp|temporary)\s' then 'temporary table'
    when query ~* '^\s*prepare\s+(?!transaction\M)' then 'PREPARE'
    when query ~* '^\s*declare\s.*\swith\s+hold\M' then 'cursor WITH HOLD'
    else 'SET'
  end as feature,
  sum(calls)::bigint as calls,
  (array_agg(left(regexp_replace(query, '\s+', ' ', 'g'), 120) order by calls desc))[1] as example
from pg_stat_statements as s
join pg_database as d on d.oid = s.dbid
where
  query ~* '^\s*listen\M'
  or query ~* '\mpg_(try_)?advisory_(lock|unlock)'
  or (
    query ~* '^\s*create\s+((global|local)\s+)?(temp|temporary)\s'
    and query !~* 'on\s+commit\s+drop'
  )
  or query ~* '^\s*prepare\s+(?!transaction\M)'
  or query ~* '^\s*declare\s.*\swith\s+hold\M'
  or (
    query ~* '^\s*set\s+(?!local\M|transaction\M|constraints\M)'
    and query !~* '^\s*set\s+(session\s+)?(application_name|client_encoding|datestyle|timezone|time\s+zone|names|standard_conforming_strings|intervalstyle)\M'
    and query !~ '^set "[a-z_]+" ='
    and query !~* '^\s*set\s+session\s+characteristics\M'
  )
group by d.datname, feature
order by calls desc;
