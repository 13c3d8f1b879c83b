"""What is found for a wanted index: the verdict, and for a partitioned one its parts."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from dbkit.postgres import catalog
from dbkit.postgres.catalog import Build, Index, Partition, Relation, quote
from dbkit.postgres.indexes.desired import Wanted


class State(StrEnum):
    """What is found for a wanted index."""

    OK = "ok"
    OTHER_NAME = "ok-other-name"
    MISSING = "missing"
    OTHER_DEFINITION = "other-definition"
    INVALID = "invalid"
    INVALID_ENFORCING = "invalid-enforcing"
    BUILDING = "building"
    INVALID_PARENT = "invalid-parent"
    NAME_TAKEN = "name-taken"
    CANNOT_BUILD = "cannot-build"
    NOT_VISIBLE = "not-visible"
    NOT_COMPARED = "not-compared"
    NO_TABLE = "no-table"


@dataclass(frozen=True, slots=True)
class Leaf:
    """One partition's part of a wanted index: attached, there but loose, or neither."""

    partition: Partition
    attached: Index | None
    loose: Index | None
    """An index of the same definition that is not attached yet."""
    remains: Index | None
    """An INVALID, unattached index of the same definition or of the name dbkit gives it."""
    building: bool = False

    @property
    def done(self) -> bool:
        """Attached and valid."""
        return self.attached is not None and self.attached.is_valid


@dataclass(frozen=True, slots=True)
class IndexState:
    """The verdict for one wanted index, with what is there."""

    wanted: Wanted
    state: State
    table: Relation | None = None
    actual: Index | None = None
    """The index that has the wanted name."""
    equal: Index | None = None
    """An index of the same definition, under any name."""
    detail: str = ""
    hint: str = ""
    leaves: tuple[Leaf, ...] = ()
    build: Build | None = None

    @property
    def object(self) -> str:
        """The wanted index's qualified name, as far as it is known."""
        if self.table is not None:
            return catalog.quoted(self.table.schema, self.wanted.name)
        return catalog.quoted(self.wanted.schema, self.wanted.name) if self.wanted.schema else quote(self.wanted.name)
