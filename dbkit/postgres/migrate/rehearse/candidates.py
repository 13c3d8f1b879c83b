"""Expressions over the row number `i` that may fill a column, the likeliest first; the server says which of them do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from itertools import pairwise
from typing import Final

from dbkit.postgres.migrate.names import literal
from dbkit.postgres.migrate.rehearse.hints import Hints
from dbkit.postgres.migrate.rehearse.shape import Column

_DAY_ONE: Final = "timestamp '2024-01-01 00:00:00'"


def candidates(column: Column, hints: Hints, rows: int) -> list[str]:
    """Expressions already cast to the column's type; NULL comes last, where the column takes it."""
    found = [f"({text})::{column.type}" for text in dict.fromkeys(_of(column, hints, rows))]
    if column.default and "nextval" not in column.default and not column.generated:
        found.append(f"({column.default})")
    if not column.not_null:
        found.append(f"null::{column.type}")
    return found


def _of(column: Column, hints: Hints, rows: int) -> Iterator[str]:
    if column.kind == "e":
        yield f"(enum_range(null::{column.type}))[1 + (i - 1) % {max(column.labels, 1)}]"
        yield from map(literal, hints.texts)
        return
    if column.kind == "c":
        yield f"row({', '.join(_simple(kind) for kind in column.fields)})"
        return
    if column.category == "A":
        yield from _arrays(column, hints)
        return
    maker = _MAKERS.get(column.base)
    if maker is not None:
        yield from maker(column, hints, rows)
    elif column.kind in ("r", "m"):
        yield from _ranges(column)
    else:
        # A type we know nothing of (an extension's): what many input functions accept.
        yield from (f"{literal(s)}" for s in (*hints.texts, "1", "a", "{}", "(1,1)", "a=>1", "POINT(1 1)", ""))


def _simple(kind: str) -> str:
    """A constant expression of a type inside a composite one."""
    lowered = kind.lower()
    if lowered.startswith(("text", "character")):
        return f"'x'::{kind}"
    if lowered.startswith(("integer", "bigint", "smallint", "numeric", "real", "double")):
        return f"1::{kind}"
    return f"null::{kind}"


def _numbers(column: Column, hints: Hints, rows: int) -> Iterator[str]:
    whole = column.base in ("int2", "int4", "int8", "oid") or column.scale == 0
    limit = 10**9
    if column.base == "int2":
        limit = 32_000
    elif column.digits is not None:
        limit = min(limit, 10 ** max(column.digits - (column.scale or 0), 0) - 1)
    if limit < 1:  # numeric(2,2): only fractions
        yield f"(i % 90)::numeric / {10 ** (column.scale or 0)}"
        return
    base = "i" if rows < limit else f"1 + (i - 1) % {limit}"
    yield base
    known = sorted(hints.numbers)
    for low in known:
        for high in reversed(known):
            if high - low >= 2:
                yield _between(low + 1, high - 1) if whole or high - low > 2 else f"{low} + 1"
                yield _between(low, high)
    if not whole:
        yield "(i % 1000) / 1000.0"
        for low, high in pairwise(known):
            yield f"{low} + ({high - low}) * ((i % 998) + 1) / 1000.0"
    for number in known:
        yield f"{number} + i"
        yield f"{number} - i"
        yield f"{number}"
        yield f"{number} + 1"
        yield f"{number} - 1"
        if number > 0:
            yield f"i * {number}"
    if known:
        listed = ", ".join(str(n) for n in known)
        yield f"(array[{listed}])[1 + (i - 1) % {len(known)}]"
    yield from ("i + 1", "i - 1", "2 * i", "2 * i + 1", "i % 100", "1 + i % 5", "i % 2", "0", "1", "-1", "-i")


def _between(low: Decimal, high: Decimal) -> str:
    count = int(high - low) + 1
    return f"{low} + (i - 1) % {max(count, 1)}"


