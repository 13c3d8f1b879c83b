-- users: the documented indexes. Runnable in psql as it stands.
-- Needs the owner of the table. PostgreSQL 15 to 18.

-- origin: S0 4.3
-- why: login looks a user up by e-mail
-- note: where users.email has a UNIQUE constraint, its own index does this work and this one is a duplicate
create index concurrently idx_users_email
  on users (email);

-- origin: S0 4.3
-- why: newest accounts first, and accounts of a period
create index concurrently idx_users_created_at
  on users (created_at desc);

-- origin: S0 4.3
-- why: counts the active accounts without reading the table
-- note: every entry holds the same value, so it does not narrow a search any further than its own predicate
create index concurrently idx_users_status
  on users (status)
  where status = 'active';
