-- audit_log: the documented index of a table partitioned by month and tenant; not the audit_logs of S0. PostgreSQL
-- refuses CREATE INDEX CONCURRENTLY on a partitioned table (0A000), so this statement is the desired state. dbkit
-- builds it leaf by leaf: the parents with ON ONLY, each leaf concurrently, then ATTACH PARTITION from the bottom up.
-- Run in psql it gives the same index, but blocks writes to every partition until it is done.
-- Needs the owner of the table. PostgreSQL 15 to 18.

-- origin: S4 5.1
-- why: the newest entries of a tenant
-- note: the document runs this statement as it stands, which blocks writes to every partition; dbkit builds the same
--   index leaf by leaf
create index idx_audit_tenant_time
  on audit_log (tenant_id, created_at desc);
