"""Column types, and what ALTER COLUMN ... TYPE costs for each pair of them.

The verdicts follow ATColumnChangeRequiresRewrite and the planner support functions; each was measured on servers 15 and
18 by filenode (tests/live/test_migrate_types.py runs the table again).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

from dbkit.postgres.ddl import deparse_type

ALIASES: Final = {
    "integer": "int4",
    "int": "int4",
    "bigint": "int8",
    "smallint": "int2",
    "boolean": "bool",
    "decimal": "numeric",
    "real": "float4",
    "serial4": "serial",
    "serial8": "bigserial",
    "serial2": "smallserial",
}
SERIALS: Final = {"serial": "int4", "bigserial": "int8", "smallserial": "int2"}
BUILTIN: Final = frozenset(
    """
bit bool box bpchar bytea char cid cidr circle date datemultirange daterange float4 float8 inet int2 int2vector int4
int4multirange int4range int8 int8multirange int8range interval json jsonb jsonpath line lseg macaddr macaddr8 money
name numeric nummultirange numrange oid oidvector path pg_lsn pg_snapshot point polygon refcursor regclass regcollation
regconfig regdictionary regnamespace regoper regoperator regproc regprocedure regrole regtype text tid time timestamp
timestamptz timetz tsmultirange tsquery tsrange tstzmultirange tstzrange tsvector txid_snapshot uuid varbit varchar xid
xid8 xml
""".split()
)
_STRINGS: Final = frozenset({"text", "varchar"})
_OIDS: Final = frozenset(
    "oid int4 regclass regcollation regconfig regdictionary regnamespace regoper regoperator regproc regprocedure"
    " regrole regtype".split()
)
_TIMES: Final = frozenset({"timestamp", "timestamptz", "time", "timetz"})
_FULL_INTERVAL: Final = 0x7FFF
_INTERVAL_FIELDS: Final = (1 << 12, 1 << 11, 1 << 10, 1 << 3, 1 << 1, 1 << 2)
"""Second, minute, hour, day, month, year."""
_ANY_PRECISION: Final = 0xFFFF


@dataclass(frozen=True, slots=True)
class SqlType:
    """A type as written in DDL: canonical name, modifiers (length, precision), and whether it is an array."""

    name: str
    mods: tuple[int, ...] = ()
    array: bool = False
    schema: str = ""
    words: str = ""
    """As the author wrote it, for messages."""

    @property
    def builtin(self) -> bool:
        """Whether PostgreSQL itself brings this type."""
        return self.schema in ("", "pg_catalog") and self.name in BUILTIN

    def __str__(self) -> str:
        return self.words or _SHOWN.get(self.name, self.name)


class TypeChange(IntEnum):
    """What a type change costs, from nothing to a rewrite; `UNKNOWN` needs more knowledge."""

    FREE = 0
    TIME_ZONE = 1
    """Free when the session's TimeZone is UTC, a rewrite otherwise."""
    UNKNOWN = 2
    REWRITE = 3


def read_type(node: Any) -> SqlType:
    """The type a TypeName node names."""
    parts = [n.string.sval for n in node.names]
    name = parts[-1] if parts else ""
    schema = parts[-2] if len(parts) > 1 else ""
    mods = tuple(m.a_const.ival.ival for m in node.typmods if m.WhichOneof("node") == "a_const")
    array = len(node.array_bounds) > 0
    if schema in ("", "pg_catalog"):
        name = ALIASES.get(name, name)
    if schema == "pg_catalog":
        schema = ""
    shown = _SHOWN.get(name, name) if not schema else f"{schema}.{name}"
    if mods and name == "interval":
        words = deparse_type(node)  # its modifiers are a mask of fields and a precision
    else:
        words = shown + (f"({','.join(map(str, mods))})" if mods else "") + ("[]" if array else "")
    return SqlType(name, mods, array, schema, words)


_SHOWN: Final = {
    "int4": "integer",
    "int8": "bigint",
    "int2": "smallint",
    "bool": "boolean",
    "float4": "real",
    "float8": "double precision",
    "bpchar": "char",
}


