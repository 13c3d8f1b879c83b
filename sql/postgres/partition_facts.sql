-- What hangs on a table beyond postgres/table_facts and has to go over to the partitioned table in its place: one row.
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
  t.relpersistence::text as persistence,
  t.reloftype <> 0 as typed,
  (select m.amname::text from pg_catalog.pg_am m where m.oid = t.relam) as method,
  (select quote_ident(s.spcname) from pg_catalog.pg_tablespace s where s.oid = t.reltablespace) as tablespace,
  coalesce(to_jsonb(t.reloptions), '[]') as options,
  (
    select coalesce(jsonb_agg('toast.' || o), '[]')
    from pg_catalog.pg_class toast
    cross join unnest(toast.reloptions) o
    where toast.oid = t.reltoastrelid
  ) as toast_options,
  (
    select coalesce(jsonb_agg(r.rulename order by r.rulename), '[]')
    from pg_catalog.pg_rewrite r
    where r.ev_class = t.oid
  ) as rules,
  (
    select coalesce(jsonb_agg(jsonb_build_object(
      'name', p.polname,
      'permissive', p.polpermissive,
      'command', case p.polcmd when 'r' then 'select' when 'a' then 'insert' when 'w' then 'update' when 'd' then 'delete'
        else 'all' end,
      'roles', (
        select jsonb_agg(case role when 0 then 'public' else quote_ident(pg_get_userbyid(role)) end)
        from unnest(p.polroles) role
      ),
      'using', pg_get_expr(p.polqual, p.polrelid),
      'check', pg_get_expr(p.polwithcheck, p.polrelid),
      'comment', obj_description(p.oid, 'pg_policy')
    ) order by p.polname), '[]')
    from pg_catalog.pg_policy p
    where p.polrelid = t.oid
  ) as policies,
  (
    select coalesce(jsonb_agg(jsonb_build_object(
      'name', quote_ident(vn.nspname) || '.' || quote_ident(v.relname),
      'kind', v.relkind,
      'options', coalesce(to_jsonb(v.reloptions), '[]'),
      'definition', pg_get_viewdef(v.oid)
    ) order by vn.nspname, v.relname), '[]')
    from pg_catalog.pg_class v
    join pg_catalog.pg_namespace vn on vn.oid = v.relnamespace
    where v.oid in (
      select r.ev_class
      from pg_catalog.pg_depend d
      join pg_catalog.pg_rewrite r on r.oid = d.objid
      where d.classid = 'pg_rewrite'::regclass
        and d.refclassid = 'pg_class'::regclass
        and d.refobjid = t.oid
        and r.ev_class <> t.oid
    )
  ) as views,
  (
    -- What is bound to the row type or, in a body that was parsed, to the table itself: it would stay with the old one.
    select coalesce(jsonb_agg(distinct bound.name), '[]')
    from (
      select 'function ' || p.oid::regprocedure::text as name
      from pg_catalog.pg_depend d
      join pg_catalog.pg_proc p on p.oid = d.objid
      where d.classid = 'pg_proc'::regclass
        and (
          (d.refclassid = 'pg_class'::regclass and d.refobjid = t.oid)
          or (d.refclassid = 'pg_type'::regclass and d.refobjid in (t.reltype, (
            select y.typarray
            from pg_catalog.pg_type y
            where y.oid = t.reltype
          )))
        )
      union all
      select 'column ' || a.attrelid::regclass::text || '.' || quote_ident(a.attname)
      from pg_catalog.pg_attribute a
      where not a.attisdropped
        and a.atttypid in (t.reltype, (
          select y.typarray
          from pg_catalog.pg_type y
          where y.oid = t.reltype
        ))
    ) bound
  ) as bound,
  (
    select coalesce(jsonb_agg(g.tgname order by g.tgname), '[]')
    from pg_catalog.pg_trigger g
    where g.tgrelid = t.oid
      and not g.tgisinternal
      and (g.tgoldtable is not null or g.tgnewtable is not null)
  ) as transition_triggers,
  (
    select coalesce(jsonb_agg(c.relname), '[]')
    from pg_catalog.pg_class c
    where c.relnamespace = t.relnamespace
  ) as taken
from t
