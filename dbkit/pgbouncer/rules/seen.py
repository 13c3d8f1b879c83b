"""What a rule may take for granted once the scene has it, and values fit to be shown."""

from __future__ import annotations

from dbkit.pgbouncer.ini.reader import IniFile
from dbkit.pgbouncer.live import Live
from dbkit.pgbouncer.scene import Scene
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


def shown(name: str, value: str) -> str:
    """A value fit for a message: an LDAP line may hold a password."""
    return "***" if name == "auth_ldap_options" else redact(value) or "empty"
