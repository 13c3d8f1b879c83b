"""What the server would make of a file: refused lines, failures that only a start reveals, dead lines, old names."""

from __future__ import annotations

import re

from dbkit.model import Location, Severity
from dbkit.postgres.conf.checks import split_directories
from dbkit.postgres.conf.reader import Setting
from dbkit.postgres.conf.values import folded
from dbkit.postgres.settings import repair, start
from dbkit.postgres.settings.repair import Edit
from dbkit.postgres.settings.rules.declare import Verdict, Verdicts, setting_rule
from dbkit.postgres.settings.scene import Scene

CATEGORY = "file"


@setting_rule(
    "conf-refused",
    Severity.ERROR,
    CATEGORY,
    ok="The server takes every line of the file",
    bad="""
    shared_buffers = 4GB -- 25% of RAM
    connection_pooling = 'PgBouncer'
    work_mem = 256mb
    """,
    good="""
    shared_buffers = 4GB # 25% of RAM
    work_mem = 9MB
    """,
    equivalents={"pg_gather": ("pg_file_settings errors",)},
)
def refused(scene: Scene) -> Verdicts:
    """The server refuses a line, and with it the whole file.

    Why: one bad line keeps a server from starting; a running one ignores the whole file on reload, the good lines
    included, and says so only in its log.

    Fix: the patch (`--fix FILE.patch`) writes comments as `#`, comments out what is no setting, and leaves to you what
    has no single right answer.

    Not reported when: a later line sets the same name: the server never looks at the value of the earlier one.

    See: research on PostgreSQL 15 and 18; the verdict is that of `pg_file_settings` for the version audited.
    """
    if scene.conf is None:
        for row in scene.rows("file_settings"):
            if row["error"] and "could not be applied" not in row["error"]:
                yield Verdict(
                    f"the server refuses line {row['sourceline']}: {row['error']}; no line of the file is applied on "
                    "reload, and the server would not start again",
                    row["name"] or row["sourcefile"],
                    fix="mend the line, then: select pg_reload_conf();",
                    kind="rewrite",
                    location=Location(row["sourcefile"], row["sourceline"]) if row["sourcefile"] else None,
                )
        return
    said: set[tuple[str, int, str]] = set()
    for conf in (scene.conf, *scene.repaired):
        for problem in (*conf.problems, *conf.further):
            if (problem.file, problem.line, problem.message) in said:
                continue
            said.add((problem.file, problem.line, problem.message))
            message, edits = repair.advice(conf, problem, scene.wanted.not_settings)
            yield Verdict(
                message,
                problem.name or f"line {problem.line}",
                edits=edits,
                location=Location(problem.file, problem.line),
                key=str(problem.line),
            )


@setting_rule(
    "conf-will-not-start",
    Severity.ERROR,
    CATEGORY,
    ok="No two settings keep the server from starting",
    bad="""
    max_connections = 10
    superuser_reserved_connections = 10
    """,
    good="""
    max_connections = 10
    superuser_reserved_connections = 3
    """,
)
def will_not_start(scene: Scene) -> Verdicts:
    """Each line is good, but together they keep the server from starting.

    Why: a reload, `postgres -C` and pg_file_settings all accept such a file; the restart is where it fails, which is
    the moment when nobody expects it.

    Fix: change one of the settings that are named.

    Not reported when: it depends on the server's machine (a missing library, certificate or huge page), which a file
    does not show.

    See: each case was run on PostgreSQL 15 and 18.
    """
    for name, message in start.failures(scene):
        yield Verdict(f"{message}; otherwise the server does not start", name, location=where(scene, name), key=name)


@setting_rule(
    "conf-dead-line",
    Severity.WARN,
    CATEGORY,
    ok="No setting is written twice",
    bad="""
    work_mem = 64MB
    work_mem = 4MB
    """,
    good="""
    work_mem = 4MB
    """,
)
def dead_line(scene: Scene) -> Verdicts:
    """A line has no effect because a later one sets the same name.

    Why: whoever edits the dead line wonders why nothing happens; ALTER SYSTEM writes postgresql.auto.conf, which is
    read last and beats every line of postgresql.conf.

    Fix: remove the dead line (the patch comments it out).

    Not reported when: the two are in files of which the later one is meant to win and say the same (then an info).

    See: the last entry of a name wins; an earlier one is never even checked.
    """
    if scene.conf is not None:
        conf = scene.repaired[-1] if scene.repaired else scene.conf
        counting = conf.effective
        for setting in conf.settings:
            if setting.dead:
                yield _dead(setting, counting[folded(setting.name)])
        return
    last: dict[str, tuple[str, int, str]] = {}
    rows = [row for row in scene.rows("file_settings") if row["name"]]
    for row in rows:
        last[row["name"].lower()] = (row["sourcefile"], row["sourceline"], row["setting"])
    for row in rows:
        file, line, value = last[row["name"].lower()]
        if (row["sourcefile"], row["sourceline"]) != (file, line):
            same = row["setting"] == value
            yield Verdict(
                f"line {row['sourceline']} of {row['sourcefile']} ({row['setting']}) has no effect: {file}:{line} sets "
                f"{value}",
                row["name"],
                severity=Severity.INFO if same else None,
                location=Location(row["sourcefile"], row["sourceline"]),
                fix=f"remove the line: it never counts while {file} sets {row['name']}",
                kind="rewrite",
                key=f"{row['sourcefile']}:{row['sourceline']}",
            )


