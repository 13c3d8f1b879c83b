"""Alembic revisions, rendered one by one offline, with each statement tied to the `op.` line that made it.

Nothing of env.py runs: revisions are loaded by Alembic's own ScriptDirectory and their `upgrade()` is run against an
operations context that writes SQL. `autocommit_block()` ends and begins the transaction as it does online. What a
revision can only do online (`op.get_bind()` and the like) is reported, not guessed. Names that are left to a naming
convention follow the one that `alembic_names` reads from the source.
"""

from __future__ import annotations

import ast
import inspect
import io
import re
import traceback
import warnings
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from types import FunctionType
from typing import Any, Final, cast

from dbkit.errors import UsageError
from dbkit.postgres.migrate import alembic_chain
from dbkit.postgres.migrate.alembic_names import Written, conventions, settled
from dbkit.postgres.migrate.alembic_places import directory, importable, is_configuration
from dbkit.postgres.migrate.seclusion import Outside, seclude
from dbkit.postgres.migrate.source import Part, Script
from dbkit.postgres.migrate.transactions import Wrap

_CONTROLS: Final = {"BEGIN": "begin", "COMMIT": "end"}


def is_alembic(path: Path) -> bool:
    """Whether a path is an Alembic configuration, environment, versions folder or revision."""
    if path.name == "manage.py":
        raise UsageError(
            "manage.py is not a migration", hint="`python manage.py sqlmigrate APP NAME | dbkit migrate lint -`"
        )
    if path.is_dir():
        return (path / "env.py").is_file() or (path / "alembic.ini").is_file() or _of_revisions(path)
    return is_configuration(path) or (path.suffix == ".py" and path.is_file())


def _of_revisions(folder: Path) -> bool:
    """A versions folder: Python files that name a revision, and no SQL."""
    return not any(folder.glob("*.sql")) and alembic_chain.holds_revisions(folder)


def read(path: Path) -> list[Script]:
    """The revisions behind a path, oldest first. Raises UsageError without an environment or with a broken chain."""
    folder, only = directory(path)
    from alembic.util.exc import CommandError

    with importable(path, folder):
        chain = alembic_chain.opened(path)
        places = alembic_chain.places(chain)
        if not any(place.is_dir() for place in places):
            raise _nothing(path, places)
        try:
            with seclude(importing=True), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # a folder named twice is read once
                revisions = list(chain.walk_revisions())
        except CommandError as error:
            raise UsageError(f"{path}: Alembic cannot read the revisions", why=str(error)) from None
        except (Exception, SystemExit) as error:
            raise not_imported(path, error, places) from None
        written = conventions(folder)
        naming = settled(written)
        rendered = [_render(r, naming) for r in reversed(revisions)]
    if only is not None:
        # The ones before give the schema; the ones after are not read at all.
        position = next((n for n, s in enumerate(rendered) if _same(s.path, only)), None)
        rendered = [] if position is None else rendered[: position + 1]
        for script in rendered[:-1]:
            script.history = True
    elif path.is_dir() and alembic_chain.within(path, chain):
        rendered = _of_folder(rendered, path.resolve())
    if not rendered:
        raise _nothing(path, places)
    return rendered + ([] if naming else _names_not_known(written, rendered)) + _arguments_not_given(rendered)


_ASKS: Final = "get_x_argument("
_UNNAMED: Final = re.compile(r"(?:\bADD|[,(])\s*(?:UNIQUE|CHECK|FOREIGN KEY|PRIMARY KEY|EXCLUDE)\b")
"""A constraint without a name, as Alembic writes it."""


