-- Fills the documented platform with some hundred thousand rows, the same ones on every machine.
-- Needs the baseline of migrations/ and its owner. Runnable in psql; takes some ten seconds.
select setseed(0.42);

insert into users (email, full_name, password_hash, status, created_at)
select
  'user' || n || '@example.org',
  'User ' || n,
  md5(n::text),
  (array['active', 'active', 'active', 'inactive', 'pending'])[1 + n % 5],
  timestamptz '2026-11-01 00:00+00' - n * interval '3 minutes'
from generate_series(1, 80000) n;

insert into jobs (company_id, company_name, title, description, location, salary_min, salary_max, status, posted_at)
select
  1 + n % 900,
  'Company ' || (1 + n % 900),
  (array['Senior', 'Junior', 'Lead', 'Staff'])[1 + n % 4] || ' '
    || (array['database engineer', 'data analyst', 'platform engineer', 'product designer', 'nurse'])[1 + n % 5],
  'We look for somebody who ' || md5(n::text) || ' and likes ' || md5((n * 7)::text)
    || ' in a team of ' || n % 40 || ' people who build ' || md5((n * 11)::text),
  (array['Berlin', 'Lisbon', 'Oslo', 'Graz', 'Utrecht', 'Porto'])[1 + n % 6],
  40000 + n % 200 * 100,
  60000 + n % 200 * 100,
  (array['active', 'draft', 'closed', 'active', 'expired', 'paused'])[1 + n % 6],
  timestamptz '2026-11-01 00:00+00' - n * interval '2 minutes'
from generate_series(1, 90000) n;

insert into applications (user_id, job_id, status, cover_letter, created_at)
select
  1 + (n * 7) % 80000,
  1 + (n * 13) % 90000,
  (array['submitted', 'reviewing', 'rejected', 'interview'])[1 + n % 4],
  'Dear team, ' || md5(n::text),
  timestamptz '2026-11-01 00:00+00' - n * interval '1 minute'
from generate_series(1, 160000) n;

insert into resumes (user_id, title, file_key, is_primary)
select 1 + n % 80000, 'Resume ' || n, md5(n::text), n <= 80000
from generate_series(1, 100000) n;

insert into sessions (user_id, token_hash, expires_at)
select 1 + n % 80000, md5('token' || n), timestamptz '2026-11-01 00:00+00' + n * interval '1 minute'
from generate_series(1, 90000) n;

insert into audit_logs (user_id, action, resource_type, created_at)
select
  1 + n % 80000,
  (array['login', 'logout', 'apply', 'view'])[1 + n % 4],
  'job',
  timestamptz '2026-09-15 00:00+00' + n * interval '2 minutes'
from generate_series(1, 140000) n;

insert into document_metadata (tenant_id, title, status)
select 'tenant-' || n % 50, 'Document ' || n, 'indexed'
from generate_series(1, 40000) n;

insert into audit_log (tenant_id, actor, action, created_at)
select 'tenant-' || n % 50, 'user' || n, 'read', timestamptz '2026-10-01 00:00+00' + n * interval '2 minutes'
from generate_series(1, 60000) n;

insert into api_keys (tenant_id, name, key_hash)
select 'tenant-' || n % 50, 'key ' || n, md5('key' || n)
from generate_series(1, 10000) n;

analyze;