def _dead(setting: Setting, counts: Setting) -> Verdict:
    where = f"line {counts.line}" if counts.file == setting.file else f"{counts.file}:{counts.line}"
    same = setting.raw == counts.raw
    return Verdict(
        f"{setting.name} = {setting.raw} has no effect: {where} sets {counts.raw or 'it'} "
        f"{'as well' if same else 'instead'}",
        setting.name,
        edits=(Edit(setting.file, setting.line, None, f"no effect: {where} counts"),),
        severity=Severity.INFO if same else None,
        location=Location(setting.file, setting.line),
        key=str(setting.line),
    )


@setting_rule(
    "conf-old-name",
    Severity.INFO,
    CATEGORY,
    ok="Every setting is called by its own name and every value by its listed spelling",
    bad="""
    sort_mem = 4MB
    wal_level = hot_standby
    """,
    good="""
    work_mem = 4MB
    wal_level = replica
    """,
)
def old_name(scene: Scene) -> Verdicts:
    """A setting or a value is written in an old spelling that the server still maps to the new one.

    Why: `sort_mem` is work_mem and `hot_standby` is replica; searching for the name everybody uses does not find it,
    and old names go away with an upgrade.

    Fix: write the present name (the patch does).

    Not reported when: the line is dead anyway.

    See: map_old_guc_names and the hidden enum values of the server.
    """
    if scene.conf is None:
        return
    for setting in scene.conf.effective.values():
        parameter = setting.parameter
        if parameter is None or setting.error is not None:
            continue
        if parameter.name.lower() != setting.name.lower():
            yield _respelled(scene, setting, f"{setting.name} is the old name of {parameter.name}", parameter.name)
        elif parameter.kind == "enum" and setting.raw.lower() in parameter.hidden and setting.value != setting.raw:
            yield _respelled(scene, setting, f"{setting.name} = {setting.raw} means {setting.value}", parameter.name)


def _respelled(scene: Scene, setting: Setting, message: str, name: str) -> Verdict:
    value = setting.value if setting.parameter and setting.parameter.kind == "enum" else setting.raw
    text = scene.conf.line(setting.file, setting.line) if scene.conf else ""
    tail = re.search(r"\s*#[^']*$", text)
    return Verdict(
        message,
        setting.name,
        edits=(Edit(setting.file, setting.line, f"{name} = '{value}'{tail.group() if tail else ''}", "present name"),),
        location=Location(setting.file, setting.line),
    )


@setting_rule(
    "conf-custom-unowned",
    Severity.INFO,
    CATEGORY,
    ok="Every dotted name belongs to a library that is loaded",
    bad="""
    shared_preload_libraries = 'pg_stat_statements'
    pgaudit.log = 'ddl'
    """,
    good="""
    shared_preload_libraries = 'pg_stat_statements,pgaudit'
    pgaudit.log = 'ddl'
    """,
)
def custom_unowned(scene: Scene) -> Verdicts:
    """A dotted name is set, but no library that is preloaded owns its prefix.

    Why: the server takes any dotted name without a word, so a misspelt prefix or a library that was never preloaded
    looks configured and is not.

    Fix: add the library to shared_preload_libraries, or remove the line. A list with an empty name in it is reported as
    well: the server goes on without any of its libraries.

    Not reported when: the prefix is that of a preloaded library, or of one of the languages plpgsql, plperl, pltcl,
    plpython, which load themselves.

    See: some libraries are loaded by a session (`load`, session_preload_libraries); then this is as it should be.
    """
    if scene.conf is None:
        return
    loaded = {"plpgsql", "plperl", "plperlu", "pltcl", "pltclu", "plpython", "plpython3u"}
    for name in ("shared_preload_libraries", "session_preload_libraries", "local_preload_libraries"):
        value = scene.conf.value(name) or ""
        if split_directories(value) is None:
            yield Verdict(
                f"{name} = '{value}' is no list: the server logs that and loads none of its libraries",
                name,
                location=where(scene, name),
                fix="put names between single commas, without an empty one",
                kind="rewrite",
            )
        for part in value.split(","):
            loaded.add(part.strip().strip('"').rpartition("/")[2].removesuffix(".so").lower())
    owned = {"timescaledb", "pg_cron", "pgaudit"} & loaded
    aliases = {"cron": "pg_cron", "pgtle": "pg_tle", "citus": "citus", "ts_insights": "ts_insights"}
    for setting in scene.conf.effective.values():
        prefix = setting.name.partition(".")[0].lower()
        if not setting.custom or prefix in loaded or aliases.get(prefix) in loaded | owned:
            continue
        yield Verdict(
            f"{setting.name} is taken without question, but no preloaded library is called {prefix}",
            setting.name,
            location=Location(setting.file, setting.line),
            fix=f"add {aliases.get(prefix, prefix)} to shared_preload_libraries, or remove the line",
            kind="rewrite",
        )


def where(scene: Scene, name: str) -> Location | None:
    """The line that sets a name, or the file."""
    if scene.conf is not None:
        setting = scene.conf.effective.get(folded(name))
        return Location(setting.file, setting.line) if setting else Location(scene.conf.path)
    held = scene.held.get(name.lower())
    return Location(held.file, held.line) if held and held.file else None


RULES = (refused, will_not_start, dead_line, old_name, custom_unowned)
