"""A configuration file audited with no server: what a server of that version would make of it, and the rules on it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from dbkit import secrets
from dbkit.errors import UsageError
from dbkit.model import Finding, Json, Report, TargetInfo
from dbkit.policy import Policy
from dbkit.postgres.conf import parameters
from dbkit.postgres.conf.reader import ConfFile, Problem, Setting, read_file
from dbkit.postgres.conf.values import folded
from dbkit.postgres.hba import ident as ident_reader
from dbkit.postgres.hba import reader as hba_reader
from dbkit.postgres.hba.ident import IdentFile
from dbkit.postgres.hba.reader import HbaFile
from dbkit.postgres.settings import audit as rules
from dbkit.postgres.settings import dialects, fixes, patch, repair, start
from dbkit.postgres.settings.documents import Wanted
from dbkit.postgres.settings.scene import Held, Row, Scene, Size
from dbkit.printable import printable, utf8
from dbkit.rules import Selection

NO_MAPS: Final = "no pg_ident.conf lies beside the file, and pg_hba.conf names a map"


@dataclass(frozen=True, slots=True)
class Answer:
    """The report on a file, and what mends those of its findings that still count."""

    report: Report
    scene: Scene
    judged: rules.Judged

    def patch(self, findings: Sequence[Finding]) -> str:
        """A unified diff of the files."""
        mend = fixes.collect(findings, self.judged.mends)
        return patch.unified(self.scene, mend.edits, mend.changes)

    def script(self, findings: Sequence[Finding]) -> str:
        """ALTER SYSTEM statements."""
        return dialects.script(self.scene, fixes.collect(findings, self.judged.mends).changes)

    def commands(self, findings: Sequence[Finding], service: str) -> str:
        """The commands of a managed service."""
        return dialects.commands(self.scene, fixes.collect(findings, self.judged.mends).changes, service)


def audit(scene: Scene, policy: Policy, selection: Selection) -> Answer:
    """The file judged by the rules, with what a server would read of it."""
    judged = rules.judge(scene, policy, selection)
    report = replace(
        judged.report,
        targets=(TargetInfo(scene.name, "postgres", str(scene.major)),),
        extra={
            "files": [printable(as_data(scene, scene.conf))] if scene.conf else [],
            **({"hba": [printable(hba_data(scene.hba))]} if scene.hba else {}),
            **({"ident": [printable(ident_data(scene.ident))]} if scene.ident else {}),
        },
    )
    return Answer(report, scene, judged)


def scene_of(
    file: Path,
    major: int,
    size: Size,
    wanted: Wanted,
    *,
    upgrade_to: int | None = None,
    managed: str | None = None,
    overlay: Mapping[str, bytes] | None = None,
    hba: Path | None = None,
) -> Scene:
    """The file as a scene: what it sets, and the version's defaults for the rest. Raises UsageError.

    `hba` is its pg_hba.conf; without it the one that hba_file names, or that lies beside the file, is read.
    """
    conf = read_file(file, major, overlay=overlay)
    mended = repair.repaired(conf, wanted.not_settings)
    held = {
        name: Held(parameter, parameter.boot or "")
        for name, parameter in parameters.load(major).items()
        if parameter.boot is not None or parameter.kind == "string"
    }
    for setting in (mended[-1] if mended else conf).effective.values():
        parameter = setting.parameter
        if parameter is not None and setting.value is not None:
            shown = secrets.of_setting(parameter.name, setting.value)
            held[parameter.name.lower()] = Held(parameter, shown, "configuration file", setting.file, setting.line)
    access, unread = _access(hba, file, major, held)
    lines: Sequence[Row] | str = [rule.row() for rule in access.rules] if access else unread
    maps = _maps(file, hba, major, held)
    return Scene(
        facts={"hba_rules": lines, "ident_maps": [one.row() for one in maps.maps] if maps else NO_MAPS},
        hba=access,
        ident=maps,
        name=utf8(str(file)),
        major=major,
        size=size,
        held=held,
        wanted=wanted,
        conf=conf,
        repaired=mended,
        upgrade_to=upgrade_to,
        managed=managed,
    )


def _access(given: Path | None, file: Path, major: int, held: Mapping[str, Held]) -> tuple[HbaFile | None, str]:
    """The pg_hba.conf that was named, or lies where the file says or beside it; or why there is none."""
    ssl, named = held["ssl"].value == "on", held["hba_file"].value
    validators = held["oauth_validator_libraries"].value if "oauth_validator_libraries" in held else ""
    if given is not None:
        return hba_reader.read_file(given, major, ssl=ssl, validators=validators), ""
    places = [file.parent / named, file.parent / Path(named).name] if named else [file.parent / "pg_hba.conf"]
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        return None, "no pg_hba.conf lies beside the file: name it with --pg-hba"
    try:
        return hba_reader.read_file(found, major, ssl=ssl, validators=validators), ""
    except UsageError as error:
        return None, error.what + (f": {error.why}" if error.why else "")


def _maps(file: Path, hba: Path | None, major: int, held: Mapping[str, Held]) -> IdentFile | None:
    """The pg_ident.conf where the file says, beside it, or beside the pg_hba.conf that was named."""
    named = held["ident_file"].value
    places = [file.parent / named, file.parent / Path(named).name] if named else [file.parent / "pg_ident.conf"]
    places += [hba.parent / "pg_ident.conf"] if hba else []
    found = next((place for place in places if place.is_file()), None)
    return ident_reader.read_file(found, major) if found else None


def ident_data(ident: IdentFile) -> dict[str, Json]:
    """The pg_ident.conf of the file, line by line with the names of pg_ident_file_mappings."""
    return {
        "path": ident.path,
        "version": str(ident.major),
        "loads": ident.loads,
        "maps": [one.row() for one in ident.maps],
    }


def hba_data(hba: HbaFile) -> dict[str, Json]:
    """The pg_hba.conf of the file, line by line with the names of pg_hba_file_rules."""
    rules: list[Json] = [{**r.row(), "options": [secrets.of_option(option) for option in r.options]} for r in hba.rules]
    return {"path": hba.path, "version": str(hba.major), "loads": hba.loads, "rules": rules}


def as_data(scene: Scene, conf: ConfFile) -> dict[str, Json]:
    """The file as DESIGN.md 3 has it in the JSON report, and beyond it what a start or a reload would do."""
    read = [s for s in conf.settings if not s.beyond]
    counts = {**conf.occurrences(), **Counter(folded(s.name) for s in read)}
    # As pg_file_settings has them; a name that is only behind a syntax error is shown as a mended file would have it.
    held = conf.effective | {folded(s.name): s for s in read}
    stops = [message for _, message in start.failures(scene)] if conf.loads else []
    return {
        "path": conf.path,
        "kind": "postgresql.conf",
        "version": str(conf.major),
        "loads": conf.loads,
        "starts": conf.loads and not stops,
        "restart": list(start.restart_names(conf)),
        "entries": sum(not s.beyond for s in conf.settings),
        "errors": [_problem(p) for p in conf.problems if not p.beyond],
        "further": [_problem(p) for p in (*(p for p in conf.problems if p.beyond), *conf.further)],
        "notes": [_problem(p) for p in conf.notes],
        "settings": {name: _setting(s, counts[name]) for name, s in held.items()},
    }


def _problem(problem: Problem) -> dict[str, Json]:
    return {
        "file": problem.file,
        "line": problem.line,
        "name": problem.name,
        "message": secrets.redact(problem.message),
    }


def _setting(setting: Setting, occurrences: int) -> dict[str, Json]:
    parameter = setting.parameter
    return {
        "raw": secrets.of_setting(setting.name, setting.raw),
        "value": None if setting.value is None else secrets.of_setting(setting.name, setting.value),
        "unit": parameter.unit if parameter else None,
        "file": setting.file,
        "line": setting.line,
        "occurrences": occurrences,
        "error": setting.error and secrets.redact(setting.error),
    }
