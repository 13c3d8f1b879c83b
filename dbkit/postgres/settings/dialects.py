"""A changed setting in each dialect: a line of postgresql.conf, ALTER SYSTEM, and the commands of managed services."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from typing import Final

from dbkit.errors import UsageError
from dbkit.postgres.conf import parameters
from dbkit.postgres.conf.checks import elements
from dbkit.postgres.conf.values import written
from dbkit.postgres.settings.rules.declare import Change, literal
from dbkit.postgres.settings.scene import Scene

LISTS: Final = frozenset(
    {
        "shared_preload_libraries",
        "session_preload_libraries",
        "local_preload_libraries",
        "search_path",
        "temp_tablespaces",
        "unix_socket_directories",
    }
)
"""Parameters of which ALTER SYSTEM quotes every element itself (GUC_LIST_QUOTE, and the lists of folders)."""

_BY_SERVICE: Final = (
    "listen_addresses port ssl fsync full_page_writes data_checksums archive_mode archive_command hba_file ident_file "
    "config_file data_directory huge_pages log_destination logging_collector log_line_prefix io_method "
    "unix_socket_directories ssl_cert_file ssl_key_file"
)
FIXED: Final[dict[str, frozenset[str]]] = {
    "aws": frozenset([*_BY_SERVICE.split(), "wal_level", "restart_after_crash"]),
    "azure": frozenset(_BY_SERVICE.split()),
    "gcp": frozenset([*_BY_SERVICE.split(), "wal_level", "shared_preload_libraries"]),
}
"""What a managed service sets itself, or sets by another door than its parameters (its documentation)."""

_ELSEWHERE: Final = {
    ("aws", "wal_level"): "set rds.logical_replication = 1 instead; replica is always there",
    ("aws", "ssl"): "TLS is always on; set rds.force_ssl = 1 to refuse plain connections",
    ("azure", "ssl"): "TLS is always on; set require_secure_transport = on to refuse plain connections",
    ("gcp", "ssl"): "TLS is always on; set the instance's SSL mode (--ssl-mode) to refuse plain connections",
    ("gcp", "wal_level"): "set cloudsql.logical_decoding = on instead; replica is always there",
    ("gcp", "shared_preload_libraries"): "each library has a flag of its own, such as cloudsql.enable_pgaudit; "
    "pg_stat_statements is always loaded",
}


def conf(scene: Scene, change: Change) -> str:
    """The line of a configuration file."""
    if change.value is None:
        return f"# {change.name}: take the line out"
    return f"{change.name} = {quoted(scene, change)}"


def quoted(scene: Scene, change: Change) -> str:
    """The value as a file takes it: bare where that is safe, else in single quotes."""
    parameter = parameters.load(scene.major)[change.name.lower()]
    text = written(parameter, change.value or "")
    bare = parameter.kind in ("bool", "integer", "real", "enum") and text and not text.startswith("-")
    if parameter.kind == "integer" and text.lstrip("-").isdigit():
        bare = True
    if bare:
        return text
    escaped = text.replace("\\", "\\\\").replace("'", "''")
    return f"'{escaped}'"


def statement(major: int, change: Change) -> str:
    """The ALTER SYSTEM statement, without a semicolon."""
    if change.value is None:
        return f"alter system reset {change.name}"
    name = change.name.lower()
    if name in LISTS and change.value.strip():
        parts = elements(name, change.value) or [change.value]
        return f"alter system set {change.name} = {', '.join(literal(part) for part in parts)}"
    parameter = parameters.load(major)[name]
    return f"alter system set {change.name} = {literal(written(parameter, change.value))}"


def sql(scene: Scene, change: Change) -> str:
    """ALTER SYSTEM and what makes it count; a managed service gets its command instead."""
    if scene.managed is not None:
        return "\n".join(_managed_line(scene, change))
    restart = needs_restart(scene, change.name)
    then = "-- then restart the server" if restart else "select pg_reload_conf();"
    return f"{statement(scene.major, change)};\n{then}"


def needs_restart(scene: Scene, name: str) -> bool:
    """Whether a change waits for a restart."""
    return parameters.load(scene.major)[name.lower()].needs_restart


def script(scene: Scene, changes: Sequence[Change]) -> str:
    """A psql script of ALTER SYSTEM statements: those a reload brings first, then those that wait for a restart."""
    if scene.managed is not None:
        raise UsageError(
            f"{scene.name} is managed ({scene.managed}): ALTER SYSTEM is not permitted there",
            hint="name the file .sh to get the service's own commands",
        )
    reload = [c for c in changes if not needs_restart(scene, c.name)]
    restart = [c for c in changes if needs_restart(scene, c.name)]
    lines = [
        f"-- Settings of {scene.name} (PostgreSQL {scene.major}, {scene.size.words}).",
        "-- ALTER SYSTEM refuses to run in a transaction block: do not use --single-transaction.",
        r"\set ON_ERROR_STOP on",
    ]
    if reload:
        lines += ["", "-- In force after the reload:", *(f"{statement(scene.major, c)};" for c in reload)]
    if restart:
        lines += ["", "-- In force after a restart:", *(f"{statement(scene.major, c)};" for c in restart)]
    lines += ["", "select pg_reload_conf();"]
    undo = [f"-- alter system reset {c.name};" for c in changes]
    lines += ["", "-- Undo (what postgresql.conf says counts again):", *undo, "-- select pg_reload_conf();"]
    return "\n".join(lines) + "\n"


def commands(scene: Scene, changes: Sequence[Change], service: str) -> str:
    """A shell script of the managed service's own commands; the names of group and instance are variables."""
    possible = [c for c in changes if c.name.lower() not in FIXED[service] and c.value is not None]
    fixed = [c for c in changes if c.name.lower() in FIXED[service]]
    head = ["#!/bin/sh", "set -eu", f"# Settings of {scene.name} (PostgreSQL {scene.major}, {scene.size.words})."]
    head += [f"# {c.name} cannot be set here: {why_fixed(service, c.name)}" for c in fixed]
    if not possible:
        return "\n".join([*head, "# nothing is left to be set"]) + "\n"
    body = {"aws": _aws, "azure": _azure, "gcp": _gcp}[service](scene, possible)
    return "\n".join([*head, *body]) + "\n"