def _texts(column: Column, hints: Hints, rows: int) -> Iterator[str]:
    plain = column.name.replace("%", "")[:20]
    long = f"{literal(plain + ' ')} || i"
    room = column.length
    if room is None:
        yield long
    else:
        if room >= len(plain) + 10:
            yield long
        yield f"right(lpad(i::text, {min(room, 9)}, '0'), {room})"
    if hints.patterns or hints.likes:
        samples = hints.samples
        if samples:
            yield f"(array[{', '.join(map(literal, samples))}])[1 + (i - 1) % {len(samples)}]"
        yield from map(literal, samples[:6])
    if len(hints.texts) > 1:
        for chosen in (hints.texts, [t for t in hints.texts if t not in hints.patterns]):
            if chosen:
                yield f"(array[{', '.join(map(literal, chosen))}])[1 + (i - 1) % {len(chosen)}]"
    yield from map(literal, hints.texts)
    yield from (f"{literal(t)} || i" for t in hints.texts[:4])
    yield from ("i::text", "'user' || i || '@example.com'", "'https://example.com/' || i", "'a-' || i", "'a' || i")
    yield from ("'A' || i", "'+1555' || lpad(i::text, 7, '0')", "md5(i::text)", "upper(md5(i::text))")
    for number in hints.numbers:
        if 0 < number <= 10_000 and number == int(number):
            size = int(number)
            yield f"lpad(i::text, {size}, '0')"
            yield f"upper(lpad(to_hex(i), {size}, 'A'))"
            yield f"translate(lpad(i::text, {size}, '0'), '0123456789', 'abcdefghij')"
            yield f"translate(lpad(i::text, {size}, '0'), '0123456789', 'ABCDEFGHIJ')"
            yield f"rpad('x' || i, {size + 1}, 'x')"
            yield f"left('x' || i, {max(size - 1, 1)})"
    yield from ("'10.0.0.' || i % 250", "gen_random_uuid()::text", "'{}'", "'x'", "''")


def _moments(column: Column, hints: Hints, rows: int) -> Iterator[str]:
    unit = "day" if column.base == "date" else "minute"
    yield f"{_DAY_ONE} + i * interval '1 {unit}'"
    dates = [f"timestamp {literal(t)}" for t in hints.texts if t[:1].isdigit() and "-" in t]
    for low in dates:
        for high in dates:
            if low != high:
                yield f"{low} + ({high} - {low}) * ((i - 1) % 1000) / 1000.0"
                yield f"{low} + ({high} - {low}) * ((i % 998) + 1) / 1000.0"
    for date in dates:
        yield f"{date} + i * interval '1 {unit}'"
        yield f"{date} - i * interval '1 {unit}'"
        yield date
        yield f"{date} + interval '1 day'"
        yield f"{date} - interval '1 day'"
    for shift in ("+ interval '1 day'", "- interval '1 day'", "+ interval '400 days'"):
        yield f"{_DAY_ONE} + i * interval '1 {unit}' {shift}"
    yield "now()"
    yield "now() + interval '1 day' * i"
    yield "now() - interval '1 day' * i"


def _times(column: Column, hints: Hints, rows: int) -> Iterator[str]:
    yield "time '00:00' + (i % 86400) * interval '1 second'"
    yield from (literal(t) for t in hints.texts if ":" in t)


def _intervals(column: Column, hints: Hints, rows: int) -> Iterator[str]:
    yield "i * interval '1 second'"
    yield from (f"interval {literal(t)}" for t in hints.texts if t[:1].isdigit())
    yield from ("interval '1 day'", "interval '0'")


def _json(column: Column, hints: Hints, rows: int) -> Iterator[str]:
    names = [t for t in hints.texts if t.replace("_", "").isalnum()][:8]
    yield "jsonb_build_object('id', i)"
    if names:
        for value in ("i", "'x' || i", "true"):
            pairs = ", ".join(f"{literal(n)}, {value}" for n in names)
            yield f"jsonb_build_object({pairs})"
    yield from ("'[]'", "'{}'", "jsonb_build_array(i)", "to_jsonb(i)", "to_jsonb('x' || i)", "'null'")


def _arrays(column: Column, hints: Hints) -> Iterator[str]:
    kind = column.element_base or ""
    if kind in ("int2", "int4", "int8", "numeric", "float4", "float8"):
        yield "array[i, i + 1]"
    elif kind in ("text", "varchar", "bpchar", "citext"):
        if hints.texts:
            yield f"array[{literal(hints.texts[0])}]"
            yield f"array[{', '.join(map(literal, hints.texts))}]"
        yield "array['a' || i, 'b']"
    elif column.labels:
        yield f"(enum_range(null::{column.element}))[1:1]"
    elif kind == "uuid":
        yield "array[md5(i::text)::uuid]"
    yield "'{}'"
    yield "'{1}'"
    for number in hints.numbers:
        if 0 < number <= 64:
            yield f"array_fill(1, array[{int(number)}])"


