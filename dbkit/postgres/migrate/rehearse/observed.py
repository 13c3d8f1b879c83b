"""What a rehearsal has seen: statements with their locks, files and scans, and the time each lock was held."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from dbkit.postgres.migrate.lock_mode import Mode
from dbkit.postgres.migrate.names import Name
from dbkit.secrets import redact

if TYPE_CHECKING:  # the rules' pages are printed without a driver
    import psycopg

MODES: Final = {"".join(w.title() for w in m.name.split("_")) + "Lock": m for m in Mode}
"""PostgreSQL's own names of the lock modes, as pg_locks shows them."""


@dataclass(frozen=True, slots=True)
class Relation:
    """A table, index, sequence or view at one moment; `filenode` is None where it has no file."""

    oid: int
    name: Name
    kind: str
    filenode: int | None
    table_oid: int | None
    """The table of an index."""

    @property
    def is_index(self) -> bool:
        """Whether it is an index, of a plain or of a partitioned table."""
        return self.kind in ("i", "I")


def stops(mode: Mode, relation: Relation) -> bool:
    """Whether a lock keeps the application out: its writers, or of what has none (a materialized view) its readers."""
    return mode >= (Mode.ACCESS_EXCLUSIVE if relation.kind == "m" else Mode.SHARE)


@dataclass(frozen=True, slots=True)
class Hold:
    """One lock from the moment it was granted to its release, in seconds of the rehearsal's clock."""

    relation: str
    mode: Mode
    start: float
    end: float
    statement: int
    """Position of the statement that took it."""


@dataclass(slots=True)
class Observation:
    """One statement as it ran. Times are seconds of the rehearsal's clock, which stops while we look."""

    file: str
    line: int
    sql: str
    kind: str
    """The grammar's node name, such as `alter_table_stmt`."""
    transaction: int = 0
    """Statements of one transaction share this number."""
    bare: bool = False
    """It ran outside any transaction block, because it refuses one."""
    start: float = 0.0
    end: float = 0.0
    locks: dict[str, Mode] = field(default_factory=dict[str, Mode])
    """Strongest mode granted while it ran, by relation; ACCESS SHARE and relations nobody else can see left out."""
    taken: dict[str, Mode] = field(default_factory=dict[str, Mode])
    """Of these, what this statement itself was the first of its transaction to take."""
    rewritten: list[str] = field(default_factory=list[str])
    scanned: list[str] = field(default_factory=list[str])
    built: list[str] = field(default_factory=list[str])
    proved: list[str] = field(default_factory=list[str])
    """What the server said it need not check, since constraints prove it."""
    waited: float = 0.0
    released: float = 0.0
    """When its locks were given back; 0.0 until then."""
    error: str = ""
    sqlstate: str = ""
    unrehearsed: str = ""
    """Why it was not run, or why its error says nothing: what it needs and the throw-away server lacks."""
    tables: tuple[str, ...] = ()
    """Tables whose rows it read or wrote as a whole."""
    repeats: int = 0
    """How often it ran once more in its transaction with other values, from a loop of a revision."""
    repeated: float = 0.0
    """Seconds of these runs together."""
    caught: bool = False
    """The revision caught its error and went on."""

    @property
    def seconds(self) -> float:
        """How long it ran, every time it did, without the time it waited for locks."""
        return max(self.end - self.start - self.waited, 0.0) + self.repeated

    @property
    def held(self) -> float:
        """Seconds from the moment it had its locks to their release."""
        return max((self.released or self.end) - self.start - self.waited, 0.0) if self.locks else 0.0

    @property
    def work(self) -> str:
        """What grows with the table: `rewrite`, `scan`, `index build`, or an empty string."""
        if self.rewritten:
            return "rewrite"
        if self.built:
            return "index build"
        return "scan" if self.scanned else ""


@dataclass(slots=True)
class Stall:
    """The longest time one probe or application query had to wait while a lock stood in its way."""

    relation: str
    kind: str
    """`reader` or `writer`."""
    seconds: float
    statement: int
    start: float


@dataclass(slots=True)
class Stop:
    """Where and why a rehearsal ended before its last statement."""

    file: str
    line: int
    why: str


def words(error: psycopg.Error) -> str:
    """The server's sentence with its detail, on one line."""
    text = error.diag.message_primary or str(error)
    detail = f" ({error.diag.message_detail})" if error.diag.message_detail else ""
    return redact(" ".join(f"{text}{detail}".split()))
