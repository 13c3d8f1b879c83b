"""PostgreSQL in a container of the official image, where a Docker engine answers."""

from __future__ import annotations

import importlib
import secrets
from typing import TYPE_CHECKING, Any

from dbkit.ephemeral import Unavailable
from dbkit.ephemeral.postgres import PostgresServer
from dbkit.ephemeral.postgres_cluster import SUPERUSER, THROW_AWAY

if TYPE_CHECKING:
    from collections.abc import Mapping

NEWEST = 18


def start_container(major: int | None, settings: Mapping[str, str]) -> PostgresServer:
    """Start ``postgres:MAJOR`` through testcontainers, whose own reaper removes it should this process be killed."""
    try:
        docker: Any = importlib.import_module("docker")
        containers: Any = importlib.import_module("testcontainers.community.postgres")
    except ImportError as error:
        raise Unavailable(
            f"testcontainers is not installed ({error})", hint="pip install 'dbkit-cli[containers]'"
        ) from None
    client: Any = None
    try:
        client = docker.from_env(timeout=5)
        client.ping()
    except docker.errors.DockerException as error:
        raise Unavailable(f"no Docker engine answers: {str(error).splitlines()[0]}") from None
    finally:
        if client is not None:
            client.close()
    image, password = f"postgres:{major or NEWEST}", secrets.token_hex(16)
    container = containers.PostgresContainer(
        image, username=SUPERUSER, password=password, dbname="postgres", driver=None
    )
    options = [part for pair in {**THROW_AWAY, **settings}.items() for part in ("-c", "=".join(pair))]
    container.with_command(["postgres", *options])
    try:
        container.start()
        host, port = container.get_container_host_ip(), int(container.get_exposed_port(5432))
        version = _version(f"postgresql://{SUPERUSER}:{password}@{host}:{port}/postgres")
    except Exception as error:
        container.stop()
        raise Unavailable(f"{image} did not start: {type(error).__name__}: {error}") from error
    return PostgresServer(
        version=version,
        version_text=f"{version // 10000}.{version % 10000}",
        host=host,
        port=port,
        origin=f"container {image}",
        user=SUPERUSER,
        password=password,
        closer=container.stop,
    )


def _version(dsn: str) -> int:
    import psycopg

    with psycopg.connect(dsn, connect_timeout=10) as connection:
        return connection.info.server_version
