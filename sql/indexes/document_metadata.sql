-- document_metadata: the documented index. Runnable in psql as it stands.
-- Needs the owner of the table. PostgreSQL 15 to 18.

-- origin: S4 5.1
-- why: the documents of a tenant; row-level security adds this condition to every query
-- deviates: the document has a plain create index, which blocks writes until it is done; shipped with concurrently
create index concurrently idx_doc_meta_tenant
  on document_metadata (tenant_id);
