"""The 24 documented indexes as shipped: complete, built by psql-like execution, and used by the queries they are for."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from psycopg import errors

from dbkit.ephemeral.postgres import PostgresServer
from dbkit.postgres import ddl
from dbkit.postgres.indexes import desired
from tests.live.owned import Owned, fresh, hand_over

# The definitions as the documents have them (SPEC 4): S0 4.3 all CONCURRENTLY, S4 5.1 plain.
DOCUMENT = """
create index concurrently idx_users_email on users (email);
create index concurrently idx_users_created_at on users (created_at desc);
create index concurrently idx_users_status on users (status) where status = 'active';
create index concurrently idx_jobs_company on jobs (company_id);
create index concurrently idx_jobs_location on jobs using gin (location gin_trgm_ops);
create index concurrently idx_jobs_title on jobs using gin (title gin_trgm_ops);
create index concurrently idx_jobs_posted on jobs (posted_at desc);
create index concurrently idx_jobs_active on jobs (id) where status = 'active';
create index concurrently idx_jobs_search on jobs
  using gin (to_tsvector('english', title || ' ' || description || ' ' || company_name));
create index concurrently idx_applications_user on applications (user_id);
create index concurrently idx_applications_job on applications (job_id);
create index concurrently idx_applications_status on applications (status);
create index concurrently idx_applications_created on applications (created_at desc);
create index concurrently idx_resumes_user on resumes (user_id);
create index concurrently idx_resumes_primary on resumes (user_id) where is_primary = true;
create index concurrently idx_sessions_user on sessions (user_id);
create index concurrently idx_sessions_expires on sessions (expires_at);
create index concurrently idx_sessions_token on sessions (token_hash);
create index concurrently idx_audit_user on audit_logs (user_id);
create index concurrently idx_audit_action on audit_logs (action);
create index concurrently idx_audit_timestamp on audit_logs (created_at desc);
create index idx_doc_meta_tenant on document_metadata (tenant_id);
create index idx_audit_tenant_time on audit_log (tenant_id, created_at desc);
create index idx_api_keys_hash on api_keys (key_hash);
"""

# The query of S0 4.4 made to work: the expression of the index, the same configuration, keyset order and a limit.
SEARCH = """
select id, title
from jobs
where to_tsvector('english', coalesce(title, '') || ' ' || coalesce(description, '') || ' ' || coalesce(company_name, ''))
      @@ plainto_tsquery('english', 'quantum engineer')
order by posted_at desc
limit 20
"""

QUERIES = {
    "idx_users_email": "select id, status from users where email = 'user77@example.com'",
    "idx_users_created_at": "select id, email from users order by created_at desc limit 20",
    "idx_users_status": "select count(*) from users where status = 'active'",
    "idx_jobs_company": "select id, title from jobs where company_id = 7",
    "idx_jobs_location": "select id, title from jobs where location ilike '%reykja%'",
    "idx_jobs_title": "select id, title from jobs where title ilike '%quantum%'",
    "idx_jobs_posted": "select id, title from jobs where posted_at < '2026-10-20' order by posted_at desc limit 20",
    "idx_jobs_active": "select id from jobs where status = 'active' and id > 100 order by id limit 20",
    "idx_jobs_search": SEARCH,
    "idx_applications_user": "select u.email, a.id, a.status from users u join applications a on a.user_id = u.id"
    " where u.id = any(array[7, 8, 9])",
    "idx_applications_job": "select count(*) from applications where job_id = 7",
    "idx_applications_status": "select id, user_id from applications where status = 'offer'",
    "idx_applications_created": "select id, status from applications order by created_at desc limit 20",
    "idx_resumes_user": "select id, title from resumes where user_id = 7",
    "idx_resumes_primary": "select id, title from resumes where user_id = 7 and is_primary",
    "idx_sessions_user": "delete from sessions where user_id = 7",
    "idx_sessions_expires": "delete from sessions where expires_at < '2026-10-02'",
    "idx_sessions_token": "select user_id, expires_at from sessions where token_hash = md5('77')",
    "idx_audit_user": "select action, created_at from audit_logs where user_id = 7",
    "idx_audit_action": "select user_id, created_at from audit_logs where action = 'delete'",
    "idx_audit_timestamp": "select user_id, action from audit_logs order by created_at desc limit 20",
    "idx_doc_meta_tenant": "select id, title from document_metadata where tenant_id = 'tenant7'",
    "idx_audit_tenant_time": "select actor, action from audit_log where tenant_id = 'tenant7'"
    " order by created_at desc limit 20",
    "idx_api_keys_hash": "select tenant_id, scopes from api_keys where key_hash = md5('77')",
}

SEED = """
insert into users (email, status, created_at)
select 'user' || n || '@example.com', case when n % 3 = 0 then 'inactive' else 'active' end,
       timestamptz '2026-10-01 00:00:00+00' + n * interval '1 minute'
