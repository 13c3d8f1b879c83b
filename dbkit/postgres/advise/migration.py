"""The advice as a migration: an Alembic revision, or SQL in the form of the tool whose files lie in the folder."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from dbkit.errors import UsageError
from dbkit.plan import Plan
from dbkit.postgres.advise.advice import Proposal
from dbkit.postgres.advise.candidate import Key
from dbkit.postgres.catalog import quote

if TYPE_CHECKING:
    from alembic.script import ScriptDirectory

PATIENCE: Final = "2s"
MESSAGE: Final = "add advised indexes"
NAME: Final = MESSAGE.replace(" ", "_")
_FLYWAY: Final = re.compile(r"V(\d+)(?:[._]\d+)*__.+\.sql")
_GOLANG: Final = re.compile(r"(\d+)_.+\.up\.sql")
_BIND: Final = re.compile(r"(?<![:\w\\]):(?=\w)")


@dataclass(frozen=True, slots=True)
class Change:
    """One index of a migration: the statements that make it, those that take it back, and Alembic's calls for both."""

    up: tuple[str, ...]
    down: tuple[str, ...]
    upgrade: str
    downgrade: str
    why: str


def changes(proposals: Sequence[Proposal], plan: Plan) -> tuple[Change, ...]:
    """What a migration does. Raises UsageError for a partitioned table whose partitions could not be looked at."""
    return tuple(_change(p, plan) for p in proposals)


def write(place: Path, made: Sequence[Change]) -> tuple[Path, ...]:
    """Write the migration into a folder (or beside an alembic.ini). Raises UsageError; returns the files."""
    try:
        if _is_alembic(place):
            return (_revision(_scripts(place), place, made),)
        return tuple(_sql(place, made))
    except OSError as error:
        raise UsageError(f"cannot write a migration into {place}", why=error.strerror) from None


def check(place: Path) -> None:
    """Raise UsageError when no migration can be written there; before anything else is done."""
    if not place.exists():
        raise UsageError(f"there is no {place}", hint="give the folder of your migrations, or alembic.ini")
    if _is_alembic(place):
        _head(_scripts(place), place)
    elif not place.is_dir():
        raise UsageError(f"{place} is no folder of migrations", hint="give the folder, or alembic.ini")


def _change(proposal: Proposal, plan: Plan) -> Change:
    why = f"serves {proposal.count}: cost {proposal.before:,.0f} to {proposal.after:,.0f}"
    if proposal.invalid is not None:
        up = (f"reindex index concurrently {proposal.qualified}",)
        return Change(up, (), _execute(up), "", f"{why}; the index is there and INVALID")
    concurrently = "" if proposal.partitioned else "concurrently "
    down = (f"drop index {concurrently}{proposal.qualified}",)
    if proposal.partitioned:
        up = tuple(s.sql for s in plan.steps if s.data.get("index") == proposal.name)
        if not up:
            raise UsageError(
                f"{proposal.candidate.table.qualified} is partitioned and its partitions could not be looked at",
                hint="connect to the primary with a role that may make temporary tables",
            )
        return Change(up, down, _execute(up), _execute(down), why)
    up = (proposal.statement,)
    if proposal.candidate.wanted is not None:
        return Change(up, down, _execute(up), _execute(down), why)
    return Change(up, down, _create(proposal), _drop(proposal), why)


def _create(proposal: Proposal) -> str:
    candidate = proposal.candidate
    lines = [
        _literal(proposal.name),
        _literal(candidate.table.name),
        f"[{', '.join(_key(k) for k in candidate.keys)}]",
        *_schema(proposal),
    ]
    if candidate.method != "btree":
        lines.append(f"postgresql_using={_literal(candidate.method)}")
    if candidate.included:
        lines.append(f"postgresql_include=[{', '.join(map(_literal, candidate.included))}]")
    if candidate.where:
        lines.append(f"postgresql_where=sa.text({_text(candidate.where)})")
    lines.append("postgresql_concurrently=True")
    return _call("op.create_index", lines)


def _drop(proposal: Proposal) -> str:
    table = f"table_name={_literal(proposal.candidate.table.name)}"
    return _call("op.drop_index", [_literal(proposal.name), table, *_schema(proposal), "postgresql_concurrently=True"])


def _schema(proposal: Proposal) -> Iterator[str]:
    schema = proposal.candidate.table.schema
    if schema != "public":
        yield f"schema={_literal(schema)}"


def _key(key: Key) -> str:
    plain = key.sql == key.text and len(key.columns) == 1 and key.text == quote(key.columns[0])
    return _literal(key.columns[0]) if plain else f"sa.text({_text(key.sql)})"


def _text(sql: str) -> str:
    """A literal for sa.text and op.execute, in which a colon before a word would be a parameter."""
    return _literal(_BIND.sub(r"\\:", sql))


def _literal(text: str) -> str:
    """A Python string in double quotes."""
    held = repr(text)
    return held if '"' in text else '"' + held[1:-1].replace("\\'", "'") + '"'


def _call(function: str, arguments: Sequence[str]) -> str:
    return f"{function}(\n" + "".join(f"    {a},\n" for a in arguments) + ")"


def _execute(statements: Sequence[str]) -> str:
    return "\n".join(f"op.execute({_text(s)})" for s in _timed(statements))


