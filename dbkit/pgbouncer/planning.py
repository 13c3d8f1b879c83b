"""The Plan that mends a running pooler: its file changed and RELOAD, or SET on the console where no file is at hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from dbkit.errors import UsageError
from dbkit.model import Json, Location
from dbkit.pgbouncer import reload
from dbkit.pgbouncer.audit import Answer
from dbkit.pgbouncer.ini import parameters
from dbkit.pgbouncer.ini.file import IniFile
from dbkit.pgbouncer.ini.reader import read_file
from dbkit.pgbouncer.live import Live
from dbkit.pgbouncer.patch import apply_edits
from dbkit.pgbouncer.rules.declare import Edit
from dbkit.pgbouncer.rules.seen import shown
from dbkit.pgbouncer.safefile import digest, kept
from dbkit.plan import Plan, PlanTarget, Problem, Step

CONSOLE = "nobody: the console answers while clients are served"


def identity(live: Live) -> str:
    """Which pooler it is: the file it runs with and its port."""
    return f"{live.values.get('conffile', '')} on port {live.values.get('listen_port', '')}"


def plan(answer: Answer, edits: Sequence[Edit], name: str) -> Plan:
    """Steps for those edits that RELOAD or SET can apply; what takes a restart is left to a person.

    Raises UsageError for a pooler that is not running or whose console does not show its settings.
    """
    live, ini = answer.scene.live, answer.scene.ini
    if live is None or not live.values:
        raise UsageError("a plan is for a running pooler", hint="name its console, or write a .patch for the file")
    held, problems = _feasible(live, edits, name)
    target = PlanTarget(
        name=name, engine="pgbouncer", system=identity(live), database="pgbouncer", server_version=str(live.version)
    )
    if ini is None:
        steps, data = _by_console(live, held), {}
    else:
        if not ini.loads:
            raise UsageError(
                f"{ini.path} does not load, so no plan can build on it",
                why=ini.problems[0].message,
                hint="mend it first: dbkit audit --reload-check names the line",
            )
        steps, data = _by_file(live, _absolute(ini), [_placed(edit) for edit in held])
    return Plan(kind="pooler", target=target, steps=tuple(steps), problems=tuple(problems), data=data)


def outcome(live: Live, file: IniFile) -> reload.Outcome:
    """What RELOAD would do with a file that loads."""
    databases = frozenset(row.get("name") or "" for row in live.databases)
    return reload.predict(file, file, live.values, databases, live.defaults)


def changes(foretold: reload.Outcome) -> dict[str, Json]:
    """What RELOAD would change, as plain data to compare by."""
    return {
        "settings": {c.name: [shown(c.name, c.before), shown(c.name, c.after)] for c in foretold.changes},
        "added": list(foretold.added),
        "removed": list(foretold.removed),
    }


def edits_of(data: Sequence[dict[str, Json]]) -> list[Edit]:
    """The edits of a saved plan."""
    return [
        Edit(
            str(row["key"]),
            str(row["value"]),
            Location(str(row["file"]), int(str(row["line"]))) if row.get("file") else None,
            None if row.get("text") is None else str(row["text"]),
        )
        for row in data
    ]


def _feasible(live: Live, edits: Sequence[Edit], name: str) -> tuple[list[Edit], list[Problem]]:
    held: list[Edit] = []
    problems: list[Problem] = []
    known = parameters.load(live.version)
    done: set[str] = set()
    for edit in edits:
        if edit.at is None and edit.key in done:
            continue
        done.add(edit.key)
        if edit.key == "auth_ldap_options":
            message = "it may hold a password, which a plan must not: edit the file yourself"
            problems.append(Problem(object=edit.key, rule="pgbouncer.value-misread", message=message))
        elif edit.at is None and not (live.reloadable.get(edit.key, known[edit.key].reloads)):
            message = f"{edit.key} = {edit.value} takes a restart of {name}, which RELOAD does not replace"
            problems.append(Problem(object=edit.key, rule="pgbouncer.reload-ignores", message=message))
        else:
            held.append(edit)
    return held, problems


def _absolute(ini: IniFile) -> IniFile:
    """The same file by its full path, so that the plan can be carried out from anywhere."""
    held = read_file(Path(ini.path).resolve(), ini.version)
    if sorted(held.digests.values()) != sorted(ini.digests.values()):
        raise UsageError(f"{ini.path} was changed while it was audited", hint="run the audit again")
    return held


def _placed(edit: Edit) -> Edit:
    return edit if edit.at is None else replace(edit, at=Location(str(Path(edit.at.file).resolve()), edit.at.line))


def _by_console(live: Live, edits: Sequence[Edit]) -> list[Step]:
    steps: list[Step] = []
    for edit in edits:
        before = live.values.get(edit.key)
        if edit.at is not None or before is None or before == edit.value:
            continue
        steps.append(
            Step(
                id=str(len(steps) + 1),
                action="set-parameter",
                object=edit.key,
                sql=f"SET {edit.key} = {quoted(edit.value)}",
                lock="none",
                blocks=CONSOLE,
                undo=f"SET {edit.key} = {quoted(before)}",
                check=f"SHOW CONFIG shows {edit.value}",
                note="it holds until the next RELOAD or restart: write it into pgbouncer.ini too",
                before=before,
                data={"key": edit.key, "value": edit.value},
            )
        )
    return steps


def _by_file(live: Live, ini: IniFile, edits: Sequence[Edit]) -> tuple[list[Step], dict[str, Json]]:
    texts = {path: text.encode("utf-8", "surrogateescape") for path, text in apply_edits(ini, edits).items()}
    texts = {path: text for path, text in texts.items() if digest(text) != ini.digests[path]}
    after = read_file(Path(ini.path), ini.version, instead=texts)
    if not after.loads:  # an edit of ours must never break a file
        raise UsageError(f"the change of {ini.path} would not load", why=after.problems[0].message)
    foretold = outcome(live, after)
    said = [f"{c.name} {shown(c.name, c.before)} -> {shown(c.name, c.after)}" for c in foretold.changes] + [
        f"database {name} is added" for name in foretold.added
    ]
    said += [f"database {name} is removed" for name in foretold.removed]
    steps = [
        _edit_step(number, path, digest(text), _lines(edits, path, ini), ini)
        for number, (path, text) in enumerate(texts.items(), 1)
    ]
    if steps or said:
        steps.append(_reload_step(str(len(steps) + 1), live, ini, said))
    data: dict[str, Json] = {
        "path": ini.path,
        "digests": dict(ini.digests),
        "edits": [
            {
                "key": e.key,
                "value": e.value,
                "file": e.at.file if e.at else None,
                "line": e.at.line if e.at else None,
                "text": e.line,
            }
            for e in edits
        ],
        "changes": changes(foretold),
    }
    return steps, data


def _edit_step(number: int, path: str, after: str, lines: Sequence[str], ini: IniFile) -> Step:
    return Step(
        id=str(number),
        action="edit-file",
        object=path,
        sql="\n".join(f"-- {line}" for line in lines),
        lock="none",
        blocks="nobody: the daemon reads the file at RELOAD only",
        undo=f"-- cp -p {kept(Path(path), ini.digests[path])} {path}",
        check="the file has the digest that the plan foretells",
        note="the file is replaced at one stroke; the earlier one is kept beside it",
        before=ini.digests[path],
        data={"after": after},
    )


def _reload_step(number: str, live: Live, ini: IniFile, said: Sequence[str]) -> Step:
    return Step(
        id=number,
        action="reload",
        object=live.values.get("conffile") or ini.path,
        sql="RELOAD",
        lock="none",
        blocks=CONSOLE,
        undo="-- the earlier file back in its place, then RELOAD",
        check="SHOW CONFIG shows " + ("; ".join(said) or "what it showed before"),
        note="if SHOW CONFIG shows anything else afterwards, the earlier file is put back and loaded",
    )


def _lines(edits: Sequence[Edit], path: str, ini: IniFile) -> list[str]:
    said: list[str] = []
    for edit in edits:
        held = ini.effective.get(edit.key)
        place = edit.at.file if edit.at else held.file if held else None
        if place not in (None, path):
            continue
        if edit.at is None:
            said.append(f"{edit.key} = {edit.value}".rstrip())
        else:
            said.append(f"line {edit.at.line}: " + ("taken out" if edit.line is None else edit.line))
    return said


def quoted(value: str) -> str:
    """A value as the console's SET takes it."""
    return "'" + value.replace("'", "''") + "'"
