"""User name maps (pg_ident.conf): whom of the operating system or of a certificate they let be which role."""

from __future__ import annotations

import re
from pathlib import PurePath
from typing import Final

from dbkit.model import Location, Severity
from dbkit.postgres.settings.rules.declare import Verdict, Verdicts, setting_rule
from dbkit.postgres.settings.scene import Row, Scene

CATEGORY = "security"
_EVERYBODY: Final = re.compile(r"/\^?\(?\.[*+]\)?\$?")
_TAKERS: Final = ("ident", "peer", "gss", "sspi", "cert", "oauth")


@setting_rule(
    "ident-open",
    Severity.ERROR,
    CATEGORY,
    ok="No user name map lets everybody be a superuser",
    bad="""
    -- pg_ident.conf: admins /^.*$ postgres
    -- pg_hba.conf: local all postgres peer map=admins
    """,
    good="""
    -- pg_ident.conf: admins alice postgres
    -- pg_ident.conf: own /^([a-z]+)@example\\.com$ \\1
    -- pg_hba.conf: local all postgres peer map=admins
    -- pg_hba.conf: local all all peer map=own
    """,
)
def ident_open(scene: Scene) -> Verdicts:
    r"""A map of pg_ident.conf lets whoever has any name be a superuser, or fits more names than it seems to.

    Why: with `/.*` on the left every user of the machine, or every holder of a certificate, may be the role on the
    right without a password. An expression without `^` and `$` fits a part of a name: `/(.*)@example.com` lets
    `mallory@example.com.evil.org` in.

    Fix: name the people, and anchor expressions: `/^([a-z]+)@example\.com$`.

    Not reported when: the right side is `\1`, so that everybody is only himself. An error for a superuser, for `all`
    and for an expression on the right (16 and newer), a warning for any other role and for a missing anchor.

    See: pg_ident_file_mappings. Reading it needs a superuser or a GRANT (the skip says which), or the file.
    """
    if not _named(scene):
        return
    supers = _superusers(scene)
    for row in _maps(scene):
        system, role = row["sys_name"], row["pg_username"]
        everybody = _EVERYBODY.fullmatch(system) is not None
        widest = scene.major >= 16 and (role == "all" or role.startswith("/"))
        if everybody and (widest or "\\1" not in role):
            yield Verdict(
                f"{_where(row)} lets everybody be {'any role' if widest else f'role {role}'}: "
                f"{row['map_name']} {system} {role}",
                _where(row),
                severity=None if widest or role in supers else Severity.WARN,
                fix="name those who may, or use \\1 so that each is only himself",
                kind="rewrite",
                location=_line(scene, row),
            )
        elif system.startswith("/") and not everybody and not (system.startswith("/^") and system.endswith("$")):
            yield Verdict(
                f"{_where(row)} fits parts of names as well: {row['map_name']} {system} {role}",
                _where(row),
                severity=Severity.WARN,
                fix=f"/^{system.removeprefix('/').removeprefix('^').removesuffix('$')}$",
                kind="rewrite",
                location=_line(scene, row),
            )


@setting_rule(
    "ident-broken",
    Severity.WARN,
    CATEGORY,
    ok="Every user name map that pg_hba.conf names is there and can be read",
    bad="""
    -- pg_ident.conf: admins alice
    -- pg_hba.conf: local all postgres peer map=others
    """,
    good="""
    -- pg_ident.conf: admins alice postgres
    -- pg_hba.conf: local all postgres peer map=admins
    """,
)
def ident_broken(scene: Scene) -> Verdicts:
    """A line of pg_ident.conf cannot be read, or a map is named and not there.

    Why: one bad line and a server starts with no map at all, a reload keeps the old ones; in both cases only the log
    says so. A line of pg_hba.conf with a map that is not there lets nobody in.

    Fix: mend the line, or write the map; then `select pg_reload_conf()`.

    Not reported when: no line of pg_hba.conf names a map and every line can be read. An info for a map that nothing
    names.

    See: pg_ident_file_mappings. Reading it needs a superuser or a GRANT (the skip says which), or the file.
    """
    named = _named(scene)
    if not named and isinstance(scene.facts.get("ident_maps", ""), str):
        return
    for row in scene.rows("ident_maps"):
        if row["error"]:
            yield Verdict(
                f"{_where(row)} cannot be read: {row['error']}; a reload keeps the old maps, a start has none",
                _where(row),
                severity=Severity.ERROR if named else None,
                location=_line(scene, row),
            )
    held = {row["map_name"] for row in _maps(scene)}
    for name, row in named.items():
        if name not in held:
            yield Verdict(
                f"{_where(row, 'pg_hba.conf')} names the map {name}, which is not in pg_ident.conf: it lets nobody in",
                name,
                location=_line(scene, row),
                fix=f"{name} SYSTEM-NAME ROLE in pg_ident.conf, or the line without map={name}",
                kind="rewrite",
            )
    for row in _maps(scene):
        groups = row["sys_name"].startswith("/") and re.search(r"(?<!\\)\((?!\?)", row["sys_name"])
        if "\\1" in row["pg_username"] and not groups:
            yield Verdict(
                f"{_where(row)} asks for \\1, and {row['sys_name']} has no part in brackets: it lets nobody in",
                _where(row),
                location=_line(scene, row),
            )
    for name in sorted(held - named.keys()):
        yield Verdict(
            f"map {name} of pg_ident.conf is not named by any line of pg_hba.conf",
            name,
            severity=Severity.INFO,
            key=name,
        )


def _named(scene: Scene) -> dict[str, Row]:
    """The maps that lines of pg_hba.conf name, each with the first such line."""
    found: dict[str, Row] = {}
    for row in scene.rows("hba_rules"):
        if row["error"] and "cannot match" not in row["error"]:
            continue
        for option in row["options"] or ():
            key, _, name = option.partition("=")
            if key == "map" and row["auth_method"] in _TAKERS:
                found.setdefault(name, row)
    return found


def _maps(scene: Scene) -> list[Row]:
    return [row for row in scene.rows("ident_maps") if not row["error"]]


def _superusers(scene: Scene) -> set[str]:
    roles = scene.facts.get("login_roles", "")
    return {"postgres"} if isinstance(roles, str) else {row["role"] for row in roles if row["superuser"]}


def _where(row: Row, file: str = "pg_ident.conf") -> str:
    return f"{PurePath(row['file_name'] or file).name}:{row['line_number']}"


def _line(scene: Scene, row: Row) -> Location | None:
    return Location(row["file_name"], row["line_number"]) if scene.conf is not None else None


RULES = (ident_open, ident_broken)
