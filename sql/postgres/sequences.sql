-- Sequences that fill an integer column: how far they are. A bigint sequence on an integer column counts as integer.
-- Rights: select or usage on the sequences; `used` is null without. Versions: 14 and newer.
select
  format('%I.%I', n.nspname, c.relname) as name,
  format('%I.%I', tn.nspname, t.relname) as table_name,
  a.attname::text as column_name,
  format_type(a.atttypid, null) as type,
  least(
    s.seqmax,
    case a.atttypid when 'int2'::regtype then 32767 when 'int4'::regtype then 2147483647 else s.seqmax end
  ) as most,
  case
    when has_sequence_privilege(c.oid, 'select, usage') then pg_sequence_last_value(c.oid)
  end as used,
  has_sequence_privilege(c.oid, 'select, usage') as visible
from pg_catalog.pg_sequence s
join pg_catalog.pg_class c on c.oid = s.seqrelid
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
join pg_catalog.pg_depend d on d.objid = c.oid and d.classid = 'pg_class'::regclass and d.deptype in ('a', 'i')
join pg_catalog.pg_class t on t.oid = d.refobjid and d.refclassid = 'pg_class'::regclass
join pg_catalog.pg_namespace tn on tn.oid = t.relnamespace
join pg_catalog.pg_attribute a on a.attrelid = t.oid and a.attnum = d.refobjsubid
where s.seqincrement > 0
order by 1
