"""Every table the documents name

Revision ID: 0001
Revises:
Created: 2026-11-23 00:00:00 UTC

S0 is the job-application platform, S4 the document search. The documents name tables, indexes and how two of the
tables are partitioned; columns beyond those are what such a platform needs.

The secondary indexes are not here: `sql/indexes/` holds them and dbkit builds them without blocking writes. So that
none of the documented ones duplicates the index of a constraint, four rules a platform might want are left out, each
said in the comment of its table: users.email, sessions.token_hash, api_keys.key_hash and (user_id, job_id) of
applications are not UNIQUE.

Row-level security (S4 3.4) shows a role the rows of the tenant in the setting app.tenant_id, which the application
sets per transaction (`set local app.tenant_id = '...'`, safe behind PgBouncer in transaction mode); no setting, no
rows. It is not FORCEd: the owner sees all tenants, or a backfill by the owner would quietly skip the rows it may not
see. The application therefore must not connect as the owner.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

phase = "expand"

# Fixed, so that the same revision makes the same database on any day. Rows outside these months go to the default
# partition; create a month before its rows arrive: afterwards the default partition must be emptied of them first.
MONTHS = ["2026-10", "2026-11", "2026-12", "2027-01", "2027-02", "2027-03", "2027-04"]
TENANT_BUCKETS = 2


def upgrade() -> None:
    create_trigram_extension()
    create_users()
    create_jobs()
    create_applications()
    create_resumes()
    create_sessions()
    create_audit_logs()
    create_document_metadata()
    create_audit_log()
    create_api_keys()


def downgrade() -> None:
    """Drops the tables with their rows and indexes. pg_trgm stays: it may have been there first, others may use it."""
    for table in (
        "api_keys",
        "audit_log",
        "document_metadata",
        "audit_logs",
        "sessions",
        "resumes",
        "applications",
        "jobs",
        "users",
    ):
        op.drop_table(table)


def create_trigram_extension() -> None:
    """gin_trgm_ops for idx_jobs_location and idx_jobs_title. Trusted: the owner of the database may create it."""
    op.execute("create extension if not exists pg_trgm")
    op.execute(
        """
do $$
begin
  if not exists (select from pg_opclass where opcname = 'gin_trgm_ops' and pg_opclass_is_visible(oid)) then
    raise warning
      'pg_trgm is in schema %, which is not on the search_path: idx_jobs_location and idx_jobs_title cannot be built.',
      (select extnamespace::regnamespace from pg_extension where extname = 'pg_trgm')
      using hint = 'Add that schema to the search_path of the database (alter database ... set search_path).';
  end if;
