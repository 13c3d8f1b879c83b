"""What the setting rules judge: the settings in force (or in a file), the machine, and facts read beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from dbkit.capacity import PoolShare
from dbkit.postgres.conf import parameters
from dbkit.postgres.conf.reader import ConfFile
from dbkit.postgres.conf.values import Parameter, in_bytes, is_memory, written
from dbkit.postgres.hba.ident import IdentFile
from dbkit.postgres.hba.reader import HbaFile
from dbkit.postgres.settings.documents import Wanted
from dbkit.postgres.settings.drift import Earlier

Row: TypeAlias = "Mapping[str, Any]"
FILE: Final = "a file does not show this: name a target to have it looked at"


class Unseen(Exception):
    """Something a rule needs is not visible; the text says what would open it."""


@dataclass(frozen=True, slots=True)
class Size:
    """The server's machine. `memory` in bytes; None is unknown: the auditor's own machine says nothing."""

    memory: int | None = None
    cpus: int | None = None
    storage: str = "ssd"

    @property
    def words(self) -> str:
        """The machine in words, as far as it is known."""
        parts = [f"{self.memory / 2**30:g} GB"] if self.memory else []
        parts += [f"{self.cpus} CPUs"] if self.cpus else []
        return ", ".join([*parts, self.storage])


@dataclass(frozen=True, slots=True)
class Held:
    """One setting in force: its canonical value, where it comes from, and what is about to change."""

    parameter: Parameter
    value: str
    source: str = "default"
    """In the words of pg_settings.source."""
    file: str | None = None
    line: int | None = None
    pending_restart: bool = False

    @property
    def shown(self) -> str:
        """The value as a person writes it."""
        return written(self.parameter, self.value)

    @property
    def is_default(self) -> bool:
        """Whether it is what the server was compiled with, whoever wrote it down."""
        return self.value == self.parameter.boot


@dataclass(frozen=True, slots=True)
class Override:
    """A setting of a role, of a database or of a role in a database: it beats the file for those sessions."""

    role: str | None
    database: str | None
    name: str
    value: str
    parameter: Parameter | None = None
    shown: str = ""
    """The canonical value, empty when it has none."""

    @property
    def whose(self) -> str:
        """Whose sessions it is for, in words."""
        parts = [f"role {self.role}" if self.role else "", f"database {self.database}" if self.database else ""]
        return " in ".join(part for part in parts if part) or "every role"


@dataclass(frozen=True, slots=True)
class Scene:
    """One server or one file, read once. Rules read nothing themselves."""

    name: str
    major: int
    size: Size
    held: Mapping[str, Held]
    """By name in lower case; a name this version has and that is not here is not visible to the auditor."""
    wanted: Wanted
    conf: ConfFile | None = None
    """The file, when it is a file that is audited."""
    hba: HbaFile | None = None
    """The pg_hba.conf of a file; of a server the fact `hba_rules` has it."""
    ident: IdentFile | None = None
    """The pg_ident.conf beside it; of a server the fact `ident_maps` has it."""
    repaired: Sequence[ConfFile] = ()
    """The file after each round of mending; `held` is what the last one says, so that rules judge what was meant."""
    overrides: Sequence[Override] = ()
    facts: Mapping[str, Sequence[Row] | str] = field(default_factory=dict[str, Sequence[Row] | str])
    """Rows by fact, or the reason why they cannot be seen."""
    user: str = ""
    pools: PoolShare | None = None
    """What the pools of the same run may open on it."""
    upgrade_to: int | None = None
    managed: str | None = None
    """aws, azure or gcp."""
    others: Mapping[str, Mapping[str, Held]] = field(default_factory=dict[str, Mapping[str, Held]])
    """Settings of the other nodes, by target."""
    earlier: Earlier | None = None
    """This server or file as the report given as baseline has it."""
    server: tuple[str, Mapping[str, Held]] | None = None
    """Of a file: the server it is for, its target's name and settings."""
    server_unseen: str = ""
    """Why that server could not be asked."""

    @property
    def live(self) -> bool:
        """Whether a running server was asked."""
        return self.conf is None

    def setting(self, name: str) -> Held:
        """A setting this version has. Raises Unseen when the auditor may not see it, KeyError when there is none."""
        held = self.held.get(name.lower())
        if held is None:
            parameter = parameters.load(self.major)[name.lower()]
            why = f'{parameter.name} is not visible to this role: grant pg_read_all_settings to "{self.user}"'
            raise Unseen(why if self.live else f"{parameter.name} has no value in this file")
        return held

    def known(self, name: str) -> bool:
        """Whether this version has the parameter."""
        return name.lower() in parameters.load(self.major)

    def text(self, name: str) -> str:
        """The canonical value: `on`, `replica`, `524288`."""
        return self.setting(name).value

    def on(self, name: str) -> bool:
        """A Boolean setting."""
        return self.setting(name).value == "on"

    def number(self, name: str) -> float:
        """A number in the parameter's base unit."""
        return float(self.setting(name).value)

    def bytes(self, name: str) -> int:
        """A memory setting in bytes; -1 and 0 stay what they are."""
        held = self.setting(name)
        return in_bytes(held.parameter, held.value)

    def rows(self, fact: str) -> Sequence[Row]:
        """A fact read beside the settings. Raises Unseen with the reason when it could not be read."""
        found = self.facts.get(fact, FILE)
        if isinstance(found, str):
            raise Unseen(found)
        return found

    def amount(self, name: str) -> float:
        """The number a formula sees: bytes for memory, else the base unit."""
        held = self.setting(name)
        return float(in_bytes(held.parameter, held.value)) if is_memory(held.parameter) else float(held.value)
