"""Lines that the daemon takes, and not as what they look like."""

from __future__ import annotations

import re
from collections.abc import Iterator

from dbkit.model import Location, Severity
from dbkit.pgbouncer.ini.entries import Database, User, misread
from dbkit.pgbouncer.ini.file import Setting
from dbkit.pgbouncer.rules.declare import Blind, Edit, Verdict, pooler_rule
from dbkit.pgbouncer.rules.seen import file_of, shown
from dbkit.pgbouncer.scene import Scene
from dbkit.secrets import redact


@pooler_rule(
    "value-misread",
    "file",
    Severity.WARN,
    needs="file",
    ok="Every value is read as it looks",
    bad="""
    [databases]
    jobs = host=jobs-db pool_size=20MB
    [pgbouncer]
    server_reset_query =   ; nothing to reset
    pool_mode = transaction
    unix_socket_mode = 777
    """,
    good="""
    [databases]
    jobs = host=jobs-db pool_size=20
    [pgbouncer]
    server_reset_query =
    pool_mode = transaction
    unix_socket_mode = 0777
    """,
)
def value_misread(scene: Scene) -> Iterator[Verdict]:
    """A value is taken, but not as what it looks like.

    Why: a comment behind a text is part of the text (a reset query of `; nothing` is sent to the server), quotes are
    kept, a leading 0 means octal, unix_socket_mode without one is decimal, a number in a database's line is read up
    to the first other character (`abc` is 0, and a pool_size of 0 serves nobody), a tab does not separate two keys,
    and an included folder is an empty file.

    Fix: write the value alone.

    Not reported when: a query in [pgbouncer] holds quotes that belong to its SQL.

    See: https://www.pgbouncer.org/config.html
    """
    ini = file_of(scene)
    for setting in ini.effective.values():
        yield from _setting_misread(setting)
    for include, _ in ini.includes:
        if include.near:
            yield Verdict(
                f"%include {include.message} names {include.near}: it is read as an empty file, whatever is in it",
                include.message,
                location=Location(include.file, include.line),
            )
    for database in ini.databases:
        yield from _entry_misread(f"database {database.name}", database.name, database)
    for user in ini.users:
        yield from _entry_misread(f"user {user.name}", f"user {user.name}", user)


def _setting_misread(setting: Setting) -> Iterator[Verdict]:
    name, place = setting.name, Location(setting.file, setting.line)
    if setting.parameter is None or setting.value is None:
        return
    if setting.parameter.kind == "text":
        yield from _text_misread(name, setting.raw, place)
    elif name == "unix_socket_mode":
        if setting.raw in ("777", "770", "700", "755", "750", "775"):
            yield Verdict(
                f"unix_socket_mode = {setting.raw} is read as decimal, which is octal {int(setting.value):o}",
                name,
                location=place,
                edits=(Edit(name, f"0{setting.raw}"),),
                restart=True,
            )
    elif setting.parameter.kind == "int" and setting.value != setting.raw.lstrip("+"):
        yield Verdict(
            f"{name} = {setting.raw} is read as {setting.value}",
            name,
            location=place,
            edits=(Edit(name, setting.value),),
            restart=not setting.parameter.reloads,
        )


def _entry_misread(what: str, held: str, entry: Database | User) -> Iterator[Verdict]:
    place = Location(entry.file, entry.line)
    for key, (written, taken) in misread(entry.given).items():
        yield Verdict(f"{key}={written} of {what} is read as {taken}", held, location=place, key=key)
    for key, value in entry.given.items():
        if "\t" in value and key != "password":
            yield Verdict(
                f"a tab in the line of {what} became part of {key}: {redact(value)!r}", held, location=place, key=key
            )


def _text_misread(name: str, raw: str, place: Location) -> Iterator[Verdict]:
    comment = re.match(r"(.*?)(?:^|\s+)([;#].*)$", raw)
    if comment and name not in ("auth_query", "login_notify_message", "auth_ldap_options"):
        yield Verdict(
            f"the comment behind {name} is part of its value: {shown(name, raw)!r}",
            name,
            location=place,
            edits=(Edit(name, comment[1]),),
        )
    elif len(raw) > 1 and raw[0] == raw[-1] and raw[0] in "'\"":
        yield Verdict(
            f"the quotes around {name} are part of its value", name, location=place, edits=(Edit(name, raw[1:-1]),)
        )


@pooler_rule(
    "include-relative",
    "file",
    Severity.INFO,
    needs="file",
    ok="Included files are named by their full path",
    bad="""
    [pgbouncer]
    %include limits.ini
    """,
    good="""
    [pgbouncer]
    ; %include /etc/pgbouncer/limits.ini
    pool_mode = transaction
    """,
)
def include_relative(scene: Scene) -> Iterator[Verdict]:
    """An included file is named by a relative path.

    Why: it is looked for where PgBouncer was started, not beside the file; a service manager starts it in `/`, and a
    missing include ends the start. dbkit looks beside the file first.

    Fix: write the full path.

    Not reported when: the path begins with `/`.

    See: pgbouncer issue 584.
    """
    for include, relative in file_of(scene).includes:
        if relative:
            yield Verdict(
                f"%include {include.message} is looked for where PgBouncer is started",
                include.message,
                location=Location(include.file, include.line),
            )


@pooler_rule(
    "fallback-broken",
    "file",
    Severity.ERROR,
    needs="file",
    ok="The line of * can be read",
    bad="""
    [databases]
    * = host=db sslmode=require
    [pgbouncer]
    """,
    good="""
    [databases]
    * = host=db
    [pgbouncer]
    """,
)
def fallback_broken(scene: Scene) -> Iterator[Verdict | Blind]:
    """The line of the database * is wrong, and nobody says so until a client comes.

    Why: it is kept as text at the start and read when a client asks for a database that is not listed. Then the
    client is turned away.

    Fix: correct the key; this version's keys are in `dbkit explain pgbouncer`.

    Not reported when: there is no *.

    See: pgbouncer.file-rejected for listed databases.
    """
    for note in file_of(scene).notes:
        yield Verdict(
            f"the line of * is refused when the first client comes: {note.message}",
            "*",
            location=Location(note.file, note.line),
        )
