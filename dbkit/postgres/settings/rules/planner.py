"""The planner and developer switches: what somebody turned for a test and left."""

from __future__ import annotations

from dbkit.model import Severity
from dbkit.postgres.settings.rules.declare import Change, Verdict, Verdicts, place, setting_rule
from dbkit.postgres.settings.scene import Scene

CATEGORY = "planner"
_OFF_BY_DEFAULT = frozenset({"enable_partitionwise_join", "enable_partitionwise_aggregate"})


@setting_rule(
    "planner-switched-off",
    Severity.WARN,
    CATEGORY,
    ok="The planner may use every kind of plan",
    bad="enable_seqscan = off",
    good="enable_seqscan = on",
    equivalents={"postgresqltuner": ("disabled plan functions",), "pg_gather": ("enable_*",)},
)
def switched_off(scene: Scene) -> Verdicts:
    """A kind of plan is switched off for everybody.

    Why: the enable_ switches are for finding out why a plan was chosen; left off, they make every statement that needs
    that kind worse.

    Fix: take it out; for one statement, `set local` in its transaction.

    Not reported when: it is off by default (partitionwise joins and aggregates).

    See: the manual, planner method configuration.
    """
    for name, held in sorted(scene.held.items()):
        if name.startswith("enable_") and held.value == "off" and name not in _OFF_BY_DEFAULT:
            yield Verdict(
                f"{name} is off for every session: the planner may not use that kind of plan",
                held.parameter.name,
                changes=(Change(held.parameter.name, "on"),),
                location=place(scene, name),
            )


@setting_rule(
    "page-costs-inverted",
    Severity.WARN,
    CATEGORY,
    ok="A random page does not cost less than the next one",
    bad="random_page_cost = 0.5",
    good="random_page_cost = 1.1",
    equivalents={"pg_gather": ("random_page_cost",)},
)
def page_costs_inverted(scene: Scene) -> Verdicts:
    """random_page_cost is below seq_page_cost: to the planner, jumping is cheaper than reading on.

    Why: it then prefers an index even where the whole table must be read.

    Fix: random_page_cost = 1.1 on SSD (S0 4.1), seq_page_cost = 1.

    Not reported when: it is at or above.

    See: S0 4.1.
    """
    one, other = scene.number("random_page_cost"), scene.number("seq_page_cost")
    if one < other:
        yield Verdict(
            f"random_page_cost ({one:g}) is below seq_page_cost ({other:g})",
            "random_page_cost",
            changes=(Change("random_page_cost", f"{max(other, 1.1):g}"),),
            location=place(scene, "random_page_cost"),
        )


@setting_rule(
    "planner-costs-changed",
    Severity.INFO,
    CATEGORY,
    ok="The planner's CPU and parallel costs are those it is tested with",
    bad="cpu_tuple_cost = 0.5",
    good="cpu_tuple_cost = 0.01",
    equivalents={"postgresqltuner": ("modified costs",)},
)
def costs_changed(scene: Scene) -> Verdicts:
    """A cost of the planner other than those of pages has been changed.

    Why: they are tuned against each other; one that was turned for a single statement changes plans everywhere.

    Fix: set the default again, and mend the statement by an index or by statistics.

    Not reported when: it is the page costs, which depend on the storage, or the vacuum costs.

    See: the manual, planner cost constants.
    """
    for name, held in sorted(scene.held.items()):
        cost = name.startswith(("cpu_", "parallel_setup_cost", "parallel_tuple_cost", "seq_page_cost"))
        if cost and held.parameter.kind == "real" and float(held.value) != float(held.parameter.boot or held.value):
            yield Verdict(
                f"{name} is {float(held.value):g}, its default is {float(held.parameter.boot or 0):g}",
                held.parameter.name,
                changes=(Change(held.parameter.name, held.parameter.boot),),
                location=place(scene, name),
            )


@setting_rule(
    "scans-unsynchronised",
    Severity.INFO,
    CATEGORY,
    ok="Scans of one large table share their reads",
    bad="synchronize_seqscans = off",
    good="synchronize_seqscans = on",
    equivalents={"postgresqltuner": ("synchronize_seqscans",)},
)
def scans_unsynchronised(scene: Scene) -> Verdicts:
    """synchronize_seqscans is off: two scans of one table read it twice.

    Why: with it on, a second scan joins the first where that is.

    Fix: set it on; a test that needs rows in the order of the file should say ORDER BY.

    Not reported when: it is on.

    See: the manual, version and platform compatibility.
    """
    if not scene.on("synchronize_seqscans"):
        yield Verdict(
            "synchronize_seqscans is off: scans of one table do not share their reads",
            "synchronize_seqscans",
            changes=(Change("synchronize_seqscans", "on"),),
            location=place(scene, "synchronize_seqscans"),
        )


@setting_rule(
    "login-delayed",
    Severity.WARN,
    CATEGORY,
    ok="Nothing delays a login",
    bad="post_auth_delay = 5s",
    good="post_auth_delay = 0",
    equivalents={"postgresqltuner": ("pre_auth_delay", "post_auth_delay")},
)
def login_delayed(scene: Scene) -> Verdicts:
    """A developer's switch makes every new connection wait.

    Why: pre_auth_delay and post_auth_delay give a developer time to attach a debugger.

    Fix: take it out.

    Not reported when: both are 0.

    See: the manual, developer options.
    """
    for name in ("pre_auth_delay", "post_auth_delay"):
        if scene.number(name) > 0:
            yield Verdict(
                f"{name} is {scene.setting(name).shown}: every new connection waits that long",
                name,
                changes=(Change(name, "0"),),
                location=place(scene, name),
            )


RULES = (switched_off, page_costs_inverted, costs_changed, scans_unsynchronised, login_delayed)
