-- audit_logs: the documented indexes of a table partitioned by month. PostgreSQL refuses CREATE INDEX CONCURRENTLY on
-- a partitioned table (0A000), so these statements are the desired state and leave the word out. dbkit builds them leaf
-- by leaf: the parent with ON ONLY, each partition concurrently, then ATTACH PARTITION. Run in psql they give the same
-- indexes, but block writes to every partition until they are done.
-- Needs the owner of the table. PostgreSQL 15 to 18.

-- origin: S0 4.3
-- why: what one user did
-- deviates: the document has concurrently, which PostgreSQL refuses on a partitioned table; shipped without it and
--   built leaf by leaf
create index idx_audit_user
  on audit_logs (user_id);

-- origin: S0 4.3
-- why: who did one thing
-- deviates: the document has concurrently, which PostgreSQL refuses on a partitioned table; shipped without it and
--   built leaf by leaf
create index idx_audit_action
  on audit_logs (action);

-- origin: S0 4.3
-- why: newest entries first, and the entries of a period
-- deviates: the document has concurrently, which PostgreSQL refuses on a partitioned table; shipped without it and
--   built leaf by leaf
create index idx_audit_timestamp
  on audit_logs (created_at desc);
