-- dbkit's own state in schema `dbkit`: jobs, their runs, and what was decided and why. Made on first use.
-- Rights: CREATE on the database. No row holds a password or an address with one.
create schema if not exists dbkit;

comment on schema dbkit is 'state of the command dbkit: jobs, runs, history; may be dropped when no job is unfinished';

create table if not exists dbkit.job (
  id bigint generated always as identity primary key,
  kind text not null,
  key text not null,
  work text not null default '',
  status text not null check (status in ('running', 'paused', 'failed', 'done', 'aborted')),
  spec jsonb not null,
  cursor jsonb not null default '{}',
  done double precision not null default 0,
  total double precision,
  note text not null default '',
  runner text not null,
  requested text not null default '' check (requested in ('', 'pause', 'abort')),
  started timestamptz not null default now(),
  updated timestamptz not null default now()
);

comment on column dbkit.job.work is 'what the job is to achieve: the same work asked for again continues the same job';

create table if not exists dbkit.run (
  id bigint generated always as identity primary key,
  job bigint not null references dbkit.job on delete cascade,
  role text not null default session_user,
  runner text not null,
  client text not null default coalesce(host(inet_client_addr()), 'local socket'),
  backend_pid int not null default pg_backend_pid(),
  tool text not null,
  plan_hash text not null,
  started timestamptz not null default now(),
  finished timestamptz,
  outcome text not null default 'running',
  note text not null default ''
);

create index if not exists run_job on dbkit.run (job);

create table if not exists dbkit.job_event (
  id bigint generated always as identity primary key,
  job bigint not null references dbkit.job on delete cascade,
  run bigint references dbkit.run on delete cascade,
  at timestamptz not null default clock_timestamp(),
  event text not null,
  detail jsonb not null default '{}'
);

create index if not exists job_event_job on dbkit.job_event (job);

-- Who changed what, when, with which plan, and whom it had to wait for.
create or replace view dbkit.run_history as
select
  r.id,
  r.job,
  j.kind,
  r.role,
  r.runner,
  r.client,
  r.tool,
  r.plan_hash,
  r.started,
  r.finished,
  r.outcome,
  r.note,
  (
    select coalesce(sum((e.detail ->> 'waited')::double precision), 0)
    from dbkit.job_event e
    where e.run = r.id
  ) as waited_seconds,
  (
    select coalesce(jsonb_agg(distinct e.detail -> 'blocker'), '[]')
    from dbkit.job_event e
    where e.run = r.id
      and e.detail ? 'blocker'
  ) as blockers
from dbkit.run r
join dbkit.job j on j.id = r.job;

-- Units of revisions that were begun and have not ended: gone once a revision has. Written in the unit's own transaction.
create table if not exists dbkit.migration_part (
  revision text not null,
  direction text not null check (direction in ('upgrade', 'downgrade')),
  part int not null,
  fingerprint text not null,
  run bigint,
  at timestamptz not null default clock_timestamp(),
  primary key (revision, direction, part)
);
