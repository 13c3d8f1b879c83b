"""Timeouts of client, pooler and server, in the order in which they should strike."""

from __future__ import annotations

from collections.abc import Iterator

from dbkit.model import Severity
from dbkit.pgbouncer.rules.declare import Blind, Edit, Verdict, pooler_rule
from dbkit.pgbouncer.scene import Scene
from dbkit.sizes import format_seconds


@pooler_rule(
    "wait-outlives-client",
    "timeouts",
    Severity.WARN,
    ok="A client that waits for a connection is answered before it gives up",
    bad="""
    ;; connections: {drivers: [{name: api, pool: 10, instances: 3, query_timeout: 10, origin: S3 4.6}]}
    [databases]
    jobs = host=db
    [pgbouncer]
    query_wait_timeout = 120
    """,
    good="""
    ;; connections: {drivers: [{name: api, pool: 10, instances: 3, query_timeout: 10, origin: S3 4.6}]}
    [databases]
    jobs = host=db
    [pgbouncer]
    query_wait_timeout = 8
    """,
)
def wait_outlives_client(scene: Scene) -> Iterator[Verdict]:
    """The pooler keeps a query in the queue after its client has given up.

    Why: the client's own timeout strikes first, it retries on a new connection, and the queue grows with queries that
    nobody waits for. With query_wait_timeout = 0 the queue has no end at all. The error of the pooler
    ("query_wait_timeout") would have said what is wrong; the client's timeout does not.

    Fix: query_wait_timeout below the shortest timeout of the clients: S3 gives a query 10 s, S4 30 s.

    Not reported when: no driver of connections.yaml has a timeout.

    See: policies/connections.yaml; the order is client > pooler > server's statement_timeout.
    """
    waits = scene.config.seconds("query_wait_timeout")
    timed = [(d.query_timeout, d) for d in scene.connections.drivers if d.query_timeout and d.through == "pooler"]
    if not timed:
        return
    shortest, driver = min(timed, key=lambda t: t[0])
    if 0 < waits < shortest:
        return
    said = "never ends the waiting" if waits == 0 else f"waits {format_seconds(waits)}"
    yield Verdict(
        f"query_wait_timeout {said}, but {driver.name} gives up after {format_seconds(shortest)} ({driver.origin})",
        "query_wait_timeout",
        edits=(Edit("query_wait_timeout", str(max(int(shortest * 0.8), 1))),),
        location=scene.config.location("query_wait_timeout"),
        data={"pooler": waits, "client": shortest},
    )


@pooler_rule(
    "timeout-order",
    "timeouts",
    Severity.WARN,
    ok="The server ends a statement before the pooler cuts the connection",
    bad="""
    ;; server: host=db max_connections=200 statement_timeout=60
    [databases]
    jobs = host=db
    [pgbouncer]
    query_timeout = 30
    """,
    good="""
    ;; server: host=db max_connections=200 statement_timeout=25
    [databases]
    jobs = host=db
    [pgbouncer]
    query_timeout = 30
    """,
)
def timeout_order(scene: Scene) -> Iterator[Verdict | Blind]:
    """The pooler's timeout strikes before the server's.

    Why: statement_timeout ends a statement and keeps the session. The pooler's query_timeout closes both connections:
    the client sees "server closed the connection", and the next one pays for a new login. The same holds for
    idle_transaction_timeout against idle_in_transaction_session_timeout, and for transaction_timeout.

    Fix: let the server's be a little shorter than the pooler's, or leave the pooler's at 0.

    Not reported when: the pooler's timeout is 0, or the server was not looked at.

    See: pgbouncer.timeout-kills-long-work.
    """
    pairs = (
        ("query_timeout", "statement_timeout"),
        ("idle_transaction_timeout", "idle_in_transaction_session_timeout"),
        ("transaction_timeout", "transaction_timeout"),
    )
    config = scene.config
    set_here = [(p, s, config.seconds(p)) for p, s in pairs if config.seconds(p) > 0]
    if not set_here:
        return
    if not scene.servers:
        yield Blind("no PostgreSQL server was looked at: name its target beside this one (`servers` in dbkit.toml)")
        return
    for server in scene.servers:
        for pooler, own, seconds in set_here:
            held = server.timeouts.get(own)
            if own in server.hidden_timeouts:
                yield Blind(f"{own} of {server.name} is not visible: the auditor's role or database has one of its own")
            if held is None or 0 < held < seconds:
                continue
            said = "has none" if held == 0 else f"waits {format_seconds(held)}"
            shorter = [t.of for t in server.own_timeouts if t.name == own and 0 < t.seconds < seconds]
            spared = f"; {', '.join(shorter)} has a shorter one of its own" if shorter else ""
            yield Verdict(
                f"{pooler} cuts the connection after {format_seconds(seconds)}, before {own} of {server.name}, which "
                f"{said}{spared}",
                pooler,
                severity=Severity.INFO if shorter else None,
                hint=f"{own} = {int(seconds * 0.9) or 1}s on the server, for the application's roles",
                location=config.location(pooler),
                data={"pooler": seconds, "server": held},
                key=server.name,
            )


