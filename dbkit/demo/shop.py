"""Two changes of a busy table, by plain Alembic and by dbkit: orders.customer is renamed, orders.id becomes bigint.

The application has two versions. The old one knows the column as customer, the new one as buyer; while the new one is
rolled out both are at work. The plain way has no time at which both can work: the old one fails from the rename until
it is replaced.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, LiteralString

import psycopg

from dbkit import assets
from dbkit.demo.command import run
from dbkit.demo.traffic import Result, Traffic
from dbkit.errors import Broken

OLD, NEW = "shop, old", "shop, new"
ROWS: Final = 300_000
"""Rows of the demo's table."""
ROLL_OUT: Final = 1.0
"""Seconds for which both versions of the application are at work."""
RENAME, RETYPE = "rename", "int to bigint"
WORDS: Final = {
    RENAME: ("rename-column", "orders.customer", "buyer"),
    RETYPE: ("change-type", "orders.id", "bigint"),
}
PLAIN: Final[dict[str, str]] = {
    RENAME: 'op.alter_column("orders", "customer", new_column_name="buyer")',
    RETYPE: 'op.alter_column("orders", "id", type_=sa.BigInteger())',
}
PRE: Final = (("expand",), ("backfill", "--yes"), ("verify",))
"""What `deploy --phase pre` does in one command."""
REVISION: Final = '''"""{name}"""

import sqlalchemy as sa
from alembic import op

revision, down_revision = "{name}", {parent!r}


def upgrade() -> None:
    {body}
'''


@dataclass
class Side:
    """What the application went through on one side."""

    result: Result = field(default_factory=lambda: Result(0.0, {}))
    took: dict[str, float] = field(default_factory=dict[str, float])
    """Seconds by phase, in order."""

    def longest(self, phase: str = "") -> float:
        """The longest wait in seconds, of readers and writers, in the phases that begin so."""
        names = [p for p in self.took if p.startswith(phase)]
        return max((self.result.longest_in(kind, p) for kind in ("read", "write") for p in names), default=0.0)


def seed(dsn: str, rows: int) -> None:
    """The table, filled; and pg_stat_statements, by which the gate sees that the old application has gone."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(assets.query("demo/shop"))
        fill: LiteralString = "insert into orders (customer, total) select 'Ann ' || n, n from generate_series(1, %s) n"
        connection.execute(fill, [rows])
        connection.execute("vacuum analyze orders")
        connection.execute("checkpoint")


def by_alembic(dsn: str, folder: Path) -> Side:
    """`alembic upgrade` for each change, the application replaced after the first."""
    environment(folder)
    side, parent = Side(), None
    for name, body in PLAIN.items():
        slug = name.replace(" ", "_")
        text = REVISION.format(name=slug, parent=parent, body=body)
        (folder / "migrations" / "versions" / f"{slug}.py").write_text(text, encoding="utf-8")
        parent = slug
    with ExitStack() as stack:
        with Traffic(dsn, OLD) as old:
            time.sleep(1)
            with _phase(side, [old], RENAME):
                upgrade(dsn, folder / "migrations", "rename")
                time.sleep(ROLL_OUT)
                new = stack.enter_context(Traffic(dsn, NEW))
        with _phase(side, [new], RETYPE):
            upgrade(dsn, folder / "migrations", "head")
        new.phase("after")
        time.sleep(1)
    side.result = _both(old, new)
    return side


def by_dbkit(dsn: str, folder: Path, say: Callable[[str], None], *, pipeline: bool = True) -> Side:
    """Each change from `new` to contract; `pipeline` uses `deploy`, otherwise every phase is a command and counted."""
    environment(folder)
    side = Side()

    def call(*arguments: str) -> None:
        say(f"   $ dbkit migrate {' '.join(arguments)}")
        run(folder, dsn, "migrate", *arguments)

    def before(traffic: list[Traffic], change: str) -> None:
        call("new", *WORDS[change])
        for words in [("deploy", "--phase", "pre")] if pipeline else PRE:
            with _phase(side, traffic, change if pipeline else f"{change}: {words[0]}"):
                call(*words)

    def after(traffic: list[Traffic], change: str) -> None:
        call("status")  # the gate's first look; the next finds that nothing used the old shape since
        time.sleep(1)
        words = ("deploy", "--phase", "post") if pipeline else ("contract",)
        with _phase(side, traffic, change if pipeline else f"{change}: {words[0]}"):
            call(*words, "--window", "1s")

    with ExitStack() as stack:
        with Traffic(dsn, OLD) as old:
            time.sleep(1)
            before([old], RENAME)
            with _phase(side, [old], RENAME if pipeline else f"{RENAME}: both versions"):
                new = stack.enter_context(Traffic(dsn, NEW))
                new.phase(RENAME if pipeline else f"{RENAME}: both versions")
                time.sleep(ROLL_OUT)
        say("   (the new version of the application is out, the old one has gone)")
        for change in WORDS:
            if change != RENAME:
                before([new], change)
            after([new], change)
        new.phase("after")
        time.sleep(1)
    side.result = _both(old, new)
    check(dsn)
    return side


def check(dsn: str) -> None:
    """Broken unless the catalogue shows the new shape, and nothing of the old."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        found = connection.execute(assets.query("demo/shape")).fetchall()
    if found != [("buyer", "text"), ("id", "bigint")]:
        raise Broken(f"the demo's changes did not arrive: {found}")


def environment(folder: Path) -> None:
    """An Alembic environment without revisions."""
    (folder / "migrations" / "versions").mkdir(parents=True)
    for name in ("env.py", "script.py.mako"):
        shutil.copy(assets.path("migrations") / name, folder / "migrations" / name)
    (folder / "alembic.ini").write_text("[alembic]\nscript_location = migrations\n", encoding="utf-8")


def upgrade(dsn: str, scripts: Path, revision: str) -> None:
    """`alembic upgrade`, in process."""
    from alembic import command
    from alembic.config import Config
    from sqlalchemy import NullPool, create_engine

    config = Config()
    config.set_main_option("script_location", str(scripts))
    engine = create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(dsn), poolclass=NullPool)
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)


@contextmanager
def _phase(side: Side, traffic: list[Traffic], name: str) -> Generator[None]:
    for one in traffic:
        one.phase(name)
    began = time.monotonic()
    try:
        yield
    finally:
        side.took[name] = side.took.get(name, 0.0) + time.monotonic() - began


def _both(old: Traffic, new: Traffic) -> Result:
    if old.result is None or new.result is None:
        raise Broken("the demo's traffic gave no account of itself")
    return old.result.with_(new.result)