def _ranges(column: Column) -> Iterator[str]:
    kind = column.base.removesuffix("multirange").removesuffix("range")
    low, high = {
        "int4": ("i::int * 2", "i::int * 2 + 1"),
        "int8": ("i * 2", "i * 2 + 1"),
        "num": ("i * 2", "i * 2 + 1"),
        "date": ("date '2000-01-01' + i::int * 2", "date '2000-01-01' + i::int * 2 + 1"),
    }.get(kind, (f"{_DAY_ONE} + i * interval '2 hours'", f"{_DAY_ONE} + i * interval '2 hours' + interval '1 hour'"))
    maker = f"{kind}range({low}, {high})"
    yield f"{kind}multirange({maker})" if column.kind == "m" else maker
    yield "'empty'" if column.kind == "r" else "'{}'"


def _fixed(*texts: str) -> Callable[[Column, Hints, int], Iterator[str]]:
    def make(column: Column, hints: Hints, rows: int) -> Iterator[str]:
        yield from texts
        yield from map(literal, hints.texts)

    return make


def _bits(column: Column, hints: Hints, rows: int) -> Iterator[str]:
    yield f"(i % 1000000)::int::bit({column.length or 1})"


def _bytes(column: Column, hints: Hints, rows: int) -> Iterator[str]:
    yield from ("convert_to('x' || i, 'UTF8')", "decode(md5(i::text), 'hex')", "''")
    for number in hints.numbers:
        if 0 < number <= 1_000 and number == int(number):
            yield f"decode(lpad(to_hex(i), {2 * int(number)}, '0'), 'hex')"


_NUMBERS: Final = ("int2", "int4", "int8", "numeric", "float4", "float8", "oid")
_MAKERS: Final[dict[str, Callable[[Column, Hints, int], Iterator[str]]]] = {
    **dict.fromkeys(_NUMBERS, _numbers),
    **dict.fromkeys(("text", "varchar", "bpchar", "name", "citext"), _texts),
    **dict.fromkeys(("date", "timestamp", "timestamptz"), _moments),
    **dict.fromkeys(("time", "timetz"), _times),
    **dict.fromkeys(("json", "jsonb"), _json),
    **dict.fromkeys(("bit", "varbit"), _bits),
    "interval": _intervals,
    "bool": _fixed("i % 2 = 0", "true", "false"),
    "uuid": _fixed("md5(i::text)::uuid"),
    "bytea": _bytes,
    "inet": _fixed("'10.0.0.0'::inet + i"),
    "cidr": _fixed("set_masklen('10.0.0.0'::inet + i, 32)", "'10.0.0.0/8'"),
    "macaddr": _fixed("('08:00:2b:' || to_char(i / 10000 % 100, 'FM00') || ':' || to_char(i / 100 % 100, 'FM00')"
                      " || ':' || to_char(i % 100, 'FM00'))"),
    "macaddr8": _fixed("'08:00:2b:01:02:03:04:05'"),
    "money": _fixed("i::numeric::money"),
    "xml": _fixed("'<a>' || i || '</a>'"),
    "tsvector": _fixed("to_tsvector('simple', 'word' || i)"),
    "tsquery": _fixed("to_tsquery('simple', 'word' || i)"),
    "point": _fixed("point(i, i)"),
    "box": _fixed("box(point(i * 2, i * 2), point(i * 2 + 1, i * 2 + 1))"),
    "circle": _fixed("circle(point(i * 4, 0), 1)"),
    "line": _fixed("'{1,2,3}'"),
    "lseg": _fixed("'[(0,0),(1,1)]'"),
    "path": _fixed("'[(0,0),(1,1)]'"),
    "polygon": _fixed("'((0,0),(1,1),(1,0))'"),
    "pg_lsn": _fixed("'0/1'::pg_lsn + i"),
    "jsonpath": _fixed("'$.a'"),
    "hstore": _fixed("'a=>' || i"),
    "ltree": _fixed("'a.b' || i"),
    "regclass": _fixed("'pg_class'"),
    "regtype": _fixed("'int4'"),
}  # fmt: skip
