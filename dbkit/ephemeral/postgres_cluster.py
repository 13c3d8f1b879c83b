"""Data directories: made by initdb once per server version, then unpacked from that archive."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import secrets
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from dbkit.ephemeral import Unavailable, lease
from dbkit.ephemeral.account import Account, owner, unprivileged
from dbkit.ephemeral.postgres_binaries import Binaries, clean_environment

if TYPE_CHECKING:
    from collections.abc import Mapping

SUPERUSER = "postgres"
FORM = 2  # of the archive: a cache of another form is left to the sweeper
SOCKET_PATH_BYTES = 103  # sun_path holds 104 bytes on BSD and macOS, 108 on Linux, its end included

# Nothing in a throw-away server must survive a power failure; a crash of the server alone it does survive, so commits
# stay synchronous. Each value can be overridden.
THROW_AWAY: dict[str, str] = {
    "fsync": "off",
    "full_page_writes": "off",
    "wal_init_zero": "off",
    "max_connections": "200",
    "max_wal_size": "2GB",
    "checkpoint_timeout": "30min",
    "log_timezone": "UTC",
    "timezone": "UTC",
    "lc_messages": "C",
}


def run(argv: list[str], *, cwd: Path, account: Account | None, what: str, secret: str = "") -> None:
    """Run a server program as the account; :class:`Unavailable` with its own words when it fails.

    A password goes into PGPASSWORD: arguments can be read by every user of the machine.
    """
    done = subprocess.run(
        argv,
        cwd=cwd,
        env=clean_environment(cwd) | ({"PGPASSWORD": secret} if secret else {}),
        user=None if account is None else account.uid,
        group=None if account is None else account.gid,
        extra_groups=None if account is None else [],
        capture_output=True,
        text=True,
        check=False,
        umask=0o077,
    )
    if done.returncode:
        raise Unavailable((done.stderr or done.stdout).strip(), what=f"{what} failed")


def archive(binaries: Binaries) -> tuple[Path, str]:
    """A tar file with a fresh data directory of this version, and the superuser's password in it.

    One file, since a cleaner of temporary files may thin out a folder but takes a file whole. initdb runs at most once
    per version and installation. The password is random, known to this user only (mode 0600) and the same for all
    servers of the archive.
    """
    stamp = (binaries.folder / "initdb").stat()
    digest = hashlib.sha256(
        f"{binaries.folder} {stamp.st_size} {stamp.st_mtime_ns} {owner(unprivileged())} {FORM}".encode()
    ).hexdigest()[:12]
    with lease.exclusive() as place:
        target = place / f"initdb-{binaries.version_text}-{digest}.tar"
        secret = target.with_suffix(".password")
        if not (target.exists() and secret.exists()):
            # scram with a random password, not trust: every user of a shared machine can reach a loopback port.
            password = secrets.token_hex(16)
            with tempfile.TemporaryDirectory(prefix="initdb-", dir=place) as scratch:
                _initdb(binaries, Path(scratch), password)
                part = target.with_suffix(".part")
                with tarfile.open(part, "w", format=tarfile.GNU_FORMAT) as tar:
                    tar.add(Path(scratch) / "work" / "data", ".")
                part.chmod(0o600)
                handle = os.open(secret, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
                with os.fdopen(handle, "w") as file:
                    file.write(password)
                part.rename(target)
        for file in (target, secret):
            os.utime(file)  # in use: the sweeper leaves it
        return target, secret.read_text()


def _initdb(binaries: Binaries, scratch: Path, password: str) -> None:
    account = unprivileged()
    scratch.chmod(0o711)
    work = scratch / "work"
    work.mkdir(mode=0o700)
    file = work / "password"
    file.write_text(verifier(password))
    if account is not None:
        os.chown(work, *owner(account))
        os.chown(file, *owner(account))
    locale = ["--locale=C.UTF-8"]
    if binaries.major >= 17:  # no locale of the operating system is needed, and macOS may lack C.UTF-8
        locale = ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    argv = [str(binaries.program("initdb")), "-D", "data", "-U", SUPERUSER, "-A", "scram-sha-256"]
    argv += ["--pwfile=password", "-E", "UTF8", "--no-sync", "--no-instructions", *locale]
    run(argv, cwd=work, account=account, what="initdb")


def verifier(password: str) -> str:
    """What the server keeps of a random password (RFC 5803), which it takes in place of the password itself.

    One round of hashing instead of 4096: they slow the guessing of weak passwords, and each login by milliseconds.
    """
    salt = secrets.token_bytes(16)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, 1)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    parts = (salt, stored, hmac.digest(salted, b"Server Key", "sha256"))
    salt_, stored_, server_ = (base64.b64encode(part).decode() for part in parts)
    return f"SCRAM-SHA-256$1:{salt_}${stored_}:{server_}"


def unpack(source: Path, data: Path) -> None:
    """Unpack a data directory; run by root, the files go to the account that owned them when initdb made them."""
    with tarfile.open(source) as tar:
        tar.extraction_filter = _as_it_is
        for member in tar:
            tar.extract(member, data, numeric_owner=True)
    data.chmod(0o700)


def _as_it_is(member: tarfile.TarInfo, _: str, /) -> tarfile.TarInfo:
    """The archive is our own, and tarfile's usual filters would drop the owner."""
    return member


def quote(value: str) -> str:
    """A value as postgresql.conf wants it."""
    return "'" + value.replace("\\", "\\\\").replace("'", "''") + "'"


def configure(data: Path, sockets: Path, settings: Mapping[str, str]) -> None:
    """Append the settings to postgresql.conf; postgresql.auto.conf is left to ALTER SYSTEM."""
    fits = len(os.fsencode(sockets / ".s.PGSQL.65535")) <= SOCKET_PATH_BYTES
    own = {"listen_addresses": "127.0.0.1", "unix_socket_directories": str(sockets) if fits else ""}
    lines = [f"{name} = {quote(value)}" for name, value in {**THROW_AWAY, **own, **settings}.items()]
    with (data / "postgresql.conf").open("a") as file:
        file.write("\n# throw-away server\n" + "\n".join(lines) + "\n")
