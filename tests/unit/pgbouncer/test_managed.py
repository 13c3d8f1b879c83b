"""Commands for Azure's built-in PgBouncer: what it lends out, within its ranges, and nothing that a shell would read."""

import subprocess

import pytest

from dbkit.errors import UsageError
from dbkit.model import Location
from dbkit.pgbouncer.managed import commands
from dbkit.pgbouncer.rules.declare import Edit


def ran(folder, *edits):
    """What `az` is called with when the script runs."""
    az = folder / "az"
    az.write_text('#!/bin/sh\nprintf "%s|" "$@"\necho\n')
    az.chmod(0o755)
    environment = {"PATH": f"{folder}:/usr/bin:/bin", "RESOURCE_GROUP": "my group", "SERVER": "db"}
    script = commands(edits, "azure")
    return subprocess.run(["sh", "-c", script], env=environment, capture_output=True, text=True, check=True).stdout


def test_each_key_is_one_parameter(tmp_path):
    out = ran(tmp_path, Edit("default_pool_size", "25"), Edit("pool_mode", "transaction"), Edit("pool_mode", "session"))
    assert [line.split("|")[-5:-1] for line in out.splitlines()] == [
        ["--name", "pgbouncer.default_pool_size", "--value", "25"],
        ["--name", "pgbouncer.pool_mode", "--value", "transaction"],
    ]
    assert out.startswith("postgres|flexible-server|parameter|set|--resource-group|my group|--server-name|db|")


@pytest.mark.parametrize(
    "edit",
    [
        Edit("max_db_connections", "100"),
        Edit("default_pool_size", "5000"),
        Edit("query_wait_timeout", "1.5"),
        Edit("ignore_startup_parameters", "a; rm -rf x"),
        Edit("max_db_connections", "1\nrm -rf x"),
        Edit(at=Location("pgbouncer.ini", 3)),
    ],
)
def test_what_it_does_not_take_is_said_and_not_run(tmp_path, edit):
    assert ran(tmp_path, edit) == ""


@pytest.mark.parametrize("service", ["aws", "gcp"])
def test_other_services_have_no_pgbouncer(service):
    with pytest.raises(UsageError, match="runs no PgBouncer"):
        commands([], service)
