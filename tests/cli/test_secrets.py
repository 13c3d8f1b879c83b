"""No password anywhere: of the connection in every form, of the files that are audited, and of what the server holds."""

import json
import re
from urllib.parse import quote

import pytest

from tests.cli import canary
from tests.fixtures.program import dbkit

FORMATS = ("text", "json", "html", "sarif", "junit", "github", "gitlab", "markdown")
LOOKS = [("doctor",), ("audit", "-v", "--fail-on", "never"), ("job", "list")]


def forms(dsn, folder):
    """Every way to give a password, as (arguments, environment)."""
    user, host, port, name = re.match(r"postgresql://(\w+):.*@([\d.]+):(\d+)/(\w+)", dsn).groups()
    quoted = canary.PASSWORD.replace("\\", "\\\\").replace("'", "\\'")
    where = f"host={host} port={port} user={user} dbname={name}"
    (folder / "passfile").write_text(f"{host}:{port}:*:{user}:" + canary.PASSWORD.replace(":", "\\:") + "\n")
    (folder / "passfile").chmod(0o600)
    (folder / "services").write_text(
        f"[here]\nhost={host}\nport={port}\nuser={user}\ndbname={name}\npassword={canary.PASSWORD}\n"
    )
    plain = f"postgresql://{user}@{host}:{port}/{name}"
    return {
        "uri": ((), {"DBKIT_DSN": dsn}),
        "flag": (("--dsn", dsn), {}),
        "sqlalchemy": ((), {"DBKIT_DSN": dsn.replace("postgresql://", "postgresql+psycopg://")}),
        "query": ((), {"DBKIT_DSN": f"{plain}?password={quote(canary.PASSWORD, safe='')}"}),
        "key and value": ((), {"DBKIT_DSN": f"{where} password='{quoted}'"}),
        "environment": ((), {"DBKIT_DSN": plain, "PGPASSWORD": canary.PASSWORD}),
        "password file": ((), {"DBKIT_DSN": plain, "PGPASSFILE": str(folder / "passfile")}),
        "service": ((), {"DBKIT_DSN": "service=here", "PGSERVICEFILE": str(folder / "services")}),
    }


@pytest.mark.pg(18)
def test_however_the_password_is_given(db, tmp_path):
    dsn = canary.give(db)
    for form, (arguments, environment) in forms(dsn, tmp_path).items():
        for command in LOOKS if form == "uri" else LOOKS[:1]:
            done = dbkit(*command, *arguments, **environment)
            assert done.returncode == 0, (form, done.stderr)
            assert canary.traces(done, db=db) == [], (form, command)


def broken(dsn):
    """Addresses that fail, each in its own way, with the canary in them."""
    secret = quote(canary.PASSWORD, safe="")
    yield dsn.replace(db_name(dsn), "no_such_database")
    yield re.sub(r":\d+/", ":1/", dsn)
    yield dsn.replace(secret, f"{secret}x")
    yield dsn.replace(secret, canary.PASSWORD)
    yield dsn.replace("@127.0.0.1", "@no-such-host.invalid")
    yield dsn.replace("postgresql://", "mysql://")
    yield dsn.replace("postgresql://", "postgresql:/")
    yield dsn + "?sslmode=nonsense"
    yield dsn + f"?passwrd={secret}"
    yield f"host=127.0.0.1 pasword='{canary.PASSWORD}'"
    yield f"host=127.0.0.1 password='{canary.PASSWORD}"


def db_name(dsn):
    return dsn.rpartition("/")[2]


@pytest.mark.pg(18)
def test_however_the_connection_fails(db, tmp_path):
    (tmp_path / "queries.sql").write_text("select 1")
    commands = [("doctor",), ("audit",), ("index", "status"), ("migrate", "stats"), ("job", "list")]
    for number, address in enumerate(broken(canary.give(db))):
        command = commands[number % len(commands)]
        done = dbkit(*command, DBKIT_DSN=address)
        assert done.returncode in (2, 3), (number, done.stdout, done.stderr)
        assert "error:" in done.stderr
        assert canary.traces(done) == [], (number, command)


