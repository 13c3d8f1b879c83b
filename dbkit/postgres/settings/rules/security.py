"""Security: encryption, passwords, what everybody may do, and whether tenants are kept apart."""

from __future__ import annotations

from dbkit.model import Severity
from dbkit.postgres.indexes.rules.declare import Limits
from dbkit.postgres.settings.rules.declare import Change, Verdict, Verdicts, identifier, place, setting_rule
from dbkit.postgres.settings.scene import Scene, Unseen

CATEGORY = "security"


def _is_open(scene: Scene) -> bool:
    """Whether the server listens beyond its own machine."""
    addresses = [a.strip().lower() for a in scene.text("listen_addresses").split(",") if a.strip()]
    return any(a not in ("localhost", "127.0.0.1", "::1") for a in addresses)


@setting_rule(
    "tls-off",
    Severity.WARN,
    CATEGORY,
    ok="Connections can be encrypted",
    bad="ssl = off",
    good="ssl = on",
)
def tls_off(scene: Scene) -> Verdicts:
    """ssl is off: passwords' proofs and all data cross the network in the clear.

    Why: S4 3.2 asks for TLS everywhere, and S0's databases are on hosts of their own (auth-db, users-db, jobs-db).

    Fix: ssl = on with ssl_cert_file and ssl_key_file (a reload is enough), `hostssl` in pg_hba.conf, and
    sslmode=verify-full at the clients. Without the files the server does not start: put them there first.

    Not reported when: it is on. An error when the server listens on more than its own machine.

    See: S4 3.2.
    """
    if not scene.on("ssl"):
        wide = _is_open(scene)
        addresses = f", and the server listens on {scene.text('listen_addresses')}" if wide else ""
        yield Verdict(
            f"ssl is off{addresses}",
            "ssl",
            severity=Severity.ERROR if wide else None,
            location=place(scene, "ssl"),
            fix="ssl = on  # after server.crt and server.key are there: without them the server does not start",
            kind="conf",
        )


@setting_rule(
    "tls-outdated",
    Severity.WARN,
    CATEGORY,
    ok="Only TLS versions that are considered safe are spoken",
    bad="ssl_min_protocol_version = 'TLSv1'",
    good="ssl_min_protocol_version = 'TLSv1.2'",
)
def tls_outdated(scene: Scene) -> Verdicts:
    """TLS 1.0 or 1.1 is allowed.

    Why: both are broken and forbidden by most rules a company has to keep (RFC 8996).

    Fix: ssl_min_protocol_version = 'TLSv1.2', which is the default.

    Not reported when: it is TLSv1.2 or TLSv1.3.

    See: S4 3.2.
    """
    value = scene.text("ssl_min_protocol_version")
    if value in ("TLSv1", "TLSv1.1", ""):
        yield Verdict(
            f"ssl_min_protocol_version is {value or 'not set'}: TLS 1.0 and 1.1 are allowed",
            "ssl_min_protocol_version",
            changes=(Change("ssl_min_protocol_version", "TLSv1.2"),),
            location=place(scene, "ssl_min_protocol_version"),
        )


@setting_rule(
    "password-md5",
    Severity.WARN,
    CATEGORY,
    ok="New passwords are stored as SCRAM",
    bad="password_encryption = md5",
    good="password_encryption = scram-sha-256",
    equivalents={"postgresqltuner": ("password_encryption", "password=username")},
)
def password_md5(scene: Scene) -> Verdicts:
    """Passwords are stored, or will be stored, as MD5.

    Why: an MD5 hash is as good as the password to whoever reads it; PgBouncer is told scram-sha-256 (S0 4.2), which
    needs SCRAM secrets. From 18 on MD5 is deprecated.

    Fix: password_encryption = scram-sha-256, then let each role set its password again.

    Not reported when: it is scram-sha-256. Stored hashes are seen by superusers only.

    See: S0 4.2.
    """
    if scene.text("password_encryption") != "scram-sha-256":
        yield Verdict(
            f"password_encryption is {scene.text('password_encryption')}: new passwords are stored as MD5",
            "password_encryption",
            changes=(Change("password_encryption", "scram-sha-256"),),
            location=place(scene, "password_encryption"),
        )
    if not scene.live:
        return
    for row in scene.rows("md5_passwords"):
        own = ", and it is the role's own name" if row["is_name"] else ""
        yield Verdict(
            f"the password of role {row['role']} is stored as MD5{own}",
            row["role"],
            severity=Severity.ERROR if row["is_name"] else None,
            fix=f"set password_encryption = 'scram-sha-256'; \\password {identifier(row['role'])}",
            key="stored",
        )


