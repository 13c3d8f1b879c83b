"""A password that must never be seen, and where it could have gone: stdout, stderr, files, and dbkit's own tables."""

from __future__ import annotations

from urllib.parse import quote

from psycopg import sql

PASSWORD = "c4nary:p@ss/w%rd"
SHOWN = (PASSWORD, quote(PASSWORD, safe=""), "c4nary")


def give(db, attributes="superuser"):
    """A login with the canary as its password; its address."""
    name, _ = db.role(attributes)
    with db.connect() as connection:
        connection.execute(sql.SQL("alter role {} password {}").format(sql.Identifier(name), PASSWORD))
    server = db.server
    return f"postgresql://{name}:{quote(PASSWORD, safe='')}@{server.host}:{server.port}/{db.name}"


def traces(done, *files, db=None):
    """Where the canary was left behind; empty when it was not."""
    places = {"stdout": done.stdout, "stderr": done.stderr}
    places |= {str(file): file.read_text(encoding="utf-8") for file in files if file.exists()}
    if db is not None:
        tables = db.execute("select format('%I.%I', schemaname, tablename) from pg_tables where schemaname = 'dbkit'")
        with db.connect() as connection:
            for (table,) in tables:
                rows = connection.execute(f"select to_jsonb(t)::text from {table} t".encode()).fetchall()
                places[table] = "\n".join(row[0] for row in rows)
    return [place for place, text in places.items() if any(secret in text for secret in SHOWN)]
