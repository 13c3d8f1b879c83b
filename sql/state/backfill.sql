-- Where each backfill stands, its limits, what was verified, what was accepted, and what the gate has seen. Part of
-- schema `dbkit`; made when it is first needed, so that a schema of an older release is brought up to date.
-- Rights: CREATE on schema dbkit.
create table if not exists dbkit.backfill (
  id bigint generated always as identity primary key,
  root oid not null,
  work text not null,
  change text not null,
  part int not null,
  rel oid not null,
  name text not null,
  by text not null check (by in ('key', 'ctid')),
  key text[] not null default '{}',
  types text[] not null default '{}',
  cur text[],
  fin text[],
  filenode oid,
  seen double precision not null default 0,
  total double precision not null default 0,
  rows bigint not null default 0,
  batches bigint not null default 0,
  restarts int not null default 0,
  finished boolean not null default false,
  updated timestamptz not null default now(),
  unique (root, work, part)
);

comment on table dbkit.backfill is
  'one range of one table: rows up to cur are done, fin is the fixed end; written in the transaction of each batch';

create table if not exists dbkit.job_limit (
  job bigint not null references dbkit.job on delete cascade,
  name text not null,
  value text not null,
  set_by text not null default session_user,
  at timestamptz not null default clock_timestamp(),
  primary key (job, name)
);

comment on table dbkit.job_limit is 'limits of a job, read again by its runner while it runs: `dbkit job limit`';

create table if not exists dbkit.verification (
  id bigint generated always as identity primary key,
  change text not null,
  rel oid not null,
  name text not null,
  tie text not null,
  rows bigint not null,
  differing bigint not null,
  verified boolean not null,
  note text not null default '',
  role text not null default session_user,
  seconds double precision not null default 0,
  at timestamptz not null default clock_timestamp()
);

create index if not exists verification_change on dbkit.verification (change);

create table if not exists dbkit.gate_use (
  change text not null,
  statement text not null,
  query text not null,
  how text not null,
  calls bigint not null,
  first_seen timestamptz not null,
  last_used timestamptz,
  primary key (change, statement)
);

comment on table dbkit.gate_use is
  'statements of pg_stat_statements that use the old shape of a change; last_used: when calls were last seen to grow';

create table if not exists dbkit.gate_watch (
  change text primary key,
  since timestamptz not null,
  looked timestamptz not null,
  stats_reset timestamptz,
  dealloc bigint not null,
  note text not null default ''
);

create table if not exists dbkit.gate_accept (
  change text not null,
  what text not null,
  who text not null,
  role text not null default session_user,
  at timestamptz not null default clock_timestamp(),
  primary key (change, what)
);
