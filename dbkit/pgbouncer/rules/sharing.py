"""What an application may not rely on when server connections change hands between transactions."""

from __future__ import annotations

from collections.abc import Iterator

from dbkit.model import Severity
from dbkit.pgbouncer import demand
from dbkit.pgbouncer.rules.declare import Edit, Verdict, pooler_rule
from dbkit.pgbouncer.rules.seen import grouped, named
from dbkit.pgbouncer.scene import Scene


@pooler_rule(
    "prepared-statements",
    "sharing",
    Severity.WARN,
    ok="Drivers that prepare statements work behind the pools",
    bad="""
    ;; version 1.22
    [databases]
    jobs = host=db
    [pgbouncer]
    pool_mode = transaction
    """,
    good="""
    ;; version 1.22
    [databases]
    jobs = host=db
    [pgbouncer]
    pool_mode = transaction
    max_prepared_statements = 200
    """,
)
def prepared_statements(scene: Scene) -> Iterator[Verdict]:
    """Drivers that prepare statements fail behind these pools.

    Why: psycopg 3 (after five runs), JDBC (after five), asyncpg, Npgsql, pgx and Rails prepare by protocol messages.
    In transaction mode the next connection does not know the statement, or knows another one under the name. Releases
    before 1.21 cannot follow them; 1.21 to 1.23 do only with max_prepared_statements above 0, 1.24 and newer by
    default.

    Fix: max_prepared_statements = 200, or upgrade. Until then in the driver: prepare_threshold=None (psycopg 3),
    prepareThreshold=0 (JDBC), statement_cache_size=0 (asyncpg), Max Auto Prepare=0 (Npgsql), prepared_statements: false
    (Rails). SQL's own PREPARE never works here, and DEALLOCATE from 1.22 on only as DEALLOCATE ALL.

    Not reported when: no database lends by transaction, or no driver of connections.yaml prepares.

    See: https://www.pgbouncer.org/config.html#max_prepared_statements
    """
    config = scene.config
    drivers = [d.name for d in scene.connections.drivers if d.protocol_prepare and d.through == "pooler"]
    if not config.lends_by_transaction or not drivers or config.number("max_prepared_statements") > 0:
        return
    names = ", ".join(d.name for d in config.lends_by_transaction[:5])
    names += " is lent" if len(config.lends_by_transaction) == 1 else " are lent"
    if config.version.minor < 21:
        yield Verdict(
            f"PgBouncer {config.version} cannot follow prepared statements, and {names} by transaction: switch "
            "them off in the driver (psycopg 3 prepare_threshold=None, JDBC prepareThreshold=0, asyncpg "
            "statement_cache_size=0)",
            "max_prepared_statements",
            hint="upgrade to 1.24 or newer, where it works by default",
            location=config.location("pool_mode"),
        )
    else:
        yield Verdict(
            f"max_prepared_statements = 0, and {names} by transaction: drivers that prepare fail",
            "max_prepared_statements",
            edits=(Edit("max_prepared_statements", "200"),),
            location=config.location("max_prepared_statements"),
        )


@pooler_rule(
    "startup-parameters",
    "sharing",
    Severity.INFO,
    ok="Clients with the usual startup parameters get in",
    bad="""
    [databases]
    jobs = host=db
    [pgbouncer]
    """,
    good="""
    [databases]
    jobs = host=db
    [pgbouncer]
    ignore_startup_parameters = extra_float_digits,options
    """,
)
def startup_parameters(scene: Scene) -> Iterator[Verdict]:
    """Clients that send a parameter which PgBouncer does not track are turned away.

    Why: JDBC sends extra_float_digits, and anything in PGOPTIONS arrives as `options`; the answer is "unsupported
    startup parameter". Ignoring lets them in, and their value is then not applied: `-c statement_timeout=0` has no
    effect.

    Fix: ignore_startup_parameters = extra_float_digits, with options where clients need it.

    Not reported when: extra_float_digits is listed.

    See: https://www.pgbouncer.org/config.html#ignore_startup_parameters
    """
    config = scene.config
    if config.databases and "extra_float_digits" not in config.words("ignore_startup_parameters"):
        value = ",".join([*config.words("ignore_startup_parameters"), "extra_float_digits"])
        yield Verdict(
            "extra_float_digits is not ignored: JDBC clients cannot log in",
            "ignore_startup_parameters",
            edits=(Edit("ignore_startup_parameters", value),),
            location=config.location("ignore_startup_parameters"),
        )