@setting_rule(
    "public-may-create",
    Severity.WARN,
    CATEGORY,
    ok="Not everybody may create in a schema, or read tables",
    bad="""
    -- until 14 this was the default
    grant create on schema public to public;
    create table t (a int);
    grant select, insert on t to public;
    """,
    good="""
    -- rights go to roles
    revoke create on schema public from public;
    create table t (a int);
    """,
    equivalents={"splinter": ("public schema",)},
)
def public_may_create(scene: Scene) -> Verdicts:
    """Everybody (PUBLIC) may create objects in a schema, or read or write a table.

    Why: whoever may create in a schema of the search path can plant a function that another role then calls
    (CVE-2018-1058); 15 took that right away for new databases, an upgraded one still has it.

    Fix: the finding has the REVOKE; grant to the roles that need it first.

    Not reported when: rights are granted to roles only. Tables of extensions are left out; a table is an info.

    See: S4 3.4.
    """
    for row in scene.rows("public_rights"):
        name = identifier(row["name"]) if row["kind"] == "schema" else row["name"]
        yield Verdict(
            f"everybody may {row['right']} {'in schema' if row['kind'] == 'schema' else 'on'} {row['name']}",
            row["name"],
            severity=Severity.INFO if row["kind"] == "table" else None,
            fix=f"revoke {row['right']} on {row['kind']} {name} from public;",
        )


class TenantLimits(Limits):
    """Knobs of pg.tenant-not-separated."""

    columns: tuple[str, ...] = ("tenant_id",)
    """The columns that make a table a tenants' table."""


@setting_rule(
    "tenant-not-separated",
    Severity.WARN,
    CATEGORY,
    ok="Row-level security keeps tenants apart",
    bad="""
    -- no row-level security
    create table documents (id bigint primary key, tenant_id int not null);
    """,
    good="""
    -- row-level security, for the owner too
    create table documents (id bigint primary key, tenant_id int not null);
    alter table documents enable row level security;
    alter table documents force row level security;
    create policy tenant on documents using (tenant_id = current_setting('app.tenant')::int);
    """,
    limits=TenantLimits,
    equivalents={"splinter": ("rls_disabled_in_public", "policy_exists_rls_disabled", "rls_enabled_no_policy")},
)
def tenant_not_separated(scene: Scene, limits: TenantLimits) -> Verdicts:
    """A table with a tenant column has no row-level security, or one that does not bind its owner.

    Why: S4 3.4 wants row-level security per tenant: a forgotten WHERE in the application then shows nothing instead of
    everything. The owner of a table passes by its policies unless they are forced.

    Fix: enable and force row level security and create a policy; with transaction pooling the tenant goes in by
    `set local` in each transaction.

    Not reported when: it is enabled, forced, and there is a policy; partitions follow their parent when read through
    it. Other tenant columns: `columns` in the policy.

    See: S4 3.4.
    """
    for row in scene.rows("tenant_tables"):
        column = next((c for c in limits.columns if c in row["columns"]), None)
        if column is None or (row["enabled"] and row["forced"] and row["policies"]):
            continue
        if not row["enabled"]:
            words = f"{row['name']} has {column}, but no row-level security"
            words += f" ({row['policies']} policies wait for it)" if row["policies"] else ""
        elif not row["policies"]:
            words = f"{row['name']} has row-level security without a policy: only its owner and superusers see rows"
        else:
            words = f"{row['name']} does not force row-level security: its owner {row['owner']} passes by the policies"
        lines = [f"alter table {row['name']} {verb} row level security;" for verb in ("enable", "force")]
        if not row["policies"]:
            lines.append(f"-- with a policy, such as: using ({column} = current_setting('app.tenant')::...)")
        yield Verdict(
            words,
            row["name"],
            severity=Severity.INFO if row["enabled"] else None,
            fix="\n".join(lines),
        )


@setting_rule(
    "tablespace-inside",
    Severity.WARN,
    CATEGORY,
    ok="No tablespace lies inside the data directory",
    bad="-- a tablespace at a folder of the data directory, which the server allows with a warning",
    good="-- no tablespace",
    equivalents={"postgresqltuner": ("tablespaces in PGDATA",)},
)
def tablespace_inside(scene: Scene) -> Verdicts:
    """A tablespace lies inside the data directory.

    Why: pg_basebackup copies it twice or fails, and pg_upgrade refuses it.

    Fix: move it outside: `alter tablespace` has no way, so move its tables to another one and drop it.

    Not reported when: it lies elsewhere.

    See: CREATE TABLESPACE warns of the same.
    """
    for row in scene.rows("tablespaces"):
        if row["inside"] is None:
            raise Unseen(f'data_directory is not visible: grant pg_read_all_settings to "{scene.user}"')
        if row["inside"]:
            yield Verdict(f"tablespace {row['name']} lies inside the data directory: {row['location']}", row["name"])


RULES = (
    tls_off,
    tls_outdated,
    password_md5,
    public_may_create,
    tenant_not_separated,
    tablespace_inside,
)
