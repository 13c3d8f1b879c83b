"""Whether the daemon takes the file, and lines that do not mean what they look like."""

from __future__ import annotations

import re
from collections.abc import Iterator

from dbkit.model import Location, Severity
from dbkit.pgbouncer.ini import parameters
from dbkit.pgbouncer.ini.file import IniFile, Problem
from dbkit.pgbouncer.ini.parameters import Version
from dbkit.pgbouncer.rules.declare import Edit, Verdict, pooler_rule
from dbkit.pgbouncer.rules.seen import file_of, shown
from dbkit.pgbouncer.scene import Scene


@pooler_rule(
    "file-rejected",
    "file",
    Severity.ERROR,
    needs="file",
    ok="The daemon takes the file",
    bad="""
    [databases]
    jobs = host=jobs-db sslmode=require
    [pgbouncer]
    log_connections = on
    """,
    good="""
    [databases]
    jobs = host=jobs-db
    [pgbouncer]
    log_connections = 1
    """,
)
def file_rejected(scene: Scene) -> Iterator[Verdict]:
    """PgBouncer of this version does not start with the file.

    Why: an unknown key or section, a value of the wrong kind or a line without `=` ends the start. A RELOAD is worse:
    the daemon stays up with what stood before the mistake applied and everything else at its defaults, so that
    pool_mode may change under live traffic; up to 1.24 it even reports success.

    Fix: correct the line. Numbers take no unit and no comment behind them, booleans are 0 and 1, names are
    case-sensitive, comments begin with `;` or `#` at the start of a line. `--pgbouncer-version` says what another
    version would do.

    Not reported when: the mistake stands after a NUL byte, where the daemon stops reading.

    See: pgbouncer.reload-breaks.
    """
    ini = file_of(scene)
    for position, problem in enumerate((*ini.problems, *ini.further)):
        if problem.message == "fill_defaults fail" or problem.message.startswith("error processing include"):
            continue
        if problem.message.startswith(("invalid value", "invalid section")) and _explained(ini, problem):
            continue
        then = (
            "" if position < len(ini.problems) else " (the daemon would find this once the mistakes above are mended)"
        )
        yield Verdict(
            f"{problem.message}{f': {problem.near}' if problem.near else ''}{then}{_advice(ini, problem)}",
            problem.name or ini.path,
            location=Location(problem.file, problem.line or None),
            data={"version": str(ini.version)},
            key=f"{problem.line}",
        )


def _explained(ini: IniFile, problem: Problem) -> bool:
    """Whether the line before it in the log says the same with the reason."""
    said = [*ini.problems, *ini.further]
    at = said.index(problem)
    return (
        at > 0
        and said[at - 1].line == problem.line
        and "invalid value" not in said[at - 1].message
        and at > 0
        and (said[at - 1].message != "fill_defaults fail")
    )


def _advice(ini: IniFile, problem: Problem) -> str:
    name = problem.name or ""
    unknown = problem.message.startswith("unknown parameter")
    since = parameters.since(name) if unknown else None
    if unknown and since is not None:
        return (
            f": the key came with 1.{since}"
            if since > ini.version.minor
            else ": the key is gone from this version; take the line out"
        )
    if unknown:
        import difflib

        near = difflib.get_close_matches(name, parameters.load(ini.version), n=1)
        return f": did you mean {near[0]}?" if near else ""
    key = problem.message.rpartition(": ")[2]
    began = parameters.DATABASE_KEYS.get(key) or parameters.USER_KEYS.get(key)
    if problem.message.startswith("unrecognized") and began is not None and began > ini.version.minor:
        old = " (reserve_pool is its old name)" if key == "reserve_pool_size" else ""
        return f": the key came with 1.{began}{old}"
    kind = parameters.load(ini.version)[name].kind if name in parameters.load(ini.version) else ""
    if problem.message.startswith("invalid value") and kind:
        held = next((s.raw for s in ini.settings if s.name == name and s.line == problem.line), "")
        if re.search(r"\S\s+[;#]", held):
            return ": a comment must stand on a line of its own"
        if held.lower() in ("on", "yes", "true", "off", "no", "false"):
            return ": write 1 or 0"
        return {"time": ": write seconds without a unit", "int": ": write a whole number"}.get(kind, "") or (
            f": write {', '.join(c for c, v in parameters.CHOICES[kind] if v <= ini.version.minor)}"
            if kind in parameters.CHOICES
            else ""
        )
    if problem.message.endswith(": Permission denied"):
        return " (for the user who runs dbkit; run it as the daemon's)"
    if problem.near.startswith("--"):
        return " (comments begin with ; or #)"
    return ""


