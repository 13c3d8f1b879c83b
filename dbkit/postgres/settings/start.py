"""Would it start, would it reload, what needs a restart, what breaks on an upgrade: verdicts on a whole configuration.

The failures are those that `postgres -C` and pg_file_settings do not catch and a start does (run on 15 and 18).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from dbkit.postgres.conf import parameters
from dbkit.postgres.conf.checks import shown, split_identifiers
from dbkit.postgres.conf.reader import ConfFile
from dbkit.postgres.conf.values import InvalidValue, written
from dbkit.postgres.settings.scene import Scene, Unseen

SEGMENT: Final = 16
"""MB of a WAL segment, unless initdb was told otherwise, which a file does not show."""
MOST_PROCESSES: Final = 2**18 - 1
MOST_SOCKET: Final = 107
"""Bytes of a socket's path on Linux."""
_FOLDER: Final = r'(?:"(?:[^"]|"")*"|[^",\s][^,]*)'

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


def failures(scene: Scene) -> Iterator[tuple[str, str]]:
    """Settings that together keep the server from starting: the one to change, and why."""
    for check in (_reserved, _processes, _wal_size, _minimal_wal, _quoted_library, _sockets, _huge_pages, _tls):
        try:
            yield from check(scene)
        except (Unseen, ValueError, InvalidValue):  # refused anyway, which is another rule's finding
            continue


def _reserved(scene: Scene) -> Iterator[tuple[str, str]]:
    most, supers = scene.number("max_connections"), scene.number("superuser_reserved_connections")
    more = scene.number("reserved_connections") if scene.known("reserved_connections") else 0
    if supers + more >= most:
        both = f" + reserved_connections ({more:g})" if more else ""
        yield (
            "superuser_reserved_connections",
            f"superuser_reserved_connections ({supers:g}){both} must be less than max_connections ({most:g})",
        )


def _processes(scene: Scene) -> Iterator[tuple[str, str]]:
    workers = "autovacuum_worker_slots" if scene.known("autovacuum_worker_slots") else "autovacuum_max_workers"
    names = ("max_connections", workers, "max_worker_processes", "max_wal_senders")
    total = sum(scene.number(name) for name in names) + (2 if scene.major >= 18 else 1)
    if total > MOST_PROCESSES:
        largest = max(names, key=scene.number)
        parts = " + ".join(f"{name} ({scene.number(name):g})" for name in names)
        yield largest, f"{parts} must be less than {MOST_PROCESSES}"


def _wal_size(scene: Scene) -> Iterator[tuple[str, str]]:
    for name in ("max_wal_size", "min_wal_size"):
        if scene.number(name) < 2 * SEGMENT:
            yield (
                name,
                f"{name} ({scene.setting(name).shown}) must be at least twice the WAL segment size ({2 * SEGMENT}MB)",
            )


def _minimal_wal(scene: Scene) -> Iterator[tuple[str, str]]:
    if scene.text("wal_level") != "minimal":
        return
    if scene.number("max_wal_senders") > 0:
        yield (
            "max_wal_senders",
            f"wal_level = minimal allows no max_wal_senders, {scene.number('max_wal_senders'):g} are set",
        )
    if scene.text("archive_mode") != "off":
        yield ("archive_mode", "wal_level = minimal allows no archive_mode")
    if scene.known("summarize_wal") and scene.text("summarize_wal") == "on":
        yield ("summarize_wal", "wal_level = minimal allows no summarize_wal")


def _quoted_library(scene: Scene) -> Iterator[tuple[str, str]]:
    held = scene.setting("shared_preload_libraries")
    for library in directories(held.value) or []:
        if "," in library:
            yield (
                "shared_preload_libraries",
                f'the quotes make "{library}" the name of a single library: leave the inner quotes out',
            )


def _sockets(scene: Scene) -> Iterator[tuple[str, str]]:
    """Lists are read only when the server begins to listen; then there must be one socket at least."""
    addresses, named = scene.text("listen_addresses"), scene.text("unix_socket_directories")
    try:
        split_identifiers(addresses, "listen_addresses")
    except InvalidValue:
        yield "listen_addresses", f"listen_addresses = '{addresses}' is no list: names go between commas, none is empty"
    folders = directories(named)
    if folders is None:
        yield (
            "unix_socket_directories",
            f"unix_socket_directories = '{named}' is no list: folders go between commas, none is empty",
        )
        return
    if not folders and not addresses.strip():
        yield "listen_addresses", "listen_addresses and unix_socket_directories are both empty: nobody could connect"
    socket = f"/.s.PGSQL.{scene.number('port'):g}"
    if folders and all(len((folder + socket).encode("utf-8", "surrogateescape")) > MOST_SOCKET for folder in folders):
        why = f"the path of a socket has at most {MOST_SOCKET} bytes, {socket} included"
        yield "unix_socket_directories", f"unix_socket_directories = '{named}': {why}"


def directories(text: str) -> list[str] | None:
    """A list of folders (SplitDirectoriesString); None when its syntax is wrong."""
    if not text.strip():
        return []
    if not re.fullmatch(rf"\s*{_FOLDER}\s*(?:,\s*{_FOLDER}\s*)*", text):
        return None
    found = [part.strip() for part in re.findall(_FOLDER, text)]
    return [part[1:-1].replace('""', '"') if part.startswith('"') else part for part in found]


def _huge_pages(scene: Scene) -> Iterator[tuple[str, str]]:
    kind = scene.text("shared_memory_type")
    if scene.text("huge_pages") == "on" and kind != "mmap":
        yield "huge_pages", f"huge_pages = on is not possible with shared_memory_type = {kind}"


def _tls(scene: Scene) -> Iterator[tuple[str, str]]:
    least, most = scene.text("ssl_min_protocol_version"), scene.text("ssl_max_protocol_version")
    if scene.on("ssl") and most and least > most:
        yield "ssl_max_protocol_version", f"ssl_min_protocol_version ({least}) is higher than its maximum ({most})"


def upgrade(scene: Scene, to: int) -> Iterator[tuple[str, str]]:
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


def upgrade_changes(scene: Scene, to: int) -> Iterator[tuple[str, str, bool]]:
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


def restart_names(conf: ConfFile) -> list[str]:
    """What of the file takes effect only at a restart, by the parameter's own name."""
    return sorted(
        s.parameter.name
        for s in conf.effective.values()
        if s.parameter is not None and s.error is None and s.parameter.needs_restart
    )
