"""Standbys count their statements themselves: those that are named are asked, the others that replay are told.

From the primary nobody can see whether a standby serves reads, so one that replays and is not watched keeps the gate
closed until it is named or accepted.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import psycopg
from psycopg import conninfo

from dbkit import assets
from dbkit.errors import DbkitError
from dbkit.postgres.connect import Connection, connect, explain, fetch, server
from dbkit.postgres.migrate.gate.blocked import Blocked
from dbkit.settings import Target

UNNAMED: Final = "walreceiver"
"""What a standby calls itself to its primary where neither primary_conninfo nor cluster_name gives it a name."""


@dataclass(frozen=True, slots=True)
class Standby:
    """A standby that is watched, by the name it is known under."""

    name: str
    connection: Connection


@dataclass(frozen=True, slots=True)
class Sender:
    """One that replays the WAL of a server, as that server sees it."""

    name: str | None
    """application_name; None: hidden from this role."""
    address: str | None
    slot: str | None


@dataclass(frozen=True, slots=True)
class Receiver:
    """The same from the other end."""

    started: datetime
    """When the server was started: tells one server from another under whatever address."""
    name: str
    named: bool
    """Whether primary_conninfo gives the name: nobody else is meant to have it."""
    address: str | None
    slot: str | None


@dataclass
class Reached:
    """The standbys that can be asked, and why the gate stays closed for the others."""

    standbys: list[Standby] = field(default_factory=list[Standby])
    blocked: list[Blocked] = field(default_factory=list[Blocked])


@contextmanager
def reached(primary: Connection, targets: Sequence[Target]) -> Generator[Reached]:
    """Sessions on the standbys that `targets` name, closed at the end; and what replays beside them."""
    found = Reached()
    senders = _senders(primary)
    receivers: dict[datetime, Receiver] = {}
    with ExitStack() as stack:
        for target in targets:
            try:
                connection = stack.enter_context(closing(connect(target, purpose="gate")))
                name = f"{connection.info.host}:{connection.info.port}" if target.address is not None else target.name
                about = fetch(connection, assets.query("gate/receiver"))[0]
                if about["in_recovery"] and _same(primary, connection):
                    senders += _senders(connection)  # standbys of this standby
                    found.standbys.append(Standby(name, connection))
                    if about["receives"]:
                        receivers[about["started"]] = _receiver(about)
                elif about["started"] != fetch(primary, assets.query("gate/receiver"))[0]["started"]:
                    found.blocked.append(stranger(name))
            except DbkitError as error:
                found.blocked.append(unasked(target.name, error))
            except psycopg.Error as error:
                found.blocked.append(unasked(target.name, explain(error, f"{target.name} cannot be asked")))
        found.blocked += [_unwatched(sender) for sender in unwatched(senders, list(receivers.values()))]
        yield found


def unwatched(senders: Sequence[Sender], receivers: Sequence[Receiver]) -> list[Sender]:
    """The senders that no watched standby is at the other end of.

    The surest sign first: the slot; name and address; a name that primary_conninfo gives, where only one has it (its
    address may be another on the replication network). In doubt a sender is left, never taken for watched.
    """
    left, seeking = list(senders), list(receivers)
    for tie in (_by_slot, _by_address, _by_name):
        for receiver in tuple(seeking):
            sender = next((s for s in left if tie(s, receiver, senders)), None)
            if sender is not None:
                left.remove(sender)
                seeking.remove(receiver)
    return left


def _by_slot(sender: Sender, receiver: Receiver, senders: Sequence[Sender]) -> bool:
    del senders
    return sender.slot is not None and sender.slot == receiver.slot


def _by_address(sender: Sender, receiver: Receiver, senders: Sequence[Sender]) -> bool:
    del senders
    unknown = sender.address is None or receiver.address is None
    return sender.name == receiver.name and (unknown or sender.address == receiver.address)


def _by_name(sender: Sender, receiver: Receiver, senders: Sequence[Sender]) -> bool:
    alone = sum(1 for other in senders if other.name == sender.name) == 1
    return receiver.named and alone and sender.name == receiver.name


def unasked(name: str, error: DbkitError) -> Blocked:
    """A named standby that gives no answer."""
    told = f"{error.what}{f' ({error.why})' if error.why else ''}: what runs there is not known"
    hint = error.hint or "let it be reached, or take it out of `replicas` where it is gone"
    return Blocked("standby", told, hint, name, "observation")


def stranger(name: str) -> Blocked:
    """A named server that is no standby of this database."""
    told = f"{name} is no standby of this database: what runs on a standby that was meant is not known"
    return Blocked("standby", told, "name the standby's own address and this database", name, "observation")


def _unwatched(sender: Sender) -> Blocked:
    if sender.name is None:
        told = "a connection replicates from here, and this role cannot see whether it is a standby"
        return Blocked("standby", told, "grant pg_read_all_stats to this role", "hidden", "observation")
    key = f"{sender.name}@{sender.address or 'local'}"
    slot = f", slot {sender.slot}" if sender.slot else ""
    where = f"{sender.name} at {sender.address or 'a local socket'}{slot}"
    told = f"{where} replays from here, and nobody watches what reads there"
    hint = (
        "name it with --standby, or in `replicas` of the target, and it is watched, too; "
        f"where no application reads from it: --accept standby:{key}"
    )
    return Blocked("standby", told, hint, key, "observation")


def _senders(connection: Connection) -> list[Sender]:
    rows = fetch(connection, assets.query("gate/walsenders"))
    return [Sender(row["name"], row["address"], row["slot"]) for row in rows]


def _receiver(about: Mapping[str, Any]) -> Receiver:
    given = conninfo.conninfo_to_dict(about["conninfo"] or "").get("application_name")
    name = str(given or about["cluster"] or UNNAMED)
    return Receiver(about["started"], name, bool(given), about["address"], about["slot"])


def _same(primary: Connection, standby: Connection) -> bool:
    one, other = server(primary), server(standby)
    return (one.system, one.database) == (other.system, other.database)