def why_fixed(service: str, name: str) -> str:
    """What a service says of a setting it keeps to itself."""
    return _ELSEWHERE.get((service, name.lower()), "the service sets it itself")


def _managed_line(scene: Scene, change: Change) -> list[str]:
    service = scene.managed or ""
    if change.name.lower() in FIXED[service]:
        return [f"-- {change.name} cannot be set on this managed service: {why_fixed(service, change.name)}"]
    return [line for line in commands(scene, [change], service).splitlines()[3:] if line]


def _plain(scene: Scene, change: Change) -> str:
    """The value in base units, which is what the services take."""
    del scene
    return change.value or ""


def _aws(scene: Scene, changes: Sequence[Change]) -> Iterable[str]:
    yield ': "${PARAMETER_GROUP:?name of the DB parameter group}"'
    yield "# Aurora: modify-db-cluster-parameter-group for what the group of the cluster holds."
    for change in changes:
        method = "pending-reboot" if needs_restart(scene, change.name) else "immediate"
        value = _plain(scene, change)
        if parameters.load(scene.major)[change.name.lower()].kind == "bool":
            value = {"on": "1", "off": "0"}.get(value, value)  # the group allows 0 and 1 only
        value = value.replace("\\", "\\\\").replace('"', '\\"')
        entry = f'ParameterName={change.name},ParameterValue="{value}",ApplyMethod={method}'
        yield (
            'aws rds modify-db-parameter-group --db-parameter-group-name "$PARAMETER_GROUP" '
            f"--parameters {shlex.quote(entry)}"
        )
    if any(needs_restart(scene, c.name) for c in changes):
        yield "# then, when it suits: aws rds reboot-db-instance --db-instance-identifier INSTANCE"


def _azure(scene: Scene, changes: Sequence[Change]) -> Iterable[str]:
    yield ': "${RESOURCE_GROUP:?}" "${SERVER:?name of the flexible server}"'
    for change in changes:
        yield (
            'az postgres flexible-server parameter set --resource-group "$RESOURCE_GROUP" --server-name "$SERVER" '
            f"--name {change.name} --value {shlex.quote(_plain(scene, change))}"
        )
    if any(needs_restart(scene, c.name) for c in changes):
        yield '# then, when it suits: az postgres flexible-server restart -g "$RESOURCE_GROUP" -n "$SERVER"'


def _gcp(scene: Scene, changes: Sequence[Change]) -> Iterable[str]:
    yield ': "${INSTANCE:?name of the Cloud SQL instance}"'
    yield "# --database-flags replaces ALL flags: add those that `gcloud sql instances describe` shows and you keep."
    flags = ",".join(f"{c.name}={_plain(scene, c)}" for c in changes)
    separator = "^:^" if any("," in _plain(scene, c) for c in changes) else ""
    if separator:
        flags = ":".join(f"{c.name}={_plain(scene, c)}" for c in changes)
    if any(needs_restart(scene, c.name) for c in changes):
        yield "# Some of these restart the instance at once, and its replicas with it."
    yield f'gcloud sql instances patch "$INSTANCE" --database-flags={shlex.quote(separator + flags)}'
