-- sessions: the documented indexes. Runnable in psql as it stands.
-- Needs the owner of the table. PostgreSQL 15 to 18.

-- origin: S0 4.3
-- why: the sessions of a user, to end them all, and the foreign key to users
create index concurrently idx_sessions_user
  on sessions (user_id);

-- origin: S0 4.3
-- why: removes the sessions that have expired
create index concurrently idx_sessions_expires
  on sessions (expires_at);

-- origin: S0 4.3
-- why: finds the session of a request by the digest of its token
-- note: where sessions.token_hash has a UNIQUE constraint, its own index does this work and this one is a duplicate
create index concurrently idx_sessions_token
  on sessions (token_hash);