end
$$"""
    )


def create_users() -> None:
    op.create_table(
        "users",
        numbered_id(),
        sa.Column("email", sa.Text, nullable=False),
        sa.Column("full_name", sa.Text),
        sa.Column("password_hash", sa.Text),
        sa.Column("status", sa.Text, nullable=False, server_default="active"),
        moment("created_at"),
        moment("updated_at"),
        sa.Column("last_login_at", sa.TIMESTAMP(timezone=True)),
        sa.PrimaryKeyConstraint("id", name="users_pkey"),
        one_of("users", "status", "pending", "active", "inactive", "suspended", "deleted"),
        comment="S0 4.3: accounts. email is not UNIQUE by constraint: idx_users_email would repeat its index.",
    )


def create_jobs() -> None:
    op.create_table(
        "jobs",
        numbered_id(),
        sa.Column("company_id", sa.BigInteger, nullable=False),
        sa.Column("company_name", sa.Text),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("description", sa.Text),
        sa.Column("location", sa.Text),
        sa.Column("salary_min", sa.Integer),
        sa.Column("salary_max", sa.Integer),
        sa.Column("status", sa.Text, nullable=False, server_default="draft"),
        moment("posted_at"),
        moment("created_at"),
        moment("updated_at"),
        sa.PrimaryKeyConstraint("id", name="jobs_pkey"),
        one_of("jobs", "status", "draft", "active", "paused", "closed", "expired"),
        sa.CheckConstraint("salary_min <= salary_max", name="jobs_salary_check"),
        comment="S0 4.3: openings. The documents name no companies table, so company_id has no foreign key.",
    )


def create_applications() -> None:
    op.create_table(
        "applications",
        numbered_id(),
        sa.Column("user_id", sa.BigInteger, nullable=False),
        sa.Column("job_id", sa.BigInteger, nullable=False),
        sa.Column("status", sa.Text, nullable=False, server_default="submitted"),
        sa.Column("cover_letter", sa.Text),
        moment("created_at"),
        moment("updated_at"),
        sa.PrimaryKeyConstraint("id", name="applications_pkey"),
        references_user("applications"),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="applications_job_id_fkey"),
        one_of(
            "applications",
            "status",
            "pending",
            "submitted",
            "reviewing",
            "interview",
            "offer",
            "accepted",
            "rejected",
            "withdrawn",
        ),
        comment="S0 4.3: a user applies for a job. UNIQUE (user_id, job_id) is left out: it would make "
        "idx_applications_user redundant.",
    )


def create_resumes() -> None:
    op.create_table(
        "resumes",
        numbered_id(),
        sa.Column("user_id", sa.BigInteger, nullable=False),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("file_key", sa.Text),
        sa.Column("is_primary", sa.Boolean, nullable=False, server_default=sa.false()),
        moment("created_at"),
        moment("updated_at"),
        sa.PrimaryKeyConstraint("id", name="resumes_pkey"),
        references_user("resumes"),
        comment="S0 4.3: resumes of a user, one of them marked primary by the application.",
    )


def create_sessions() -> None:
    op.create_table(
        "sessions",
        numbered_id(),
        sa.Column("user_id", sa.BigInteger, nullable=False),
        sa.Column(
            "token_hash", sa.Text, nullable=False, comment="a digest of the token; the token itself is not stored"
        ),
        sa.Column("ip_address", postgresql.INET),
        sa.Column("user_agent", sa.Text),
        moment("created_at"),
        sa.Column("expires_at", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="sessions_pkey"),
        references_user("sessions"),
        comment="S0 4.3: logins. token_hash is not UNIQUE by constraint: idx_sessions_token would repeat its index.",
    )


def create_audit_logs() -> None:
    # A sequence instead of an identity column: partitioned tables have those from PostgreSQL 17 only.
    op.execute("create sequence audit_logs_id_seq")
    op.create_table(
        "audit_logs",
        sa.Column("id", sa.BigInteger, nullable=False, server_default=sa.text("nextval('audit_logs_id_seq')")),
        sa.Column("user_id", sa.BigInteger),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("resource_type", sa.Text),
        sa.Column("resource_id", sa.Text),
        sa.Column("ip_address", postgresql.INET),
        sa.Column("details", postgresql.JSONB, nullable=False, server_default="{}"),
        moment("created_at"),
        sa.PrimaryKeyConstraint("id", "created_at", name="audit_logs_pkey"),
        comment="S0 4.3: who did what, partitioned by month. No foreign key: an entry outlives its user.",
        postgresql_partition_by="range (created_at)",
    )
    op.execute("alter sequence audit_logs_id_seq owned by audit_logs.id")
    for month in MONTHS:
        op.execute(f"create table audit_logs_{suffix(month)} partition of audit_logs {bounds(month)}")
    op.execute("create table audit_logs_default partition of audit_logs default")


def create_document_metadata() -> None:
    op.create_table(
        "document_metadata",
        random_id(),
        tenant(),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("content_type", sa.Text),
        sa.Column("size_bytes", sa.BigInteger),
        sa.Column("checksum", sa.Text),
        sa.Column("status", sa.Text, nullable=False, server_default="pending"),
        sa.Column("attributes", postgresql.JSONB, nullable=False, server_default="{}"),
        moment("created_at"),
        moment("updated_at"),
        sa.PrimaryKeyConstraint("id", name="document_metadata_pkey"),
        tenant_is_named("document_metadata"),
        sa.CheckConstraint("size_bytes >= 0", name="document_metadata_size_bytes_check"),
        one_of("document_metadata", "status", "pending", "indexed", "failed", "deleted"),
        comment="S4 5.1: documents whose text is in Elasticsearch. Row-level security by tenant (S4 3.4).",
    )
    separate_tenants("document_metadata", "insert", "update", "delete")


def create_audit_log() -> None:
    op.create_table(
        "audit_log",
        random_id(),
        tenant(),
        sa.Column("actor", sa.Text),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("resource", sa.Text),
        sa.Column("details", postgresql.JSONB, nullable=False, server_default="{}"),
        moment("created_at"),
        # The columns of both partition levels must be in the key.
        sa.PrimaryKeyConstraint("id", "created_at", "tenant_id", name="audit_log_pkey"),
        tenant_is_named("audit_log"),
        comment="S4 1.1, 5.1: who did what in a tenant, partitioned by month and then by tenant, append-only for "
        "applications. Row-level security by tenant (S4 3.4).",
        postgresql_partition_by="range (created_at)",
    )
    leaves = ["audit_log_default"]
    for month in MONTHS:
        branch = f"audit_log_{suffix(month)}"
        op.execute(f"create table {branch} partition of audit_log {bounds(month)} partition by hash (tenant_id)")
        for bucket in range(TENANT_BUCKETS):
            op.execute(
                f"create table {branch}_{bucket} partition of {branch} "
                f"for values with (modulus {TENANT_BUCKETS}, remainder {bucket})"
            )
        leaves += [branch, *(f"{branch}_{bucket}" for bucket in range(TENANT_BUCKETS))]
    op.execute("create table audit_log_default partition of audit_log default")
    # A partition read by its own name does not ask the policies of its parent. With none of its own it shows nothing.
    for leaf in leaves:
        op.execute(f"alter table {leaf} enable row level security")
    separate_tenants("audit_log", "insert")


def create_api_keys() -> None:
    op.create_table(
        "api_keys",
        random_id(),
        tenant(),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("key_hash", sa.Text, nullable=False, comment="a digest of the key; the key itself is not stored"),
        sa.Column("scopes", postgresql.ARRAY(sa.Text), nullable=False, server_default="{}"),
        moment("created_at"),
        sa.Column("expires_at", sa.TIMESTAMP(timezone=True)),
        sa.Column("last_used_at", sa.TIMESTAMP(timezone=True)),
        sa.Column("revoked_at", sa.TIMESTAMP(timezone=True)),
        sa.PrimaryKeyConstraint("id", name="api_keys_pkey"),
        tenant_is_named("api_keys"),
        comment="S4 5.1: keys of a tenant. key_hash is not UNIQUE by constraint: idx_api_keys_hash would repeat its "
        "index. Row-level security by tenant (S4 3.4).",
    )
    separate_tenants("api_keys", "insert", "update", "delete")
    # The tenant is not known before the key is: whoever presents a key's digest may read that one row.
    op.execute(
        "create policy api_keys_presented on api_keys for select "
        "using (key_hash = nullif(current_setting('app.api_key_hash', true), ''))"
    )


def separate_tenants(table: str, *writes: str) -> None:
    """A policy for reading and one for each kind of write; a write without a policy is refused."""
    # nullif: after a transaction that SET LOCAL it, the setting is '' and not null in the rest of the session.
    own = "(tenant_id = nullif(current_setting('app.tenant_id', true), ''))"
    clauses = {
        "insert": f"with check {own}",
        "update": f"using {own} with check {own}",
        "delete": f"using {own}",
    }
    op.execute(f"alter table {table} enable row level security")
    op.execute(f"create policy {table}_read on {table} for select using {own}")
    for write in writes:
        op.execute(f"create policy {table}_{write} on {table} for {write} {clauses[write]}")


def numbered_id() -> sa.Column[int]:
    return sa.Column("id", sa.BigInteger, sa.Identity(always=True), nullable=False)


def random_id() -> sa.Column[str]:
    return sa.Column("id", sa.Uuid, nullable=False, server_default=sa.func.gen_random_uuid())


def tenant() -> sa.Column[str]:
    return sa.Column("tenant_id", sa.Text, nullable=False)


def moment(name: str) -> sa.Column[object]:
    return sa.Column(name, sa.TIMESTAMP(timezone=True), nullable=False, server_default=sa.func.now())


def one_of(table: str, column: str, *values: str) -> sa.CheckConstraint:
    """A check and not an enum: a value can be taken away again without rewriting the type."""
    listed = ", ".join(f"'{value}'" for value in values)
    return sa.CheckConstraint(f"{column} in ({listed})", name=f"{table}_{column}_check")


def tenant_is_named(table: str) -> sa.CheckConstraint:
    return sa.CheckConstraint("tenant_id <> ''", name=f"{table}_tenant_id_check")


def references_user(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=f"{table}_user_id_fkey", ondelete="CASCADE")


def suffix(month: str) -> str:
    """2026-11 -> y2026m11"""
    year, number = month.split("-")
    return f"y{year}m{number}"


def bounds(month: str) -> str:
    """The month in UTC, whatever the TimeZone of the session that runs this."""
    year, number = map(int, month.split("-"))
    following = f"{year + number // 12}-{number % 12 + 1:02}"
    return f"for values from ('{month}-01 00:00:00+00') to ('{following}-01 00:00:00+00')"