from generate_series(1, 3000) n;

insert into jobs (company_id, company_name, title, description, location, status, posted_at)
select n % 100, case when n % 2 = 0 then 'Company ' || n % 100 end,
       case when n % 150 = 0 then 'Quantum Engineer' else 'Clerk ' || n end,
       case when n % 4 <> 0 then 'Describes task ' || n end,
       case when n % 200 = 0 then 'Reykjavik' else 'Town ' || n end,
       case when n % 3 = 0 then 'closed' else 'active' end,
       timestamptz '2026-10-01 00:00:00+00' + n * interval '10 minutes'
from generate_series(1, 5000) n;

insert into applications (user_id, job_id, status, created_at)
select n % 3000 + 1, n % 4999 + 1, case when n % 100 = 0 then 'offer' else 'submitted' end,
       timestamptz '2026-10-01 00:00:00+00' + n * interval '1 minute'
from generate_series(1, 9000) n;

insert into resumes (user_id, title, is_primary)
select n % 1000 + 1, 'Resume ' || n, n <= 1000
from generate_series(1, 5000) n;

insert into sessions (user_id, token_hash, expires_at)
select n % 3000 + 1, md5(n::text), timestamptz '2026-10-01 00:00:00+00' + n * interval '1 hour'
from generate_series(1, 5000) n;

insert into audit_logs (user_id, action, created_at)
select n % 500, case when n % 97 = 0 then 'delete' else 'login' end,
       timestamptz '2026-10-01 00:00:00+00' + n * interval '1 hour'
from generate_series(1, 6000) n;

insert into document_metadata (tenant_id, title)
select 'tenant' || n % 50, 'Document ' || n
from generate_series(1, 3000) n;

insert into audit_log (tenant_id, action, created_at)
select 'tenant' || n % 50, 'open', timestamptz '2026-10-01 00:00:00+00' + n * interval '1 hour'
from generate_series(1, 6000) n;

insert into api_keys (tenant_id, name, key_hash)
select 'tenant' || n % 50, 'key ' || n, md5(n::text)
from generate_series(1, 3000) n;
"""


DOCUMENTED = {item.node.index_stmt.idxname: item for item in ddl.parse(DOCUMENT)}
SHIPPED = {wanted.name: wanted for wanted in desired.load()}


def test_exactly_the_documented_indexes_are_shipped():
    assert len(DOCUMENTED) == 24
    assert set(SHIPPED) == set(DOCUMENTED) == set(QUERIES)
    assert {wanted.file for wanted in SHIPPED.values()} == {
        f"sql/indexes/{item.node.index_stmt.relation.relname}.sql" for item in DOCUMENTED.values()
    }


@pytest.mark.parametrize("name", sorted(DOCUMENTED))
def test_a_statement_departs_from_the_document_only_where_it_says_so(name: str):
    wanted, documented = SHIPPED[name], DOCUMENTED[name].node
    assert wanted.why
    assert wanted.origin.startswith("S0 4.3" if documented.index_stmt.concurrent else "S4 5.1")
    assert wanted.file == f"sql/indexes/{wanted.table}.sql"
    (statement,) = ddl.parse(wanted.sql)
    same = ddl.deparse(statement.node) == ddl.deparse(documented)
    assert same == (wanted.deviates == "")


def build_all(connection: psycopg.Connection) -> None:
    for wanted in SHIPPED.values():
        connection.execute(wanted.sql)


@pytest.fixture(scope="module")
def platform(pg: PostgresServer) -> Iterator[Owned]:
    """The platform with rows and all documented indexes, built once; the tests only read or roll back."""
    database = fresh(pg)
    try:
        owned = hand_over(database)
        result = owned.alembic("upgrade", "head")
        assert result.returncode == 0, result.stderr
        with owned.connect() as connection:
            connection.execute(SEED)
            build_all(connection)
            connection.execute("vacuum analyze")
        yield owned
    finally:
        database.close(keep=False)


def used_indexes(connection: psycopg.Connection, query: str) -> set[str]:
    """Names of the indexes in the plan with sequential scans off, that of the partitioned parent for a leaf's."""
    with connection.transaction(force_rollback=True):
        connection.execute("set local enable_seqscan = off")
        (plan,) = connection.execute("explain (format json) " + query).fetchone()
        leaves: list[str] = []
        nodes = [plan[0]["Plan"]]
        while nodes:
            node = nodes.pop()
            nodes += node.get("Plans", [])
            if "Index Name" in node:
                leaves.append(node["Index Name"])
        rows = connection.execute(
            "select coalesce(pg_partition_root(name::regclass), name::regclass)::text from unnest(%s::text[]) name",
            [leaves],
        )
        return {row[0] for row in rows}


