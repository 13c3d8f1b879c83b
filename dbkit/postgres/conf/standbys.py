"""Values about standbys and recovery: synchronous_standby_names by its grammar, slot names, recovery targets.

Follows syncrep_gram.y, slot.c and xlogrecovery.c; run on 15 and 18.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from dbkit.digits import whole
from dbkit.postgres.conf.values import InvalidValue

_TOKENS: Final = re.compile(
    r"(?P<blank>[ \t\n\r\f\v]+)|(?P<name>\"(?:[^\"]|\"\")+\"|[A-Za-z_\x80-\U0010ffff][A-Za-z_0-9$\x80-\U0010ffff]*|\*)"
    r"|(?P<number>[0-9]+)|(?P<sign>[,()])",
    re.DOTALL,
)
_MOST_NAME: Final = 63


def synchronous(name: str, value: str, _major: int) -> str:
    """synchronous_standby_names: a list, or `[FIRST | ANY] n (list)`. Raises InvalidValue."""
    if value == "":
        return value
    text = _grammar(list(_tokens(name, value)))
    if text is None:
        raise InvalidValue(f'invalid value for parameter "{name}": "{value}". syntax error')
    if text == 0:
        raise InvalidValue(
            f'invalid value for parameter "{name}": "{value}". '
            "number of synchronous standbys (0) must be greater than zero"
        )
    return value


def _tokens(name: str, value: str) -> Iterator[tuple[str, str]]:
    at = 0
    while at < len(value):
        match = _TOKENS.match(value, at)
        if match is None:
            raise InvalidValue(f'invalid value for parameter "{name}": "{value}". syntax error')
        at = match.end()
        if match.lastgroup and match.lastgroup != "blank":
            yield match.lastgroup, match.group()


def _grammar(tokens: list[tuple[str, str]]) -> int | None:
    """How many standbys are waited for; None when it is not in the grammar."""
    kinds = [kind if kind != "sign" else text for kind, text in tokens]
    words = [text.upper() for _, text in tokens]
    start = 1 if kinds[:3] == ["name", "number", "("] and words[0] in ("FIRST", "ANY") else 0
    many = 1
    if kinds[start : start + 2] == ["number", "("] and kinds[-1] == ")":
        many = whole(words[start])
        kinds = kinds[start + 2 : -1]
        words = words[start + 2 : -1]
    elif start:
        return None
    names = [
        kind in ("name", "number") and word not in ("FIRST", "ANY") for kind, word in zip(kinds, words, strict=True)
    ]
    good = len(kinds) % 2 == 1 and all(names[::2]) and all(kind == "," for kind in kinds[1::2])
    return many if good else None


def slot(name: str, value: str, _major: int) -> str:
    """primary_slot_name: empty, or a name a slot can have. Raises InvalidValue."""
    if value:
        _slot(name, value, value)
    return value


def _slot(name: str, value: str, one: str) -> None:
    why = ""
    if not one:
        why = f'replication slot name "{one}" is too short'
    elif len(one.encode("utf-8", "surrogateescape")) > _MOST_NAME:
        why = f'replication slot name "{one}" is too long'
    elif not re.fullmatch(r"[a-z0-9_]+", one):
        why = f'replication slot name "{one}" contains invalid character'
    if why:
        raise InvalidValue(f'invalid value for parameter "{name}": "{value}". {why}')


def slots(name: str, value: str, names: list[str]) -> None:
    """synchronized_standby_slots: each name must be one a slot can have. Raises InvalidValue."""
    for one in names:
        _slot(name, value, one[:_MOST_NAME])  # names in a list are cut, not refused


def recovery_target(name: str, value: str, _major: int) -> str:
    """recovery_target: empty or `immediate`. Raises InvalidValue."""
    if value not in ("", "immediate"):
        raise InvalidValue(f'invalid value for parameter "{name}": "{value}". The only allowed value is "immediate".')
    return value


def recovery_lsn(name: str, value: str, _major: int) -> str:
    """recovery_target_lsn: empty or a position in the WAL. Raises InvalidValue."""
    return _matching(r"(?:[0-9A-Fa-f]{1,8}/[0-9A-Fa-f]{1,8})?", name, value)


def recovery_number(name: str, value: str, _major: int) -> str:
    """recovery_target_xid and _timeline: the server reads a number as far as it goes; only one too large is refused."""
    digits = re.match(r"[ \t\n\v\f\r]*[-+]?([0-9]+)", value)
    if digits is not None and whole(digits[1]) >= 2**64:
        raise InvalidValue(f'invalid value for parameter "{name}": "{value}"')
    return value


def recovery_name(name: str, value: str, _major: int) -> str:
    """recovery_target_name: at most 63 bytes. Raises InvalidValue."""
    if len(value.encode("utf-8", "surrogateescape")) > _MOST_NAME:
        raise InvalidValue(f'invalid value for parameter "{name}": "{value}". recovery_target_name is too long')
    return value


def _matching(pattern: str, name: str, value: str) -> str:
    if not re.fullmatch(pattern, value):
        raise InvalidValue(f'invalid value for parameter "{name}": "{value}"')
    return value
