"""The way to a throw-away server: not by what the environment tells libpq of another one."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from dbkit.ephemeral.postgres import ADDRESS

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

_LEADS: Final = tuple(
    "PGHOSTADDR PGSERVICE PGOPTIONS PGSSLMODE PGSSLNEGOTIATION PGGSSENCMODE PGREQUIREAUTH PGCHANNELBINDING"
    " PGTARGETSESSIONATTRS PGLOADBALANCEHOSTS".split()
)


@contextmanager
def own_way() -> Generator[None]:
    """Without PGHOSTADDR, PGSERVICE and the like, which lead to another server than ours, or keep us from it.

    Where DBKIT_TEST_POSTGRES_DSN names the server, they may belong to it, and stay.
    """
    held = {} if os.environ.get(ADDRESS) else {name: os.environ.pop(name) for name in _LEADS if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(held)


def without_leads(environment: Mapping[str, str]) -> dict[str, str]:
    """The same for a program's environment."""
    return {name: value for name, value in environment.items() if name not in _LEADS}
