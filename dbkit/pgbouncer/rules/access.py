"""Who gets in, how it is proved, and what crosses the network in the clear."""

from __future__ import annotations

import re
from collections.abc import Iterator

from dbkit.model import Location, Severity
from dbkit.pgbouncer.ini.parameters import AUTH_QUERY_NEW, AUTH_QUERY_OLD, Version
from dbkit.pgbouncer.rules.declare import Blind, Edit, Verdict, pooler_rule
from dbkit.pgbouncer.scene import Scene


@pooler_rule(
    "no-user-source",
    "access",
    Severity.ERROR,
    ok="PgBouncer knows where the users come from",
    bad="""
    [databases]
    jobs = host=jobs-db
    [pgbouncer]
    auth_type = scram-sha-256
    """,
    good="""
    [databases]
    jobs = host=jobs-db
    [pgbouncer]
    auth_type = scram-sha-256
    auth_file = /etc/pgbouncer/userlist.txt
    """,
)
def no_user_source(scene: Scene) -> Iterator[Verdict]:
    """The file loads, and nobody can log in.

    Why: with passwords to check PgBouncer needs a list (auth_file) or a query (auth_user and auth_query). S0 4.2 names
    neither; the daemon starts, listens, and turns every client away.

    Fix: auth_file with the SCRAM secrets of the roles, or auth_user with an auth_query function that owns nothing else.
    With auth_type hba or ldap the rules' own file or options are needed.

    Not reported when: auth_type is any, pam or cert with trust in the certificate alone.

    See: https://www.pgbouncer.org/config.html#authentication-settings
    """
    config, kind = scene.config, scene.config.text("auth_type")
    asked = bool(config.text("auth_user")) or any(d.auth_user for d in config.databases)
    if kind in ("md5", "scram-sha-256", "plain", "trust", "cert") and not config.text("auth_file") and not asked:
        yield Verdict(
            f"auth_type = {kind} without auth_file and without auth_user: nobody can log in",
            "auth_file",
            hint='auth_file = /etc/pgbouncer/userlist.txt, with lines such as "app" "SCRAM-SHA-256$..." taken from '
            "pg_authid; or auth_user = pgbouncer_auth and an auth_query function",
            location=config.location("auth_type"),
        )
    if kind == "hba" and not config.text("auth_hba_file"):
        yield Verdict(
            "auth_type = hba without auth_hba_file: every login is rejected",
            "auth_hba_file",
            hint="auth_hba_file = /etc/pgbouncer/pg_hba.conf",
            location=config.location("auth_type"),
        )
    if kind == "ldap" and not config.text("auth_ldap_options"):
        yield Verdict(
            "auth_type = ldap without auth_ldap_options: every login is rejected",
            "auth_ldap_options",
            location=config.location("auth_type"),
        )


@pooler_rule(
    "auth-type-weak",
    "access",
    Severity.ERROR,
    ok="Clients prove who they are without sending a password",
    bad="""
    [pgbouncer]
    auth_type = trust
    auth_file = users.txt
    """,
    good="""
    [pgbouncer]
    auth_type = scram-sha-256
    auth_file = users.txt
    """,
)
def auth_type_weak(scene: Scene) -> Iterator[Verdict]:
    """Clients get in without a proof, or with a weak one.

    Why: any and trust let everybody in who reaches the port, any even under every name; plain sends the password as
    it is; md5 can be replayed from a stolen hash (it uses SCRAM where the secret is a SCRAM one).

    Fix: auth_type = scram-sha-256, and SCRAM secrets in auth_file or behind auth_query (S0 4.2). A RELOAD applies it;
    open connections stay.

    Not reported when: auth_type is hba: its file decides per address.

    See: pgbouncer.no-user-source.
    """
    kind = scene.config.text("auth_type")
    said = {
        "any": "lets everybody in under every name",
        "trust": "lets everybody in who knows a user's name",
        "plain": "sends passwords as they are",
        "md5": "accepts MD5 hashes, which can be replayed; only users with a SCRAM secret use SCRAM",
    }.get(kind)
    if said:
        yield Verdict(
            f"auth_type = {kind} {said}",
            "auth_type",
            severity=Severity.WARN if kind == "md5" else Severity.ERROR,
            hint="auth_type = scram-sha-256, after every user has a SCRAM secret" if kind == "md5" else "",
            edits=() if kind == "md5" else (Edit("auth_type", "scram-sha-256"),),
            location=scene.config.location("auth_type"),
        )


