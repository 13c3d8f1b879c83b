"""The documented platform with rows, and the statements its applications run, each with the advice to expect."""

from __future__ import annotations

import psycopg

from dbkit.ephemeral import postgres_databases
from dbkit.ephemeral.postgres import PostgresServer
from dbkit.postgres.advise.advise import Answer, Question, advise
from dbkit.settings import from_address
from tests.fixtures.databases import build_platform, platform_key

SEED = """
insert into users (email, full_name, status, password_hash)
select 'user' || n || '@example.org', 'User ' || n, case when n % 50 = 0 then 'pending' else 'active' end, 'x'
from generate_series(1, 20000) n;
insert into jobs (company_id, company_name, title, description, location, status, posted_at)
select n % 400, 'Company ' || n % 400, 'Engineer ' || md5(n::text), md5((n * 7)::text),
       (array['Berlin', 'Lisbon', 'Oslo'])[1 + n % 3], case when n % 4 = 0 then 'closed' else 'active' end,
       timestamptz '2026-10-01 00:00+00' + n * interval '2 minutes'
from generate_series(1, 30000) n;
insert into applications (user_id, job_id, status, created_at)
select 1 + n * 7 % 20000, 1 + n * 13 % 30000, (array['submitted', 'rejected'])[1 + n % 2],
       timestamptz '2026-10-01 00:00+00' + n * interval '1 minute'
from generate_series(1, 40000) n;
insert into resumes (user_id, title, is_primary)
select 1 + n % 20000, 'Resume ' || n, n % 40 = 0 from generate_series(1, 30000) n;
insert into sessions (user_id, token_hash, expires_at)
select 1 + n % 20000, md5(n::text), timestamptz '2026-10-01 00:00+00' + n * interval '1 minute'
from generate_series(1, 30000) n;
insert into audit_logs (user_id, action, created_at)
select n % 5000, (array['login', 'view'])[1 + n % 2], timestamptz '2026-10-01 00:00+00' + n * interval '2 minutes'
from generate_series(1, 40000) n;
vacuum analyze;
"""

# Statement, and the advice that must be there for it: what follows ON. None: it needs no index.
WORKLOAD: dict[str, str | None] = {
    "select * from users where email = $1": "public.users (email)",
    "select * from users where id = $1": None,
    "select * from users where lower(full_name) = lower($1)": "public.users (lower(full_name))",
    "select status, count(*) from users group by status": None,
    "select * from jobs where company_id = $1 order by posted_at desc limit 20":
        "public.jobs (company_id, posted_at)",
    "select * from jobs where title ilike '%quantum%'": "public.jobs using gin (title public.gin_trgm_ops)",
    "select * from jobs where (posted_at, id) < ($1, $2) order by posted_at desc, id desc limit 20":
        "public.jobs (posted_at, id)",
    "select * from applications where user_id = $1 order by created_at desc limit 10": "public.applications (user_id)",
    "select max(created_at) from applications where job_id = $1": "public.applications (job_id)",
    "select u.email from users u join applications a on a.user_id = u.id where a.job_id = $1":
        "public.applications (job_id)",
    "update applications set status = $1 where job_id = $2": "public.applications (job_id)",
    "select * from resumes where is_primary and title = $1": "public.resumes (title) where is_primary",
    "select * from sessions where token_hash = :token": "public.sessions (token_hash)",
    "delete from sessions where expires_at < '2026-10-01 02:00+00'": "public.sessions (expires_at)",
    "select * from audit_logs where user_id = %(user)s order by created_at desc limit 50":
        "public.audit_logs (user_id)",
    "select count(*) from audit_logs": None,
    "select * from jobs j where exists (select from applications a where a.job_id = j.id) and j.id = $1":
        "public.applications (job_id)",
    "insert into users (email, full_name, password_hash) values ($1, $2, $3)": None,
    "select * from jobs limit 10": None,
}  # fmt: skip


def build(dsn: str) -> None:
    build_platform(dsn)
    with psycopg.connect(dsn, autocommit=True) as connection:
        for statement in SEED.split(";"):
            if statement.strip():
                connection.execute(statement.encode())


def template(server: PostgresServer) -> str:
    """The seeded platform, built once per server."""
    return postgres_databases.template(server, postgres_databases.key_of(platform_key(), SEED, "advice"), build)


def ask(dsn: str, *statements: str, **options: object) -> Answer:
    return advise(from_address(dsn), Question(sql=(";\n".join(statements), "app.sql"), **options))


def shapes(answer: Answer) -> set[str]:
    """What follows ON in each proposal."""
    return {p.candidate.shape for p in answer.proposals}
