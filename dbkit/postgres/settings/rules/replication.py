"""Replication and archiving: whether a standby and a backup can follow, and what keeps WAL for ever."""

from __future__ import annotations

from dbkit.model import Severity
from dbkit.postgres.indexes.rules.declare import Limits, Size
from dbkit.postgres.settings.rules.declare import Change, Verdict, Verdicts, literal, place, setting_rule
from dbkit.postgres.settings.scene import Scene
from dbkit.sizes import format_bytes, format_seconds

CATEGORY = "replication"


@setting_rule(
    "wal-level-minimal",
    Severity.WARN,
    CATEGORY,
    ok="The WAL holds what standbys and backups need",
    bad="""
    wal_level = minimal
    max_wal_senders = 0
    """,
    good="wal_level = replica",
    equivalents={"postgresqltuner": ("wal_level",), "pg_gather": ("wal_level",)},
)
def wal_level_minimal(scene: Scene) -> Verdicts:
    """wal_level is minimal: no standby, no pg_basebackup, no recovery to a point in time.

    Why: the documents plan a primary with two replicas (S0 7.3) and backups before each migration (S3 4.5).

    Fix: wal_level = replica and max_wal_senders = 10; both need a restart.

    Not reported when: it is replica or logical.

    See: S0 7.3.
    """
    if scene.text("wal_level") == "minimal":
        yield Verdict(
            "wal_level is minimal: neither a standby nor a backup to a point in time is possible; needs a restart",
            "wal_level",
            changes=(Change("wal_level", "replica"),),
            location=place(scene, "wal_level"),
        )


@setting_rule(
    "slots-unbounded",
    Severity.WARN,
    CATEGORY,
    ok="A replication slot cannot fill the disk",
    bad="""
    max_replication_slots = 4
    max_slot_wal_keep_size = -1
    """,
    good="""
    max_replication_slots = 4
    max_slot_wal_keep_size = 50GB
    """,
)
def slots_unbounded(scene: Scene) -> Verdicts:
    """Replication slots may keep WAL without limit.

    Why: a slot whose consumer is gone keeps every WAL file until the disk is full and the primary stops.

    Fix: max_slot_wal_keep_size, well below the free disk (S2 5.3 keeps 30 % free); from 18 on also
    idle_replication_slot_timeout. A slot that falls further behind is lost, and its standby is made anew.

    Not reported when: no slot exists; in a file, when it does not set max_replication_slots.

    See: S0 7.3 plans two replicas; S2 5.3.
    """
    held = scene.setting("max_slot_wal_keep_size")
    if held.value != "-1":
        return
    asked = scene.setting("max_replication_slots").file is not None
    used = len(scene.rows("replication_slots")) if scene.live else int(asked and scene.number("max_replication_slots"))
    if used:
        count = f"{used} replication slot{'s' if used > 1 else ''} may" if scene.live else "replication slots may"
        yield Verdict(
            f"{count} keep WAL without limit: a consumer that is gone fills the disk",
            "max_slot_wal_keep_size",
            fix="max_slot_wal_keep_size = '50GB', or what the disk can spare",
            kind="conf",
            location=place(scene, "max_slot_wal_keep_size"),
        )


@setting_rule(
    "replication-slot-inactive",
    Severity.WARN,
    CATEGORY,
    ok="Every replication slot is in use",
    bad="""
    -- a slot that nobody reads
    select pg_create_physical_replication_slot('app', true);
    """,
    good="""
    -- no slot
    select 1;
    """,
    equivalents={"pghero": ("inactive replication slots",), "pg-extras": ("replication_slots",)},
)
def slot_inactive(scene: Scene) -> Verdicts:
    """A replication slot has no consumer, and keeps WAL for it all the same.

    Why: the WAL since its last read stays until the disk is full; VACUUM may be held back as well.

    Fix: bring the consumer back, or drop the slot: `select pg_drop_replication_slot('name')`.

    Not reported when: a consumer is connected. An error when the slot is about to lose, or has lost, its WAL.

    See: pg_replication_slots.wal_status.
    """
    for row in scene.rows("replication_slots"):
        if row["active"]:
            continue
        kept = f" and keeps {format_bytes(row['kept_bytes'])} of WAL" if row["kept_bytes"] is not None else ""
        lost = row["wal_status"] in ("unreserved", "lost")
        state = f"; its WAL is {row['wal_status']}" if lost else ""
        yield Verdict(
            f"the {row['kind']} slot {row['name']} has no consumer{kept}{state}",
            row["name"],
            fix=f"-- when its consumer is gone for good:\nselect pg_drop_replication_slot({literal(row['name'])});",
            severity=Severity.ERROR if lost else None,
            data={"kept_bytes": row["kept_bytes"], "wal_status": row["wal_status"]},
        )


class BehindLimits(Limits):
    """Knobs of pg.standby-behind."""

    seconds: float = 60.0
    """A standby that replays this much later is behind."""
    bytes: Size = 2**30
    """So is one with this much WAL still to replay."""


