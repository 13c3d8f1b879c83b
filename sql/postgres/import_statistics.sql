-- Puts a row of column_statistics.sql into pg_statistic of an empty copy of the table, as ANALYZE would have written it.
-- Needs `set allow_system_table_mods = on`. Never run on a server that holds data.
-- Rights: superuser of the throw-away server.
with attribute as (
  select
    a.attrelid,
    a.attnum,
    case when t.typtype = 'd' then t.typbasetype else a.atttypid end as type_oid,
    a.attcollation
  from pg_catalog.pg_attribute a
  join pg_catalog.pg_class c on c.oid = a.attrelid
  join pg_catalog.pg_namespace n on n.oid = c.relnamespace
  join pg_catalog.pg_type t on t.oid = a.atttypid
  where n.nspname = %(schema)s
    and c.relname = %(relation)s
    and a.attname = %(name)s
    and not a.attisdropped
),
element as (
  select
    a.*,
    t.typcategory,
    case when t.typname = 'tsvector' then 'text'::regtype::oid else t.typelem end as element_oid
  from attribute a
  join pg_catalog.pg_type t on t.oid = a.type_oid
),
operators as (
  select
    wanted.type_oid,
    (
      select op.amopopr
      from pg_catalog.pg_amop op
      where op.amopfamily = class.opcfamily
        and op.amoplefttype = class.opcintype
        and op.amoprighttype = class.opcintype
        and op.amopstrategy = 3
    ) as equal,
    (
      select op.amopopr
      from pg_catalog.pg_amop op
      where op.amopfamily = class.opcfamily
        and op.amoplefttype = class.opcintype
        and op.amoprighttype = class.opcintype
        and op.amopstrategy = 1
    ) as less
  from (select type_oid from element union select element_oid from element) as wanted (type_oid)
  join pg_catalog.pg_type t on t.oid = wanted.type_oid
  cross join lateral (
    select c.opcfamily, c.opcintype
    from pg_catalog.pg_opclass c
    join pg_catalog.pg_am am on am.oid = c.opcmethod
    where am.amname = 'btree'
      and c.opcdefault
      and (
        c.opcintype = t.oid
        or (t.typcategory = 'A' and c.opcintype = 'anyarray'::regtype)
        or (t.typtype = 'e' and c.opcintype = 'anyenum'::regtype)
        or (t.typtype = 'r' and c.opcintype = 'anyrange'::regtype)
        or (t.typtype = 'm' and c.opcintype = 'anymultirange'::regtype)
        or (t.typtype = 'c' and c.opcintype = 'record'::regtype)
        or exists (
          select
          from pg_catalog.pg_cast k
          where k.castsource = t.oid
            and k.casttarget = c.opcintype
            and k.castmethod = 'b'
            and k.castcontext = 'i'
        )
      )
    order by c.opcintype = t.oid desc
    limit 1
  ) as class
),
slot as (
  select
    e.*,
    coalesce((select o.equal from operators o where o.type_oid = e.type_oid), 0) as equal,
    coalesce((select o.less from operators o where o.type_oid = e.type_oid), 0) as less,
    coalesce((select o.equal from operators o where o.type_oid = e.element_oid), 0) as element_equal
  from element e
)
insert into pg_catalog.pg_statistic (
  starelid, staattnum, stainherit, stanullfrac, stawidth, stadistinct,
  stakind1, staop1, stacoll1, stanumbers1, stavalues1,
  stakind2, staop2, stacoll2, stanumbers2, stavalues2,
  stakind3, staop3, stacoll3, stanumbers3, stavalues3,
  stakind4, staop4, stacoll4, stanumbers4, stavalues4,
  stakind5, staop5, stacoll5, stanumbers5, stavalues5
)
select
  s.attrelid,
  s.attnum,
  %(inherited)s,
  %(nulls)s,
  %(width)s,
  %(distincts)s,
  case when %(common_values)s::text is null then 0 else 1 end,
  case when %(common_values)s::text is null then 0 else s.equal end,
  case when %(common_values)s::text is null then 0 else s.attcollation end,
  %(common_shares)s::float4[],
  array_in(%(common_values)s::cstring, s.type_oid, -1),
  case when %(bounds)s::text is null then 0 else 2 end,
  case when %(bounds)s::text is null then 0 else s.less end,
  case when %(bounds)s::text is null then 0 else s.attcollation end,
  null,
  array_in(%(bounds)s::cstring, s.type_oid, -1),
  case when %(correlation)s::float4 is null then 0 else 3 end,
  case when %(correlation)s::float4 is null then 0 else s.less end,
  case when %(correlation)s::float4 is null then 0 else s.attcollation end,
  case when %(correlation)s::float4 is null then null else array[%(correlation)s::float4] end,
  null,
  case when %(common_elements)s::text is null then 0 else 4 end,
  case when %(common_elements)s::text is null then 0 else s.element_equal end,
  case when %(common_elements)s::text is null then 0 else s.attcollation end,
  %(element_shares)s::float4[],
  array_in(%(common_elements)s::cstring, s.element_oid, -1),
  case when %(element_counts)s::float4[] is null then 0 else 5 end,
  case when %(element_counts)s::float4[] is null then 0 else s.element_equal end,
  case when %(element_counts)s::float4[] is null then 0 else s.attcollation end,
  %(element_counts)s::float4[],
  null
from slot s
