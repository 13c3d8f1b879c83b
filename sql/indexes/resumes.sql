-- resumes: the documented indexes. Runnable in psql as it stands.
-- Needs the owner of the table. PostgreSQL 15 to 18.

-- origin: S0 4.3
-- why: the resumes of a user, and the foreign key to users
create index concurrently idx_resumes_user
  on resumes (user_id);

-- origin: S0 4.3
-- why: the primary resume of a user
-- note: serves is_primary and is_primary = true, not is_primary is true. It does not keep a user from having two
--   primary resumes; made UNIQUE it would, and the application would have to unmark the old one first
create index concurrently idx_resumes_primary
  on resumes (user_id)
  where is_primary = true;
