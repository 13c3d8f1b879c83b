"""The upgrade to a newer major version: what it refuses, and what it does otherwise where nothing is set."""

from __future__ import annotations

from typing import Final

from dbkit.model import Severity
from dbkit.postgres.settings import upgrade
from dbkit.postgres.settings.rules.declare import Verdict, Verdicts, setting_rule
from dbkit.postgres.settings.rules.files import where
from dbkit.postgres.settings.scene import Scene, Unseen

CATEGORY = "file"
ASK: Final = "no upgrade is asked about: name the newer version with --upgrade-to"


@setting_rule(
    "conf-upgrade-breaks",
    Severity.ERROR,
    CATEGORY,
    ok="The file starts the newer version as well",
    bad="""
    # audit: --pg-version 15 --upgrade-to 18
    old_snapshot_threshold = -1
    """,
    good="""
    # audit: --pg-version 15 --upgrade-to 18
    work_mem = 9MB
    """,
)
def upgrade_breaks(scene: Scene) -> Verdicts:
    """A line that this version takes keeps the version you upgrade to from starting.

    Why: pg_upgrade copies no configuration; the old file is put in place, and the new server does not start.

    Fix: take the line out before the upgrade, or write what replaces it.

    Not reported when: no --upgrade-to is given.

    See: names and values of 14 to 18 as the servers list them (`dbkit/postgres/conf/parameters`).
    """
    if scene.upgrade_to is None:
        raise Unseen(ASK)
    for name, message in upgrade.breaks(scene, scene.upgrade_to):
        yield Verdict(message, name, location=where(scene, name), key=name)


@setting_rule(
    "conf-upgrade-changes",
    Severity.INFO,
    CATEGORY,
    ok="The newer version does the same where nothing is set",
    bad="""
    # audit: --pg-version 14 --upgrade-to 18
    work_mem = 9MB
    """,
    good="""
    # audit: --pg-version 14 --upgrade-to 18
    hash_mem_multiplier = 2
    log_checkpoints = on
    log_autovacuum_min_duration = 10s
    effective_io_concurrency = 200
    maintenance_io_concurrency = 200
    """,
)
def upgrade_changes(scene: Scene) -> Verdicts:
    """The newer version starts with the file and behaves otherwise: a default is another one.

    Why: what nobody wrote down changes with the upgrade, memory for hashes for example, and the plan that got slower or
    the server that ran out of memory is put down to anything else.

    Fix: set what should stay as it is before the upgrade, or know that it changes.

    Not reported when: no --upgrade-to is given, or the file sets the name. A warning where it takes more memory, where
    autovacuum workers are cut to the slots there are, and where what is written means something else: names that become
    expressions in pg_hba.conf and pg_ident.conf (16), MD5 passwords and missing checksums (18).

    See: the release notes of 15 (hash_mem_multiplier, log_checkpoints, log_autovacuum_min_duration), 17
    (vacuum_buffer_usage_limit) and 18 (effective_io_concurrency, maintenance_io_concurrency, autovacuum_worker_slots,
    MD5, checksums), and of 16 (expressions in pg_hba.conf and pg_ident.conf).
    """
    if scene.upgrade_to is None:
        raise Unseen(ASK)
    to = scene.upgrade_to
    for name, message, costs in (*upgrade.changes(scene, to), *upgrade.meanings(scene, to)):
        yield Verdict(message, name, severity=Severity.WARN if costs else None, location=where(scene, name), key=name)


RULES = (upgrade_breaks, upgrade_changes)
