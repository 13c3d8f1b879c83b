-- dbkit's own state: one row a job, and what was decided and why. Made on first use by the role that runs the job.
create schema if not exists dbkit;

create table if not exists dbkit.job (
  id bigint generated always as identity primary key,
  kind text not null,
  key text not null,
  status text not null,
  spec jsonb not null,
  cursor jsonb not null default '{}',
  done double precision not null default 0,
  total double precision,
  note text not null default '',
  runner text not null,
  requested text not null default '',
  started timestamptz not null default now(),
  updated timestamptz not null default now()
);

create table if not exists dbkit.job_event (
  id bigint generated always as identity primary key,
  job bigint not null references dbkit.job on delete cascade,
  at timestamptz not null default clock_timestamp(),
  event text not null,
  detail jsonb not null default '{}'
);

create index if not exists job_event_job on dbkit.job_event (job);
