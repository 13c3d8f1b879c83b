"""Would it start, would it reload, what needs a restart, what breaks on an upgrade: verdicts on a whole configuration.

The failures are those that `postgres -C` and pg_file_settings do not catch and a start does (run on 15 and 18).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from dbkit.postgres.conf import parameters
from dbkit.postgres.conf.checks import shown, split_identifiers
from dbkit.postgres.conf.reader import ConfFile
from dbkit.postgres.conf.values import InvalidValue
from dbkit.postgres.settings.scene import Scene, Unseen

SEGMENT: Final = 16
"""MB of a WAL segment, unless initdb was told otherwise, which a file does not show."""

_REPLACED: Final = {
    "force_parallel_mode": "debug_parallel_query",
    "promote_trigger_file": "pg_promote() or pg_ctl promote",
    "vacuum_defer_cleanup_age": "hot_standby_feedback or replication slots",
    "stats_temp_directory": "nothing: statistics are kept in shared memory",
    "old_snapshot_threshold": "nothing: it was taken out; see idle_in_transaction_session_timeout",
    "db_user_namespace": "nothing: it was taken out",
    "trace_recovery_messages": "nothing: it was taken out",
    "ssl_ecdh_curve": "ssl_groups",
}
"""What took the place of a name that went away (release notes)."""


def failures(scene: Scene) -> Iterator[tuple[str, str]]:
    """Settings that together keep the server from starting: the one to change, and why."""
    for check in (_reserved, _wal_size, _minimal_wal, _quoted_library):
        try:
            yield from check(scene)
        except (Unseen, ValueError):  # refused anyway, which is another rule's finding
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
    for library in split_identifiers(held.value, "shared_preload_libraries") if held.value else []:
        if "," in library:
            yield (
                "shared_preload_libraries",
                f'the quotes make "{library}" the name of a single library: leave the inner quotes out',
            )


def upgrade(scene: Scene, to: int) -> Iterator[tuple[str, str]]:
    """What of the settings in force, or in the file, the newer version refuses."""
    if to <= scene.major:
        return
    for name, raw in _given(scene):
        parameter = parameters.find(name, to)
        if parameter is None:
            instead = _REPLACED.get(name.lower(), "nothing of that name")
            yield name, f"PostgreSQL {to} has no {name} and does not start with it; it has {instead}"
            continue
        try:
            shown(parameter, raw, to)
        except InvalidValue as error:
            yield name, f"PostgreSQL {to} refuses {name} = {raw} and does not start: {error}"


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