@pooler_rule(
    "state-leaks",
    "sharing",
    Severity.ERROR,
    ok="A client finds nothing that another one left",
    bad="""
    [databases]
    jobs = host=db pool_mode=session
    [pgbouncer]
    server_reset_query =
    """,
    good="""
    [databases]
    jobs = host=db pool_mode=session
    [pgbouncer]
    server_reset_query = DISCARD ALL
    """,
)
def state_leaks(scene: Scene) -> Iterator[Verdict]:
    """In session mode nothing is cleaned up between two clients.

    Why: server_reset_query runs when a client leaves a session pool. Empty, the next client finds the settings, role,
    locks, prepared statements and temporary tables of the one before, row-level security's tenant setting among them.
    In transaction mode it is not run unless server_reset_query_always = 1, and then it does not mend what happened
    between two transactions of one client, and costs a round trip each.

    Fix: server_reset_query = DISCARD ALL; server_reset_query_always = 0.

    Not reported when: no database is in session mode, or none lends by transaction (for _always).

    See: pgbouncer.session-features.
    """
    config = scene.config
    sessions = [d.name for d in config.databases if d.pool_mode == "session"]
    if sessions and not config.text("server_reset_query"):
        yield Verdict(
            f"server_reset_query is empty and {', '.join(sessions[:5])} is in session mode: a client inherits "
            "the state of the one before",
            "server_reset_query",
            edits=(Edit("server_reset_query", "DISCARD ALL"),),
            location=config.location("server_reset_query"),
        )
    if config.number("server_reset_query_always") and config.lends_by_transaction:
        yield Verdict(
            "server_reset_query_always = 1 resets after every transaction, which costs a round trip and hides leaks",
            "server_reset_query_always",
            severity=Severity.WARN,
            edits=(Edit("server_reset_query_always", "0"),),
            location=config.location("server_reset_query_always"),
        )


@pooler_rule(
    "statement-mode",
    "sharing",
    Severity.WARN,
    ok="Transactions of several statements work",
    bad="""
    [databases]
    jobs = host=db
    [pgbouncer]
    pool_mode = statement
    """,
    good="""
    [databases]
    jobs = host=db
    [pgbouncer]
    pool_mode = transaction
    """,
)
def statement_mode(scene: Scene) -> Iterator[Verdict]:
    """A database is pooled by statement, which forbids transactions.

    Why: BEGIN is answered with an error and the client is disconnected; every migration tool and ORM needs
    transactions.

    Fix: pool_mode = transaction.

    Not reported when: no database is in statement mode.

    See: S0 4.2.
    """
    found = [d for d in scene.config.databases if d.pool_mode == "statement"]
    for name, held in grouped(found, "pool_mode").items():
        own = name != "pool_mode"
        yield Verdict(
            f"{named(held)} is pooled by statement: a transaction of several statements is an error",
            name,
            edits=() if own else (Edit("pool_mode", "transaction"),),
            location=held[0].location if own else scene.config.location("pool_mode"),
            data={"databases": [d.name for d in held]},
        )


@pooler_rule(
    "processes-uncounted",
    "sharing",
    Severity.INFO,
    ok="One process has the port, or their number is known",
    bad="""
    [databases]
    jobs = host=db
    [pgbouncer]
    so_reuseport = 1
    """,
    good="""
    ;; version 1.24
    ;; connections: {poolers: {processes: 2}}
    [databases]
    jobs = host=db
    [peers]
    1 = host=127.0.0.1 port=6433
    2 = host=127.0.0.1 port=6434
    [pgbouncer]
    so_reuseport = 1
    peer_id = 1
    """,
)
def processes_uncounted(scene: Scene) -> Iterator[Verdict]:
    """Several processes share the port, and their number is not known, or they do not know each other.

    Why: every process has pools of its own, so all limits against the server multiply. A cancel request may reach the
    wrong process, and is lost unless they are peers ([peers] and peer_id, 1.19).

    Fix: write `processes` into connections.yaml or the target; give each process a peer_id.

    Not reported when: so_reuseport is 0.

    See: pgbouncer.pool-over-server.
    """
    config = scene.config
    if not config.number("so_reuseport"):
        return
    if demand.processes(scene) == 1:
        yield Verdict(
            "so_reuseport = 1 is for several processes, and one is counted: limits against the server multiply",
            "so_reuseport",
            hint="processes = 2 in the target, or in connections.yaml",
            location=config.location("so_reuseport"),
        )
    if config.version.minor >= 19 and not config.number("peer_id"):
        yield Verdict(
            "so_reuseport = 1 without peer_id: a cancel request that reaches another process is lost",
            "peer_id",
            location=config.location("so_reuseport"),
        )
