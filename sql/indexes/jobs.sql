-- jobs: the documented indexes. Runnable in psql as it stands.
-- Needs the owner of the table, and the extension pg_trgm in a schema of the search_path. PostgreSQL 15 to 18.

-- origin: S0 4.3
-- why: lists the jobs of a company
create index concurrently idx_jobs_company
  on jobs (company_id);

-- origin: S0 4.3
-- why: part of a place name, as in location ilike '%berlin%'
create index concurrently idx_jobs_location
  on jobs
  using gin (location gin_trgm_ops);

-- origin: S0 4.3
-- why: part of a title, as in title ilike '%engineer%'
create index concurrently idx_jobs_title
  on jobs
  using gin (title gin_trgm_ops);

-- origin: S0 4.3, 4.4
-- why: newest jobs first, and keyset pagination on posted_at
create index concurrently idx_jobs_posted
  on jobs (posted_at desc);

-- origin: S0 4.3
-- why: counts the active jobs and walks them by id
-- note: the list of active jobs, newest first, reads idx_jobs_posted and filters; (posted_at desc) with the same
--   predicate would serve it directly
create index concurrently idx_jobs_active
  on jobs (id)
  where status = 'active';

-- origin: S0 4.3, 4.4
-- why: full-text search over title, description and company
-- deviates: the document joins the columns without coalesce; shipped with it, because a job with one NULL column
--   would have a NULL document and never be found. The query of S0 4.4 leaves company_name out and names no text
--   search configuration, so it can use neither form; a query has to repeat the expression of this index and end in
--   @@ plainto_tsquery('english', $1)
create index concurrently idx_jobs_search
  on jobs
  using gin (
    to_tsvector(
      'english',
      coalesce(title, '') || ' ' || coalesce(description, '') || ' ' || coalesce(company_name, '')
    )
  );
