"""Access: who may connect, how, and with which rights."""

from __future__ import annotations

import ipaddress
from pathlib import PurePath
from typing import Final

from dbkit.model import Location, Severity
from dbkit.postgres.indexes.rules.declare import Limits
from dbkit.postgres.settings.rules.declare import Verdict, Verdicts, identifier, setting_rule
from dbkit.postgres.settings.scene import Row, Scene

CATEGORY = "security"

_WEAK: Final = {
    "trust": "lets everybody in without a password",
    "password": "sends the password in the clear",
    "ident": "believes whatever the client's machine says",
    "md5": "accepts MD5 secrets",
}


@setting_rule(
    "hba-weak",
    Severity.WARN,
    CATEGORY,
    ok="Every line of pg_hba.conf asks for a real proof",
    bad="""
    -- pg_hba.conf: host all all 0.0.0.0/0 trust
    -- pg_hba.conf: host all app 10.0.0.0/8 md5
    """,
    good="""
    -- pg_hba.conf: host all app 10.0.0.0/8 scram-sha-256
    """,
    equivalents={"pg_gather": ("pg_hba_file_rules",)},
)
def hba_weak(scene: Scene) -> Verdicts:
    """A line of pg_hba.conf lets people in too easily, or cannot be read.

    Why: the first line that fits decides; `trust` for a network makes everybody on it a superuser.

    Fix: `hostssl ... scram-sha-256`; for local administration `peer`. Then `select pg_reload_conf()`.

    Not reported when: the method is scram-sha-256, cert, peer, reject, gss, ldap, radius or pam. An error for trust and
    password from other machines; trust on the machine itself is a warning.

    See: S4 3.2. Reading the lines needs a superuser or a GRANT (the skip says which), or the file: --pg-hba.
    """
    for row in scene.rows("hba_rules"):
        where = _where(row)
        if row["error"]:
            never = "cannot match" in row["error"]  # such a line loads; it just lets nobody in
            yield Verdict(
                f"{where} {'never lets anybody in' if never else 'cannot be read'}: {row['error']}"
                f"{'' if never else '; a reload keeps the old rules, a restart fails'}",
                where,
                severity=None if never else Severity.ERROR,
                location=_line(scene, row),
            )
            continue
        method = row["auth_method"]
        if method not in _WEAK or (row["type"] == "local" and method == "md5"):
            continue
        far = row["type"] != "local" and not _loopback(row)
        line = " ".join(
            (row["type"], ",".join(row["database"]), ",".join(row["user_name"]), row["address"] or "", method)
        ).replace("  ", " ")
        error = far and (method == "trust" or (method == "password" and row["type"] != "hostssl"))
        yield Verdict(
            f"{where} {_WEAK[method]}: {line}",
            where,
            severity=Severity.ERROR if error else Severity.INFO if method == "md5" and not far else None,
            fix=f"{'hostssl' if far else row['type']} ... {'peer' if row['type'] == 'local' else 'scram-sha-256'}",
            kind="rewrite",
            location=_line(scene, row),
        )


def _where(row: Row) -> str:
    return f"{PurePath(row['file_name'] or 'pg_hba.conf').name}:{row['line_number']}"


def _line(scene: Scene, row: Row) -> Location | None:
    return Location(row["file_name"], row["line_number"]) if scene.conf is not None else None


def _network(row: Row) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        bits = int(ipaddress.ip_address(row["netmask"])).bit_count()
        return ipaddress.ip_network((row["address"], bits), strict=False)
    except ValueError:
        return None


def _loopback(row: Row) -> bool:
    network = _network(row)
    return row["address"] in ("samehost", "localhost") if network is None else network.is_loopback


def _anywhere(row: Row) -> bool:
    network = _network(row)
    return row["type"] != "local" and (row["address"] == "all" if network is None else network.prefixlen == 0)


@setting_rule(
    "hba-open",
    Severity.INFO,
    CATEGORY,
    ok="No line of pg_hba.conf is open to every address",
    bad="""
    -- pg_hba.conf: host all all 0.0.0.0/0 scram-sha-256
    -- pg_hba.conf: host replication repl all scram-sha-256
    """,
    good="""
    -- pg_hba.conf: hostssl app app 10.0.0.0/8 scram-sha-256
    """,
)
def hba_open(scene: Scene) -> Verdicts:
    """A line of pg_hba.conf lets every address in the world try to log in.

    Why: then a password is all that stands between the internet and the data, and a firewall rule that is changed one
    day is noticed by nobody. By `replication` whoever has that password copies the whole cluster.

    Fix: name the networks of the application and of the standbys: `hostssl app app 10.0.0.0/8 scram-sha-256`.

    Not reported when: the method is reject, or the line names a network. A warning for replication and for every role
    of every database.

    See: S4 3.2. Reading the lines needs a superuser or a GRANT (the skip says which), or the file: --pg-hba.
    """
    for row in scene.rows("hba_rules"):
        if row["auth_method"] in (None, "reject") or row["error"] or not _anywhere(row):
            continue
        databases: list[str] = row["database"] or []
        users: list[str] = row["user_name"] or []
        replication = "replication" in databases
        whom = "whoever may replicate" if replication else f"{', '.join(users)} of {', '.join(databases)}"
        yield Verdict(
            f"{_where(row)} lets {whom} in from every address ({row['auth_method']})",
            _where(row),
            severity=Severity.WARN if replication or ("all" in databases and "all" in users) else None,
            fix="name the networks they come from instead of every address",
            kind="rewrite",
            location=_line(scene, row),
        )


