-- applications: the documented indexes. Runnable in psql as it stands.
-- Needs the owner of the table. PostgreSQL 15 to 18.

-- origin: S0 4.3, 4.4
-- why: the applications of a user, and the foreign key to users
-- note: where (user_id, job_id) is UNIQUE, that index starts with user_id and this one is redundant
create index concurrently idx_applications_user
  on applications (user_id);

-- origin: S0 4.3
-- why: the applications for a job, and the foreign key to jobs
create index concurrently idx_applications_job
  on applications (job_id);

-- origin: S0 4.3
-- why: the applications in one state
create index concurrently idx_applications_status
  on applications (status);

-- origin: S0 4.3
-- why: newest applications first
create index concurrently idx_applications_created
  on applications (created_at desc);
