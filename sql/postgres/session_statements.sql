-- Statements that need a session of their own, such as SET, LISTEN and session advisory locks, as often as they ran.
-- What dbkit itself sends is marked and left out, and so is what pg_dump sends, which every database has seen. For SET
-- the setting is named: PgBouncer follows some of them.
-- Rights: pg_read_all_stats, to see the text of other roles' statements. pg_stat_statements must be on the search path.
with said as (
  select
    d.datname::text as database,
    r.rolname::text as role,
    s.calls,
    -- Comments before the statement, as frameworks write them, say nothing about it.
    regexp_replace(s.query, '^(\s|/\*([^*]|\*+[^*/])*\*+/|--[^\n]*(\n|$))*', '') as text
  from pg_stat_statements as s
  join pg_database as d on d.oid = s.dbid
  left join pg_roles as r on r.oid = s.userid
  where s.query !~ '/\* dbkit \*/'
),
dumped as (
  select distinct database, role
  from said
  where text ~ '^SET synchronize_seqscans TO '
),
named as (
  select
    *,
    case
      when
        (database, role) in (select database, role from dumped)
        and (
          text ~ '^PREPARE (dump|get)[A-Z][A-Za-z]*[ (]'
          or text ~ '^SELECT (pg_catalog\.)?set_config\('
          or text ~ '^SET (DATESTYLE|INTERVALSTYLE|extra_float_digits|synchronize_seqscans|quote_all_identifiers|row_security|statement_timeout|lock_timeout|idle_in_transaction_session_timeout|transaction_timeout) (=|TO) (ISO|POSTGRES|on|off|true|[0-9]+|\$1)$'
        )
        then null
      when text ~* '^listen\M' then 'LISTEN'
      -- Not pg_advisory_unlock_all, with which drivers clean up what nobody may have taken.
      when text ~* '\mpg_(try_)?advisory_lock(_shared)?\s*\(' then 'advisory lock'
      when
        text ~* '^(create\s+((global|local)\s+)?|select\s.*\sinto\s+)(temp|temporary)\s'
        and text !~* 'on\s+commit\s+drop'
        then 'temporary table'
      when text ~* '^create\s+(unlogged\s+)?(table|view|sequence)\s+(if\s+not\s+exists\s+)?"?pg_temp"?\s*\.' then 'temporary table'
      when text ~* '^prepare\s+(?!transaction\M)' then 'PREPARE'
      when text ~* '^declare\s+("[^"]+"|\S+)\s+((binary|asensitive|insensitive|no|scroll)\s+)*cursor\s+with\s+hold\M' then 'cursor WITH HOLD'
      when text ~* '^set\s+session\s+characteristics\M' then 'SET SESSION CHARACTERISTICS'
      when text ~* '^load\s' then 'LOAD'
      when text ~* '^set\s+(?!local\M|transaction\M|constraints\M)' then 'SET'
      when text ~* '\mset_config\s*\(' then 'set_config'
    end as feature,
    lower(substring(text from '(?i)^set\s+(?:session\s+(?!authorization\M))?("[^"]+"|[a-z_][a-z0-9_$.]*)')) as word
  from said
)
select
  database,
  feature,
  case
    when feature = 'SET' then
      case trim(word, '"')
        when 'time' then 'timezone'
        when 'names' then 'client_encoding'
        when 'schema' then 'search_path'
        when 'session' then 'session_authorization'
        when 'xml' then 'xmloption'
        else trim(word, '"')
      end
    else ''
  end as setting,
  array_agg(distinct coalesce(role, 'a role that is gone')) as roles,
  sum(calls)::bigint as calls,
  (array_agg(left(regexp_replace(text, '\s+', ' ', 'g'), 120) order by calls desc))[1] as example
from named
where feature is not null
group by database, feature, setting
order by calls desc;
