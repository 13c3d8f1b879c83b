"""Runs the example of an index rule on a fresh database, as the docstring of `index_rule` says, and judges it."""

from __future__ import annotations

import re
import threading
import time
from dataclasses import dataclass

import psycopg
import yaml

from dbkit.policy import Policy
from dbkit.postgres import ddl
from dbkit.postgres.connect import connect
from dbkit.postgres.indexes import desired
from dbkit.postgres.indexes.audit import judge
from dbkit.rules import Selection
from dbkit.settings import Target

SESSION = re.compile(r"^-- session \d+.*$", re.MULTILINE)
BLIND = "-- audited by a role without rights"


@dataclass
class Example:
    wishes: str
    limits: dict
    blind: bool
    sessions: list[list[tuple[str, bool]]]
    """Statements, each with whether it is meant to fail; the first session ends before the others begin."""


def read(text):
    def labelled(label):
        return re.findall(rf"^-- {label}: (.*)$", text, re.MULTILINE)

    return Example(
        wishes="\n".join(labelled("wanted")),
        limits=yaml.safe_load(labelled("policy")[0]) if labelled("policy") else {},
        blind=BLIND in text,
        sessions=[statements(part) for part in SESSION.split(text)],
    )


def statements(part):
    lines = part.splitlines()
    return [
        (s.sql, s.line > 1 and lines[s.line - 2].startswith("-- fails:")) for s in ddl.parse(part, label="the example")
    ]


def run(db, rule, text):
    """What the rule says of the example's database: a whole Report of this rule alone."""
    example = read(text)
    threads, left = [], []
    with psycopg.connect(db.dsn, autocommit=True) as connection:
        execute(connection, example.sessions[0])
    try:
        for part in example.sessions[1:]:
            left.append(db.connect())
            threads.append(threading.Thread(target=execute, args=(left[-1], part), daemon=True))
            threads[-1].start()
            threads[-1].join(1)
        if threads:
            until_somebody_waits(db)
        return look(db, rule, example)
    finally:
        for connection in left:
            connection.cancel()
        for thread in threads:
            thread.join()
        for connection in left:
            connection.close()


def execute(connection, part):
    for statement, fails in part:
        try:
            connection.execute(statement)
        except psycopg.errors.QueryCanceled:
            return
        except psycopg.Error:
            assert fails, statement
        else:
            assert not fails, f"meant to fail: {statement}"


def until_somebody_waits(db):
    until = time.monotonic() + 10
    while time.monotonic() < until:
        if db.execute("select pid from pg_stat_progress_create_index where datname = current_database()"):
            return
        time.sleep(0.05)
    raise AssertionError("no build is waiting")


def look(db, rule, example):
    dsn = db.role()[1] if example.blind else db.dsn
    wishes = desired.read(example.wishes, "wanted.sql") if example.wishes else ()
    policy = Policy.model_validate({"rules": {rule.id: example.limits}} if example.limits else {})
    with connect(Target(name="example", address=dsn), purpose="audit") as connection:
        return judge(connection, "example", wishes, policy, Selection(select=(rule.id,))).report
