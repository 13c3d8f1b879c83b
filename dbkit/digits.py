"""Numbers written by strangers: `int()` refuses text of more than 4,300 digits, and servers read any length."""

from __future__ import annotations

from typing import Final

_MANY: Final = 40
"""No limit a server has takes as many digits: all longer numbers are out of range alike."""


def whole(text: str, base: int = 10) -> int:
    """The number of ASCII digits with an optional sign; one of very many digits becomes another that is as large.

    Raises ValueError for anything else.
    """
    sign, digits = (text[:1], text[1:]) if text[:1] in ("+", "-") else ("", text)
    return int(sign + (digits.lstrip("0")[: _MANY + 1] or digits[:1]), base)
