"""Writes dbkit/postgres/conf/parameters/<major>.json from real servers, one file a major version.

    python tools/collect_parameters.py /usr/lib/postgresql/15/bin path/to/18/bin ...

Every value comes from the server: the catalogue of parameters from pg_settings, the hidden spellings of enums by asking
`postgres -C` about each candidate. What depends on how a server was built (TLS, lz4, io_uring) is completed from the
table below, which says so in the file.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import psycopg

from dbkit.ephemeral.account import unprivileged
from dbkit.ephemeral.postgres import start_postgres

FOLDER = Path(__file__).parent.parent / "dbkit" / "postgres" / "conf" / "parameters"
CANDIDATES = (
    "true",
    "false",
    "yes",
    "no",
    "1",
    "0",
    "on",
    "off",
    "debug",
    "info",
    "archive",
    "hot_standby",
    "safe_encoding",
)
# A build without the library lists fewer values; servers from the usual packages have them all (release notes).
BUILD_DEPENDENT = {
    "wal_compression": {15: ["pglz", "lz4", "zstd", "on", "off"]},
    "default_toast_compression": {14: ["pglz", "lz4"]},
    "io_method": {18: ["sync", "worker", "io_uring"]},
}
# What a build with TLS starts from, which is every usual package; one without it has `none` (documentation of 18).
DEFAULTS_WITH_TLS = {"ssl_ciphers": "HIGH:MEDIUM:+3DES:!aNULL", "ssl_groups": "X25519:prime256v1"}
# Parameters that security releases brought to every version; a server older than the release refuses them.
BACKPATCHED: dict[str, tuple[str, dict[str, Any]]] = {
    "output_plugin_libraries": (
        "release notes of 15.19 and 18.6",
        {
            "kind": "string",
            "context": "superuser",
            "boot": "pgoutput, test_decoding",
            "category": "Replication / Sending Servers",
        },
    ),
}
QUERY = """
select
  name, vartype, context, boot_val, unit, min_val, max_val, enumvals, category
from pg_settings
where name not like '%.%'
order by name
"""


def main() -> None:
    for folder in sys.argv[1:]:
        os.environ["DBKIT_POSTGRES_BIN"] = folder
        with start_postgres(sources=("local",)) as server:
            collect(server, Path(folder))
    for file in FOLDER.glob("*.json"):
        data = json.loads(file.read_text(encoding="utf-8"))
        for name, (source, entry) in BACKPATCHED.items():
            data["parameters"].setdefault(name, {**entry, "source": source})
        data["parameters"] = dict(sorted(data["parameters"].items()))
        file.write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def collect(server: Any, folder: Path) -> None:
    with psycopg.connect(server.dsn) as connection:
        rows = connection.execute(QUERY).fetchall()
    parameters: dict[str, Any] = {}
    for name, kind, context, boot, unit, low, high, choices, category in rows:
        entry: dict[str, Any] = {"kind": kind, "context": context, "boot": boot, "category": category}
        if boot == "none" and name in DEFAULTS_WITH_TLS:
            entry |= {"boot": DEFAULTS_WITH_TLS[name], "boot_source": "documentation: the server was built without TLS"}
        if unit:
            entry["unit"] = unit
        if low is not None:
            entry["min"], entry["max"] = float(low), float(high)
        if choices is not None:
            entry["choices"] = complete(name, server.version // 10000, choices, entry)
            entry["hidden"] = hidden(folder, server, name, choices)
        parameters[name] = entry
    data = {
        "version": server.version_text,
        "source": "observed: pg_settings and postgres -C of a running server",
        "parameters": parameters,
    }
    FOLDER.mkdir(exist_ok=True)
    file = FOLDER / f"{server.version // 10000}.json"
    file.write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"{file.name}: {len(parameters)} parameters of {server.version_text}")


def complete(name: str, major: int, choices: list[str], entry: dict[str, Any]) -> list[str]:
    for since, known in BUILD_DEPENDENT.get(name, {}).items():
        if major >= since and set(known) - set(choices):
            entry["build_dependent"] = sorted(set(known) - set(choices))
            return known
    return choices


def hidden(folder: Path, server: Any, name: str, choices: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    account = unprivileged()
    for candidate in (*choices, *CANDIDATES):
        done = subprocess.run(
            [folder / "postgres", "-D", server.directory, "-C", name, "-c", f"{name}={candidate}"],
            capture_output=True,
            text=True,
            check=False,
            cwd="/",
            user=None if account is None else account.uid,
            group=None if account is None else account.gid,
            extra_groups=None if account is None else [],
        )
        shown = done.stdout.strip()
        if done.returncode == 0 and shown != candidate:
            found[candidate] = shown
        elif done.returncode == 0 and candidate not in choices:
            found[candidate] = candidate
    return found


if __name__ == "__main__":
    main()
