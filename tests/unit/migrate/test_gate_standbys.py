"""Which connected standbys are watched: told from both ends of the stream, and in doubt not."""

from datetime import UTC, datetime

import pytest

from dbkit.postgres.migrate.gate.standbys import Receiver, Sender, unwatched

A, B, OTHER = "10.0.0.1", "10.0.0.2", "192.168.0.9"


def sender(name="walreceiver", address=A, slot=None):
    return Sender(name, address, slot)


def receiver(name="walreceiver", address=A, slot=None, named=False):
    return Receiver(datetime(2026, 1, 1, tzinfo=UTC), name, named, address, slot)


@pytest.mark.parametrize(
    ("senders", "receivers", "left"),
    [
        ([sender()], [], [0]),
        ([sender()], [receiver()], []),
        ([sender(), sender(address=B)], [receiver(address=B)], [0]),
        ([sender(), sender()], [receiver()], [1]),  # two on one machine, one of them watched
        ([sender()], [receiver(address=OTHER)], [0]),  # may be a standby of that one
        ([sender("15/main")], [receiver("15/main", OTHER)], [0]),  # cluster_name, the same on all of them
        ([sender("n1")], [receiver("n1", OTHER, named=True)], []),  # another network, but a name of its own
        ([sender("n1"), sender("n1", B)], [receiver("n1", OTHER, named=True)], [0, 1]),
        ([sender(slot="s1"), sender(slot="s2")], [receiver(address=OTHER, slot="s2")], [0]),
        ([sender(address=None)], [receiver(address=None)], []),  # over a socket
        ([sender(None, None)], [receiver()], [0]),  # hidden from this role
        ([sender("n2")], [receiver("n1", A, named=True)], [0]),
    ],
)
def test_what_is_left(senders, receivers, left):
    assert unwatched(senders, receivers) == [senders[n] for n in left]
