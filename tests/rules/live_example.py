"""Runs the SQL example of a setting rule on a server of its own, as its directives say, and puts the server back.

`-- policy:` the rule's limits, `-- postgresql.conf:` `-- pg_hba.conf:` and `-- pg_ident.conf:` lines to add, `-- restart`, `-- session:` what
another session runs and stays open, `-- until:` a query to wait for.
"""

import re
import threading
import time

import psycopg
import yaml

from dbkit.policy import Policy
from dbkit.postgres.connect import connect, server
from dbkit.postgres.settings import audit, documents, observe
from dbkit.postgres.settings.scene import Size
from dbkit.rules import Selection
from dbkit.settings import Target

FOLDER = ("postgresql.conf", "pg_hba.conf", "pg_ident.conf")
WAIT = 30


def run(own, rule, text):
    """The report of this rule alone on the server as the example leaves it."""
    before = {name: (own.directory / name).read_bytes() for name in FOLDER}
    policy = re.search(r"^-- policy: (.*)$", text, re.MULTILINE)
    limits = yaml.safe_load(policy[1]) if policy else {}
    threads, sessions, started = [], [], False
    with psycopg.connect(own.dsn, autocommit=True) as connection:
        connection.execute("drop database if exists example with (force)")
        connection.execute("create database example")
    try:
        for kind, part in parts(text):
            if kind == "file":
                name, line = part
                with (own.directory / name).open("a") as stream:
                    stream.write(f"{line}\n")
            elif kind == "restart":
                own.restart()
                started = True
            elif kind == "session":
                sessions.append(psycopg.connect(own.dsn_for("example"), autocommit=True, application_name="a test"))
                threads.append(threading.Thread(target=quietly, args=(sessions[-1], part), daemon=True))
                threads[-1].start()
                until(own, "select count(*) > 0 from pg_stat_activity where application_name = 'a test'"
                           " and (state <> 'active' or query ~ 'pg_sleep')")  # fmt: skip
            elif kind == "until":
                until(own, part)
            else:
                with psycopg.connect(own.dsn_for("example"), autocommit=True) as connection:
                    connection.execute(part)
        return look(own, rule, limits)
    finally:
        for session in sessions:
            session.cancel()
        for thread in threads:
            thread.join()
        for session in sessions:
            session.close()
        put_back(own, before, restart=started)


def parts(text):
    """The example as a list of (kind, content), SQL in the order written."""
    sql = []
    for line in text.splitlines():
        match = re.match(r"-- (postgresql\.conf|pg_hba\.conf|pg_ident\.conf|session|until|restart)(?:: (.*))?$", line)
        if match is None:
            sql.append(line)
            continue
        if "".join(sql).strip():
            yield from statements(sql)
        sql = []
        if match[1] in FOLDER:
            yield "file", (match[1], match[2])
        else:
            yield match[1], match[2]
    yield from statements(sql)


def statements(lines):
    text = "\n".join(line for line in lines if not line.startswith("--"))
    whole = "$$" in text or "begin;" in text
    found = [text] if whole else text.split(";")
    return [("sql", s) for s in found if s.strip()]


def quietly(session, text):
    try:
        session.execute(text)
    except psycopg.errors.QueryCanceled:
        return


def until(own, query, database="example"):
    end = time.monotonic() + WAIT
    while time.monotonic() < end:
        with psycopg.connect(own.dsn_for(database), autocommit=True) as connection:
            if connection.execute(query).fetchone()[0]:
                return
        time.sleep(0.05)
    raise AssertionError(f"still not: {query}")


def look(own, rule, limits, dsn=None):
    policy = Policy.model_validate({"rules": {rule.id: limits}} if limits else {})
    target = Target(name="example", address=dsn or own.dsn_for("example"))
    with connect(target, purpose="audit") as connection:
        scene = observe.scene_of(connection, server(connection), "example", Size(), documents.load())
    return audit.judge(scene, policy, Selection(select=(rule.id,))).report


def put_back(own, before, *, restart):
    with psycopg.connect(own.dsn, autocommit=True) as connection:
        connection.execute("alter system reset all")
        for (name,) in connection.execute("select gid from pg_prepared_xacts").fetchall():
            with psycopg.connect(own.dsn_for("example"), autocommit=True) as there:
                there.execute(f"rollback prepared '{name}'")
        for (name,) in connection.execute("select slot_name from pg_replication_slots").fetchall():
            connection.execute("select pg_drop_replication_slot(%s)", [name])
        connection.execute("drop database if exists example with (force)")
        connection.execute("drop role if exists app")
        for name, content in before.items():
            (own.directory / name).write_bytes(content)
        connection.execute("select pg_reload_conf()")
        pending = connection.execute("select count(*) from pg_settings where pending_restart").fetchone()[0]
    if restart or pending:
        own.restart()
