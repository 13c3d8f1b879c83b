-- All that hangs on one table and that a change of its shape has to copy, name or refuse: one row of JSON.
-- Rights: none beyond reading the catalogue. Run it with search_path = pg_catalog, so that every name is qualified.
with t as (
  select
    c.*,
    n.nspname
  from pg_catalog.pg_class c
  join pg_catalog.pg_namespace n on n.oid = c.relnamespace
  where c.oid = %(table)s::oid
)
select
  t.oid::bigint as oid,
  t.nspname::text as schema,
  t.relname::text as name,
  t.relkind::text as kind,
  t.relispartition as is_partition,
  t.reltuples::float8 as rows,
  pg_catalog.pg_total_relation_size(t.oid) as bytes,
  t.relrowsecurity as row_security,
  t.relforcerowsecurity as forced_row_security,
  t.relreplident::text as replica_identity,
  pg_catalog.pg_has_role(t.relowner, 'usage') as owned,
  t.relowner::regrole::text as owner,
  pg_catalog.has_schema_privilege(t.relnamespace, 'create') as may_create,
  exists (
    select from pg_catalog.pg_inherits i
    join pg_catalog.pg_class p on p.oid = i.inhparent
    where p.relkind = 'r' and t.oid in (i.inhparent, i.inhrelid)
  ) as inherits,
  (
    select coalesce(jsonb_agg(jsonb_build_object(
      'number', a.attnum, 'name', a.attname, 'type', format_type(a.atttypid, a.atttypmod), 'not_null', a.attnotnull,
      'default', case when a.attgenerated = '' then pg_get_expr(d.adbin, d.adrelid) end,
      'generated', case when a.attgenerated <> '' then pg_get_expr(d.adbin, d.adrelid) end,
      'identity', a.attidentity, 'statistics', coalesce(nullif(a.attstattarget, -1), -1),
      'storage', case when a.attstorage <> ty.typstorage then a.attstorage else '' end,
      'collation', case when a.attcollation <> ty.typcollation and a.attcollation <> 0
        then (select quote_ident(cn.nspname) || '.' || quote_ident(co.collname) from pg_collation co
          join pg_namespace cn on cn.oid = co.collnamespace where co.oid = a.attcollation) end,
      'comment', col_description(t.oid, a.attnum), 'base', ty.typname, 'category', ty.typcategory,
      'sequence', pg_get_serial_sequence(quote_ident(t.nspname) || '.' || quote_ident(t.relname), a.attname),
      'domain', ty.typtype = 'd',
      'compression', case a.attcompression when 'p' then 'pglz' when 'l' then 'lz4' else '' end,
      'options', (select coalesce(jsonb_agg(o), '[]') from unnest(a.attoptions) o where o like 'n_distinct%%'),
      'labels', (
        select coalesce(jsonb_agg(jsonb_build_array(l.provider, l.label) order by l.provider), '[]')
        from pg_seclabel l
        where l.classoid = 'pg_class'::regclass and l.objoid = t.oid and l.objsubid = a.attnum
      ),
      'grants', (
        select coalesce(jsonb_agg(jsonb_build_object(
          'grantee', case when g.grantee = 0 then 'public' else quote_ident(pg_get_userbyid(g.grantee)) end,
          'privilege', lower(g.privilege_type), 'grantable', g.is_grantable) order by g.grantee, g.privilege_type), '[]')
        from aclexplode(a.attacl) g
      )
    ) order by a.attnum), '[]')
    from pg_catalog.pg_attribute a
    join pg_catalog.pg_type ty on ty.oid = a.atttypid
    left join pg_catalog.pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
    where a.attrelid = t.oid and a.attnum > 0 and not a.attisdropped
  ) as columns,
  (
    select coalesce(jsonb_agg(jsonb_build_object(
      'name', x.conname, 'kind', x.contype, 'definition', pg_get_constraintdef(x.oid), 'validated', x.convalidated,
      'columns', (select coalesce(jsonb_agg(a.attname order by k.ord), '[]') from unnest(x.conkey) with ordinality k (num, ord)
        join pg_attribute a on a.attrelid = x.conrelid and a.attnum = k.num),
      'parent', case when x.confrelid <> 0 then (select jsonb_build_array(pn.nspname, pc.relname) from pg_class pc
        join pg_namespace pn on pn.oid = pc.relnamespace where pc.oid = x.confrelid) end,
      'parent_columns', (select coalesce(jsonb_agg(a.attname order by k.ord), '[]')
        from unnest(x.confkey) with ordinality k (num, ord)
        join pg_attribute a on a.attrelid = x.confrelid and a.attnum = k.num),
      'comment', obj_description(x.oid, 'pg_constraint'), 'index', x.conindid::bigint, 'inherited', x.coninhcount > 0
    ) order by x.conname), '[]')
    from pg_catalog.pg_constraint x
    where x.conrelid = t.oid and x.contype in ('c', 'f', 'p', 'u', 'x', 'n')
  ) as constraints,
  (
    select coalesce(jsonb_agg(jsonb_build_object(
      'name', x.conname, 'schema', cn.nspname, 'table', cc.relname, 'definition', pg_get_constraintdef(x.oid),
      'validated', x.convalidated,
      'columns', (select jsonb_agg(a.attname order by k.ord) from unnest(x.conkey) with ordinality k (num, ord)
        join pg_attribute a on a.attrelid = x.conrelid and a.attnum = k.num),
      'parent_columns', (select jsonb_agg(a.attname order by k.ord) from unnest(x.confkey) with ordinality k (num, ord)
        join pg_attribute a on a.attrelid = t.oid and a.attnum = k.num)
    ) order by cn.nspname, cc.relname, x.conname), '[]')
    from pg_catalog.pg_constraint x
    join pg_catalog.pg_class cc on cc.oid = x.conrelid
    join pg_catalog.pg_namespace cn on cn.oid = cc.relnamespace
    where x.confrelid = t.oid and x.contype = 'f' and x.conparentid = 0
  ) as children,
  (
    select coalesce(jsonb_agg(jsonb_build_object(
      'oid', i.indexrelid::bigint, 'name', ic.relname, 'unique', i.indisunique, 'primary', i.indisprimary,
      'valid', i.indisvalid, 'definition', pg_get_indexdef(i.indexrelid),
      'constraint', exists (select from pg_constraint x where x.conindid = i.indexrelid and x.contype in ('p', 'u', 'x')),
      'replica_identity', i.indisreplident, 'comment', obj_description(i.indexrelid, 'pg_class'),
      'clustered', i.indisclustered,
      'tablespace', (select s.spcname from pg_tablespace s where s.oid = ic.reltablespace),
      'statistics', (select coalesce(jsonb_agg(jsonb_build_array(a.attnum, a.attstattarget) order by a.attnum), '[]')
        from pg_attribute a where a.attrelid = i.indexrelid and a.attstattarget >= 0),
      'uses', (select coalesce(jsonb_agg(distinct a.attname), '[]') from pg_depend d
        join pg_attribute a on a.attrelid = t.oid and a.attnum = d.refobjsubid
        where d.classid = 'pg_class'::regclass and d.objid = i.indexrelid and d.refobjid = t.oid and d.refobjsubid > 0)
    ) order by ic.relname), '[]')
    from pg_catalog.pg_index i
    join pg_catalog.pg_class ic on ic.oid = i.indexrelid
    where i.indrelid = t.oid
  ) as indexes,
  (
    select coalesce(jsonb_agg(jsonb_build_object(
      'name', g.tgname, 'definition', pg_get_triggerdef(g.oid), 'enabled', g.tgenabled,
      'columns', (select coalesce(jsonb_agg(a.attname), '[]') from unnest(g.tgattr::int2[]) k
        join pg_attribute a on a.attrelid = t.oid and a.attnum = k),
      'uses', (select coalesce(jsonb_agg(distinct a.attname), '[]') from pg_depend d
        join pg_attribute a on a.attrelid = t.oid and a.attnum = d.refobjsubid
        where d.classid = 'pg_trigger'::regclass and d.objid = g.oid and d.refobjid = t.oid and d.refobjsubid > 0),
      'function', g.tgfoid::regproc::text, 'body', f.prosrc
    ) order by g.tgname), '[]')
    from pg_catalog.pg_trigger g
    join pg_catalog.pg_proc f on f.oid = g.tgfoid
    where g.tgrelid = t.oid and not g.tgisinternal
  ) as triggers,
  (
    select coalesce(jsonb_agg(distinct jsonb_build_object(
      'column', a.attname,
      'kind', case v.relkind when 'm' then 'materialized view' when 'v' then 'view' else 'rule' end,
      'name', case when v.relkind in ('m', 'v') then '' else quote_ident(r.rulename) || ' on ' end
        || quote_ident(vn.nspname) || '.' || quote_ident(v.relname))), '[]')
    from pg_catalog.pg_depend d
    join pg_catalog.pg_rewrite r on r.oid = d.objid
    join pg_catalog.pg_class v on v.oid = r.ev_class
      and (v.oid <> t.oid or t.relkind <> 'v') -- before 16 a view's own rule depends on the view itself
    join pg_catalog.pg_namespace vn on vn.oid = v.relnamespace
    left join pg_catalog.pg_attribute a on a.attrelid = t.oid and a.attnum = d.refobjsubid
    where d.classid = 'pg_rewrite'::regclass and d.refclassid = 'pg_class'::regclass and d.refobjid = t.oid
  ) as views,
  (
    select coalesce(jsonb_agg(distinct jsonb_build_object('column', a.attname, 'kind', 'policy', 'name', p.polname)), '[]')
    from pg_catalog.pg_policy p
    left join pg_catalog.pg_depend d on d.classid = 'pg_policy'::regclass and d.objid = p.oid and d.refobjid = t.oid
    left join pg_catalog.pg_attribute a on a.attrelid = t.oid and a.attnum = d.refobjsubid and d.refobjsubid > 0
    where p.polrelid = t.oid
  ) as policies,
  (
    select coalesce(jsonb_agg(distinct jsonb_build_object(
      'column', a.attname, 'kind', 'function', 'name', d.objid::regprocedure::text)), '[]')
    from pg_catalog.pg_depend d
    left join pg_catalog.pg_attribute a on a.attrelid = t.oid and a.attnum = d.refobjsubid and d.refobjsubid > 0
    where d.classid = 'pg_proc'::regclass and d.refclassid = 'pg_class'::regclass and d.refobjid = t.oid
  ) as functions,
  (
    select coalesce(jsonb_agg(jsonb_build_object('column', a.attname, 'name', b.attname)), '[]')
    from pg_catalog.pg_attribute b
    join pg_catalog.pg_attrdef x on x.adrelid = b.attrelid and x.adnum = b.attnum
    join pg_catalog.pg_depend d on d.classid = 'pg_attrdef'::regclass and d.objid = x.oid and d.refobjid = t.oid
    join pg_catalog.pg_attribute a on a.attrelid = t.oid and a.attnum = d.refobjsubid and a.attnum <> b.attnum
    where b.attrelid = t.oid and b.attgenerated <> ''
  ) as generated,
  (
    select coalesce(jsonb_agg(jsonb_build_object(
      'name', s.stxname, 'schema', sn.nspname, 'definition', pg_get_statisticsobjdef(s.oid),
      'columns', (select coalesce(jsonb_agg(a.attname order by a.attname), '[]') from pg_attribute a
        where a.attrelid = t.oid and a.attnum > 0 and (
          a.attnum = any (s.stxkeys::int2[])
          or exists (select from pg_depend d where d.classid = 'pg_statistic_ext'::regclass and d.objid = s.oid
            and d.refobjid = t.oid and d.refobjsubid = a.attnum)
        )),
      'target', coalesce(nullif((to_jsonb(s) ->> 'stxstattarget')::int, -1), -1),
      'comment', obj_description(s.oid, 'pg_statistic_ext')
    ) order by s.stxname), '[]')
    from pg_catalog.pg_statistic_ext s
    join pg_catalog.pg_namespace sn on sn.oid = s.stxnamespace
    where s.stxrelid = t.oid
  ) as statistics,
  (
    select coalesce(jsonb_agg(distinct p.pubname), '[]')
    from pg_catalog.pg_publication_tables p
    where p.schemaname = t.nspname and p.tablename = t.relname
  ) as publications,
  (
    select coalesce(jsonb_agg(jsonb_build_array(ln.nspname, l.relname) order by ln.nspname, l.relname), '[]')
    from pg_catalog.pg_partition_tree(case when t.relkind = 'p' then t.oid end) p
    join pg_catalog.pg_class l on l.oid = p.relid
    join pg_catalog.pg_namespace ln on ln.oid = l.relnamespace
    where p.isleaf
  ) as leaves,
  (
    select coalesce(jsonb_agg(jsonb_build_object(
      'grantee', case when g.grantee = 0 then 'public' else quote_ident(pg_get_userbyid(g.grantee)) end,
      'privilege', lower(g.privilege_type), 'grantable', g.is_grantable) order by g.grantee, g.privilege_type), '[]')
    from aclexplode(t.relacl) g
    where g.grantee <> t.relowner
  ) as grants,
  (
    select coalesce(jsonb_agg(distinct pg_describe_object(d.classid, d.objid, d.objsubid)), '[]')
    from pg_catalog.pg_type y
    join pg_catalog.pg_depend d on d.refclassid = 'pg_type'::regclass
      and d.refobjid in (y.oid, y.typarray)
      and d.deptype = 'n'
    where y.oid = t.reltype
  ) as row_type,
  (
    select coalesce(jsonb_agg(distinct a.attname), '[]')
    from pg_catalog.pg_partitioned_table k
    join pg_catalog.pg_attribute a on a.attrelid = k.partrelid
    where k.partrelid = t.oid
      and a.attnum > 0
      and (
        a.attnum = any (k.partattrs::int2[])
        or exists (select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = t.oid
          and d.refclassid = 'pg_class'::regclass and d.refobjid = t.oid and d.refobjsubid = a.attnum and d.deptype = 'i')
      )
  ) as partition_key,
  t.reloftype <> 0 as typed,
  obj_description(t.oid, 'pg_class') as comment,
  current_setting('server_version_num')::int / 10000 as major
from t
