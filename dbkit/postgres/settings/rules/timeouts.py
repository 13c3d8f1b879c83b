"""Timeouts: what ends statements and sessions of everybody, and who holds a transaction open."""

from __future__ import annotations

from typing import Final

from dbkit.model import Severity
from dbkit.postgres.indexes.rules.declare import Limits
from dbkit.postgres.settings.rules.declare import Change, Verdict, Verdicts, identifier, literal, place, setting_rule
from dbkit.postgres.settings.scene import Scene
from dbkit.sizes import format_seconds

CATEGORY = "timeout"
_FOR_EVERYBODY: Final = (
    ("statement_timeout", "dumps, CREATE INDEX CONCURRENTLY and backfills are cancelled as well"),
    ("lock_timeout", "CREATE INDEX CONCURRENTLY gives up while it waits for others, and leaves an invalid index"),
    ("transaction_timeout", "sessions are ended in the middle of CREATE INDEX CONCURRENTLY and of dumps"),
    ("idle_session_timeout", "the idle sessions of a pooler are ended, which it takes for a failing server"),
)


@setting_rule(
    "timeout-for-everybody",
    Severity.WARN,
    CATEGORY,
    ok="No timeout meant for the application ends dumps and index builds",
    bad="statement_timeout = 30s",
    good="statement_timeout = 0",
    equivalents={"pg_gather": ("statement_timeout",)},
)
def timeout_for_everybody(scene: Scene) -> Verdicts:
    """A timeout stands in the server's configuration, where it counts for maintenance and dumps too.

    Why: S4 5.3 wants 30 s and S3 4.6 10 s for the application's queries. Set for the whole server they also end
    pg_dump, index builds, VACUUM by hand and migrations; each of them leaves something behind.

    Fix: give it to the application's role: `alter role app set statement_timeout = '30s'`, and take it out here.

    Not reported when: it is 0, or set for a role or a database.

    See: CREATE INDEX CONCURRENTLY under each of them was run on 15 and 18. dbkit's own sessions reset all four.
    """
    for name, words in _FOR_EVERYBODY:
        if scene.known(name) and scene.number(name) > 0:
            yield Verdict(
                f"{name} is {scene.setting(name).shown} for every session: {words}",
                name,
                changes=(Change(name, "0"),),
                severity=Severity.INFO if name == "idle_session_timeout" else None,
                location=place(scene, name),
            )


class OpenLimits(Limits):
    """Knobs of pg.session-idle-in-transaction."""

    seconds: float = 300.0


@setting_rule(
    "session-idle-in-transaction",
    Severity.WARN,
    CATEGORY,
    ok="No session sits in an open transaction",
    bad="""
    -- policy: {seconds: 0}
    create table t (a int);
    -- session: begin; insert into t values (1);
    """,
    good="""
    -- policy: {seconds: 0}
    create table t (a int);
    -- session: insert into t values (1);
    """,
    limits=OpenLimits,
    equivalents={"pghero": ("total_connections",), "pg-extras": ("long_running_queries",)},
)
def idle_in_transaction(scene: Scene, limits: OpenLimits) -> Verdicts:
    """A session has been idle inside a transaction for long.

    Why: it holds its locks, and VACUUM removes no row that it might still see, in any table of the database.

    Fix: end it (`select pg_terminate_backend(pid)`), find where the application forgets to commit, and set
    idle_in_transaction_session_timeout.

    Not reported when: it is shorter than `seconds`. The auditor's own session is left out.

    See: S2 4.3 asks for short transactions.
    """
    for row in scene.rows("sessions"):
        idle = (row["state"] or "").startswith("idle in transaction")
        if idle and not row["mine"] and float(row["state_seconds"] or 0) > limits.seconds:
            seconds = float(row["state_seconds"])
            yield Verdict(
                f"pid {row['pid']} ({row['username']}, {row['application_name'] or 'no name'}) has been idle in a "
                f"transaction for {format_seconds(seconds)}",
                f"pid {row['pid']}",
                fix=f"select pg_terminate_backend({row['pid']});",
                data={"pid": row["pid"], "seconds": round(seconds, 1)},
            )


class LongLimits(Limits):
    """Knobs of pg.session-long-running."""

    seconds: float = 300.0


@setting_rule(
    "session-long-running",
    Severity.INFO,
    CATEGORY,
    ok="No statement has been running for long",
    bad="""
    -- policy: {seconds: 0}
    -- session: select pg_sleep(600);
    """,
    good="""
    -- policy: {seconds: 0}
    -- session: select 1;
    """,
    limits=LongLimits,
    equivalents={"pghero": ("long_running_queries",), "pg-extras": ("long_running_queries",)},
)
def long_running(scene: Scene, limits: LongLimits) -> Verdicts:
    """A statement has been running for long.

    Why: it keeps VACUUM from removing rows, index builds wait for it, and it may be a runaway.

    Fix: look at it, and cancel it when nobody waits for its answer: `select pg_cancel_backend(pid)`.

    Not reported when: it is shorter than `seconds`.

    See: S0 4.1 calls one second slow.
    """
    for row in scene.rows("sessions"):
        if row["state"] == "active" and not row["mine"] and float(row["query_seconds"] or 0) > limits.seconds:
            seconds = float(row["query_seconds"])
            yield Verdict(
                f"pid {row['pid']} ({row['username']}, {row['application_name'] or 'no name'}) has been running a "
                f"statement for {format_seconds(seconds)}",
                f"pid {row['pid']}",
                fix=f"select pg_cancel_backend({row['pid']});",
                data={"pid": row["pid"], "seconds": round(seconds, 1)},
            )


class PreparedLimits(Limits):
    """Knobs of pg.prepared-transaction-forgotten."""

    seconds: float = 300.0


@setting_rule(
    "prepared-transaction-forgotten",
    Severity.WARN,
    CATEGORY,
    ok="No prepared transaction waits for its second phase",
    bad="""
    -- policy: {seconds: 0}
    -- postgresql.conf: max_prepared_transactions = 5
    -- restart
    create table t (a int);
    begin;
    insert into t values (1);
    prepare transaction 'app';
    """,
    good="""
    -- policy: {seconds: 0}
    create table t (a int);
    """,
    limits=PreparedLimits,
    equivalents={"postgresqltuner": ("Two phase commit",)},
)
def prepared_forgotten(scene: Scene, limits: PreparedLimits) -> Verdicts:
    """A transaction of a two-phase commit waits for its second phase.

    Why: it holds its locks and holds VACUUM back, over restarts, until somebody commits it or rolls it back.

    Fix: `commit prepared 'name'` or `rollback prepared 'name'`, in its own database, as its owner.

    Not reported when: it is younger than `seconds`: a transaction manager takes a moment.

    See: pg_prepared_xacts.
    """
    for row in scene.rows("prepared_transactions"):
        if float(row["seconds"]) > limits.seconds:
            yield Verdict(
                f"prepared transaction {row['name']} of {row['owner']} in {row['database']} has waited "
                f"{format_seconds(float(row['seconds']))}",
                row["name"],
                fix=_endings(row["name"], row["database"]),
            )


def _endings(name: str, database: str) -> str:
    """The two statements of which a person picks one; a name that a comment cannot hold is left to them."""
    quoted = literal(name) if name.isprintable() else "'NAME'"
    where = f" in database {identifier(database)}" if database.isprintable() else " in its own database"
    return f"-- one of the two,{where}:\n-- commit prepared {quoted};\n-- rollback prepared {quoted};"


RULES = (timeout_for_everybody, idle_in_transaction, long_running, prepared_forgotten)