@pooler_rule(
    "no-console-user",
    "access",
    Severity.WARN,
    ok="Somebody may use the console",
    bad="""
    [pgbouncer]
    pool_mode = transaction
    """,
    good="""
    [pgbouncer]
    admin_users = pgbouncer_admin
    stats_users = monitoring
    """,
)
def no_console_user(scene: Scene) -> Iterator[Verdict]:
    """Nobody may look at the console, or only those who may also stop everything.

    Why: without admin_users and stats_users nobody can run RELOAD, PAUSE or SHOW POOLS over the network; the only way
    in is the Unix socket as user `pgbouncer` under the daemon's own account. Monitoring that must be an admin can
    also kill.

    Fix: admin_users for a person, stats_users for monitoring and for `dbkit audit`.

    Not reported when: stats_users is set.

    See: https://www.pgbouncer.org/usage.html#admin-console
    """
    config = scene.config
    if config.words("stats_users"):
        return
    if not config.words("admin_users"):
        yield Verdict(
            "neither admin_users nor stats_users is set: no RELOAD and no SHOW POOLS over the network",
            "admin_users",
            hint="admin_users = pgbouncer_admin and stats_users = monitoring, both with a line in auth_file",
            location=config.place,
        )
    else:
        yield Verdict(
            "stats_users is not set: monitoring must log in as an admin, who may also SHUTDOWN",
            "stats_users",
            severity=Severity.INFO,
            hint="stats_users = monitoring",
            location=config.location("admin_users"),
        )


@pooler_rule(
    "auth-query-unsafe",
    "access",
    Severity.WARN,
    ok="auth_query heeds VALID UNTIL and names its schema",
    bad="""
    [databases]
    jobs = host=jobs-db
    [pgbouncer]
    auth_user = pgbouncer_auth
    auth_query = SELECT usename, passwd FROM pg_shadow WHERE usename=$1
    """,
    good="""
    [databases]
    jobs = host=jobs-db
    [pgbouncer]
    auth_user = pgbouncer_auth
    auth_query = SELECT rolname, secret FROM pgbouncer.get_auth($1)
    """,
)
def auth_query_unsafe(scene: Scene) -> Iterator[Verdict]:
    """The query that looks up passwords lets expired ones in, or can be led astray.

    Why: pg_shadow shows a password whose VALID UNTIL has passed (CVE-2025-2291; the default of releases before
    1.24.1, though distributions carry the cure back, so a live SHOW CONFIG is the better witness). Names without a
    schema follow the search_path that the client sends when track_extra_parameters holds search_path
    (CVE-2025-12819). auth_user with access to pg_authid can read every secret: a SECURITY DEFINER function narrows
    that.

    Fix: a function with a fixed search_path that returns NULL for an expired password, called with its schema.

    Not reported when: there is no auth_user, or the query calls a function in a named schema.

    See: https://www.pgbouncer.org/config.html#auth_query
    """
    config = scene.config
    if not config.text("auth_user") and not any(d.auth_user for d in config.databases):
        return
    query = config.text("auth_query")
    flat = " ".join(query.lower().split())
    if "pg_shadow" in flat and "valuntil" not in flat:
        given = "auth_query" in config.where
        by_default = "" if given else f" (the default of {config.version}, unless the distribution mended it)"
        yield Verdict(
            f"auth_query reads pg_shadow without VALID UNTIL: an expired password still logs in{by_default}",
            "auth_query",
            severity=Severity.WARN if given or scene.live else Severity.INFO,
            edits=(Edit("auth_query", AUTH_QUERY_NEW),),
            location=config.location("auth_query"),
        )
    custom = query not in (AUTH_QUERY_NEW, AUTH_QUERY_OLD)
    tracked = "search_path" in [w.lower() for w in config.words("track_extra_parameters")]
    called = re.search(r"\bfrom\s+(?:[a-z_\"]+\.)?([a-z_\"]+)", flat)
    if custom and called and "." not in called[0] and tracked and config.version < Version(1, 25, 1):
        yield Verdict(
            f"auth_query names {called[1]} without a schema, and clients may set search_path, which decides what it is",
            "auth_query",
            location=config.location("auth_query"),
            hint="write the schema, as in pgbouncer.get_auth($1), or upgrade to 1.25.1",
            key="schema",
        )