def _timed(statements: Iterable[str]) -> Iterator[str]:
    """With a lock_timeout for what stalls others while it waits, and none for a concurrent build, which may wait."""
    short = False
    for statement in statements:
        if _is_brief(statement) != short:
            short = not short
            yield f"set lock_timeout = '{PATIENCE}'" if short else "set lock_timeout = 0"
        yield statement
    if short:
        yield "reset lock_timeout"


def _is_brief(statement: str) -> bool:
    return " concurrently " not in statement.lower()


def _is_alembic(place: Path) -> bool:
    from dbkit.postgres.migrate.alembic_source import is_alembic

    return place.exists() and is_alembic(place)


def _scripts(place: Path) -> ScriptDirectory:
    from dbkit.postgres.migrate.alembic_chain import opened
    from dbkit.postgres.migrate.alembic_places import directory, importable

    with importable(place, directory(place)[0]):
        return opened(place)


def _head(scripts: ScriptDirectory, place: Path) -> str | None:
    from alembic.util.exc import CommandError

    from dbkit.postgres.migrate.alembic_chain import one_head
    from dbkit.postgres.migrate.alembic_places import directory, importable

    try:
        with importable(place, directory(place)[0]):
            docs = {r.revision: (r.doc or "").strip() or Path(r.path).name for r in scripts.walk_revisions()}
            return one_head(scripts, docs, str(place) if place.suffix == ".ini" else "")
    except CommandError as error:
        raise UsageError(f"{scripts.dir}: Alembic cannot read the revisions", why=str(error)) from None


def _revision(scripts: ScriptDirectory, place: Path, made: Sequence[Change]) -> Path:
    from alembic.util import rev_id

    head = _head(scripts, place)
    number = f"{int(head) + 1:0{len(head)}d}" if head and head.isdecimal() else rev_id()
    ups = [line for c in made for line in (f"# {c.why}", *c.upgrade.splitlines())]
    downs = [line for c in reversed(made) for line in c.downgrade.splitlines()]
    script: Any = scripts.generate_revision(
        number, MESSAGE, head=head or "base", upgrades=_block(ups), downgrades=_block(downs), imports=""
    )
    file = Path(script.path)
    text = file.read_text(encoding="utf-8")
    if "sa." in _block(ups) and "sqlalchemy as sa" not in text:
        text = text.replace("from alembic import op", "import sqlalchemy as sa\nfrom alembic import op", 1)
        file.write_text(text, encoding="utf-8")
    return file


def _block(lines: Sequence[str]) -> str:
    """Statements that refuse a transaction, for the body of a function of a revision."""
    if not lines:
        return "pass"
    return "\n".join(["with op.get_context().autocommit_block():", *(f"        {line}" for line in lines)])


def _sql(folder: Path, made: Sequence[Change]) -> Iterator[Path]:
    files = sorted(p.name for p in folder.iterdir() if p.suffix == ".sql")
    stamp = f"{datetime.now(UTC):%Y%m%d%H%M%S}"
    flyway = [int(m[1]) for f in files if (m := _FLYWAY.fullmatch(f))]
    golang = [m[1] for f in files if (m := _GOLANG.fullmatch(f))]
    if golang:
        yield from _golang(folder, golang, made)
        return
    text = "".join((folder / f).read_text(encoding="utf-8", errors="replace")[:2000] for f in files[-3:])
    up, down = _script(made, up=True), _script(made, up=False)
    if flyway:
        name = f"V{stamp if max(flyway) > 10**11 else max(flyway) + 1}__{NAME}.sql"
        yield _new(folder / name, up)
        yield _new(folder / f"{name}.conf", "executeInTransaction=false\n")
    elif "-- migrate:up" in text:
        body = f"-- migrate:up transaction:false\n{up}\n-- migrate:down transaction:false\n{down}"
        yield _new(folder / f"{stamp}_{NAME}.sql", body)
    elif "-- +goose" in text:
        body = f"-- +goose NO TRANSACTION\n-- +goose Up\n{up}\n-- +goose Down\n{down}"
        yield _new(folder / f"{stamp}_{NAME}.sql", body)
    else:
        undo = "".join(f"-- {line}\n" for line in down.splitlines() if line.strip())
        body = f"-- dbkit: no-transaction\n{up}\n-- To undo:\n{undo}"
        yield _new(folder / f"{stamp}_{NAME}.sql", body)


def _golang(folder: Path, numbers: Sequence[str], made: Sequence[Change]) -> Iterator[Path]:
    """One statement a file: golang-migrate sends a file as one message, which PostgreSQL runs as one transaction."""
    last = max(numbers, key=int)
    place = int(last)
    for change in made:
        for position, statement in enumerate(change.up):
            place += 1
            number = f"{place:0{len(last)}d}"
            name = f"{number}_{NAME}"
            wait = f"set local lock_timeout = '{PATIENCE}';\n" if _is_brief(statement) else ""
            yield _new(folder / f"{name}.up.sql", f"{wait}{statement};\n")
            undo = change.down if position == 0 else ()
            yield _new(folder / f"{name}.down.sql", "".join(f"{s};\n" for s in undo) or "select 1;\n")


def _script(made: Sequence[Change], *, up: bool) -> str:
    lines: list[str] = []
    for change in made if up else reversed(made):
        if up:
            lines.append(f"-- {change.why}")
        lines += [f"{s};" for s in _timed(change.up if up else change.down)]
    return "\n".join(lines) + "\n"


def _new(file: Path, text: str) -> Path:
    with file.open("x", encoding="utf-8") as handle:
        handle.write(text)
    return file
