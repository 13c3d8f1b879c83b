"""What is in force and where it comes from: pending restarts, files not loaded, overrides, nodes that differ."""

from __future__ import annotations

from typing import Final

from dbkit.model import Location, Severity
from dbkit.postgres.conf.values import written
from dbkit.postgres.settings.rules.declare import Verdict, Verdicts, setting_rule
from dbkit.postgres.settings.scene import FILE, Held, Override, Scene, Unseen

CATEGORY = "state"
PER_NODE: Final = frozenset(
    "cluster_name config_file data_directory hba_file ident_file external_pid_file listen_addresses port "
    "primary_conninfo primary_slot_name archive_command restore_command unix_socket_directories "
    "ssl_cert_file ssl_key_file log_directory log_filename in_hot_standby transaction_read_only "
    "default_transaction_read_only application_name shared_memory_size shared_memory_size_in_huge_pages "
    "hot_standby synchronous_standby_names data_directory_mode server_version server_version_num "
    "recovery_target_timeline promote_trigger_file huge_pages_status num_os_semaphores".split()
)
"""What rightly differs between the nodes of one cluster."""


@setting_rule(
    "setting-pending-restart",
    Severity.WARN,
    CATEGORY,
    ok="No changed setting waits for a restart",
    bad="""
    -- changed and reloaded, not restarted
    alter system set max_connections = 150;
    select pg_reload_conf();
    -- until: select pending_restart from pg_settings where name = 'max_connections'
    """,
    good="""
    -- nothing changed
    select 1;
    """,
    equivalents={"pgmetrics": ("pending_restart",)},
)
def pending_restart(scene: Scene) -> Verdicts:
    """A setting was changed in a file and reloaded, but takes effect only at a restart.

    Why: everybody who looks at the file believes it is in force; the next restart, perhaps an accident, brings it.

    Fix: restart when it suits, or take the change back.

    Not reported when: the file was not reloaded yet: then pg.setting-not-loaded says so.

    See: pg_settings.pending_restart.
    """
    if not scene.live:
        raise Unseen(FILE)
    for held in scene.held.values():
        if held.pending_restart:
            name = held.parameter.name
            yield Verdict(
                f"{name} was changed in its file; {held.shown or 'empty'} is in force until the server is restarted",
                name,
                fix="restart the server when it suits",
                kind="rewrite",
                location=Location(held.file, held.line) if held.file else None,
                data={"value": held.value},
            )


@setting_rule(
    "setting-not-loaded",
    Severity.WARN,
    CATEGORY,
    ok="The server has loaded what its files say",
    bad="""
    -- written, not reloaded
    -- postgresql.conf: work_mem = 7MB
    """,
    good="""
    -- nothing written
    select 1;
    """,
)
def not_loaded(scene: Scene) -> Verdicts:
    """A file says something else than what is in force: nobody has reloaded it.

    Why: it looks done and is not; the next reload, for another reason, brings it.

    Fix: `select pg_reload_conf()`; a setting that needs a restart then shows as pending.

    Not reported when: the line is refused (pg.conf-refused), dead (pg.conf-dead-line), or waits for a restart.

    See: pg_file_settings beside pg_settings.
    """
    last = {row["name"].lower(): row for row in scene.rows("file_settings") if row["name"]}
    for name, row in last.items():
        held = scene.held.get(name)
        if held is None or held.pending_restart or held.source in ("command line", "environment variable"):
            continue
        refused = row["error"] and "could not be applied" not in row["error"]
        if refused or (held.file, held.line) == (row["sourcefile"], row["sourceline"]):
            if refused or _same(held.value, row["setting"], held.parameter.name, scene):
                continue
        elif _same(held.value, row["setting"], held.parameter.name, scene):
            continue
        restart = " (it needs a restart)" if held.parameter.needs_restart else ""
        yield Verdict(
            f"{row['sourcefile']}:{row['sourceline']} says {row['setting'] or 'empty'}, in force is "
            f"{held.shown or 'empty'}: not reloaded yet{restart}",
            held.parameter.name,
            fix="select pg_reload_conf();",
            location=Location(row["sourcefile"], row["sourceline"]),
        )


def _same(value: str, raw: str, name: str, scene: Scene) -> bool:
    from dbkit.postgres.conf.checks import shown
    from dbkit.postgres.conf.values import InvalidValue

    parameter = scene.held[name.lower()].parameter
    try:
        said = shown(parameter, raw, scene.major)
    except InvalidValue:
        return True
    if parameter.kind in ("integer", "real"):
        if name == "wal_buffers" and said == "-1":  # pg_settings shows what the server chose
            return True
        return abs(float(said) - float(value or 0)) < 1e-6 * max(1.0, abs(float(said)))
    if parameter.kind == "string":
        return said.strip() == value.strip()
    return said == value


