"""Encodings a client may ask for, by every spelling the server knows (src/common/encnames.c); held to 15 and 18."""

from __future__ import annotations

import re
from typing import Final

from dbkit.postgres.conf.values import InvalidValue

_NAMES: Final = (
    "BIG5 EUC_CN EUC_JIS_2004 EUC_JP EUC_KR EUC_TW GB18030 GBK ISO_8859_5 ISO_8859_6 ISO_8859_7 ISO_8859_8 JOHAB KOI8R "
    "KOI8U LATIN1 LATIN2 LATIN3 LATIN4 LATIN5 LATIN6 LATIN7 LATIN8 LATIN9 LATIN10 MULE_INTERNAL SHIFT_JIS_2004 SJIS "
    "SQL_ASCII UHC UTF8 WIN866 WIN874 WIN1250 WIN1251 WIN1252 WIN1253 WIN1254 WIN1255 WIN1256 WIN1257 WIN1258"
).split()
_OTHER: Final = {
    "abc": "WIN1258", "alt": "WIN866", "iso88591": "LATIN1", "iso88592": "LATIN2", "iso88593": "LATIN3",
    "iso88594": "LATIN4", "iso88599": "LATIN5", "iso885910": "LATIN6", "iso885913": "LATIN7", "iso885914": "LATIN8",
    "iso885915": "LATIN9", "iso885916": "LATIN10", "koi8": "KOI8R", "mskanji": "SJIS", "shiftjis": "SJIS",
    "tcvn": "WIN1258", "tcvn5712": "WIN1258", "vscii": "WIN1258", "unicode": "UTF8", "win": "WIN1251",
    "win932": "SJIS", "win936": "GBK", "win949": "UHC", "win950": "BIG5",
}  # fmt: skip
SPELLINGS: Final = {
    **{re.sub(r"[^a-z0-9]", "", name.lower()): name for name in _NAMES},
    **_OTHER,
    **{f"windows{n}": f"WIN{n}" for n in (866, 874, *range(1250, 1259))},
    **{f"windows{n}": _OTHER[f"win{n}"] for n in (932, 936, 949, 950)},
}
"""Letters and digits of a spelling, in lower case, to the name the server shows."""


def canonical_encoding(name: str, value: str) -> str:
    """The name the server shows. Raises InvalidValue for an encoding it does not know."""
    found = SPELLINGS.get(re.sub(r"[^a-z0-9]", "", value.lower(), flags=re.ASCII)) if value.isascii() else None
    if found is None:
        raise InvalidValue(f'invalid value for parameter "{name}": "{value}"')
    return value if value == "UNICODE" else found
