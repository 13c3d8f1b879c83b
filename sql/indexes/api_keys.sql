-- api_keys: the documented index. Runnable in psql as it stands.
-- Needs the owner of the table. PostgreSQL 15 to 18.

-- origin: S4 5.1
-- why: finds the key of a request by its digest
-- deviates: the document has a plain create index, which blocks writes until it is done; shipped with concurrently
-- note: where api_keys.key_hash has a UNIQUE constraint, its own index does this work and this one is a duplicate
create index concurrently idx_api_keys_hash
  on api_keys (key_hash);