def change(old: SqlType, new: SqlType) -> TypeChange:
    """The heap's cost of changing `old` to `new` by an implicit or plain cast; both are base types, not domains."""
    if old.array or new.array:
        return (
            TypeChange.FREE
            if (old.name, old.mods, old.array) == (new.name, new.mods, new.array)
            else (TypeChange.REWRITE)
        )
    if old.name == new.name and old.schema == new.schema:
        return TypeChange.FREE if _modifier_fits(old.name, old.mods, new.mods) else TypeChange.REWRITE
    if {old.name, new.name} == {"timestamp", "timestamptz"}:
        # After the cast the old precision is forgotten, so even an equal one is applied to every row.
        return TypeChange.TIME_ZONE if _precision_fits((), new.mods) else TypeChange.REWRITE
    if not _binary_coercible(old, new):
        both_known = old.builtin and new.builtin
        return TypeChange.REWRITE if both_known or new.name in BUILTIN or old.name in BUILTIN else TypeChange.UNKNOWN
    if new.name in ("varchar", "bpchar", "varbit", "bit") and new.mods:
        # The cast itself is free, but fitting into the new length is not, unless the old length is known to fit.
        fits = new.name == "varchar" and old.name == "varchar" and _modifier_fits("varchar", old.mods, new.mods)
        return TypeChange.FREE if fits else TypeChange.REWRITE
    return TypeChange.FREE


def always_free_from_text(new: SqlType) -> bool:
    """Whether the change is free for the usual old types, so that only a known old type can prove it costs."""
    return not new.array and not new.mods and new.name in ("text", "varchar", "numeric", "timestamptz", "timestamp")


def keeps_index(old: SqlType, new: SqlType, *, collation_changed: bool) -> bool:
    """Whether a free type change leaves indexes on the column as they are: same operator class, same collation."""
    if collation_changed:
        return False
    return _OPCLASS.get(old.name, old.name) == _OPCLASS.get(new.name, new.name)


_OPCLASS: Final = {"varchar": "text", "cidr": "inet"} | {n: "oid" for n in _OIDS if n != "int4"}


def _binary_coercible(old: SqlType, new: SqlType) -> bool:
    a, b = old.name, new.name
    if a in _OIDS and b in _OIDS:
        return (
            "oid" in (a, b) or "int4" in (a, b) or {a, b} in ({"regoper", "regoperator"}, {"regproc", "regprocedure"})
        )
    return (
        (a in _STRINGS and b in ("text", "varchar", "bpchar", "citext"))
        or (a == "citext" and b in ("text", "varchar", "bpchar"))
        or (a == "cidr" and b == "inet")
        or (a == "xml" and b in ("text", "varchar", "bpchar"))
        or {a, b} == {"bit", "varbit"}
    )


def _modifier_fits(name: str, old: tuple[int, ...], new: tuple[int, ...]) -> bool:
    if old == new or not new:
        return True
    if name in ("varchar", "varbit"):
        return bool(old) and new[0] >= old[0]
    if name == "numeric":
        wide, scale = new[0], new[1] if len(new) > 1 else 0
        return bool(old) and wide >= old[0] and scale == (old[1] if len(old) > 1 else 0)
    if name in _TIMES:
        return _precision_fits(old, new)
    if name == "interval":
        return _interval_fits(old, new)
    return False


def _precision_fits(old: tuple[int, ...], new: tuple[int, ...]) -> bool:
    return not new or new[0] >= 6 or (bool(old) and new[0] >= old[0])


def _interval_fits(old: tuple[int, ...], new: tuple[int, ...]) -> bool:
    """`new` holds the field mask and, maybe, the precision: no field smaller than its smallest may be lost."""
    least, precision = _least_field(new[0]), new[1] if len(new) > 1 else _ANY_PRECISION
    held_least = _least_field(old[0] if old else _FULL_INTERVAL)
    held = old[1] if len(old) > 1 else _ANY_PRECISION
    return least <= held_least and (held_least > 0 or precision >= 6 or precision >= held)


def _least_field(mask: int) -> int:
    """How coarse the smallest field of an interval is: 0 for seconds, 5 for years (intervaltypmodleastfield)."""
    return next((rank for rank, bit in enumerate(_INTERVAL_FIELDS) if mask & bit), 0)
