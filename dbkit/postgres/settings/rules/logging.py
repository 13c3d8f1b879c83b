"""Logging: whether the log says enough to find a slow statement, and not so much that it is the slow statement."""

from __future__ import annotations

from dbkit.model import Severity
from dbkit.postgres.settings.rules.declare import Change, Verdict, Verdicts, place, setting_rule
from dbkit.postgres.settings.scene import Scene

CATEGORY = "logging"


@setting_rule(
    "log-everything",
    Severity.WARN,
    CATEGORY,
    ok="The log does not hold every statement",
    bad="log_min_duration_statement = 0",
    good="log_min_duration_statement = 1s",
    equivalents={"postgresqltuner": ("log_statement", "log_min_duration_statement"), "pg_gather": ("log_statement",)},
)
def log_everything(scene: Scene) -> Verdicts:
    """Every statement is logged.

    Why: on a busy server the log becomes the bottleneck, fills the disk, and holds every value that passed, passwords
    and personal data included.

    Fix: log_min_duration_statement = 1s and log_statement = none or ddl; to see more for an hour,
    log_min_duration_sample with log_statement_sample_rate.

    Not reported when: log_statement is none or ddl, and only statements over some time are logged.

    See: S0 4.1 logs from one second on.
    """
    if scene.number("log_min_duration_statement") == 0:
        yield Verdict(
            "log_min_duration_statement is 0: every statement is logged, with its values",
            "log_min_duration_statement",
            changes=(Change("log_min_duration_statement", "1000"),),
            location=place(scene, "log_min_duration_statement"),
        )
    if scene.text("log_statement") in ("all", "mod"):
        what = "every statement" if scene.text("log_statement") == "all" else "every change"
        yield Verdict(
            f"log_statement is {scene.text('log_statement')}: {what} is logged, with its values",
            "log_statement",
            changes=(Change("log_statement", "ddl"),),
            location=place(scene, "log_statement"),
        )
    if scene.on("log_duration"):
        yield Verdict(
            "log_duration is on: every statement writes a line",
            "log_duration",
            changes=(Change("log_duration", "off"),),
            location=place(scene, "log_duration"),
        )


@setting_rule(
    "log-hostname",
    Severity.WARN,
    CATEGORY,
    ok="A connection does not wait for the name of its host",
    bad="log_hostname = on",
    good="log_hostname = off",
    equivalents={"postgresqltuner": ("log_hostname",)},
)
def log_hostname(scene: Scene) -> Verdicts:
    """log_hostname is on: each new connection waits for a name server.

    Why: when the name server is slow or gone, connecting takes seconds.

    Fix: set it off; the address is in the log all the same.

    Not reported when: it is off.

    See: the manual says the same of it.
    """
    if scene.on("log_hostname"):
        yield Verdict(
            "log_hostname is on: every new connection waits for a reverse look-up",
            "log_hostname",
            changes=(Change("log_hostname", "off"),),
            location=place(scene, "log_hostname"),
        )


@setting_rule(
    "log-prefix-blind",
    Severity.INFO,
    CATEGORY,
    ok="Each log line says when, which process, who and which database",
    bad="log_line_prefix = '%m [%p] '",
    good="log_line_prefix = '%m [%p] %u@%d %a '",
)
def log_prefix_blind(scene: Scene) -> Verdicts:
    """The log does not say which user, database or process a line belongs to.

    Why: a slow statement or an error cannot be given to an application, and N+1 patterns need the process.

    Fix: log_line_prefix = '%m [%p] %u@%d %a '; a reload is enough. csvlog and jsonlog carry all of it.

    Not reported when: the prefix has a time, the process, user and database, or the log is csvlog or jsonlog only.

    See: `dbkit query report` reads any prefix; this is what it can then tell.
    """
    kinds = {kind.strip() for kind in scene.text("log_destination").split(",")}
    if kinds and kinds <= {"csvlog", "jsonlog"}:
        return
    prefix = scene.text("log_line_prefix")
    wanted = (("mtns", "the time"), ("pcQ", "the process"), ("u", "the user"), ("d", "the database"))
    lacking = [words for letters, words in wanted if not any(f"%{letter}" in prefix for letter in letters)]
    if lacking:
        yield Verdict(
            f"log_line_prefix {prefix!r} does not tell {', '.join(lacking)}",
            "log_line_prefix",
            changes=(Change("log_line_prefix", "%m [%p] %u@%d %a "),),
            location=place(scene, "log_line_prefix"),
        )


@setting_rule(
    "log-without-collector",
    Severity.WARN,
    CATEGORY,
    ok="Something writes the log files that are asked for",
    bad="""
    log_destination = 'csvlog'
    logging_collector = off
    """,
    good="""
    log_destination = 'csvlog'
    logging_collector = on
    """,
)
def log_without_collector(scene: Scene) -> Verdicts:
    """csvlog or jsonlog is asked for, but the logging collector that writes them is off.

    Why: without the collector these lines go nowhere, or to stderr in another shape.

    Fix: logging_collector = on, which needs a restart.

    Not reported when: the log goes to stderr or syslog, as in containers.

    See: the manual, log_destination.
    """
    kinds = {kind.strip().strip('"') for kind in scene.text("log_destination").lower().split(",")}
    asked = sorted(kinds & {"csvlog", "jsonlog"})
    if asked and not scene.on("logging_collector"):
        yield Verdict(
            f"log_destination asks for {' and '.join(asked)}, but logging_collector is off: nothing writes it; needs a "
            "restart",
            "logging_collector",
            changes=(Change("logging_collector", "on"),),
            location=place(scene, "log_destination"),
        )


RULES = (log_everything, log_hostname, log_prefix_blind, log_without_collector)