@pooler_rule(
    "password-in-file",
    "access",
    Severity.WARN,
    needs="file",
    ok="No database line holds a password",
    bad="""
    [databases]
    jobs = host=jobs-db user=app password=secret
    [pgbouncer]
    """,
    good="""
    [databases]
    jobs = host=jobs-db user=app
    [pgbouncer]
    auth_file = /etc/pgbouncer/userlist.txt
    """,
)
def password_in_file(scene: Scene) -> Iterator[Verdict]:
    """A server's password stands in pgbouncer.ini.

    Why: the file is copied, committed and read by everyone who tunes pools; and whoever gets into the pool is that
    user.

    Fix: keep the secret in auth_file (mode 0600) under the same user name; PgBouncer takes it from there.

    Not reported when: the line has no password key.

    See: pgbouncer.userlist-weak.
    """
    for database in scene.ini.databases if scene.ini else ():
        if "password" in database.given:
            yield Verdict(
                f"the line of database {database.name} holds a password",
                database.name,
                location=Location(database.file, database.line),
            )


@pooler_rule(
    "userlist-weak",
    "access",
    Severity.WARN,
    needs="file",
    ok="auth_file is whole and holds SCRAM secrets only",
    bad="""
    ;; userlist: "app" "secret"
    [pgbouncer]
    auth_type = scram-sha-256
    auth_file = userlist.txt
    """,
    good="""
    ;; userlist: "app" "SCRAM-SHA-256$4096:c2FsdA==$c3RvcmVk:c2VydmVy"
    [pgbouncer]
    auth_type = scram-sha-256
    auth_file = userlist.txt
    """,
)
def userlist_weak(scene: Scene) -> Iterator[Verdict | Blind]:
    """auth_file holds passwords in the clear or as MD5, or cannot be read to its end.

    Why: whoever reads the file is the user. The daemon stops at a line that it cannot read and only logs "broken auth
    file": users below it cannot log in. An MD5 secret cannot answer a SCRAM login.

    Fix: copy rolpassword from pg_authid after setting the password under password_encryption = scram-sha-256.

    Not reported when: no auth_file is named. It is read only where it stands beside pgbouncer.ini.

    See: pgbouncer.auth-type-weak.
    """
    if not scene.config.text("auth_file"):
        yield Blind("no auth_file is named")
        return
    if scene.userlist is None:
        yield Blind(scene.userlist_unread or "auth_file was not read")
        return
    held = scene.userlist
    kind = scene.config.text("auth_type")
    if held.broken_line is not None:
        yield Verdict(
            f'line {held.broken_line} cannot be read ("broken auth file"): users from there on cannot log in',
            held.path,
            severity=Severity.ERROR,
            location=Location(held.path, held.broken_line),
            key="broken",
        )
    for user in held.users:
        place = Location(held.path, user.line)
        if user.kind == "plain":
            yield Verdict(f"the password of {user.name} stands there in the clear", user.name, location=place)
        elif user.kind == "md5" and kind == "scram-sha-256":
            yield Verdict(
                f"{user.name} has an MD5 secret and cannot log in with auth_type = scram-sha-256",
                user.name,
                severity=Severity.ERROR,
                location=place,
            )