def test_all_are_valid_and_none_repeats_another_or_a_constraint(platform: Owned):
    with platform.connect() as connection:
        states = dict(
            connection.execute(
                "select c.relname, i.indisvalid from pg_index i join pg_class c on c.oid = i.indexrelid"
                " where c.relname = any(%s)",
                [sorted(DOCUMENTED)],
            ).fetchall()
        )
        assert states == dict.fromkeys(DOCUMENTED, True)
        twins = connection.execute(
            "select a.indexrelid::regclass::text, b.indexrelid::regclass::text from pg_index a"
            " join pg_index b on b.indrelid = a.indrelid and b.indexrelid > a.indexrelid"
            " and b.indkey::text = a.indkey::text and b.indclass::text = a.indclass::text"
            " and coalesce(pg_get_expr(b.indexprs, b.indrelid), '') = coalesce(pg_get_expr(a.indexprs, a.indrelid), '')"
            " and coalesce(pg_get_expr(b.indpred, b.indrelid), '') = coalesce(pg_get_expr(a.indpred, a.indrelid), '')"
            " where a.indrelid in (select oid from pg_class where relnamespace = 'public'::regnamespace)"
        ).fetchall()
        assert twins == []


def test_every_foreign_key_has_an_index_that_starts_with_it(platform: Owned):
    with platform.connect() as connection:
        keys = connection.execute(
            "select c.conname, exists (select from pg_index i where i.indrelid = c.conrelid and i.indisvalid"
            " and i.indpred is null and i.indkey[0] = c.conkey[1]) from pg_constraint c where c.contype = 'f'"
            " and c.connamespace = 'public'::regnamespace order by 1"
        ).fetchall()
    assert keys == [
        ("applications_job_id_fkey", True),
        ("applications_user_id_fkey", True),
        ("resumes_user_id_fkey", True),
        ("sessions_user_id_fkey", True),
    ]


@pytest.mark.parametrize("name", sorted(QUERIES))
def test_the_query_an_index_is_for_uses_it(platform: Owned, name: str):
    with platform.connect() as connection:
        assert name in used_indexes(connection, QUERIES[name])


def test_search_finds_jobs_with_null_columns_and_the_documents_query_cannot_use_the_index(platform: Owned):
    as_documented = "select id from jobs where to_tsvector('english', title || ' ' || description)"
    with platform.connect() as connection:
        assert len(connection.execute(SEARCH).fetchall()) == 20
        blind = connection.execute(as_documented + " @@ plainto_tsquery('english', 'quantum engineer')").fetchall()
        every = connection.execute("select id from jobs where title = 'Quantum Engineer'").fetchall()
        assert len(blind) < len(every), "the seed has no matching job with a NULL description"
        without_limit = SEARCH.replace("limit 20", "")
        assert {row[0] for row in connection.execute(without_limit)} == {row[0] for row in every}
        query = as_documented + " @@ plainto_tsquery('quantum engineer')"
        assert "idx_jobs_search" not in used_indexes(connection, query)


def test_the_documents_statement_is_refused_on_a_partitioned_table(platform: Owned):
    with platform.connect() as connection:
        connection.execute("create table spare (like audit_logs) partition by range (created_at)")
        try:
            with pytest.raises(errors.FeatureNotSupported, match="partitioned table"):
                connection.execute("create index concurrently spare_user on spare (user_id)")
        finally:
            connection.execute("drop table spare")


@pytest.mark.parametrize("name", ["idx_audit_user", "idx_audit_action", "idx_audit_timestamp", "idx_audit_tenant_time"])
def test_an_index_of_a_partitioned_table_reaches_every_partition(platform: Owned, name: str):
    with platform.connect() as connection:
        counts = connection.execute(
            "select (select count(*) from pg_partition_tree(i.indexrelid)),"
            " (select count(*) from pg_partition_tree(i.indrelid))"
            " from pg_index i where i.indexrelid = %s::regclass",
            [name],
        ).fetchone()
    assert counts is not None
    assert counts[0] == counts[1] > 8
