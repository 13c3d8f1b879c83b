"""Pool sizes: as documented, in themselves, and against the servers behind them."""

from __future__ import annotations

from collections.abc import Iterator

from dbkit.model import Severity
from dbkit.pgbouncer import demand
from dbkit.pgbouncer.ini import parameters
from dbkit.pgbouncer.rules.declare import Edit, Verdict, pooler_rule
from dbkit.pgbouncer.rules.seen import grouped, named
from dbkit.pgbouncer.scene import Pooled, Scene


@pooler_rule(
    "differs",
    "settings",
    Severity.INFO,
    ok="Every documented setting is as documented",
    bad="""
    [pgbouncer]
    pool_mode = session
    """,
    good="""
    [pgbouncer]
    auth_type = scram-sha-256
    pool_mode = transaction
    max_client_conn = 1000
    default_pool_size = 25
    min_pool_size = 5
    reserve_pool_size = 5
    reserve_pool_timeout = 3
    max_db_connections = 100
    """,
)
def differs(scene: Scene) -> Iterator[Verdict]:
    """A setting is not what the documents ask for.

    Why: each value has its reason and its origin in policies/pgbouncer.yaml; the finding names both.

    Fix: the edit that the finding shows, or an `ignore` entry with your reason.

    Not reported when: the value lies in the accepted range, or the version does not have the key.

    See: S0 4.2; policies/pgbouncer.yaml.
    """
    config = scene.config
    known = parameters.load(config.version)
    for name, wanted in scene.documents.of(config.version).items():
        value = config.text(name)
        if name not in config.values or wanted.judged_by or wanted.accepts(value):
            continue
        given = "" if name in config.where or scene.live else " (the default)"
        more = f". {wanted.deviates}" if wanted.deviates else ""
        yield Verdict(
            f"{name} is {value or 'empty'}{given}, documented is {wanted.range} ({wanted.origin}): {wanted.why}{more}",
            name,
            severity=wanted.severity,
            edits=(Edit(name, str(wanted.want)),),
            restart=not known[name].reloads,
            location=config.location(name),
            data={"value": value, "wanted": str(wanted.want), "origin": wanted.origin},
        )


@pooler_rule(
    "pool-unbounded",
    "capacity",
    Severity.WARN,
    ok="However many users come, the number of server connections has a limit",
    bad="""
    [databases]
    * = host=db
    [pgbouncer]
    default_pool_size = 20
    """,
    good="""
    [databases]
    * = host=db
    [pgbouncer]
    default_pool_size = 20
    max_db_connections = 100
    """,
    equivalents={"pgbouncer": ("issue 103", "issue 130"), "autobase": ("issue 236",)},
)
def pool_unbounded(scene: Scene) -> Iterator[Verdict]:
    """Each user gets pools of its own, and nothing limits them together.

    Why: default_pool_size counts for each pair of database and user. With max_db_connections = 0 ten users may open ten
    times as many connections as the setting says, until the server refuses.

    Fix: max_db_connections (S0 4.2: 100), for the server's capacity divided by databases and processes.

    Not reported when: a limit is set, the user is forced, or the number of users is known (auth_file,
    connections.yaml).

    See: pgbouncer.pool-over-server.
    """
    fallback = [d for d in scene.file_config.databases if d.name == "*"] if scene.file_config else []
    found = [d for d in (*scene.config.databases, *fallback) if _unbounded(scene, d)]
    for name, held in grouped(found, "max_db_connections").items():
        first = held[0]
        each = first.pool_size + first.reserve
        size = f"{each} for each user" if first.pool_size or scene.config.version.minor < 24 else "no pool_size"
        of = "each database behind *" if first.name == "*" else named(held)
        yield Verdict(
            f"{of} has {size} and max_db_connections = 0: there is no upper limit",
            name,
            edits=(Edit("max_db_connections", "100"),),
            location=scene.config.location(name) if len(held) > 1 else first.location or scene.config.place,
            data={"databases": [d.name for d in held]},
        )


def _unbounded(scene: Scene, database: Pooled) -> bool:
    unlimited = database.pool_size == 0 and scene.config.version.minor >= 24
    counted = demand.users(scene, database) is not None and database.name != "*" and not unlimited
    return database.max_connections <= 0 and not counted


@pooler_rule(
    "pool-over-limit",
    "capacity",
    Severity.WARN,
    ok="Pool, reserve and limits of each database go together",
    bad="""
    [databases]
    jobs = host=jobs-db pool_size=120
    [pgbouncer]
    max_db_connections = 100
    """,
    good="""
    [databases]
    jobs = host=jobs-db pool_size=20 reserve_pool=5
    [pgbouncer]
    max_db_connections = 100
    """,
)
def pool_over_limit(scene: Scene) -> Iterator[Verdict]:
    """Numbers of one database contradict each other.

    Why: max_db_connections cuts off a larger pool, and the reserve with it; min_pool_size above pool_size is never
    reached; reserve_pool_timeout = 0 switches the reserve off; a pool_size of 0 serves nobody up to 1.23 and everybody
    without limit from 1.24 on.

    Fix: make pool_size + reserve_pool_size at most max_db_connections, and min_pool_size at most pool_size.

    Not reported when: the limit is 0, which means none.

    See: pgbouncer.pool-unbounded.
    """
    config = scene.config
    for database in config.databases:
        size, reserve, limit = database.pool_size, database.reserve, database.max_connections
        place = database.location or config.location("default_pool_size")
        if 0 < limit < size:
            yield Verdict(f"pool_size {size} is cut off at max_db_connections {limit}", database.name, location=place)
        elif 0 < limit < size + reserve:
            yield Verdict(
                f"pool_size {size} + reserve {reserve} is more than max_db_connections {limit}: "
                f"{size + reserve - limit} of the reserve can never be used",
                database.name,
                severity=Severity.INFO,
                location=place,
            )
        if database.min_pool_size > size > 0:
            yield Verdict(
                f"min_pool_size {database.min_pool_size} is more than pool_size {size}",
                database.name,
                location=place,
                key="min",
            )
        if size == 0 and config.version.minor < 24:
            yield Verdict(
                "pool_size 0: every client of this database waits until query_wait_timeout",
                database.name,
                severity=Severity.ERROR,
                location=place,
                key="zero",
            )
    if config.number("reserve_pool_size") > 0 and config.seconds("reserve_pool_timeout") == 0:
        yield Verdict(
            "reserve_pool_timeout = 0 switches the reserve off",
            "reserve_pool_timeout",
            edits=(Edit("reserve_pool_timeout", "3"),),
            location=config.location("reserve_pool_timeout"),
        )
