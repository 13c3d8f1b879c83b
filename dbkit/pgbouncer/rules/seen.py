"""What a rule may take for granted once the scene has it, and values fit to be shown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from dbkit.pgbouncer.ini.file import IniFile
from dbkit.pgbouncer.live import Live
from dbkit.pgbouncer.scene import Pooled, Scene
from dbkit.secrets import redact


def file_of(scene: Scene) -> IniFile:
    """The file, for a rule that is only run when there is one."""
    if scene.ini is None:
        raise AssertionError("a rule about files needs one")
    return scene.ini


def live_of(scene: Scene) -> Live:
    """The console, for a rule that is only run when there is one."""
    if scene.live is None:
        raise AssertionError("a rule about the console needs one")
    return scene.live


def grouped(databases: Iterable[Pooled], key: str) -> dict[str, list[Pooled]]:
    """Databases by what is to be mended: their own line, if it gives the key, else the one global setting."""
    found: dict[str, list[Pooled]] = {}
    for database in databases:
        found.setdefault(database.name if key in database.given or database.name == "*" else key, []).append(database)
    return found


def named(databases: Sequence[Pooled]) -> str:
    """A few of them by name, and how many more there are."""
    names = ", ".join(d.name for d in databases[:4])
    more = f" and {len(databases) - 4} more" if len(databases) > 4 else ""
    return f"database {names}" if len(databases) == 1 else f"each of the databases {names}{more}"


def shown(name: str, value: str) -> str:
    """A value fit for a message: an LDAP line may hold a password."""
    return "***" if name == "auth_ldap_options" else redact(value) or "empty"
