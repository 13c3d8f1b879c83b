-- Tables partitioned by ranges of one column of time or whole numbers: where the last partition ends and whether rows are
-- beyond it. Parts of a table that is itself cut by ranges are left out: theirs end one after the other.
-- Rights: none beyond connecting; counts are the statistics'. Versions: 14 and newer.
with partitioned as (
  select
    c.oid,
    n.nspname::text as schema,
    c.relname::text as name,
    a.attname::text as column_name,
    a.atttypid,
    format_type(a.atttypid, null) as type
  from pg_catalog.pg_partitioned_table p
  join pg_catalog.pg_class c on c.oid = p.partrelid
  join pg_catalog.pg_namespace n on n.oid = c.relnamespace
  join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum = p.partattrs[0]
  where p.partstrat = 'r'
    and p.partnatts = 1
    and a.atttypid in (
      'date'::regtype, 'timestamp'::regtype, 'timestamptz'::regtype, 'int2'::regtype, 'int4'::regtype, 'int8'::regtype
    )
    and not exists (
      select
      from pg_catalog.pg_inherits i
      join pg_catalog.pg_partitioned_table up on up.partrelid = i.inhparent
      where i.inhrelid = c.oid
        and up.partstrat = 'r'
    )
),
parts as (
  select
    t.oid,
    t.atttypid,
    part.relname::text as part,
    pg_get_expr(part.relpartbound, part.oid) = 'DEFAULT' as rest,
    substring(pg_get_expr(part.relpartbound, part.oid) from 'FROM \(''?([^'')]+)''?\) TO') as low,
    substring(pg_get_expr(part.relpartbound, part.oid) from 'TO \(''?([^'')]+)''?\)$') as high,
    case
      when part.relkind <> 'r' then null
      when pg_relation_size(part.oid) = 0 then 0
      when part.reltuples < 0 then greatest(pg_stat_get_live_tuples(part.oid), 1)
      else greatest(pg_stat_get_live_tuples(part.oid), part.reltuples)
    end as held
  from partitioned t
  join pg_catalog.pg_inherits i on i.inhparent = t.oid
  join pg_catalog.pg_class part on part.oid = i.inhrelid
),
ends as (
  select
    oid,
    part,
    low,
    high,
    held,
    case when atttypid in ('int2'::regtype, 'int4'::regtype, 'int8'::regtype) then high::numeric end as number,
    case
      when atttypid in ('int2'::regtype, 'int4'::regtype, 'int8'::regtype) then null
      when atttypid = 'timestamptz'::regtype then high::timestamptz at time zone 'UTC'
      else high::timestamp
    end as moment,
    case
      when low = 'MINVALUE' or atttypid in ('int2'::regtype, 'int4'::regtype, 'int8'::regtype) then null
      when atttypid = 'timestamptz'::regtype then low::timestamptz at time zone 'UTC'
      else low::timestamp
    end as began
  from parts
  where not rest
    and high not in ('MAXVALUE', 'infinity')
),
newest as (
  select distinct on (oid) *
  from ends
  order by oid, number desc nulls last, moment desc nulls last
)
select
  format('%I.%I', t.schema, t.name) as table_name,
  t.schema,
  t.name,
  t.column_name,
  t.type,
  e.part as last_partition,
  e.high as ends,
  e.held > 0 as reached,
  extract(epoch from e.moment - (now() at time zone 'UTC'))::float8 / 86400 as days_left,
  case
    when e.number is not null and e.low <> 'MINVALUE' then (
      select array_agg(array[(e.number + k * (e.number - e.low::numeric))::text,
        (e.number + (k + 1) * (e.number - e.low::numeric))::text] order by k)
      from generate_series(0, 2) k
    )
    when e.began is not null then (
      -- as many as reach 30 days on from now, three at least
      select array_agg(array[(e.moment + k * age(e.moment, e.began))::text,
        (e.moment + (k + 1) * age(e.moment, e.began))::text] order by k)
      from generate_series(
        0,
        greatest(2, ceil(extract(epoch from now() at time zone 'UTC' + interval '30 days' - e.moment)
          / extract(epoch from e.moment - e.began))::int - 1)
      ) k
    )
  end as next,
  r.part as default_partition,
  coalesce(r.held, 0)::bigint as in_default
from partitioned t
join newest e on e.oid = t.oid
left join parts r on r.oid = t.oid and r.rest
where not exists (
  select
  from parts open
  where open.oid = t.oid
    and open.high in ('MAXVALUE', 'infinity')
)
order by 1