def _names_not_known(written: list[Written], revisions: list[Script]) -> list[Script]:
    """What is said, once and where the convention stands, when revisions leave names to one that cannot be read."""
    lacking = sum(1 for s in revisions if not s.history and _UNNAMED.search(s.text))
    if not written or not lacking:
        return []
    place = next((c for c in written if not c.names or c.names != written[0].names), written[0])
    who = "1 revision leaves" if lacking == 1 else f"{lacking} revisions leave"
    why = (
        f"it is made by code, or others differ from it: names that {who} to it are not known, and a later"
        " change by such a name is not tied to what it changes"
    )
    said = (place.line, "the naming convention", why)
    return [Script(str(place.file), "", kind="alembic", path=place.file, left_out=(said,), remark=True)]


def _arguments_not_given(revisions: list[Script]) -> list[Script]:
    """What is said, once, of revisions that do something else when `alembic -x` gives them arguments."""
    asking = [s for s in revisions if not s.history and not s.problems and _ASKS in s.original]
    if not asking:
        return []
    first = asking[0]
    line = first.original[: first.original.index(_ASKS)].count("\n") + 1
    who = "1 revision asks" if len(asking) == 1 else f"{len(asking)} revisions ask"
    said = (line, "what `alembic -x` would add", f"{who} for such arguments, and dbkit reads and runs them without any")
    return [Script(first.file, "", kind="alembic", path=first.path, left_out=(said,), remark=True)]


def not_imported(path: Path, error: BaseException, locations: Iterable[str | Path]) -> UsageError:
    """The error for a revision whose import failed, with its file where the traceback shows one."""
    files = [entry.filename for entry in traceback.extract_tb(error.__traceback__)]
    if isinstance(error, SyntaxError) and error.filename:
        files.append(error.filename)
    folders = [Path(place).resolve() for place in locations]
    mine = [f for f in files if any(Path(f).resolve().is_relative_to(folder) for folder in folders)]
    what = f"{path}: revision {Path(mine[-1]).name}" if mine else f"{path}: a revision"
    hint = "what it imports has to resolve where dbkit runs: install the application or set prepend_sys_path"
    return UsageError(f"{what} cannot be imported", why=_cause(error), hint=hint)


def _same(path: Path | None, other: Path) -> bool:
    return path is not None and path.resolve() == other.resolve()


def _of_folder(rendered: list[Script], folder: Path) -> list[Script]:
    """Of several folders one was named: what comes before from the others gives the schema only."""
    inside = [s.path is not None and s.path.resolve().is_relative_to(folder) for s in rendered]
    for script, here in zip(rendered, inside, strict=True):
        script.history = not here
    return rendered[: max((n for n, here in enumerate(inside, 1) if here), default=0)]


def _nothing(path: Path, places: Iterable[Path]) -> UsageError:
    looked = ", ".join(map(str, places))
    return UsageError(
        f"{path} holds no Alembic revisions",
        why=f"none in {looked}" if looked else None,
        hint="`alembic history` shows what Alembic sees",
    )


def _cause(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]


def _render(revision: Any, naming: Mapping[str, str] | None) -> Script:
    """One revision's SQL, statement by statement, or what kept it from being rendered."""
    path = Path(revision.path)
    source = path.read_text(encoding="utf-8", errors="replace")
    script = Script(str(path), "", kind="alembic", wrap=Wrap.YES, path=path, original=source)
    parts: list[Part] = []
    ends = _statement_ends(source)
    problem: tuple[int | None, str] | None = None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the revision's own deprecations are not our findings
            script.online = record(path, revision.module.upgrade, parts, naming)
    except Outside as error:
        problem = (line_in(error, path), f"upgrade() {error}")
    except Exception as error:
        without = "; dbkit gives it none of the `-x` arguments it asks for" if _ASKS in source else ""
        problem = (line_in(error, path), f"upgrade() cannot run offline: {_cause(error)}{without}")
    except SystemExit as error:
        problem = (line_in(error, path), f"upgrade() exits: {error}")
    script.online = script.online or problem is not None or asks_for_a_connection(revision.module, "upgrade")
    for part in parts:
        part.last = ends.get(part.line, part.line)
    script.parts = tuple(parts)
    script.text = "\n".join(p.sql for p in parts)
    script.problems = (problem,) if problem else ()
    return script


