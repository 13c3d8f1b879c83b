"""Durability: whether a crash or a power failure loses or corrupts what was committed."""

from __future__ import annotations

from typing import Final

from dbkit.model import Severity
from dbkit.postgres.settings.rules.declare import Change, Verdict, Verdicts, place, setting_rule
from dbkit.postgres.settings.scene import FILE, Scene, Unseen

CATEGORY = "durability"


@setting_rule(
    "fsync-off",
    Severity.ERROR,
    CATEGORY,
    ok="What is committed is forced to the disk",
    bad="fsync = off",
    good="fsync = on",
    equivalents={"postgresqltuner": ("fsync",), "pg_gather": ("fsync",)},
)
def fsync_off(scene: Scene) -> Verdicts:
    """fsync is off: a power failure or a crash of the system leaves a corrupt database.

    Why: this is not the loss of the last seconds but of the database: pages and WAL reach the disk in any order, and
    what comes up again may be wrong without anybody noticing. A restore from a backup is the only way out.

    Fix: set it on; a reload is enough. To load data faster, set synchronous_commit off for that session.

    Not reported when: it is on.

    See: the manual's chapter on reliability. A server that may be thrown away with its data can have it off.
    """
    if not scene.on("fsync"):
        yield Verdict(
            "fsync is off: after a power failure or a crash of the system the database is corrupt",
            "fsync",
            changes=(Change("fsync", "on"),),
            location=place(scene, "fsync"),
        )


@setting_rule(
    "full-page-writes-off",
    Severity.ERROR,
    CATEGORY,
    ok="A page that was half written can be restored from the WAL",
    bad="full_page_writes = off",
    good="full_page_writes = on",
    equivalents={"pg_gather": ("full_page_writes",)},
)
def full_page_writes_off(scene: Scene) -> Verdicts:
    """full_page_writes is off: a page that was half written when the power failed cannot be restored.

    Why: PostgreSQL writes 8 kB at a time, most disks and file systems 4 kB or less; what the WAL holds are changes,
    which cannot be applied to half a page.

    Fix: set it on; a reload is enough. wal_compression makes up for the volume.

    Not reported when: it is on. A file system that never tears a page (ZFS with 8 kB records) may do without: set the
    finding aside in the policy with that reason.

    See: the manual's chapter on reliability.
    """
    if not scene.on("full_page_writes"):
        yield Verdict(
            "full_page_writes is off: a page half written in a power failure stays corrupt",
            "full_page_writes",
            changes=(Change("full_page_writes", "on"),),
            location=place(scene, "full_page_writes"),
        )


@setting_rule(
    "commit-not-waited-for",
    Severity.WARN,
    CATEGORY,
    ok="A commit is on the disk before the client hears of it",
    bad="synchronous_commit = off",
    good="synchronous_commit = on",
    equivalents={"pg_gather": ("synchronous_commit",)},
)
def commit_not_waited_for(scene: Scene) -> Verdicts:
    """synchronous_commit is off for everybody: a crash loses the last commits, though it corrupts nothing.

    Why: clients are told that a transaction is committed up to three times wal_writer_delay before it is safe. That may
    be right for one role that writes click counts; as the server's default it is for payments as well.

    Fix: set it on, and off only where the loss does not matter: `alter role counter set synchronous_commit = off`.

    Not reported when: it is `local`, `remote_write`, `on` or `remote_apply`. A role's own setting is reported by
    pg.setting-overridden.

    See: loss and corruption are told apart here: pg.fsync-off is the corruption.
    """
    if scene.text("synchronous_commit") == "off":
        yield Verdict(
            "synchronous_commit is off for every session: a crash loses commits that clients were told of",
            "synchronous_commit",
            changes=(Change("synchronous_commit", "on"),),
            location=place(scene, "synchronous_commit"),
        )


_HIDES: Final = (
    ("zero_damaged_pages", "damaged pages are emptied and their rows are gone"),
    ("ignore_checksum_failure", "pages with a wrong checksum are read as if they were right"),
    ("ignore_invalid_pages", "recovery skips what it cannot apply"),
    ("ignore_system_indexes", "the system catalogue is read without its indexes"),
)


@setting_rule(
    "damage-hidden",
    Severity.ERROR,
    CATEGORY,
    ok="Damaged pages are errors",
    bad="zero_damaged_pages = on",
    good="zero_damaged_pages = off",
)
def damage_hidden(scene: Scene) -> Verdicts:
    """A switch for rescuing data from a damaged database is on.

    Why: these switches make the server go on over damage, by throwing rows away or by returning wrong ones. They are
    for the hour of a rescue, on a copy.

    Fix: take the setting out, then look for what it hid: `pg_amcheck`, a dump to /dev/null, checksums.

    Not reported when: all of them are off.

    See: the manual's chapter on developer options.
    """
    for name, words in _HIDES:
        if scene.on(name):
            yield Verdict(
                f"{name} is on: {words}",
                name,
                changes=(Change(name, "off"),),
                location=place(scene, name),
            )


@setting_rule(
    "checksums-off",
    Severity.INFO,
    CATEGORY,
    ok="Pages carry checksums",
    bad="-- initdb: --no-data-checksums",
    good="-- initdb: --data-checksums",
)
def checksums_off(scene: Scene) -> Verdicts:
    """The database has no page checksums: what a disk or a driver damages is returned as data.

    Why: without checksums the first sign of a failing disk is a wrong answer; initdb turns them on from 18 on.

    Fix: with the server stopped, `pg_checksums --enable` (it reads and writes everything once); or on a standby, then
    switch over.

    Not reported when: they are on. A file does not show it.

    See: the manual's page on pg_checksums.
    """
    if not scene.live:
        raise Unseen(FILE)
    if not scene.on("data_checksums"):
        yield Verdict(
            "the pages of this cluster have no checksums",
            "data_checksums",
            fix="stop the server, run pg_checksums --enable, start it",
            kind="rewrite",
        )


RULES = (fsync_off, full_page_writes_off, commit_not_waited_for, damage_hidden, checksums_off)