@setting_rule(
    "standby-behind",
    Severity.WARN,
    CATEGORY,
    ok="Every standby follows closely",
    bad="-- a standby whose replay is paused while the primary writes more than the limit",
    good="-- a standby that replays at once",
    limits=BehindLimits,
    equivalents={"pghero": ("replication lag",)},
)
def standby_behind(scene: Scene, limits: BehindLimits) -> Verdicts:
    """A standby is behind its primary.

    Why: reads on it are old, and a switch to it loses what it has not got yet (or waits for it).

    Fix: look for a long statement on the standby that replay waits for, for a slow disk, or for a burst of writes such
    as a backfill, which `dbkit migrate backfill` would slow down by itself.

    Not reported when: it is less than `seconds` and `bytes` behind.

    See: pg_stat_replication, replay_lag and replay_lsn.
    """
    for row in scene.rows("standbys"):
        seconds, behind = float(row["lag_seconds"] or 0), row["lag_bytes"] or 0
        if seconds > limits.seconds or behind > limits.bytes:
            far = f"{format_bytes(behind)} and {format_seconds(seconds)}"
            yield Verdict(
                f"standby {row['name']} is {far} behind ({row['state']})",
                row["name"] or "standby",
                data={"behind_bytes": behind, "lag_seconds": seconds},
            )


@setting_rule(
    "archive-without-command",
    Severity.ERROR,
    CATEGORY,
    ok="Where WAL is to be archived, something archives it",
    bad="""
    archive_mode = on
    archive_command = ''
    """,
    good="""
    archive_mode = on
    archive_command = 'pgbackrest --stanza=main archive-push %p'
    """,
)
def archive_without_command(scene: Scene) -> Verdicts:
    """archive_mode is on and nothing archives: every WAL file is kept until the disk is full.

    Why: with an empty archive_command the server waits for somebody to give one, and keeps all WAL meanwhile.

    Fix: set archive_command (or archive_library), or archive_mode = off, which needs a restart. `/bin/true` throws the
    WAL away and is reported as well: it looks like a backup and is none.

    Not reported when: a command or a library is set. Both together are reported: from 16 on the archiver then stops
    with an error, before that the library wins.

    See: S4 7 keeps backups for 30 days.
    """
    if scene.text("archive_mode") == "off":
        return
    command = scene.text("archive_command").strip()
    library = scene.text("archive_library").strip() if scene.known("archive_library") else ""
    if command in ("(disabled)", ""):
        command = ""
    if not command and not library:
        yield Verdict(
            "archive_mode is on, but there is no archive_command: all WAL is kept until the disk is full",
            "archive_command",
            location=place(scene, "archive_mode"),
            fix="archive_command = 'what copies %p to a safe place'",
            kind="conf",
        )
    elif command and library:
        what = (
            "the archiver refuses to work, and all WAL is kept until the disk is full"
            if scene.major >= 16
            else "the library archives, and the command is never run"
        )
        yield Verdict(
            f"archive_command and archive_library are both set: {what}",
            "archive_library",
            severity=None if scene.major >= 16 else Severity.WARN,
            location=place(scene, "archive_library"),
            fix="leave one of the two empty",
            kind="rewrite",
        )
    elif command in ("/bin/true", "true", ":", "exit 0"):
        yield Verdict(
            f"archive_command is {command}: the WAL is thrown away and no recovery to a point in time is possible",
            "archive_command",
            severity=Severity.WARN,
            location=place(scene, "archive_command"),
        )


@setting_rule(
    "archive-failing",
    Severity.ERROR,
    CATEGORY,
    ok="WAL archiving has not failed since it last succeeded",
    bad="""
    -- archiving fails
    -- postgresql.conf: archive_mode = on
    -- postgresql.conf: archive_command = '/bin/false'
    -- restart
    create table t as select 1 a;
    select pg_switch_wal();
    -- until: select failed_count > 0 from pg_stat_archiver
    """,
    good="""
    -- nothing has failed
    select 1;
    """,
)
def archive_failing(scene: Scene) -> Verdicts:
    """The last attempt to archive WAL failed.

    Why: backups end at the last file that arrived, and the WAL since then piles up on the disk.

    Fix: the server's log has the command's own words. It is tried again by itself.

    Not reported when: a later attempt succeeded, or archive_mode is off by now.

    See: pg_stat_archiver.
    """
    rows = scene.rows("archiver")
    if scene.text("archive_mode") == "off":
        return
    for row in rows:
        if row["failing"]:
            since = f"{row['last_archived_time']:%Y-%m-%d %H:%M}" if row["last_archived_time"] else "never"
            yield Verdict(
                f"archiving fails: {row['failed_count']} failures, the last for {row['last_failed_wal']} at "
                f"{row['last_failed_time']:%Y-%m-%d %H:%M}; last success: {since}",
                "archive_command",
                location=place(scene, "archive_command"),
            )


RULES = (
    wal_level_minimal,
    slots_unbounded,
    slot_inactive,
    standby_behind,
    archive_without_command,
    archive_failing,
)
