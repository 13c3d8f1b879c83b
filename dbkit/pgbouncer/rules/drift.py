"""What runs, and what the file says."""

from __future__ import annotations

from collections.abc import Iterator

from dbkit.model import Severity
from dbkit.pgbouncer.live import USER_SIZES_SINCE, USERS_SHOWN_SINCE, Live, config_of
from dbkit.pgbouncer.rules.declare import Blind, Edit, Verdict, pooler_rule
from dbkit.pgbouncer.rules.seen import live_of, shown
from dbkit.pgbouncer.scene import PoolUser, Scene


@pooler_rule(
    "config-drift",
    "console",
    Severity.WARN,
    needs="console",
    ok="What runs is what the file says",
    bad="""
    ;; show config: key=default_pool_size value=40 changeable=yes
    [databases]
    jobs = host=db
    [pgbouncer]
    default_pool_size = 25
    """,
    good="""
    ;; show config: key=default_pool_size value=25 changeable=yes
    [databases]
    jobs = host=db
    [pgbouncer]
    default_pool_size = 25
    """,
)
def config_drift(scene: Scene) -> Iterator[Verdict | Blind]:
    """The running settings are not those of the file.

    Why: somebody changed one with SET on the console, which the next RELOAD or restart loses; or the file was changed
    and not loaded, which the next restart does at a moment nobody chose; or a RELOAD failed half-way.

    Fix: write into the file what should hold, check it with --reload-check, then RELOAD.

    Not reported when: the two agree. Defaults of paths, users and queries may differ by builder and are left out unless
    the file gives them.

    See: pgbouncer.reload-breaks.
    """
    if scene.ini is None:
        yield Blind("no file to compare with: name it with --pgbouncer-ini, or as `ini` of the target")
        return
    live, ini = live_of(scene), scene.ini
    if not ini.loads:
        yield Blind("the file would not load")
        return
    reloadable = live.reloadable
    for name, running in live.values.items():
        held = ini.value(name)
        given = name in ini.effective
        if held == running or name == "conffile" or (not given and _builders_own(scene, name)):
            continue
        later = "RELOAD" if reloadable.get(name) else "a restart"
        source = "the file says" if given else "the default, which the file leaves, is"
        yield Verdict(
            f"{name} runs as {shown(name, running)}, {source} {shown(name, held)}; {later} would change it",
            name,
            location=scene.file_config.location(name) if scene.file_config else None,
            edits=(Edit(name, running),) if given else (),
            data={
                "running": shown(name, running),
                "file": shown(name, held),
                "reloadable": bool(reloadable.get(name)),
            },
        )
    yield from _databases_drift(scene, live)
    yield from _users_drift(scene, live)


def _builders_own(scene: Scene, name: str) -> bool:
    from dbkit.pgbouncer.ini import parameters

    held = parameters.load(scene.config.version).get(name)
    return held is None or held.kind in ("text", "auth_dbname") or held.default is None


_GLOBAL = {
    "pool_size": ("pool_size",),
    "min_pool_size": ("min_pool_size",),
    "reserve_pool_size": ("reserve_pool", "reserve_pool_size"),
    "max_connections": ("max_db_connections",),
}


def _databases_drift(scene: Scene, live: Live) -> Iterator[Verdict]:
    ini = scene.ini
    if ini is None:
        return
    running = {row.get("name") or "": row for row in live.databases}
    listed = {d.name: d for d in ini.databases if d.name != "*"}
    fallback = any(d.name == "*" for d in ini.databases)
    for name, database in listed.items():
        if name not in running:
            yield Verdict(f"database {name} stands in the file and does not run: RELOAD would add it", name)
            continue
        shown = ini.shown(database)
        row = running[name]
        columns = {"reserve_pool_size": ("reserve_pool_size", "reserve_pool")}
        for key, value in shown.items():
            if key in _GLOBAL and database.number(*_GLOBAL[key]) is None:
                continue  # the line does not give it, so it follows the global setting
            found = next((row[c] for c in columns.get(key, (key,)) if c in row), None)
            if found is not None and found != value and (found or value):
                yield Verdict(
                    f"{key} of database {name} runs as {found or 'none'}, the file says {value or 'none'}",
                    name,
                    key=key,
                )
    for name in running:
        if name not in listed and not fallback:
            yield Verdict(f"database {name} runs and does not stand in the file: RELOAD would remove it", name)


def _users_drift(scene: Scene, live: Live) -> Iterator[Verdict]:
    """A user's own settings: a line that is taken out of the file is kept by the daemon until it is started anew."""
    held = scene.file_config
    if held is None:
        return
    running = {u.name: u for u in config_of(live).users}
    keys = {"pool_mode": "pool_mode"}
    if live.version.minor >= USERS_SHOWN_SINCE:
        keys |= {"max_connections": "max_user_connections", "max_clients": "max_user_client_connections"}
    if live.version.minor >= USER_SIZES_SINCE:
        keys |= {"pool_size": "pool_size", "reserve": "reserve_pool_size"}
    for name in sorted({*running, *(u.name for u in held.users)}):
        runs, says = running.get(name, PoolUser(name)), held.user(name) or PoolUser(name)
        for attribute, key in keys.items():
            one, other = getattr(runs, attribute), getattr(says, attribute)
            limit = attribute in ("max_connections", "max_clients")
            if limit and other == scene.config.number(key):
                other = None  # the console cannot tell an own limit from the global one that it equals
            if one != other:
                ours, theirs = ("none of its own" if v in (None, "") else str(v) for v in (one, other))
                after = "a restart" if name not in {u.name for u in held.users} else "RELOAD"
                yield Verdict(
                    f"{key} of user {name} runs as {ours}, the file says {theirs}; {after} would change it",
                    f"user {name}",
                    location=says.location,
                    key=key,
                    data={"running": one, "file": other},
                )
