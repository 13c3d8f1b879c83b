-- The columns of orders that the demo's last chapter changes, whatever they are called by now.
select attname::text as name,
       format_type(atttypid, atttypmod) as type
from pg_catalog.pg_attribute
where attrelid = 'orders'::regclass
  and attnum > 0
  and not attisdropped
  and attname not in ('total', 'placed_at')
order by attname