def _statement_ends(source: str) -> dict[int, int]:
    """The last line of the statement that begins on each line, so that a comment behind a long call is its own."""
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return {}
    return {
        n.lineno: n.end_lineno or n.lineno for n in ast.walk(tree) if isinstance(n, ast.Expr | ast.Assign | ast.Return)
    }


def record(
    path: Path, function: Callable[[], object], parts: list[Part], naming: Mapping[str, str] | None = None
) -> bool:
    """Run `upgrade` or `downgrade` of a revision's file offline and append what it would send.

    The text is what Alembic would send online: unlike its own offline mode this keeps tabs and single percent signs.
    Returns whether it asked for a connection, of which it got a mock-up. Raises what the function raises, and Outside
    when it reaches for anything else.
    """
    from alembic.config import Config
    from alembic.operations import Operations
    from alembic.runtime.environment import EnvironmentContext
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory
    from sqlalchemy import MetaData, text
    from sqlalchemy.schema import DDLElement

    context = MigrationContext.configure(
        dialect_name="postgresql",
        opts={
            "as_sql": True,
            "output_buffer": io.StringIO(),
            "transactional_ddl": True,
            "literal_binds": True,
            **({"target_metadata": MetaData(naming_convention=dict(naming))} if naming else {}),
        },
        dialect_opts={"paramstyle": "named"},
    )

    def capture(words: str) -> None:
        piece = words.strip().removesuffix(";").strip()
        if piece:
            control = _CONTROLS.get(piece.upper(), "")
            parts.append(Part("" if control else piece + ";", calling_line(path), control))

    def execute(construct: Any, options: Any = None, multiparams: Any = None, params: Any = None) -> None:
        del options
        if multiparams or params:
            raise TypeError("SQL parameters are not allowed offline")
        given = text(construct) if isinstance(construct, str) else construct
        literal: dict[str, Any] = {} if isinstance(given, DDLElement) else {"compile_kwargs": {"literal_binds": True}}
        capture(str(given.compile(dialect=context.impl.dialect, **literal)))

    context.impl.static_output = capture  # pyright: ignore[reportAttributeAccessIssue]
    context.impl._exec = execute  # pyright: ignore[reportAttributeAccessIssue, reportPrivateUsage]  # noqa: SLF001
    asked: list[bool] = []
    kind = type(context.impl)

    def bind(impl: Any) -> Any:
        asked.append(True)
        return impl.connection

    context.impl.__class__ = type(kind.__name__, (kind,), {"bind": property(bind)})
    # `alembic.context` answers as it would in a deploy without `-x` arguments.
    surroundings = EnvironmentContext(Config(), ScriptDirectory(str(path.parent)))
    with surroundings, seclude() as outside, Operations.context(context):
        function()
    outside.check()
    return bool(asked)


def asks_for_a_connection(module: Any, direction: str) -> bool:
    """Whether a function that may run in this direction calls `op.get_bind()`: read offline it gets a mock-up."""
    other = "downgrade" if direction == "upgrade" else "upgrade"
    held = cast(dict[str, Any], vars(module))
    functions = [f for name, f in held.items() if isinstance(f, FunctionType) and name != other]
    return any("get_bind" in f.__code__.co_names for f in functions if f.__module__ == module.__name__)


def calling_line(path: Path) -> int:
    """The revision's line that is being executed: the innermost frame of its file."""
    frame = inspect.currentframe()
    wanted = str(path)
    while frame is not None:
        if frame.f_code.co_filename == wanted:
            return frame.f_lineno
        frame = frame.f_back
    return 1


def line_in(error: BaseException, path: Path) -> int | None:
    """The revision's line from which an error came, if it came from there."""
    found: int | None = None
    for entry in traceback.extract_tb(error.__traceback__):
        with suppress(OSError):
            if Path(entry.filename).resolve() == path.resolve():
                found = entry.lineno
    return found
