-- How many connections to databases are open at this moment, without this one. PostgreSQL keeps no peak of it.
-- Rights: none.
select greatest(sum(numbackends) - 1, 0)::int as open
from pg_stat_database;
