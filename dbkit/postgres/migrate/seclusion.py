"""Keeps a revision's own Python from reaching servers and programs while it is only read or rehearsed.

A revision, or a module it imports, may open a connection of its own from DATABASE_URL, or start psql. Linting and
rehearsing run its functions, and must not be able to touch production by them. While secluded, whatever opens a
database connection raises Outside: psycopg, psycopg2 and asyncpg at the one function that all their connections come
from (they connect in C, which nobody sees), any driver that SQLAlchemy would call, and in the calling thread sockets
and new programs, which Python announces to its audit hooks. What was tried is kept: a revision may swallow the error.
"""

from __future__ import annotations

import importlib.util
import sys
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.machinery import ModuleSpec
from socket import SOCK_DGRAM
from types import ModuleType
from typing import Any, Final

_DRIVERS: Final = {"psycopg.generators": "connect", "psycopg2": "_connect", "asyncpg.connect_utils": "_connect"}
"""By module, the function that every connection of the driver goes through and that is looked up at each call."""
_PROGRAMS: Final = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.forkpty", "pty.spawn")


class Outside(PermissionError):
    """A revision's own code would reach something beside the connection it is given; the text says what."""

    def __init__(self, what: str) -> None:
        super().__init__(f"{what}, which is refused: it could be production's")


@dataclass(slots=True)
class Seclusion:
    """One stretch of somebody else's code, and what it tried."""

    thread: int
    importing: bool
    """Modules are only loaded: an application may ask git for its version or a vault for its settings then."""
    tried: list[Outside] = field(default_factory=list[Outside])

    def refuse(self, what: str) -> Outside:
        """What to raise; it is remembered."""
        self.tried.append(Outside(what))
        return self.tried[-1]

    def check(self) -> None:
        """Raise Outside if anything was refused, though the code went on."""
        if self.tried:
            raise self.tried[0]


_held: list[Seclusion] = []
_lifted = threading.local()


@contextmanager
def seclude(*, importing: bool = False) -> Generator[Seclusion]:
    """Refuse what goes outside until the block ends."""
    _install()
    mine = Seclusion(threading.get_ident(), importing)
    _held.append(mine)
    try:
        yield mine
    finally:
        _held.remove(mine)


@contextmanager
def lifted() -> Generator[None]:
    """Let the calling thread connect: code of ours that their code has called."""
    before = getattr(_lifted, "now", False)
    _lifted.now = True
    try:
        yield
    finally:
        _lifted.now = before


def _current() -> Seclusion | None:
    return _held[-1] if _held and not getattr(_lifted, "now", False) else None


def _install() -> None:
    """Once a process: nothing of it acts outside `seclude`."""
    if any(isinstance(f, _Finder) for f in sys.meta_path):
        return
    sys.meta_path.insert(0, _Finder())
    for name in _DRIVERS:
        if name in sys.modules:
            _guard(sys.modules[name])
    sys.addaudithook(_audit)
    from sqlalchemy import Engine, event

    event.listen(Engine, "do_connect", _through_sqlalchemy)


def _through_sqlalchemy(dialect: Any, *_: object) -> None:
    held = _current()
    if held is not None:
        raise held.refuse(f"opens a connection of its own (SQLAlchemy, {dialect.name})")


def _audit(event: str, given: Sequence[Any]) -> None:
    if not _held or (event != "socket.connect" and event not in _PROGRAMS):
        return
    held = _current()
    if held is None or held.importing or held.thread != threading.get_ident():
        return
    if event != "socket.connect":
        raise held.refuse(f"starts a program ({event})")
    if given[0].type != SOCK_DGRAM:  # statistics and logs are sent on their way, nobody is asked
        raise held.refuse("opens a network connection of its own")


def _guard(module: ModuleType) -> None:
    name = _DRIVERS[module.__name__]
    real: Callable[..., Any] = getattr(module, name)

    def connect(*args: Any, **options: Any) -> Any:
        held = _current()
        if held is not None:
            raise held.refuse(f"opens a connection of its own ({module.__name__.partition('.')[0]})")
        return real(*args, **options)

    setattr(module, name, connect)


class _Finder:
    """Guards a driver that is imported later."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """The driver's own spec, whose loading ends with the guard."""
        del path, target
        if name not in _DRIVERS or getattr(_lifted, "finding", False):
            return None
        _lifted.finding = True
        try:
            spec = importlib.util.find_spec(name)
        finally:
            _lifted.finding = False
        if spec is None or spec.loader is None:
            return None
        load = spec.loader.exec_module

        def load_and_guard(module: ModuleType) -> None:
            load(module)
            _guard(module)

        spec.loader.exec_module = load_and_guard
        return spec