@pooler_rule(
    "tls-incomplete",
    "file",
    Severity.ERROR,
    ok="What TLS needs to start is named",
    bad="""
    [pgbouncer]
    client_tls_sslmode = require
    """,
    good="""
    [pgbouncer]
    client_tls_sslmode = require
    client_tls_key_file = /etc/pgbouncer/server.key
    client_tls_cert_file = /etc/pgbouncer/server.crt
    """,
)
def tls_incomplete(scene: Scene) -> Iterator[Verdict]:
    """TLS is switched on without a key or a certificate for clients, or with a protocol that does not exist.

    Why: the file is read without complaint, and then the start ends with "TLS setup failed".

    Fix: name client_tls_key_file and client_tls_cert_file; write client_tls_protocols and server_tls_protocols as
    `secure`, or as a list such as tlsv1.2,tlsv1.3.

    Not reported when: all is named; whether files, ciphers and curves are there is only known on the pooler's machine.

    See: pgbouncer.client-plaintext.
    """
    config = scene.config
    for side in ("client", "server"):
        key = f"{side}_tls_protocols"
        unknown = _unknown_protocols(config.text(key), config.version)
        if unknown and config.text(f"{side}_tls_sslmode") not in ("", "disable"):
            yield Verdict(
                f"{key} names {', '.join(unknown)}, which is no protocol: PgBouncer does not start",
                key,
                edits=(Edit(key, "secure"),),
                location=config.location(key),
            )
    if config.text("client_tls_sslmode") in ("", "disable"):
        return
    missing = [k for k in ("client_tls_key_file", "client_tls_cert_file") if not config.text(k)]
    if missing:
        yield Verdict(
            f"client_tls_sslmode = {config.text('client_tls_sslmode')} needs {' and '.join(missing)}: "
            "without it PgBouncer does not start",
            "client_tls_sslmode",
            location=config.location("client_tls_sslmode"),
        )


_PROTOCOLS = ("all", "default", "secure", "tlsv1", "tlsv1.0", "tlsv1.1", "tlsv1.2", "tlsv1.3")


def _unknown_protocols(value: str, version: Version) -> list[str]:
    """Words of a list of TLS protocols that the daemon does not know; 1.24.1 has lost `legacy`, which 1.18 has."""
    words = [word.lstrip(" \t").removeprefix("!") for word in re.split("[,:]", value)] if value else []
    return [w or "an empty word" for w in words if w.lower() not in _PROTOCOLS and not _legacy(w, version)]


def _legacy(word: str, version: Version) -> bool:
    return word.lower() == "legacy" and version.minor < 24


@pooler_rule(
    "section-reopened",
    "file",
    Severity.ERROR,
    needs="file",
    ok="[pgbouncer] is opened once",
    bad="""
    [pgbouncer]
    default_pool_size = 5
    [databases]
    a = host=db
    [pgbouncer]
    pool_mode = transaction
    """,
    good="""
    [databases]
    a = host=db
    [pgbouncer]
    default_pool_size = 5
    pool_mode = transaction
    """,
)
def section_reopened(scene: Scene) -> Iterator[Verdict]:
    """A second [pgbouncer] sets everything above it back to the defaults.

    Why: the daemon fills in all defaults at every `[pgbouncer]` line, and says nothing. Generated files that append a
    section, or include one, lose auth_type, pool sizes and limits this way (pgbouncer issue 1586).

    Fix: move the lines into one section.

    Not reported when: every key of the first section stands again in the last.

    See: the order of the lines in `--format json`, key `files`.
    """
    ini = file_of(scene)
    opened = [s for s in ini.sections if s.name == "pgbouncer"]
    lost = [s for s in ini.settings if s.undone and s.value is not None and s.value != ini.value(s.name)]
    if len(opened) > 1 and lost:
        names = ", ".join(
            f"{s.name} = {shown(s.name, ini.value(s.name))} instead of {shown(s.name, s.raw)}" for s in lost
        )
        yield Verdict(
            f"[pgbouncer] is opened again and undoes {len(lost)} line{'s' * (len(lost) > 1)} above: {names}",
            "[pgbouncer]",
            location=Location(opened[-1].file, opened[-1].line),
            edits=tuple([Edit(s.name, s.raw) for s in lost] + [Edit(at=Location(s.file, s.line)) for s in lost]),
            restart=any(s.parameter is not None and not s.parameter.reloads for s in lost),
            data={"lost": [s.name for s in lost]},
        )


@pooler_rule(
    "line-without-effect",
    "file",
    Severity.WARN,
    needs="file",
    ok="Every line counts",
    bad="""
    [databases]
    jobs = host=jobs-db port=6000 pool_size=10
    jobs = host=jobs-db
    [pgbouncer]
    default_pool_size = 10
    default_pool_size = 25
    """,
    good="""
    [databases]
    jobs = host=jobs-db port=6000 pool_size=10
    [pgbouncer]
    default_pool_size = 25
    """,
)
def line_without_effect(scene: Scene) -> Iterator[Verdict]:
    """A key or a database is given twice, and the first line does nothing.

    Why: the last one wins as a whole. Of a database nothing is merged: port, pool_size and password of the first line
    are gone, only its forced user stays.

    Fix: keep one of the two.

    Not reported when: the line was undone by a second [pgbouncer], which is reported as such.

    See: pgbouncer.section-reopened.
    """
    ini = file_of(scene)
    for setting in ini.settings:
        if setting.dead and not setting.undone:
            later = ini.effective.get(setting.name)
            where = (
                f"line {later.line}" + (f" of {later.file}" if later and later.file != setting.file else "")
                if later
                else ""
            )
            yield Verdict(
                f"{setting.name} = {shown(setting.name, setting.raw)} has no effect: {where} wins",
                setting.name,
                location=Location(setting.file, setting.line),
                edits=(Edit(at=Location(setting.file, setting.line)),),
                key=str(setting.line),
            )
    held = {d.name: d for d in ini.databases}
    for database in ini.replaced:
        later = held[database.name]
        lost = sorted(set(database.given) - set(later.given) - {"user"})
        yield Verdict(
            f"database {database.name} is given again in line {later.line}, which replaces this one as a whole"
            + (f"; {', '.join(lost)} of this line {'is' if len(lost) == 1 else 'are'} lost" if lost else ""),
            database.name,
            severity=Severity.WARN if lost else Severity.INFO,
            location=Location(database.file, database.line),
            key=str(database.line),
        )
