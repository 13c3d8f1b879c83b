"""The upgrade to a newer major version: what it refuses, what its defaults change, what means something else there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import PurePath
from typing import Final

from dbkit.postgres.conf import parameters
from dbkit.postgres.conf.checks import shown
from dbkit.postgres.conf.values import InvalidValue, written
from dbkit.postgres.settings.scene import Row, Scene

_REPLACED: Final = {
    "force_parallel_mode": "write debug_parallel_query instead",
    "promote_trigger_file": "take the line out, and promote with pg_promote() or pg_ctl promote",
    "vacuum_defer_cleanup_age": "take the line out, and use hot_standby_feedback or replication slots",
    "stats_temp_directory": "take the line out: statistics are kept in shared memory",
    "old_snapshot_threshold": "take the line out; idle_in_transaction_session_timeout ends old snapshots",
    "db_user_namespace": "take the line out: there is nothing like it any more",
    "trace_recovery_messages": "take the line out: there is nothing like it any more",
    "lc_collate": "take the line out: each database has its own",
    "lc_ctype": "take the line out: each database has its own",
}
"""What to do about a name that went away (release notes of 15 to 18)."""
_BACKPATCHED: Final = frozenset({"composite_type_mismatch", "extension_destdir"})
"""Of some minor versions or packages only: what a newer major version makes of them is not known."""
_DEFAULTS: Final = {
    "hash_mem_multiplier": "a hash may take that many times work_mem",
    "log_checkpoints": "every checkpoint is logged",
    "log_autovacuum_min_duration": "long runs of autovacuum are logged",
    "vacuum_buffer_usage_limit": "VACUUM takes more of shared_buffers, and is faster",
    "effective_io_concurrency": "bitmap scans and others read ahead, by asynchronous I/O",
    "maintenance_io_concurrency": "VACUUM and others read ahead, by asynchronous I/O",
}
"""Defaults that a new major version changed, and what that does (release notes of 15, 17 and 18)."""

_MD5: Final = (
    "from PostgreSQL 18 on MD5 passwords are deprecated and every new one is warned of: set scram-sha-256 and have the "
    "passwords set anew"
)
_CHECKSUMS: Final = (
    "initdb of PostgreSQL 18 turns them on: pg_upgrade refuses such a pair, so run `initdb --no-data-checksums`, or "
    "`pg_checksums --enable` on the stopped old server first"
)


def breaks(scene: Scene, to: int) -> Iterator[tuple[str, str]]:
    """What of the settings in force, or in the file, the newer version refuses."""
    if to <= scene.major:
        return
    for name, raw in _given(scene):
        parameter = parameters.find(name, to)
        if parameter is None and name.lower() in _BACKPATCHED:
            continue
        if parameter is None:
            instead = _REPLACED.get(name.lower(), "take the line out")
            yield name, f"PostgreSQL {to} has no {name} and does not start with it: {instead}"
            continue
        try:
            shown(parameter, raw, to)
        except InvalidValue as error:
            yield name, f"PostgreSQL {to} refuses {name} = {raw} and does not start: {error}"


def changes(scene: Scene, to: int) -> Iterator[tuple[str, str, bool]]:
    """What changes with the newer version where nothing is set: the name, a sentence, and whether it costs memory."""
    if to <= scene.major:
        return
    old, new = parameters.load(scene.major), parameters.load(to)
    for name, effect in _DEFAULTS.items():
        held = scene.held.get(name)
        if held is None or held.source != "default" or old[name].boot == new[name].boot:
            continue
        was, will = written(old[name], old[name].boot or ""), written(new[name], new[name].boot or "")
        yield name, f"{name} is not set: its default goes from {was} to {will}: {effect}", name == "hash_mem_multiplier"
    workers, slots = scene.held.get("autovacuum_max_workers"), new.get("autovacuum_worker_slots")
    known = scene.held.get("autovacuum_worker_slots")
    if workers is None or slots is None or known is not None or float(workers.value) <= float(slots.boot or 0):
        return
    cut = f"autovacuum_max_workers = {workers.value} gives only {slots.boot} workers in PostgreSQL {to}"
    yield "autovacuum_max_workers", f"{cut}: set autovacuum_worker_slots = {workers.value} there as well", True


def meanings(scene: Scene, to: int) -> Iterator[tuple[str, str, bool]]:
    """What is written and means something else there, or stands in the upgrade's way; in the same form."""
    if scene.major < 18 <= to:
        held = scene.held.get("password_encryption")
        if held is not None and held.value == "md5":
            yield "password_encryption", f"password_encryption = md5: {_MD5}", True
        sums = scene.held.get("data_checksums")
        if scene.live and sums is not None and sums.value == "off":
            yield "data_checksums", f"data_checksums is off, and {_CHECKSUMS}", True
    if scene.major < 16 <= to:
        yield from _patterns(scene)


def _patterns(scene: Scene) -> Iterator[tuple[str, str, bool]]:
    """Names in pg_hba.conf and pg_ident.conf that become expressions and keywords with 16."""
    for row in _rows(scene, "hba_rules"):
        for name in (*(row["database"] or ()), *(row["user_name"] or ())):
            if name.startswith("/"):
                file = PurePath(row["file_name"] or "pg_hba.conf").name
                said = f"{file}:{row['line_number']}: from PostgreSQL 16 on {name} is an expression, not a name"
                yield f"{file}:{row['line_number']}", said, True
    for row in _rows(scene, "ident_maps"):
        role = row["pg_username"] or ""
        if role == "all" or role.startswith(("/", "+")):
            file = PurePath(row["file_name"] or "pg_ident.conf").name
            meant = "every role" if role == "all" else "an expression" if role.startswith("/") else "members of a role"
            said = f"{file}:{row['line_number']}: from PostgreSQL 16 on {role} means {meant}, not the role of that name"
            yield f"{file}:{row['line_number']}", said, True


def _rows(scene: Scene, fact: str) -> Sequence[Row]:
    held = scene.facts.get(fact, "")
    return () if isinstance(held, str) else held


def _given(scene: Scene) -> Iterator[tuple[str, str]]:
    """Names and values somebody wrote, custom names left out."""
    if scene.conf is not None:
        for setting in scene.conf.effective.values():
            if not setting.custom and setting.error is None:
                yield setting.name, setting.raw
        return
    for held in scene.held.values():
        if held.source in ("configuration file", "command line") and held.parameter.context != "internal":
            yield held.parameter.name, held.value
