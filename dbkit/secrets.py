"""Keeps passwords out of everything that is shown or stored.

Our own code never prints a DSN; this is the second line of defence, for texts that come from drivers and servers.
"""

from __future__ import annotations

import re
from typing import Final

_URL: Final = re.compile(r"(?P<head>[a-z][a-z0-9+.-]*://[^\s:/@]*):(?P<secret>[^\s]*)@", re.IGNORECASE)
_QUOTED: Final = r"'(?:[^'\\]|\\.|'')*'"
"""A quoted value as libpq (backslash) and the server (doubled quote) write one."""
_KEYWORD: Final = re.compile(
    rf"(?P<head>\b(?:password|passwd|pwd|sslpassword)[\"']?\s*[=:]\s*)"
    rf'(?P<secret>{_QUOTED}|"(?:[^"\\]|\\.)*"|\S+)',
    re.IGNORECASE,
)
_SQL: Final = re.compile(
    rf"(?P<head>\bpassword\s+)(?P<secret>e?{_QUOTED}|\$(?P<tag>\w*)\$.*?\$(?P=tag)\$)", re.IGNORECASE | re.DOTALL
)


def redact(text: str) -> str:
    """The text with the password of every connection string, `password=` pair and `PASSWORD '...'` clause as `***`."""
    text = _URL.sub(r"\g<head>:***@", text)
    text = _KEYWORD.sub(r"\g<head>***", text)
    return _SQL.sub(r"\g<head>'***'", text)
