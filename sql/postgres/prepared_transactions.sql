-- Transactions of a two-phase commit that wait for their second phase: they hold locks over every restart.
-- Rights: none. Versions: 14 and newer.
select
  gid as name,
  owner::text as owner,
  database::text as database,
  extract(epoch from now() - prepared) as seconds
from pg_catalog.pg_prepared_xacts
order by prepared
