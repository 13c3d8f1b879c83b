-- Statements that need a session of their own, such as SET, LISTEN and session advisory locks, as often as they ran.
-- What dbkit itself sets in its sessions is left out; so are settings that PgBouncer follows by itself.
-- Rights: pg_read_all_stats, to see the text of other roles' statements. pg_stat_statements must be on the search path.
with said as (
  select
    d.datname::text as database,
    s.calls,
    s.query,
    -- Comments before the statement, as frameworks write them, say nothing about it.
    regexp_replace(s.query, '^(\s|/\*([^*]|\*+[^*/])*\*+/|--[^\n]*(\n|$))*', '') as text
  from pg_stat_statements as s
  join pg_database as d on d.oid = s.dbid
),
named as (
  select
    *,
    case
      when text ~* '^listen\M' then 'LISTEN'
      when text ~* '\mpg_(try_)?advisory_(lock|unlock)' then 'advisory lock'
      when
        text ~* '^(create\s+((global|local)\s+)?|select\s.*\sinto\s+)(temp|temporary)\s'
        and text !~* 'on\s+commit\s+drop'
        then 'temporary table'
      when text ~* '^prepare\s+(?!transaction\M)' then 'PREPARE'
      when text ~* '^declare\s.*\swith\s+hold\M' then 'cursor WITH HOLD'
      when text ~* '^set\s+session\s+characteristics\M' then 'SET SESSION CHARACTERISTICS'
      when text ~* '^load\s' then 'LOAD'
      when
        text ~* '^set\s+(?!local\M|transaction\M|constraints\M)'
        and text !~* '^set\s+(session\s+)?(application_name|client_encoding|datestyle|timezone|time\s+zone|names|standard_conforming_strings|intervalstyle)\M'
        and text !~ '^set "[a-z_]+" ='
        then 'SET'
    end as feature
  from said
)
select
  database,
  feature,
  sum(calls)::bigint as calls,
  (array_agg(left(regexp_replace(text, '\s+', ' ', 'g'), 120) order by calls desc))[1] as example
from named
where feature is not null
group by database, feature
order by calls desc;
