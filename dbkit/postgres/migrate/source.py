"""SQL migrations where they lie: which files, in which order, which part of each, and whether the tool that runs them
opens a transaction.

Known by their marks: Flyway, dbmate, goose, golang-migrate, sqlx, Diesel, Hasura, sqitch, Atlas, Prisma, Django's
sqlmigrate output; anything else is plain SQL, of which it is not known whether a transaction surrounds it. Text that is
not run (down sections, psql's commands, COPY data) is blanked out, so that every position stays that of the file.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from dbkit.errors import UsageError
from dbkit.postgres.migrate.psql_text import blank, left_out, spaces
from dbkit.postgres.migrate.transactions import Wrap


@dataclass(slots=True)
class Part:
    """SQL that stands for one line of another language; `control` is a transaction ended or begun by the tool."""

    sql: str
    line: int
    control: str = ""
    last: int = 0
    """The last line of the call that made it."""


@dataclass(slots=True)
class Script:
    """One migration: SQL as it will be sent, and how."""

    file: str
    """As shown to the user and in findings."""
    text: str
    kind: str = "plain"
    wrap: Wrap = Wrap.UNKNOWN
    one_message: bool = False
    """The tool sends the whole file as one message, which PostgreSQL runs as one implicit transaction."""
    detects: bool = False
    """The tool leaves its transaction out by itself when every statement refuses one (Flyway)."""
    path: Path | None = None
    parts: tuple[Part, ...] | None = None
    problems: tuple[tuple[int | None, str], ...] = ()
    """What could not be read: line and sentence."""
    online: bool = False
    """A revision that asks for a connection: what it sends is known only once it runs on one."""
    original: str = ""
    """The file's text before anything was blanked, for suppressions and fixes."""
    left_out: tuple[tuple[int, str, str], ...] = ()
    """psql's commands that run SQL from elsewhere: line, command, and why it is not judged."""
    history: bool = field(default=False)
    """Read for the schema only, not judged."""
    remark: bool = field(default=False)
    """No migration, but what is to be said of them all."""


_NUMBERS: Final = re.compile(r"(\d+)")
_FLYWAY: Final = re.compile(r"\A([VUBR])([\d._]*)__.+\.sql\Z")
_GOLANG: Final = re.compile(r"\A(\d+)_.+\.(up|down)\.sql\Z")
_DBMATE: Final = re.compile(r"^--\s*migrate:(up|down)\b([^\n]*)$", re.MULTILINE)
_GOOSE: Final = re.compile(r"^--\s*\+goose\s+(Up|Down)\b[^\n]*$", re.MULTILINE | re.IGNORECASE)
_GOOSE_ALONE: Final = re.compile(r"^--\s*\+goose\s+NO\s+TRANSACTION", re.MULTILINE | re.IGNORECASE)
_ATLAS_ALONE: Final = re.compile(r"^--\s*atlas:txmode\s+none", re.MULTILINE)
_SQLX_ALONE: Final = re.compile(r"\A--\s*no-transaction\b")
_DIESEL_ALONE: Final = re.compile(r"^\s*run_in_transaction\s*=\s*false", re.MULTILINE)
_DJANGO: Final = re.compile(r"^--\n-- [A-Z][^\n]*\n--\s*$", re.MULTILINE)
_MARK: Final = re.compile(
    r"--\s*(?:dbkit:\s*(?P<dbkit>no-transaction|in-transaction)"
    r"|squawk-(?P<squawk>disable|enable)-assume-in-transaction)",
)
_DOWN: Final = (".down.sql", "_down.sql", ".undo.sql", "-down.sql", ".rollback.sql")
_SKIPPED_FOLDERS: Final = frozenset({".git", "node_modules", ".venv", "venv", "__pycache__"})


def natural(path: str) -> list[tuple[int, int | str]]:
    """A sort key in which V2 comes before V10."""
    return [(0, int(piece)) if piece.isdigit() else (1, piece) for piece in _NUMBERS.split(path)]


