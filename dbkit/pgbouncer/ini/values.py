"""Values as the daemon takes them: C numbers, seconds without a suffix, words of a list, and text kept as it stands."""

from __future__ import annotations

import math
import re
from typing import Final

from dbkit.digits import whole
from dbkit.pgbouncer.ini.parameters import CHOICES, Version

_SPACE: Final = r"[ \t\n\v\f\r]*"
# strtol with base 0. The newest C libraries also take 0b11; we do not, since the next machine may not.
_INTEGER: Final = re.compile(_SPACE + r"([-+]?)(0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)")
_DECIMAL: Final = re.compile(_SPACE + r"([-+]?[0-9]+)")
_REAL: Final = re.compile(
    _SPACE + r"([-+]?)(?:(inf(?:inity)?|nan(?:\([A-Za-z0-9_]*\))?)"
    r"|(0x(?:[0-9a-f]+\.?[0-9a-f]*|\.[0-9a-f]+)(?:p[-+]?[0-9]+)?)"
    r"|((?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[-+]?[0-9]+)?))",
    re.IGNORECASE,
)
_SMALLEST: Final = 2.2250738585072014e-308
_LONG: Final = 2**63


class InvalidValue(ValueError):
    """A value that the daemon refuses."""


def canonical(kind: str, raw: str, version: Version) -> str:
    """What SHOW CONFIG would print for a value of a key of this kind. Raises InvalidValue."""
    if kind == "int":
        return str(integer(raw))
    if kind == "uint":
        return str(unsigned(raw))
    if kind == "time":
        return seconds(raw)
    if kind in CHOICES:
        return word(kind, raw, version)
    return raw


def integer(raw: str) -> int:
    """A C int read by strtol with base 0: hex and octal count, what does not fit wraps around."""
    return _int32(_long(raw))


def unsigned(raw: str) -> int:
    """A C unsigned int read by strtoul: a negative number wraps around."""
    match = _INTEGER.fullmatch(raw)
    if match is None:
        raise InvalidValue(raw)
    size = _number(match[2])
    if size >= 2 * _LONG:
        return 0xFFFFFFFF
    return (-size if match[1] == "-" else size) & 0xFFFFFFFF


def leading_integer(raw: str) -> int:
    """What C's atoi makes of a text: the digits it starts with, else 0. Connection strings are read this way."""
    match = _DECIMAL.match(raw)
    return _int32(_clamped(whole(match[1]))) if match else 0


def seconds(raw: str) -> str:
    """A time in seconds as SHOW CONFIG prints it, six digits at the most."""
    match = _REAL.fullmatch(raw)
    if match is None:
        raise InvalidValue(raw)
    sign, special, hexadecimal, decimal = match.groups()
    if special:
        value = math.inf if special.lower().startswith("inf") else math.nan
    elif hexadecimal:
        value = _hexadecimal(hexadecimal)
    else:
        value = float(decimal)
        zero = not re.search(r"[1-9]", re.split("[eE]", decimal)[0])
        if math.isinf(value) or (value < _SMALLEST and not zero):
            raise InvalidValue(raw)
    if sign == "-" and value > 0:
        raise InvalidValue(raw)
    return f"{_microseconds(value) / 1e6:g}"


def word(kind: str, raw: str, version: Version) -> str:
    """The word of an enumeration in lower case; case does not matter in the file."""
    for choice, since in CHOICES[kind]:
        if choice == raw.lower() and since <= version.minor:
            return choice
    raise InvalidValue(raw)


def _hexadecimal(text: str) -> float:
    try:
        value = float.fromhex(text)
    except OverflowError:
        raise InvalidValue(text) from None
    if 0 < value < _SMALLEST or (value == 0 and re.search(r"[1-9a-fA-F]", text[2:].lower().partition("p")[0])):
        raise InvalidValue(text)
    return value


def _microseconds(value: float) -> int:
    """Seconds as unsigned 64-bit microseconds, as x86-64 converts them, beyond the range too."""
    if math.isnan(value):
        return _LONG
    whole = value * 1e6
    if whole >= 2.0**64:
        return 0
    return int(whole)


def _long(raw: str) -> int:
    match = _INTEGER.fullmatch(raw)
    if match is None:
        raise InvalidValue(raw)
    size = _number(match[2])
    return _clamped(-size if match[1] == "-" else size)


def _number(digits: str) -> int:
    if digits[:2].lower() == "0x":
        return int(digits, 16)
    # More digits than a long holds are as good as the largest; int() refuses a very long text.
    return int(digits[:30], 8) if digits.startswith("0") else int(digits[:30])


def _clamped(value: int) -> int:
    return max(-_LONG, min(_LONG - 1, value))


def _int32(value: int) -> int:
    return (value + 2**31) % 2**32 - 2**31
