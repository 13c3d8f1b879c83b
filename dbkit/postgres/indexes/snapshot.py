"""Reads the scene the index rules judge: one REPEATABLE READ, READ ONLY look at the server, under a time limit.

Progress views show the present, not the snapshot. Builds are therefore read after it, and then what the snapshot
called INVALID is looked at once more: an index whose build has just ended, or that somebody is dropping right now,
must not be reported as the remains of a failure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from dbkit import assets
from dbkit.errors import DbkitError
from dbkit.postgres import catalog
from dbkit.postgres.catalog import Index, quote, quoted
from dbkit.postgres.connect import Connection, Server, connect, explain, fetch, server
from dbkit.postgres.indexes import btree
from dbkit.postgres.indexes.rules.bloat import BloatLimits, suspicious
from dbkit.postgres.indexes.rules.scene import Fill, Reads, Scene
from dbkit.postgres.indexes.states import IndexState
from dbkit.settings import Target

STATEMENT_TIMEOUT: Final = "60s"
LOCK_TIMEOUT: Final = "3s"


@dataclass(frozen=True, slots=True)
class Asked:
    """What besides the catalogue is to be read: standbys, and sizes of b-trees with the limits that make a suspect."""

    replicas: Sequence[Target] = ()
    bloat: BloatLimits | None = None


def read(
    connection: Connection, found: Server, name: str, states: tuple[IndexState, ...], asked: Asked | None = None
) -> Scene:
    """The scene of one database. Raises DbkitError when a statement runs into the time limit or a table is locked."""
    asked = asked or Asked()
    try:
        scene = _snapshot(connection, lambda: _scene(connection, found, name, states, asked))
        builds = catalog.builds(connection)
        present = {row["oid"]: row for row in fetch(connection, assets.query("postgres/index_validity"))}
    except psycopg.errors.LockNotAvailable as error:
        raise explain(
            error, f"cannot read the catalogue of {name}: a table is locked", hint="`dbkit doctor` names who holds it"
        ) from None
    except psycopg.Error as error:
        raise explain(error, f"cannot read the catalogue of {name}") from None
    indexes = tuple(i for i in (_present(i, present.get(i.oid)) for i in scene.indexes) if i is not None)
    replicas, unread = _ask(asked.replicas, found)
    return replace(
        scene,
        indexes=indexes,
        builds=builds,
        replicas=replicas,
        replicas_unread=unread,
        standbys=max(0, scene.standbys - len(replicas)),
    )


def _snapshot(connection: Connection, look: Callable[[], Scene]) -> Scene:
    connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    connection.read_only = True
    try:
        with connection.transaction():
            for key, value in (("statement_timeout", STATEMENT_TIMEOUT), ("lock_timeout", LOCK_TIMEOUT)):
                connection.execute("select /* dbkit */ set_config(%s, %s, true)", [key, value])
            return look()
    finally:
        if not connection.closed:
            connection.isolation_level = None
            connection.read_only = None


def _scene(connection: Connection, found: Server, name: str, states: tuple[IndexState, ...], asked: Asked) -> Scene:
    facts = fetch(connection, assets.query("postgres/statistics"))[0]
    ages = fetch(connection, assets.query("postgres/index_ages")) if facts["commit_times"] else []
    indexes = catalog.indexes(connection)
    fills, hidden = _fills(connection, found, asked.bloat) if asked.bloat else ({}, ())
    return Scene(
        indexes=tuple(i for i in indexes if not i.schema.startswith("pg_temp")),
        foreign_keys=catalog.foreign_keys(connection),
        states=states,
        relations=catalog.relations(connection),
        partitions=catalog.partitions(connection),
        now=facts["now"],
        primary=_reads(connection, name, facts) if facts["counts"] else None,
        standbys=facts["standbys"],
        in_recovery=found.in_recovery,
        user=quote(found.user),
        created={row["oid"]: row["created"] for row in ages if row["created"]},
        fills=fills,
        fills_hidden=hidden,
    )


def _reads(connection: Connection, name: str, facts: Mapping[str, Any]) -> Reads:
    rows = fetch(connection, assets.query("postgres/index_scans"))
    last: dict[int, datetime] = {row["oid"]: row["last"] for row in rows if row["last"]}
    return Reads(name, facts["since"], {row["oid"]: row["scans"] for row in rows}, last)


def _ask(replicas: Sequence[Target], primary: Server) -> tuple[tuple[Reads, ...], tuple[str, ...]]:
    """The scans of standbys. A server that is no copy of the primary would count other indexes: it is not asked."""
    held: list[Reads] = []
    unread: list[str] = []
    for target in replicas:
        try:
            with connect(target, purpose="audit") as connection:
                found = server(connection)
                if (found.system, found.database) != (primary.system, primary.database):
                    unread.append(f"{target.name} is no physical standby of this database")
                    continue
                connection.execute("select /* dbkit */ set_config('statement_timeout', %s, false)", [STATEMENT_TIMEOUT])
                held.append(_reads(connection, target.name, fetch(connection, assets.query("postgres/statistics"))[0]))
        except DbkitError as error:
            unread.append(f"{error.what}{f' ({error.why})' if error.why else ''}")
        except psycopg.Error as error:
            unread.append(f"{target.name}: {explain(error, 'its statistics could not be read').why}")
    return tuple(held), tuple(unread)


def _fills(connection: Connection, found: Server, limits: BloatLimits) -> tuple[dict[int, Fill], tuple[str, ...]]:
    rows = [r for r in fetch(connection, assets.query("postgres/btree_widths")) if r["bytes"] >= limits.min_bytes]
    tool = fetch(connection, assets.query("postgres/pgstattuple"))
    fills: dict[int, Fill] = {}
    unreadable: set[str] = set()
    unanalyzed: set[str] = set()
    for row in rows:
        fill = btree.estimate(row)
        if fill is None:
            (unanalyzed if row["readable"] else unreadable).add(quoted(row["schema"], row["table_name"]))
            continue
        if tool and suspicious(row["bytes"], fill, limits) and row["bytes"] <= limits.measure_up_to:
            fill = replace(fill, measured=_measure(connection, tool[0]["schema"], row))
        fills[row["oid"]] = fill
    hidden: list[str] = []
    if unreadable:
        tables = ", ".join(sorted(unreadable))
        hidden.append(f"statistics of {tables} are hidden: grant select on {tables} to {quote(found.user)}")
    if unanalyzed:
        hidden.append(f"statistics are missing: analyze {', '.join(sorted(unanalyzed))}")
    return fills, tuple(hidden)


def _measure(connection: Connection, schema: str, row: Mapping[str, Any]) -> float | None:
    statement = sql.SQL("select * from {}(%s::oid::regclass)").format(sql.Identifier(schema, "pgstatindex"))
    with connection.cursor(row_factory=dict_row) as cursor:
        measured = cursor.execute(statement, [row["oid"]]).fetchone()
    return btree.measured(measured, row["fillfactor"], row["bytes"], row["block"]) if measured else None


def _present(index: Index, now: Mapping[str, Any] | None) -> Index | None:
    """The index, valid if its build has ended well since the snapshot; None when it is gone or going."""
    if index.is_valid and index.is_live:
        return index
    if now is None or now["held"]:
        return None
    return replace(index, is_valid=True, is_live=True) if now["usable"] else index