def read_text(path: Path, shown: str) -> str:
    """The text of a SQL file. Raises UsageError for what is not text."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read {shown}", why=error.strerror) from None
    return decode(raw, shown)


def decode(raw: bytes, shown: str) -> str:
    """UTF-8 (or UTF-16 with its mark) as text. Raises UsageError for anything else."""
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        try:
            return raw.decode("utf-16")
        except UnicodeDecodeError as error:
            raise UsageError(f"{shown} begins as UTF-16 and is not", why=error.reason) from None
    if b"\0" in raw:
        wide = b"\0" in raw[:2] and b"\0" in raw[2:4]
        hint = "is it UTF-16? convert it: `iconv -f utf-16le -t utf-8`" if wide else "give SQL files or folders"
        raise UsageError(f"{shown} is not a text file", why="it holds NUL bytes", hint=hint)
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise UsageError(f"{shown}:{line}: not UTF-8", hint="convert it: `iconv -f latin1 -t utf-8`") from None


def read_paths(paths: Sequence[Path]) -> list[Script]:
    """Scripts of files and folders, in the order in which they run. Raises UsageError."""
    scripts: list[Script] = []
    for path in paths:
        if path.is_dir():
            scripts += _folder(path)
        elif path.exists():
            scripts.append(make(str(path), read_text(path, str(path)), path))
        else:
            raise UsageError(f"{path} does not exist", hint="give SQL files, folders, alembic.ini, or - for stdin")
    return scripts


def unread_commands(scripts: Sequence[Script]) -> None:
    """Take back what is said of psql's includes where the file is one of those that are judged."""
    if not any(s.left_out for s in scripts):
        return
    read = {s.path.resolve() for s in scripts if s.path is not None}
    for script in scripts:
        script.left_out = tuple(c for c in script.left_out if not _included(script, c[1]) & read)


def _included(script: Script, command: str) -> set[Path]:
    """Where psql may find the file an include names: where it runs, or beside the script."""
    name = command.partition(" ")[2].strip().strip("'")
    folders = (Path.cwd(), *((script.path.parent,) if script.path is not None else ()))
    return {(folder / name).resolve() for folder in folders} if name else set()


def _folder(folder: Path) -> list[Script]:
    plan = folder / "sqitch.plan"
    if plan.is_file():
        return _sqitch(folder, plan)
    unread: list[Script] = []
    files: list[Path] = []
    seen = {folder.resolve()}
    for here, folders, names in os.walk(folder, onerror=lambda error: unread.append(_unread(error)), followlinks=True):
        folders[:] = [f for f in folders if f not in _SKIPPED_FOLDERS and _first_time(Path(here, f), seen)]
        files += [Path(here, name) for name in names if name.endswith(".sql")]
    wanted = [p for p in files if _runs(p)]
    if not wanted and not unread:
        raise UsageError(
            f"{folder} holds no migrations", why="no .sql files were found", hint="give the folder with the .sql files"
        )
    scripts: list[Script] = []
    for path in sorted(wanted, key=_order):
        shown = str(path)
        try:
            if path.exists() and not path.is_file():
                raise UsageError(f"{shown} is not a file", why="a pipe would be waited for without end")
            scripts.append(make(shown, read_text(path, shown), path))
        except UsageError as error:  # one bad file must not hide the others; it becomes a finding
            scripts.append(Script(shown, "", problems=((None, ". ".join(filter(None, (error.what, error.why)))),)))
    return scripts + unread


def _first_time(folder: Path, seen: set[Path]) -> bool:
    """Whether a folder was not looked into yet: links are followed, and may lead back."""
    place = folder.resolve()
    before = place in seen
    seen.add(place)
    return not before


def _unread(error: OSError) -> Script:
    """A folder that cannot be looked into is a finding, as a file is."""
    return Script(str(error.filename), "", problems=((None, f"cannot read the folder: {error.strerror}"),))


def _runs(path: Path) -> bool:
    """Whether a tool runs the file when it migrates up."""
    flyway, golang = _FLYWAY.match(path.name), _GOLANG.match(path.name)
    if flyway:
        return flyway[1] != "U"
    return not (golang and golang[2] == "down") and not path.name.endswith(_DOWN) and path.name != "down.sql"


def _order(path: Path) -> tuple[list[tuple[int, int | str]], int, list[tuple[int, int | str]]]:
    """Folders as they come, in each Flyway's repeatable files last."""
    flyway = _FLYWAY.match(path.name)
    name = flyway[2].replace("_", ".") if flyway and flyway[2] else path.name
    return natural(str(path.parent)), int(flyway is not None and flyway[1] == "R"), natural(name)


