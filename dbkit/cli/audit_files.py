"""The looks of `dbkit audit` at files, with no server."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from dbkit.cli.audit_looks import Draft, Look, Looked
from dbkit.errors import DbkitError, UsageError
from dbkit.model import TargetInfo

if TYPE_CHECKING:
    from dbkit.capacity import PoolShare
    from dbkit.model import Finding
    from dbkit.policy import Policy
    from dbkit.postgres.settings.drift import Baseline
    from dbkit.postgres.settings.scene import Scene, Size
    from dbkit.rules import Selection
    from dbkit.settings import Target

Storage = Literal["ssd", "hdd", "san"]
NEWEST = 18


@dataclass(frozen=True, slots=True)
class Machine:
    """The flags that say where a file will be used."""

    memory: str | None = None
    cpus: int | None = None
    storage: str | None = None
    managed: str | None = None
    settings: Path | None = None
    upgrade_to: str | None = None
    baseline: Path | None = None
    pools: PoolShare | None = None
    """What the pools of the same run may open on the server."""

    def earlier(self) -> Baseline | None:
        """The report of --baseline, for what has changed since. Raises UsageError when it is none."""
        from dbkit.cli import output
        from dbkit.postgres.settings import drift

        if self.baseline is None:
            return None
        return drift.baseline(str(self.baseline), output.read_baseline(self.baseline))

    def later(self, than: int | None = None) -> int | None:
        """The version of --upgrade-to. Raises UsageError when it is not one, or not newer."""
        if self.upgrade_to is None:
            return None
        major = _major(self.upgrade_to, "--upgrade-to")
        if than is not None and major <= than:
            raise UsageError(f"--upgrade-to {major} is not newer than {than}")
        return major

    def size(self, memory: int | None = None, cpus: int | None = None, storage: str = "ssd") -> Size:
        """The machine; what the flags do not say is what the target's configuration says. Raises UsageError."""
        from dbkit.postgres.settings.scene import Size
        from dbkit.sizes import parse_bytes

        if self.storage is not None and self.storage not in get_args(Storage):
            raise UsageError(f"no storage is called {self.storage!r}", hint="ssd, hdd or san")
        if self.managed is not None and self.managed not in ("aws", "azure", "gcp"):
            raise UsageError(f"no managed service is called {self.managed!r}", hint="aws, azure or gcp")
        try:
            given = parse_bytes(self.memory) if self.memory is not None else memory
        except ValueError as error:
            raise UsageError(f"--memory: {error}") from None
        if given is not None and given < 64 * 2**20:
            raise UsageError(f"--memory {self.memory} is too little for a server", hint="write 16GB, or 512MB")
        return Size(given, self.cpus if self.cpus is not None else cpus, self.storage or storage)


def check_hba(hba: Path | None, conf: Path | None) -> None:
    """Raise UsageError when a pg_hba.conf is named without its postgresql.conf."""
    if hba is not None and conf is None:
        raise UsageError(
            "--pg-hba belongs to a postgresql.conf", hint="name that too: --pg-conf FILE (it says whether ssl is on)"
        )


def postgres_conf(
    file: Path,
    version: str | None,
    machine: Machine,
    policy: Policy,
    selection: Selection,
    beside: Target | None = None,
    hba: Path | None = None,
) -> Look:
    """The look at a postgresql.conf; `beside` is the server it is compared with.

    Raises UsageError when the file cannot be read or the version is not known.
    """
    from dbkit.postgres.settings import documents, offline

    major = _major(version, "--pg-version") if version is not None else NEWEST
    wanted = documents.load(machine.settings)
    earlier = machine.earlier()

    def scene_for(major: int) -> Scene:
        made = offline.scene_of(
            file, major, machine.size(), wanted, upgrade_to=machine.later(major), managed=machine.managed, hba=hba
        )
        return replace(made, earlier=earlier.of_file(made.name) if earlier else None, pools=machine.pools)

    server_decides = version is None and beside is not None
    # Read now, so that a file that cannot be read is an error before any connection is made.
    scene = offline.scene_of(file, major, machine.size(), wanted, hba=hba) if server_decides else scene_for(major)

    def look() -> Looked:
        held = _for_server(scene, scene_for, beside, given=not server_decides) if beside else scene
        answer = offline.audit(held, policy, selection)

        def patch(findings: Sequence[Finding]) -> Draft:
            text = answer.patch(findings)
            return Draft(text, f"{text.count('@@ -')} hunks. Review it, then: patch -d {file.parent} -p0 < THE_PATCH")

        def script(findings: Sequence[Finding]) -> Draft:
            return Draft(answer.script(findings), "review it, then run it with psql")

        def commands(findings: Sequence[Finding]) -> Draft:
            if machine.managed is None:
                raise UsageError("the commands depend on the service", hint="add --managed aws, azure or gcp")
            return Draft(answer.commands(findings, machine.managed), "review it, then run it with sh")

        return Looked(answer.report, {".patch": patch, ".sql": script, ".sh": commands})

    return Look(TargetInfo(scene.name, "postgres", str(major)), policy, look, "pg")


def _for_server(scene: Scene, scene_for: Callable[[int], Scene], beside: Target, *, given: bool) -> Scene:
    """The file beside its server, and for that server's version unless --pg-version was `given`."""
    from dbkit.cli import output
    from dbkit.postgres.settings import live

    try:
        theirs, held = live.settings_of(beside)
    except DbkitError as error:
        return replace(scene, server_unseen=f"{beside.name} could not be asked: {error.what}")
    if given and theirs != scene.major:
        output.note(f"the file is judged for PostgreSQL {scene.major}, as --pg-version says; {beside.name} is {theirs}")
    return replace(scene if given else scene_for(theirs), server=(beside.name, held))


def _major(text: str, flag: str) -> int:
    """15 of 15, 15.4 or 150004."""
    from dbkit.postgres.conf import parameters

    number = text.partition(".")[0]
    if not number.isascii() or not number.isdigit():
        raise UsageError(f"{flag} {text!r} is not a PostgreSQL version", hint="write 15")
    major = int(number) // 10000 if int(number) >= 100000 else int(number)
    parameters.load(major)
    return major
