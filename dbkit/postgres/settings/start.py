"""Would it start, what needs a restart: verdicts on a whole configuration.

The failures are those that `postgres -C` and pg_file_settings do not catch and a start does (run on 15 and 18).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from dbkit.postgres.conf.checks import split_directories, split_identifiers
from dbkit.postgres.conf.reader import ConfFile
from dbkit.postgres.conf.values import InvalidValue
from dbkit.postgres.settings.scene import Scene, Unseen

SEGMENT: Final = 16
"""MB of a WAL segment, unless initdb was told otherwise, which a file does not show."""
MOST_PROCESSES: Final = 2**18 - 1
MOST_SOCKET: Final = 107
"""Bytes of a socket's path on Linux."""


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
    for library in split_directories(held.value) or []:
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
    folders = split_directories(named)
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


def _huge_pages(scene: Scene) -> Iterator[tuple[str, str]]:
    kind = scene.text("shared_memory_type")
    if scene.text("huge_pages") == "on" and kind != "mmap":
        yield "huge_pages", f"huge_pages = on is not possible with shared_memory_type = {kind}"


def _tls(scene: Scene) -> Iterator[tuple[str, str]]:
    least, most = scene.text("ssl_min_protocol_version"), scene.text("ssl_max_protocol_version")
    if scene.on("ssl") and most and least > most:
        yield "ssl_max_protocol_version", f"ssl_min_protocol_version ({least}) is higher than its maximum ({most})"


def restart_names(conf: ConfFile) -> list[str]:
    """What of the file takes effect only at a restart, by the parameter's own name."""
    return sorted(
        s.parameter.name
        for s in conf.effective.values()
        if s.parameter is not None and s.error is None and s.parameter.needs_restart
    )