@pytest.mark.pg(18)
def test_a_change_from_new_to_its_end_and_back(place, tmp_path):
    place.run("create table users (id int primary key, full_name text); insert into users values (1, 'a')")
    dsn = canary.give(place.db)
    backup = ("--backup-command", f"env PGPASSWORD={canary.PASSWORD} true --password {canary.PASSWORD}")
    accept = [w for what in ("observation", "transaction", "statement") for w in ("--accept", what)]
    for command in (
        ("new", "rename-column", "users.full_name", "name"),
        ("plan",),
        ("deploy", "--phase", "pre", *backup, "--format", "json"),
        ("status", "--format", "json"),
        ("verify",),
        ("contract", *backup, *accept),
        ("rollback", "--format", "json"),
    ):
        done = dbkit("migrate", *command, "--migrations", place.ini, DBKIT_DSN=dsn)
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        assert canary.traces(done, *(place.folder / "versions").glob("*.py"), db=place.db) == [], command
    done = dbkit("job", "list", "--format", "json", DBKIT_DSN=dsn)
    for job in json.loads(done.stdout)["jobs"]:
        shown = dbkit("job", "show", str(job["id"]), "--format", "json", DBKIT_DSN=dsn)
        assert canary.traces(shown) == []
    assert canary.traces(done) == []


CONF = """
primary_conninfo = 'host=h user=replica password=c4nary-1 sslmode=prefer'
restore_command = 'PGPASSWORD=c4nary-2 fetch %f --token c4nary-3'
archive_command = 'AWS_SECRET_ACCESS_KEY="c4nary 4" send %p --secret-access-key=c4nary-5'
archive_mode = on
ssl_passphrase_command = 'echo c4nary-6'
app.database = 'postgresql://u:c4nary-7@h/d?password=c4nary-7'
app.password = 'c4nary 8'
primary_conninfo = 'host=h user=replica password=''c4nary 9'' sslmode=prefer'
work_mem = 'password=c4nary-10'
"""
HBA = """
host all all 10.0.0.0/8 ldap ldapserver=x ldapbasedn="dc=x" ldapsearchattribute=uid "ldapbindpasswd=c4nary b"
host all all 11.0.0.0/8 radius radiusservers=x radiussecrets=c4nary-c
host all all 12.0.0.0/8 ldap ldapurl="ldap://u:c4nary-d@h/dc=x"
host all all 13.0.0.0/8 ldap ldapserver=x ldapbindpaswd=c4nary ldapbindpasswd=c4nary-e
"""


def test_of_a_file(tmp_path):
    (tmp_path / "postgresql.conf").write_text(CONF)
    (tmp_path / "pg_hba.conf").write_text(HBA)
    earlier = tmp_path / "earlier.json"
    for fmt in FORMATS:
        done = dbkit("audit", "--pg-conf", "postgresql.conf", "--pg-version", "15", "-v", "--format", fmt, cwd=tmp_path)
        assert done.returncode == 1, done.stderr
        assert [line for line in done.stdout.splitlines() if "c4nary" in line.replace("bindpaswd=c4nary", "")] == []
        if fmt == "json":
            earlier.write_text(done.stdout)
    for fix in ("fix.patch", "fix.sql"):
        dbkit("audit", "--pg-conf", "postgresql.conf", "--pg-version", "15", "--fix", fix, cwd=tmp_path)
        assert "c4nary" not in (tmp_path / fix).read_text()
    (held,) = json.loads(earlier.read_text())["files"]
    assert held["settings"]["primary_conninfo"]["value"] == "host=h user=replica password=*** sslmode=prefer"
    assert held["settings"]["app.password"]["raw"] == "***"
    # What the earlier report hides is no change, and nothing is ever set to what hides it.
    changed = CONF.replace("user=replica", "user=other")
    for text, told in ((CONF, False), (changed, True)):
        (tmp_path / "postgresql.conf").write_text(text)
        done = dbkit("audit", "--pg-conf", "postgresql.conf", "--pg-version", "15", "--baseline", earlier, "-v",
                     "--select", "pg.setting-changed", cwd=tmp_path)  # fmt: skip
        assert ("primary_conninfo was" in done.stdout) is told, done.stdout
        assert "primary_conninfo =" not in done.stdout


def test_of_what_a_server_holds(db):
    role, _ = db.role()
    db.execute(f"alter role {role} set app.password = 'c4nary-1'")
    db.execute(f"alter database {db.name} set app.address = 'host=h password=c4nary-2'")
    db.execute(
        "create subscription s connection 'host=127.0.0.1 port=1 password=c4nary-3' publication p with (connect = false)"
    )
    try:
        for command in (("audit", "-v", "--format", "json"), ("audit", "-v"), ("doctor",), ("index", "status")):
            done = dbkit(*command, "--fail-on", "never", DBKIT_DSN=db.dsn) if "doctor" not in command else dbkit(
                *command, DBKIT_DSN=db.dsn
            )  # fmt: skip
            assert done.returncode == 0, done.stderr
            assert "c4nary" not in done.stdout + done.stderr, command
    finally:
        db.execute("alter subscription s set (slot_name = none)")
        db.execute("drop subscription s")