def _sqitch(folder: Path, plan: Path) -> list[Script]:
    scripts: list[Script] = []
    for line in read_text(plan, str(plan)).splitlines():
        name = line.strip().split(" ")[0]
        if not name or name.startswith(("%", "#", "@")):
            continue
        path = folder / "deploy" / f"{name}.sql"
        if path.is_file():
            scripts.append(make(str(path), read_text(path, str(path)), path))
    if not scripts:
        raise UsageError(f"{plan} names no change with a deploy script", hint=f"look into {folder / 'deploy'}")
    return scripts


def make(shown: str, text: str, path: Path | None = None) -> Script:
    """A script from a file's text: its convention, its transaction, and only the part that runs."""
    script = Script(shown, blank(text), path=path, original=text, left_out=left_out(text))
    name = path.name if path is not None else ""
    flyway = _FLYWAY.match(name)
    if flyway:
        _set(script, "flyway", Wrap.YES)
        script.detects = True
        if path is not None and _flyway_alone(path):
            script.wrap = Wrap.NO
    elif _DBMATE.search(text):
        _sections(script, _DBMATE)
        options = next((m[2] for m in _DBMATE.finditer(text) if m[1] == "up"), "")
        alone = re.search(r"transaction:\s*false", options) is not None
        _set(script, "dbmate", Wrap.NO if alone else Wrap.YES, one_message=alone)
    elif _GOOSE.search(text):
        _sections(script, _GOOSE)
        _set(script, "goose", Wrap.NO if _GOOSE_ALONE.search(text) else Wrap.YES)
    elif _GOLANG.match(name):
        _set(script, "golang-migrate", Wrap.NO, one_message=True)
    elif path is not None and path.parent.name == "deploy" and (path.parent.parent / "sqitch.plan").is_file():
        _set(script, "sqitch", Wrap.NO)
    elif path is not None and (path.parent / "atlas.sum").is_file():
        _set(script, "atlas", Wrap.NO if _ATLAS_ALONE.search(text) else Wrap.YES)
    elif path is not None and (path.parent.parent / "migration_lock.toml").is_file():
        _set(script, "prisma", Wrap.NO, one_message=True)
    elif name == "up.sql" and path is not None and path.with_name("down.sql").is_file():
        _up_and_down(script, path)
    elif _SQLX_ALONE.match(text):
        _set(script, "sqlx", Wrap.NO, one_message=True)
    elif _DJANGO.search(text):
        from dbkit.postgres.migrate.django_source import problems

        _set(script, "django", Wrap.NO)
        script.problems = problems(text)
    mark = _MARK.search(text)
    if mark:
        script.wrap = Wrap.NO if mark["dbkit"] == "no-transaction" or mark["squawk"] == "disable" else Wrap.YES
        script.one_message = False
    return script


def _up_and_down(script: Script, path: Path) -> None:
    """Hasura's folders lie under `migrations/DATABASE/`, Diesel's under `migrations/`; both open a transaction."""
    if path.parent.parent.parent.name == "migrations":
        _set(script, "hasura", Wrap.YES)
        return
    settings = path.with_name("metadata.toml")
    alone = settings.is_file() and _DIESEL_ALONE.search(settings.read_text(encoding="utf-8", errors="replace"))
    _set(script, "diesel", Wrap.NO if alone else Wrap.YES, one_message=bool(alone))


def _set(script: Script, kind: str, wrap: Wrap, *, one_message: bool = False) -> None:
    script.kind, script.wrap, script.one_message = kind, wrap, one_message


def _flyway_alone(path: Path) -> bool:
    beside = path.with_name(path.name + ".conf")
    return (
        beside.is_file()
        and re.search(
            r"^\s*executeInTransaction\s*=\s*false", beside.read_text(encoding="utf-8", errors="replace"), re.MULTILINE
        )
        is not None
    )


def _sections(script: Script, marks: re.Pattern[str]) -> None:
    """Keep what stands under an `up` mark."""
    text = script.text
    found = list(marks.finditer(text))
    kept: list[str] = [spaces(text[: found[0].start()])]
    for position, mark in enumerate(found):
        end = found[position + 1].start() if position + 1 < len(found) else len(text)
        section = text[mark.start() : end]
        kept.append(section if mark[1].lower() == "up" else spaces(section))
    script.text = "".join(kept)


def with_names(scripts: Iterable[Script]) -> list[Script]:
    """The scripts with paths shown relative to where dbkit runs, if below it."""
    here = Path.cwd()
    held = list(scripts)
    for script in held:
        if script.path is not None and script.path.is_absolute() and script.path.is_relative_to(here):
            script.file = str(script.path.relative_to(here))
    return held
