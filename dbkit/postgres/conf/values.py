"""Values as the server parses them: booleans by prefix, numbers with units, enums with their hidden aliases.

Follows parse_bool, parse_int, parse_real and convert_to_base_unit of src/backend/utils/misc/guc.c. The canonical form
is what `pg_settings.setting` shows: a number in the parameter's base unit.
"""

from __future__ import annotations

import math
import re
import string
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias, TypeVar

from dbkit.digits import whole

N = TypeVar("N", int, float)
Kind: TypeAlias = Literal["bool", "integer", "real", "string", "enum"]

INT_MIN: Final = -(2**31)
INT_MAX: Final = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of one PostgreSQL version."""

    name: str
    kind: Kind
    context: str
    """internal, postmaster, sighup, superuser-backend, backend, superuser or user."""
    boot: str | None
    """The compiled-in default, in base units."""
    unit: str | None = None
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    hidden: Mapping[str, str] = field(default_factory=dict[str, str])
    """Spellings of an enum that the server shows as another: unlisted ones, and wal_compression=on."""
    category: str = ""
    description: str = ""

    @property
    def needs_restart(self) -> bool:
        """Whether a change takes effect only when the server is restarted."""
        return self.context == "postmaster"


_LOWER: Final = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


def folded(text: str) -> str:
    """Lower case as the server has it for names and words: of ASCII letters only."""
    return text.translate(_LOWER)


class InvalidValue(Exception):
    """The server would not take the value; the text says why in its words."""


# Factors to the base unit, largest first, as the server's tables list them.
_BYTES: Final = {"TB": 2**40, "GB": 2**30, "MB": 2**20, "kB": 2**10, "B": 1}
_BASE_BYTES: Final = {"B": 1, "kB": 2**10, "MB": 2**20, "8kB": 2**13, "4kB": 2**12, "16kB": 2**14, "32kB": 2**15}
_MICROSECONDS: Final = {"d": 86_400_000_000, "h": 3_600_000_000, "min": 60_000_000, "s": 1_000_000, "ms": 1000, "us": 1}
_MEMORY_HINT: Final = 'Valid units for this parameter are "B", "kB", "MB", "GB", and "TB".'
_TIME_HINT: Final = 'Valid units for this parameter are "us", "ms", "s", "min", "h", and "d".'


def canonical(parameter: Parameter, value: str) -> str:
    """What pg_settings would show for this value. Raises InvalidValue."""
    if parameter.kind == "bool":
        return "on" if parse_bool(value, parameter.name) else "off"
    if parameter.kind == "integer":
        return str(_in_range(parameter, parse_int(value, parameter)))
    if parameter.kind == "real":
        return f"{_in_range(parameter, parse_real(value, parameter)):g}"
    if parameter.kind == "enum":
        return parse_enum(value, parameter)
    return value


def parse_bool(value: str, name: str = "") -> bool:
    """True or false from any unambiguous prefix of true, false, yes, no, and from on, off, 1, 0."""
    text = folded(value)
    for word, meaning in (("true", True), ("false", False), ("yes", True), ("no", False)):
        if text and word.startswith(text):
            return meaning
    if text in ("on", "1"):
        return True
    if text in ("of", "off", "0"):
        return False
    raise InvalidValue(f'parameter "{name}" requires a Boolean value')


def parse_enum(value: str, parameter: Parameter) -> str:
    """The listed spelling an enum value stands for."""
    for spelling, meaning in (*parameter.hidden.items(), *((c, c) for c in parameter.choices)):
        if folded(spelling) == folded(value):
            return meaning
    listed = ", ".join(parameter.choices)
    raise InvalidValue(f'invalid value for parameter "{parameter.name}": "{value}". Available values: {listed}.')


_INTEGER: Final = re.compile(
    r"[ \t\n\v\f\r]*(?P<sign>[-+]?)(?:0[xX](?P<hex>[0-9a-fA-F]+)|(?P<octal>0[0-7]*)|(?P<decimal>[1-9][0-9]*))"
)
_FLOAT: Final = re.compile(
    r"[ \t\n\v\f\r]*[-+]?(?:(?P<hex>0[xX](?:[0-9a-fA-F]+\.?[0-9a-fA-F]*|\.[0-9a-fA-F]+)(?:[pP][-+]?[0-9]+)?)"
    r"|(?P<decimal>(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?)"
    r"|(?P<word>inf(?:inity)?|nan))",
    re.IGNORECASE,
)
_ZERO: Final = re.compile(r"[-+]?(?:0x)?[0.]*(?:[ep].*)?", re.IGNORECASE)


def parse_int(value: str, parameter: Parameter) -> int:
    """An integer in the base unit; octal and hexadecimal are accepted, fractions are rounded half to even."""
    number, rest = _leading_integer(value)
    if rest[:1] in (".", "e", "E") or (number is not None and not -(2**63) <= number < 2**63):
        number, rest = _leading_float(value, parameter)
    if number is None:  # " .5" and "-.0" too: strtol found no number, and what follows is no point
        raise InvalidValue(_invalid(parameter, value))
    scaled = _scale(number, rest, parameter, value)
    rounded = float(_rint(scaled))
    if rounded > INT_MAX or rounded < INT_MIN:
        raise InvalidValue(_invalid(parameter, value) + ". Value exceeds integer range.")
    return int(rounded)


def parse_real(value: str, parameter: Parameter) -> float:
    """A real number in the base unit."""
    number, rest = _leading_float(value, parameter)
    return _scale(number, rest, parameter, value)


def _leading_integer(value: str) -> tuple[float | int | None, str]:
    """C's strtol with base 0."""
    match = _INTEGER.match(value)
    if match is None:
        return None, value
    sign = -1 if match["sign"] == "-" else 1
    if match["hex"]:
        number = int(match["hex"], 16)
    elif match["octal"]:
        number = whole(match["octal"], 8)
    else:
        number = whole(match["decimal"])
    return sign * number, value[match.end() :]


