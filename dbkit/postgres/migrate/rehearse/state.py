"""The database as the migrating session sees it, before and after a statement, and what differs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import psycopg

from dbkit import assets
from dbkit.postgres import ddl
from dbkit.postgres.connect import fetch
from dbkit.postgres.migrate.lock_mode import Mode
from dbkit.postgres.migrate.names import Name
from dbkit.postgres.migrate.rehearse import mentions
from dbkit.postgres.migrate.rehearse.notices import Said
from dbkit.postgres.migrate.rehearse.observed import MODES, Relation

_TABLES: Final = frozenset("rpm")


@dataclass(frozen=True, slots=True)
class State:
    """Relations by oid, the session's locks on them, and rows read by scans so far in the transaction."""

    relations: dict[int, Relation]
    locks: dict[int, Mode]
    scans: dict[int, int]


def look(connection: psycopg.Connection, *, inside: bool) -> State:
    """Read the state in the session itself; locks and scans only inside a transaction, where they are its own."""
    relations = {
        row["oid"]: Relation(
            row["oid"], Name(row["schema"], row["name"]), row["kind"], row["filenode"], row["table_oid"]
        )
        for row in fetch(connection, assets.query("postgres/rehearsed_relations"))
    }
    if not inside:
        return State(relations, {}, {})
    locks: dict[int, Mode] = {}
    for row in fetch(connection, assets.query("postgres/rehearsed_locks"), [connection.info.backend_pid]):
        mode = MODES.get(row["mode"])
        if row["kind"] == "relation" and row["granted"] and mode is not None:
            locks[row["oid"]] = max(mode, locks.get(row["oid"], mode))
    scans = {row["oid"]: row["rows"] for row in fetch(connection, assets.query("postgres/rehearsed_scans"))}
    return State(relations, locks, scans)


def rewritten(before: State, after: State) -> list[Relation]:
    """Tables and indexes that existed before and are in another file now; an index made anew under its name counts."""
    now = {r.name: r for r in after.relations.values()}
    found: list[Relation] = []
    for old in before.relations.values():
        new = after.relations.get(old.oid) or (now.get(old.name) if old.is_index else None)
        if new is None or old.filenode is None or new.filenode is None:
            continue
        if new.filenode != old.filenode and old.kind in "rmi":
            found.append(old)
    return found


def scanned(
    connection: psycopg.Connection, before: State, after: State, said: Said, visible: dict[int, Relation]
) -> list[Relation]:
    """Tables that were read from end to end: by the server's word, and by the transaction's counters."""
    found: dict[int, Relation] = {}
    words = {*said.verifying, *(table for _, table in said.building)}
    for relation in visible.values():
        if relation.kind in _TABLES and relation.name.name in words:
            found[relation.oid] = relation
    if said.validating:
        for row in fetch(connection, assets.query("postgres/rehearsed_keys"), [said.validating]):
            for oid in (row["child"], row["parent"]):
                if oid in visible:
                    found[oid] = visible[oid]
    for oid, rows in after.scans.items():
        if rows > before.scans.get(oid, 0) and oid in visible and visible[oid].kind in _TABLES:
            found[oid] = visible[oid]
    return [r for r in found.values() if r.kind != "p"]


def named(statement: ddl.Statement, before: State) -> list[Relation]:
    """Relations the statement names, with the tables of the indexes it names."""
    found: dict[int, Relation] = {}
    for name in mentions.relations(statement):
        for relation in before.relations.values():
            if relation.name.name == name.name and name.schema in ("", relation.name.schema):
                found[relation.oid] = relation
                table = before.relations.get(relation.table_oid) if relation.table_oid else None
                if table is not None:
                    found[table.oid] = table
    return list(found.values())


def tables_of(names: list[str], before: State) -> list[str]:
    """Of names, the tables; for an index, the one it is on."""
    by_name = {str(r.name): r for r in before.relations.values()}
    found: list[str] = []
    for name in names:
        relation = by_name.get(name)
        if relation is not None and relation.table_oid is not None:
            relation = before.relations.get(relation.table_oid)
        if relation is not None:
            found.append(str(relation.name))
    return found
