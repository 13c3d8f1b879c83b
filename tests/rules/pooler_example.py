"""Builds what a pooler rule's example describes (see `pooler_rule`), and judges it with that rule alone."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import yaml

from dbkit.capacity import ServerFacts, SessionUse
from dbkit.pgbouncer import documents, fleet
from dbkit.pgbouncer.audit import Question, judge, scene_of_console, scene_of_file
from dbkit.pgbouncer.documents import Connections
from dbkit.pgbouncer.ini import parameters
from dbkit.pgbouncer.ini.reader import read_file
from dbkit.pgbouncer.live import Live
from dbkit.pgbouncer.rules.fleet import Member
from dbkit.policy import Policy
from dbkit.rules import Selection


def run(folder: Path, rule, text: str):
    """The answer of one rule on an example; the file is written into `folder`."""
    scene, question = looked_at(folder, rule, text)
    return judge(scene, "example", question)


def run_fleet(folder: Path, rule, text: str):
    """The report of a rule about several poolers, whose files `;; next pooler` separates."""
    members = []
    for number, part in enumerate(text.split(";; next pooler\n")):
        place = folder / str(number)
        place.mkdir()
        scene, question = looked_at(place, rule, part)
        members.append(Member(f"pooler {number}", scene))
    return fleet.judge(members, question)


def looked_at(folder: Path, rule, text: str):
    path = folder / "pgbouncer.ini"
    path.write_text(text)
    said = [
        (name.strip(), value) for name, value in re.findall(r"^;; ([a-z]+(?: [a-z]+)?):? (.*)$", text, re.MULTILINE)
    ]
    shown = [(n.removeprefix("show "), fields(v)) for n, v in said if n.startswith("show ")]
    version = parameters.version(next((v for n, v in said if n == "version"), "1.24.1"))
    for name, value in said:
        if name == "userlist":
            (folder / "userlist.txt").write_text(value + "\n")
    question = Question(
        Policy(),
        Selection(select=(rule.id,)),
        figures([v for n, v in said if n == "connections"]),
        own_figures=any(n == "connections" for n, _ in said),
        reload_check=rule.id.startswith("pgbouncer.reload-"),
    )
    servers = facts([fields(v) for n, v in said if n == "server"], [v for n, v in said if n == "uses"])
    if shown:
        scene = scene_of_console(console(path, version, shown), path, question, servers)
    else:
        scene = scene_of_file(path, version, question, servers)
    return scene, question


def fields(text: str) -> dict[str, str]:
    return dict(part.split("=", 1) for part in shlex.split(text))


def figures(given: list[str]) -> Connections:
    shipped = documents.connections()
    if not given:
        return shipped.model_copy(update={"drivers": shipped.drivers})
    data = yaml.safe_load(given[0])
    merged = {**shipped.model_dump(), "drivers": (), **data}
    return Connections.model_validate(merged)


def facts(rows: list[dict[str, str]], uses: list[str]) -> list[ServerFacts]:
    return [
        ServerFacts(
            name=row["host"],
            addresses=((row["host"], int(row.get("port", "5432"))),),
            max_connections=int(row["max_connections"]),
            reserved=3,
            timeouts={k: float(v) for k, v in row.items() if k.endswith("_timeout")},
            hidden_timeouts=frozenset(row.get("hidden", "").split(",")),
            session_uses=tuple(SessionUse(u, f"{u} ...", 7) for u in uses),
        )
        for row in rows
    ]


def console(path: Path, version, shown: list[tuple[str, dict[str, str]]]) -> Live:
    """A console that shows the file's own settings and databases, and the rows of the example over them."""
    ini = read_file(path, version)
    known = parameters.load(version)
    config = {
        name: {"key": name, "value": ini.value(name), "changeable": "yes" if p.reloads else "no"}
        for name, p in known.items()
    }
    databases = {d.name: {"name": d.name, **ini.shown(d), "paused": "0", "disabled": "0"} for d in ini.databases}
    tables = {"config": config, "databases": databases, "pools": {}, "stats": {}, "lists": {}}
    if any(what == "databases" and row["name"] not in databases for what, row in shown):
        databases.clear()
    for what, row in shown:
        key = next(iter(row.values()))
        tables[what][key] = {**tables[what].get(key, {}), **row}
    return Live(version, {what: tuple(rows.values()) for what, rows in tables.items()})
