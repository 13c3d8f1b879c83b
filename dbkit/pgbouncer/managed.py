"""Edits as commands for a PgBouncer that a managed service runs: no file and no RELOAD there.

Azure's flexible server has one built in (port 6432) and lends out nine of its keys as server parameters, all applied
without a restart (Microsoft Learn, "Server parameters: PgBouncer").
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator
from typing import Final

from dbkit.errors import UsageError
from dbkit.pgbouncer.rules.declare import Edit

_AZURE: Final[dict[str, tuple[int, int] | str]] = {
    "default_pool_size": (1, 4950),
    "min_pool_size": (0, 4950),
    "max_client_conn": (1, 50000),
    "max_prepared_statements": (0, 5000),
    "query_wait_timeout": (0, 86400),
    "server_idle_timeout": (0, 86400),
    "pool_mode": r"session|transaction|statement",
    "ignore_startup_parameters": r"[A-Za-z0-9_.,]*",
    "stats_users": r"[A-Za-z0-9_.,]*",
}
"""What may be set there, and which values."""


def commands(edits: Iterable[Edit], service: str) -> str:
    """A shell script for the service. Raises UsageError for one that has no PgBouncer."""
    if service != "azure":
        raise UsageError(
            f"{service} runs no PgBouncer whose settings could be commanded",
            hint="RDS Proxy and Cloud SQL's pooling are other programs; for a PgBouncer of your own write a .patch",
        )
    return "\n".join([*_azure(edits), ""])


def _azure(edits: Iterable[Edit]) -> Iterator[str]:
    yield "#!/bin/sh"
    yield "# The PgBouncer built into Azure Database for PostgreSQL flexible server; applied without a restart."
    yield ': "${RESOURCE_GROUP:?}" "${SERVER:?}"'
    yield "set -eu"
    done: set[str] = set()
    for edit in edits:
        if edit.at is not None or edit.key in done:
            continue
        done.add(edit.key)
        if not _settable(edit.key, edit.value):
            yield f"# {edit.key}: cannot be set there" + (
                f" to {' '.join(edit.value.split())}" if edit.key in _AZURE else ""
            )
            continue
        yield (
            'az postgres flexible-server parameter set --resource-group "$RESOURCE_GROUP" --server-name "$SERVER" '
            f"--name pgbouncer.{edit.key} --value {shlex.quote(edit.value)}"
        )


def _settable(key: str, value: str) -> bool:
    allowed = _AZURE.get(key)
    if allowed is None:
        return False
    if isinstance(allowed, str):
        return re.fullmatch(allowed, value) is not None
    return value.isascii() and value.isdigit() and allowed[0] <= int(value) <= allowed[1]
