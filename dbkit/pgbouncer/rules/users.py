"""Users with settings of their own: `[users]` of the file, SHOW USERS of the console."""

from __future__ import annotations

from collections.abc import Iterator

from dbkit.model import Severity
from dbkit.pgbouncer.rules.declare import Verdict, pooler_rule
from dbkit.pgbouncer.rules.seen import file_of
from dbkit.pgbouncer.scene import LENDING, PoolUser, Scene


@pooler_rule(
    "user-pool-mode",
    "sharing",
    Severity.WARN,
    ok="No user is pooled otherwise than the databases it uses",
    bad="""
    [databases]
    jobs = host=db
    [users]
    app = pool_mode=transaction
    [pgbouncer]
    pool_mode = session
    """,
    good="""
    [databases]
    jobs = host=db
    [users]
    app = pool_mode=transaction
    [pgbouncer]
    pool_mode = transaction
    """,
)
def user_pool_mode(scene: Scene) -> Iterator[Verdict]:
    """A user's own pool mode goes before that of every database.

    Why: the mode in [users] wins over the database's line and over pool_mode. A user in transaction mode loses its
    session features where everybody else has them; one in session mode keeps a server connection for as long as each of
    its clients is connected, so its pool must be as large as its clients are many; one in statement mode cannot run
    transactions.

    Fix: give the mode to the database, or take the line out; keep session mode for the few roles that need it (LISTEN,
    migrations), with a pool_size (1.23) or max_user_connections of their own.

    Not reported when: every database has the same mode.

    See: pgbouncer.session-features.
    """
    for user in scene.config.users:
        others = sorted({d.pool_mode for d in scene.config.databases if d.pool_mode != user.pool_mode})
        if not user.pool_mode or not others:
            continue
        said, severity = {
            "session": ("each of its clients keeps a server connection until it leaves", Severity.INFO),
            "transaction": ("session features that others have are gone for it", Severity.WARN),
            "statement": ("a transaction of several statements is an error for it", Severity.WARN),
        }[user.pool_mode]
        yield Verdict(
            f"user {user.name} is pooled by {user.pool_mode}, where databases are by {' and '.join(others)}: {said}",
            user.name,
            severity=severity,
            hint=_mode_hint(user),
            location=user.location,
            data={"pool_mode": user.pool_mode, "databases": others},
        )


def _mode_hint(user: PoolUser) -> str:
    if user.pool_mode in LENDING:
        return f"take pool_mode out of the line of {user.name} in [users]"
    limit = user.max_connections
    if limit is not None:
        return f"keep its clients below its max_user_connections of {limit}: the next one waits"
    return f"{user.name} = pool_mode=session max_user_connections=10 in [users], above the number of its clients"


@pooler_rule(
    "user-limits",
    "capacity",
    Severity.WARN,
    ok="The limits of each user fit its pools",
    bad="""
    ;; version 1.24
    [databases]
    jobs = host=db
    [users]
    app = pool_size=50 max_user_connections=20
    [pgbouncer]
    """,
    good="""
    ;; version 1.24
    [databases]
    jobs = host=db
    [users]
    app = pool_size=15 max_user_connections=20
    [pgbouncer]
    """,
)
def user_limits(scene: Scene) -> Iterator[Verdict]:
    """Numbers of one user contradict each other or those of the databases.

    Why: max_user_connections counts over all databases, so it cuts off a pool that is larger; max_db_connections cuts
    off a user's own pool_size; a max_user_connections of 0 does not lift the global limit, it gives way to it.

    Fix: make pool_size at most max_user_connections, and both at most max_db_connections.

    Not reported when: the user has no line of its own. An own pool_size may be larger than the database's: that is what
    it is for.

    See: pgbouncer.pool-over-server for the sum.
    """
    config = scene.config
    overall = config.number("max_user_connections")
    for user in config.users:
        limit = user.max_connections or overall
        size = user.pool_size
        if size is not None and 0 < limit < size:
            yield Verdict(
                f"pool_size {size} of user {user.name} is cut off at its max_user_connections {limit}",
                user.name,
                location=user.location,
            )
        least = min((d.max_connections for d in config.databases if d.max_connections > 0), default=0)
        if size is not None and 0 < least < size:
            yield Verdict(
                f"pool_size {size} of user {user.name} is cut off at max_db_connections {least}",
                user.name,
                location=user.location,
                key="database",
            )
        if size == 0 and config.version.minor < 24:
            yield Verdict(
                f"pool_size 0 of user {user.name}: every client of it waits until query_wait_timeout",
                user.name,
                severity=Severity.ERROR,
                location=user.location,
                key="zero",
            )
    for line in scene.ini.users if scene.ini else ():
        if line.given.get("max_user_connections") == "0" and overall > 0:
            yield Verdict(
                f"max_user_connections=0 of user {line.name} gives way to the global {overall}: it lifts no limit",
                line.name,
                location=config.location("max_user_connections"),
                key="lifted",
            )


@pooler_rule(
    "user-unknown",
    "access",
    Severity.WARN,
    needs="file",
    ok="Every user with settings of its own can log in",
    bad="""
    ;; userlist: "app" "SCRAM-SHA-256$4096:c2FsdA==$c3RvcmVk:c2VydmVy"
    [databases]
    jobs = host=db
    [users]
    apps = max_user_connections=20
    [pgbouncer]
    auth_file = userlist.txt
    """,
    good="""
    ;; userlist: "app" "SCRAM-SHA-256$4096:c2FsdA==$c3RvcmVk:c2VydmVy"
    [databases]
    jobs = host=db
    [users]
    app = max_user_connections=20
    [pgbouncer]
    auth_file = userlist.txt
    """,
)
def user_unknown(scene: Scene) -> Iterator[Verdict]:
    """A line of [users] is for a name that nobody can log in with.

    Why: the daemon takes any name there and says nothing, so a slip of the pen leaves the real user without its limit.

    Fix: write the name as in auth_file; it is case-sensitive.

    Not reported when: auth_query may know the name, a database forces it, auth_file was not read, or nobody has to
    prove who he is.

    See: pgbouncer.no-user-source.
    """
    ini, config = file_of(scene), scene.config
    if scene.userlist is None or config.text("auth_type") in ("any", "pam", "cert", "hba", "ldap"):
        return
    if config.text("auth_user") or any(d.auth_user for d in config.databases):
        return
    known = {u.name for u in scene.userlist.users} | {d.forced_user for d in config.databases}
    for user in ini.users:
        if user.name not in known:
            held = config.user(user.name)
            yield Verdict(
                f"user {user.name} has settings of its own and no line in {scene.userlist.path}: they hold for nobody",
                user.name,
                location=held.location if held else None,
            )