_DANGEROUS: Final = {
    "synchronous_commit": ("off", "commits of these sessions can be lost in a crash"),
    "row_security": ("off", "queries fail instead of being filtered"),
    "enable_seqscan": ("off", "the planner may not read a whole table"),
    "zero_damaged_pages": ("on", "damaged pages are emptied"),
    "session_replication_role": ("replica", "foreign keys and triggers are not run"),
}


@setting_rule(
    "setting-overridden",
    Severity.INFO,
    CATEGORY,
    ok="No role or database has settings of its own",
    bad="""
    -- a role with its own work_mem
    create role app login;
    alter role app set work_mem = '1GB';
    """,
    good="""
    -- a role without
    create role app login;
    """,
    equivalents={"pg_gather": ("pg_db_role_setting",)},
)
def overridden(scene: Scene) -> Verdicts:
    """A role or a database has settings of its own, which beat the server's for its sessions.

    Why: what the file says, and what an auditor's own session shows, is then not what the application has.

    Fix: keep those that are meant; `alter role app reset work_mem` takes one back.

    Not reported when: there are none. A warning when the value is dangerous for these sessions, or when work_mem is
    four times the server's and more.

    See: pg_db_role_setting.
    """
    if not scene.live:
        raise Unseen(FILE)
    for override in scene.overrides:
        value, words = _DANGEROUS.get(override.name.lower(), ("", ""))
        dangerous = bool(value) and override.shown == value
        if override.name.lower() == "work_mem" and override.parameter is not None:
            server = scene.number("work_mem")
            if float(override.shown or 0) >= 4 * server:
                dangerous, words = True, f"{float(override.shown) / server:.0f} times the server's"
        shown = written(override.parameter, override.shown) if override.parameter else override.value
        yield Verdict(
            f"{override.whose} has {override.name} = {shown}{f': {words}' if dangerous and words else ''}",
            override.name,
            severity=Severity.WARN if dangerous else None,
            fix=_reset(override),
            key=override.whose,
            data={"role": override.role, "database": override.database, "value": override.value},
        )


def _reset(override: Override) -> str:
    def quote(name: str) -> str:
        return '"' + name.replace('"', '""') + '"'

    where = f" in database {quote(override.database)}" if override.database else ""
    if override.role is None:
        subject = f"database {quote(override.database)}" if override.database else "role all"
        where = ""
    else:
        subject = f"role {quote(override.role)}"
    return f"alter {subject}{where} reset {override.name};"


@setting_rule(
    "setting-differs-between-nodes",
    Severity.WARN,
    CATEGORY,
    ok="The nodes have the same settings",
    bad="-- two servers in one run, one with work_mem = 64MB",
    good="-- two servers in one run with the same settings",
    equivalents={"postgres-checkup": ("A006",)},
)
def differs_between_nodes(scene: Scene) -> Verdicts:
    """A setting is not the same on the nodes that were audited together.

    Why: after a switch to the standby the database behaves differently, at the worst moment; a standby with smaller
    max_connections, max_worker_processes, max_wal_senders, max_prepared_transactions or max_locks_per_transaction even
    stops replaying.

    Fix: bring them to one value; those that rightly differ per node (addresses, file names, slots) are left out.

    Not reported when: only one server is looked at. Nodes are a target with its `replicas`, and those of one run.

    See: postgres-checkup A006 compares the same.
    """
    if not scene.others:
        raise Unseen("there is one node: name several targets, or `replicas` of the target")
    for name, held in sorted(scene.held.items()):
        if name in PER_NODE or held.parameter.context == "internal":
            continue
        apart = {
            node: settings[name].shown
            for node, settings in scene.others.items()
            if name in settings and settings[name].value != held.value and not _computed(held, settings[name])
        }
        if apart:
            listed = ", ".join(f"{value or 'empty'} on {node}" for node, value in apart.items())
            yield Verdict(
                f"{held.parameter.name} is {held.shown or 'empty'} on {scene.name}, {listed}",
                held.parameter.name,
                data={"here": held.value, "there": dict(apart)},
            )


def _computed(one: Held, other: Held) -> bool:
    """Whether nobody set it on either node: the server made it of other settings, or the versions' defaults differ."""
    return {one.source, other.source} <= {"default", "override"}


RULES = (pending_restart, not_loaded, overridden, differs_between_nodes)