def _leading_float(value: str, parameter: Parameter) -> tuple[float, str]:
    found = number_at_start(value)
    if found is None:
        raise InvalidValue(_invalid(parameter, value))
    number, rest = found
    text = value.removesuffix(rest).strip()
    if abs(number) < sys.float_info.min and not _ZERO.fullmatch(text):  # too small is out of range as well
        raise InvalidValue(_invalid(parameter, value))
    return found


def number_at_start(value: str) -> tuple[float, str] | None:
    """C's strtod: the number a text begins with and what follows it; None when there is none, or it is too large."""
    match = _FLOAT.match(value)
    if match is None:
        return None
    text = match.group().strip()
    try:
        number = float.fromhex(text) if match["hex"] else float(text)
    except OverflowError:
        return None
    if math.isnan(number) or (math.isinf(number) and not match["word"]):
        return None
    return number, value[match.end() :]


def _scale(number: float, rest: str, parameter: Parameter, value: str) -> float:
    unit = rest.strip(" \t\n\v\f\r")
    if not unit:
        return number
    if parameter.unit is None or re.search(r"\s", unit):
        raise InvalidValue(_invalid(parameter, value))
    table, base = _table(parameter.unit)
    if unit not in table:
        hint = _MEMORY_HINT if table is _BYTES else _TIME_HINT
        raise InvalidValue(f"{_invalid(parameter, value)}. {hint}")
    factor = table[unit] / base
    scaled = number * factor
    smaller = [f for f in table.values() if f < table[unit]]
    if smaller:  # the server rounds a fraction such as 30.1GB to the next smaller unit first
        step = max(smaller) / base
        scaled = _rint(scaled / step) * step
    return scaled


def _table(unit: str) -> tuple[dict[str, int], int]:
    """The units a parameter of this base unit takes, and the base unit itself in the table's terms."""
    if unit in _MICROSECONDS:
        return _MICROSECONDS, _MICROSECONDS[unit]
    return _BYTES, _BASE_BYTES[unit]


def _rint(number: float) -> float:
    """C's rint: half to even, and infinities stay what they are."""
    return float(round(number)) if math.isfinite(number) else number


def _in_range(parameter: Parameter, number: N) -> N:
    low, high = parameter.minimum, parameter.maximum
    if (low is not None and number < low) or (high is not None and number > high):
        unit = f" {parameter.unit}" if parameter.unit else ""
        raise InvalidValue(
            f'{number:g}{unit} is outside the valid range for parameter "{parameter.name}" '
            f"({low:g}{unit} .. {high:g}{unit})"
        )
    return number


def _invalid(parameter: Parameter, value: str) -> str:
    return f'invalid value for parameter "{parameter.name}": "{value}"'


def written(parameter: Parameter, shown: str) -> str:
    """A canonical value as a person writes it: the largest unit that holds it exactly (`4GB`, `10min`, `on`)."""
    if parameter.kind not in ("integer", "real") or parameter.unit is None:
        return shown
    try:
        number = float(shown)
    except ValueError:
        return shown
    if number <= 0:  # 0, -1 and the like are switches, not amounts
        return shown
    table, base = _table(parameter.unit)
    for unit, factor in table.items():
        amount = number * base / factor
        if amount >= 1 and amount == int(amount):
            return f"{int(amount)}{unit}"
    return shown


def in_bytes(parameter: Parameter, shown: str) -> int:
    """A canonical memory value in bytes; -1 and the like stay what they are. Raises KeyError for another unit."""
    number = float(shown)
    return int(number * _BASE_BYTES[parameter.unit or "B"]) if number > 0 else int(number)


def from_bytes(parameter: Parameter, count: float) -> str:
    """Bytes as a canonical value of a memory parameter, rounded down to whole megabytes where it is that large."""
    whole = count - count % 2**20 if count >= 2**20 else count
    return str(int(whole // _BASE_BYTES[parameter.unit or "B"]))


def is_memory(parameter: Parameter) -> bool:
    """Whether the parameter is an amount of memory or disk."""
    return parameter.unit in _BASE_BYTES