@pooler_rule(
    "timeout-kills-long-work",
    "timeouts",
    Severity.INFO,
    ok="No timeout of the pooler ends long work",
    bad="""
    [pgbouncer]
    query_timeout = 30
    """,
    good="""
    [pgbouncer]
    query_timeout = 0
    """,
)
def timeout_kills_long_work(scene: Scene) -> Iterator[Verdict]:
    """A timeout for everybody also ends migrations, index builds and dumps.

    Why: CREATE INDEX CONCURRENTLY that is cut off leaves an INVALID index; a batch job dies at the same second each
    night.

    Fix: run them over a direct connection, or give their role its own limit in [users] (1.24 and newer).

    Not reported when: query_timeout, transaction_timeout and client_idle_timeout are 0.

    See: pg.index-invalid.
    """
    for name in ("query_timeout", "transaction_timeout", "client_idle_timeout"):
        seconds = scene.config.seconds(name)
        if seconds > 0:
            yield Verdict(
                f"{name} = {seconds:g} also ends migrations, index builds and dumps that come this way",
                name,
                hint="migrate and dump over a direct connection to the server",
                location=scene.config.location(name),
            )


@pooler_rule(
    "login-slower-than-client",
    "timeouts",
    Severity.INFO,
    ok="A dead server is noticed before the clients give up",
    bad="""
    ;; connections: {drivers: [{name: api, pool: 10, instances: 3, connect_timeout: 10, origin: S3 4.6}]}
    [databases]
    jobs = host=db
    [pgbouncer]
    server_connect_timeout = 15
    """,
    good="""
    ;; connections: {drivers: [{name: api, pool: 10, instances: 3, connect_timeout: 10, origin: S3 4.6}]}
    [databases]
    jobs = host=db
    [pgbouncer]
    server_connect_timeout = 5
    """,
)
def login_slower_than_client(scene: Scene) -> Iterator[Verdict]:
    """The pooler waits longer for a server than its clients wait for the pooler.

    Why: when a server is gone, clients see their own timeout instead of the pooler's "server conn crashed" or
    "connect failed", and all of them pile up in the queue. After a failure the pooler tries again after
    server_login_retry (15 s).

    Fix: server_connect_timeout below the clients' connect timeout (S3: 10 s).

    Not reported when: no driver of connections.yaml has a connect timeout.

    See: S3 4.6.
    """
    timed = [(d.connect_timeout, d) for d in scene.connections.drivers if d.connect_timeout and d.through == "pooler"]
    waits = scene.config.seconds("server_connect_timeout")
    if timed and scene.config.databases:
        shortest, driver = min(timed, key=lambda t: t[0])
        if waits == 0 or waits >= shortest:
            yield Verdict(
                f"server_connect_timeout is {waits:g} s, but {driver.name} waits {shortest:g} s for a connection "
                f"({driver.origin})",
                "server_connect_timeout",
                edits=(Edit("server_connect_timeout", str(max(int(shortest / 2), 1))),),
                location=scene.config.location("server_connect_timeout"),
            )