@setting_rule(
    "hba-unencrypted",
    Severity.INFO,
    CATEGORY,
    ok="Other machines connect by hostssl",
    bad="""
    -- pg_hba.conf: host all app 10.0.0.0/8 scram-sha-256
    """,
    good="""
    -- pg_hba.conf: hostssl all app 10.0.0.0/8 scram-sha-256
    """,
)
def hba_unencrypted(scene: Scene) -> Verdicts:
    """A line of pg_hba.conf lets other machines connect without TLS.

    Why: `host` allows both; a client that falls back to plain text is not noticed.

    Fix: write hostssl, once ssl is on.

    Not reported when: the line is hostssl or hostgssenc, or for the machine itself.

    See: S4 3.2.
    """
    for row in scene.rows("hba_rules"):
        plain = row["type"] in ("host", "hostnossl") and row["auth_method"] != "reject"
        if plain and not row["error"] and not _loopback(row):
            yield Verdict(
                f"{_where(row)} lets {row['address'] or 'other machines'} connect without TLS",
                _where(row),
                fix="hostssl instead of host",
                kind="rewrite",
                location=_line(scene, row),
            )


@setting_rule(
    "superuser-at-work",
    Severity.WARN,
    CATEGORY,
    ok="No application works as a superuser",
    bad="""
    -- an application with every right
    create role app login superuser;
    """,
    good="""
    -- an application with its own rights
    create role app login;
    """,
    equivalents={"pg_gather": ("superusers",)},
)
def superuser_at_work(scene: Scene) -> Verdicts:
    """A role that may log in is a superuser, or passes by row-level security, and is not the one initdb made.

    Why: an injection in an application that runs as a superuser reads files and runs programs on the server.

    Fix: `alter role app nosuperuser`, and grant what it needs; pg_monitor for monitoring, pg_maintain for maintenance
    (17 and newer), ownership for migrations.

    Not reported when: it is the bootstrap superuser without a session, or the auditor itself. An error when sessions of
    the role are open by something other than psql, pgAdmin, pg_dump or dbkit.

    See: S4 3.4. Who is connected is visible with pg_read_all_stats.
    """
    tools = ("psql", "pgadmin", "pg_dump", "pg_restore", "dbkit", "pg_basebackup", "dbeaver", "datagrip")
    for row in scene.rows("login_roles"):
        if row["mine"] or not (row["superuser"] or row["bypasses_rls"]):
            continue
        working = [a for a in row["applications"] if not a.lower().startswith(tools)]
        if row["bootstrap"] and not working:
            continue
        what = "is a superuser" if row["superuser"] else "passes by row-level security"
        busy = f"; {row['sessions']} sessions are open ({', '.join(working)})" if working else ""
        yield Verdict(
            f"role {row['role']} {what} and may log in{busy}",
            row["role"],
            severity=Severity.ERROR if working and row["superuser"] else None,
            fix=f"alter role {identifier(row['role'])} {'nosuperuser' if row['superuser'] else 'nobypassrls'};",
        )


class ExpiryLimits(Limits):
    """Knobs of pg.role-expires."""

    days: float = 7.0


@setting_rule(
    "role-expires",
    Severity.WARN,
    CATEGORY,
    ok="No role's password is about to expire",
    bad="""
    -- in three days
    do $$ begin execute format('create role app login valid until %L', now() + interval '3 days'); end $$;
    """,
    good="""
    -- never
    create role app login;
    """,
    limits=ExpiryLimits,
    equivalents={"postgresqltuner": ("user account expiry",)},
)
def role_expires(scene: Scene, limits: ExpiryLimits) -> Verdicts:
    """The password of a role that may log in is about to expire, or has expired.

    Why: from that moment its logins fail, with the same words as for a wrong password.

    Fix: set a new password, and `alter role app valid until '...'`.

    Not reported when: there is no date, it is further away than `days`, or it passed more than 30 days ago.

    See: pg_roles.rolvaliduntil.
    """
    for row in scene.rows("login_roles"):
        left = row["seconds_left"]
        if left is None or not -30 * 86400 < float(left) < limits.days * 86400:
            continue
        when = f"{row['valid_until']:%Y-%m-%d %H:%M}"
        yield Verdict(
            f"the password of role {row['role']} {'expires' if left > 0 else 'has expired'} ({when})",
            row["role"],
            fix=f"-- with the new password, and a later date:\n"
            f"-- alter role {identifier(row['role'])} valid until 'YYYY-MM-DD';",
        )


RULES = (hba_weak, hba_open, hba_unencrypted, superuser_at_work, role_expires)
