"""Keeps passwords out of everything that is shown or stored.

Our own code never prints a DSN; this is the second line of defence, for texts that come from drivers and servers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from dbkit.model import Json

_URL: Final = re.compile(r"(?P<head>[a-z][a-z0-9+.-]*://[^\s:/@]*):(?P<secret>[^\s]*)@", re.IGNORECASE)
_QUOTED: Final = r"'(?:[^'\\]|\\.|'')*'"
"""A quoted value as libpq (backslash) and the server (doubled quote) write one."""
_KEYWORD: Final = re.compile(
    rf"(?P<head>\b\w*(?:password|passwd|pwd|radiussecrets)[\"']?\s*[=:]\s*)"
    rf'(?P<secret>{_QUOTED}|"(?:[^"\\]|\\.)*"|\S+)',
    re.IGNORECASE,
)
_SQL: Final = re.compile(
    rf"(?P<head>\bpassword\s+)(?P<secret>e?{_QUOTED}|\$(?P<tag>\w*)\$.*?\$(?P=tag)\$)", re.IGNORECASE | re.DOTALL
)
_VARIABLE: Final = re.compile(
    rf"(?P<head>\b[A-Z0-9_]*(?:SECRET|TOKEN|PASSPHRASE|ACCESS_KEY|API_KEY)[A-Z0-9_]*=)(?P<secret>{_QUOTED}|\"[^\"]*\"|\S+)"
)
_FLAG: Final = re.compile(
    rf"(?P<head>(?<!\S)--?[\w-]*(?:password|passwd|passphrase|secret|token|access-key|api-key)(?:=|\s+(?!-)))"
    rf"(?P<secret>{_QUOTED}|\"[^\"]*\"|\S+)"
)
"""As commands take one: `PGPASSWORD=... pg_dump`, `aws --secret-access-key ...`."""
_SECRET_SETTING: Final = re.compile(r"(?:password|passwd|secret|passphrase|token|api_?key|access_?key)$")


def redact(text: str) -> str:
    """The text with every password as `***`: of connection strings, `password=` pairs, PASSWORD '...', commands."""
    text = _URL.sub(r"\g<head>:***@", text)
    for pair in (_KEYWORD, _VARIABLE, _FLAG):
        text = pair.sub(r"\g<head>***", text)
    return _SQL.sub(r"\g<head>'***'", text)


def redacted(value: Json) -> Json:
    """The same for all texts in a value."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, Mapping):
        return {name: redacted(item) for name, item in value.items()}
    if isinstance(value, Sequence):
        return [redacted(item) for item in value]
    return value


def of_setting(name: str, value: str) -> str:
    """A parameter's value as it may be shown: primary_conninfo without its password, an extension's secret as `***`."""
    secret = name == "ssl_passphrase_command" or ("." in name and _SECRET_SETTING.search(name.lower()))
    return "***" if secret and value else redact(value)


def of_option(option: str) -> str:
    """An option of pg_hba.conf as it may be shown: ldapbindpasswd and radiussecrets as `***`."""
    name, _, _ = option.partition("=")
    return f"{name}=***" if name.endswith(("passwd", "secrets")) else redact(option)
