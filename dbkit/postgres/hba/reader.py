"""pg_hba.conf line by line, as pg_hba_file_rules shows it (parse_hba_line of hba.c); run on 15 and 18."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from dbkit.digits import whole
from dbkit.postgres.hba import options
from dbkit.postgres.hba.lexer import Line, Token, read

_KINDS: Final = ("local", "host", "hostssl", "hostnossl", "hostgssenc", "hostnogssenc")
_METHODS: Final = (
    "trust ident peer password gss sspi reject md5 scram-sha-256 pam bsd ldap cert radius".split()
)  # and oauth from 18 on
_ABSENT: Final = ("sspi", "bsd")
"""Methods of other systems than Linux."""


@dataclass(frozen=True, slots=True)
class HbaRule:
    """One line: whom it lets in, from where, and by what proof; or why the server refuses it."""

    file: str
    line: int
    kind: str | None = None
    databases: tuple[str, ...] = ()
    users: tuple[str, ...] = ()
    address: str | None = None
    netmask: str | None = None
    method: str | None = None
    options: tuple[str, ...] = ()
    error: str | None = None

    def row(self) -> dict[str, Any]:
        """The line with the names of pg_hba_file_rules."""
        return {
            "line_number": self.line,
            "file_name": self.file,
            "type": self.kind,
            "database": list(self.databases) or None,
            "user_name": list(self.users) or None,
            "address": self.address,
            "netmask": self.netmask,
            "auth_method": self.method,
            "options": list(self.options) or None,
            "error": self.error,
        }


class _Refused(Exception):
    """The line is refused; the text is the server's."""


@dataclass(frozen=True, slots=True)
class HbaFile:
    """A pg_hba.conf with all it includes."""

    path: str
    major: int
    rules: tuple[HbaRule, ...]

    @property
    def loads(self) -> bool:
        """Whether a server would take it: no line is refused, and there is one."""
        good = [r for r in self.rules if r.error is None or r.kind is not None]
        return bool(good) and len(good) == len(self.rules)


def read_file(path: Path, major: int, *, ssl: bool = False, validators: str = "") -> HbaFile:
    """Read a pg_hba.conf; `ssl` and `validators` (oauth_validator_libraries) are the server's settings.

    Raises UsageError when it cannot be read.
    """
    lines = read(path, major)
    return HbaFile(str(path), major, tuple(_rule(line, major, validators, ssl=ssl) for line in lines))


@dataclass
class _Fields:
    """What is left of a line."""

    rest: list[Sequence[Token]] = field(default_factory=list[Sequence[Token]])

    def take(self, what: str) -> Sequence[Token]:
        if not self.rest:
            raise _Refused(f"end-of-line before {what}")
        return self.rest.pop(0)

    def one(self, what: str, many: str) -> Token:
        tokens = self.take(what)
        if len(tokens) > 1:
            raise _Refused(f"multiple values specified for {many}")
        return tokens[0]


def _rule(line: Line, major: int, validators: str, *, ssl: bool) -> HbaRule:
    if line.error:
        return HbaRule(line.file, line.number, error=line.error)
    try:
        return _parsed(line, _Fields(list(line.fields)), major, validators, ssl=ssl)
    except _Refused as refused:
        return HbaRule(line.file, line.number, error=str(refused))


def _parsed(line: Line, fields: _Fields, major: int, validators: str, *, ssl: bool) -> HbaRule:
    kind = fields.one("connection type", "connection type").text
    if kind not in _KINDS:
        raise _Refused(f'invalid connection type "{kind}"')
    warning = "hostssl record cannot match because SSL is disabled" if kind == "hostssl" and not ssl else None
    databases = _names(fields.take("database specification"), major)
    users = _names(fields.take("role specification"), major)
    address, netmask = (None, None) if kind == "local" else _address(fields)
    method = fields.one("authentication method", "authentication type").text
    known = (*_METHODS, *(("oauth",) if major >= 18 else ()))
    if method not in known:
        raise _Refused(f'invalid authentication method "{method}"')
    if method in _ABSENT:
        raise _Refused(f'invalid authentication method "{method}": not supported by this build')
    if method == "ident" and kind == "local":
        method = "peer"
    if method == "gss" and kind == "local":
        raise _Refused("gssapi authentication is not supported on local sockets")
    if method == "peer" and kind != "local":
        raise _Refused("peer authentication is only supported on local sockets")
    if method == "cert" and kind != "hostssl":
        raise _Refused("cert authentication is only supported on hostssl connections")
    given = _options(fields.rest, kind, method, major)
    why = options.validator(given, validators) if method == "oauth" else ""
    if why:
        raise _Refused(why)
    shown = tuple(f"{name}={value}" for name, value in given.items() if "passwd" not in name and "secret" not in name)
    return HbaRule(line.file, line.number, kind, databases, users, address, netmask, method, shown, warning)


def _names(tokens: Sequence[Token], major: int) -> tuple[str, ...]:
    """Databases or roles; from 16 on a slash begins a regular expression."""
    for token in tokens:
        why = why_broken(token.text[1:]) if major >= 16 and token.text.startswith("/") else ""
        if why:
            raise _Refused(f'invalid regular expression "{token.text[1:]}": {why}')
    return tuple(token.text for token in tokens)


def why_broken(text: str) -> str:
    """Why an expression is none: brackets, or a quantifier with nothing before it; finer points are taken on trust."""
    plain = re.sub(r"\\.", "x", text)
    plain = re.sub(r"\[\^?\]?[^\]]*\]", "x", plain)
    if "[" in plain:
        return "brackets [] not balanced"
    if plain.count("(") != plain.count(")"):
        return "parentheses () not balanced"
    if plain.endswith("\\"):
        return "invalid escape \\ sequence"
    return "quantifier operand invalid" if re.search(r"(?:^|[(|])[*+?]", plain) else ""


def _address(fields: _Fields) -> tuple[str, str | None]:
    token = fields.one("IP address specification", "host address")
    if any(token.is_keyword(word) for word in ("all", "samehost", "samenet")):
        return token.text, None
    text, slash, bits = token.text.partition("/")
    found = _numeric(text)
    if found is None:
        if slash:
            raise _Refused(f'specifying both host name and CIDR mask is invalid: "{token.text}"')
        return text, None
    if slash:
        number = re.fullmatch(r"\s*\+?(\d+)", bits, re.ASCII)
        if number is None or whole(number[1]) > found.max_prefixlen:
            raise _Refused(f'invalid CIDR mask in address "{token.text}"')
        width = found.max_prefixlen - whole(number[1])
        full = (1 << found.max_prefixlen) - 1
        return _shown(found), str(type(found)(full >> width << width))
    mask = fields.one("netmask specification", "netmask").text
    held = _numeric(mask)
    if held is None:
        raise _Refused(f'invalid IP mask "{mask}": Name or service not known')
    if held.version != found.version:
        raise _Refused("IP address and mask do not match")
    return _shown(found), _shown(held)


def _shown(found: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return f"::ffff:{mapped}" if mapped else str(found)


def _numeric(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """An address as getaddrinfo takes it without asking anybody: `10.1` and `0x7f.1` are ones too."""
    try:
        return ipaddress.ip_address(text.partition("%")[0] if ":" in text else text)
    except ValueError:
        pass
    parts = text.split(".")
    if not 1 <= len(parts) <= 4 or not all(re.fullmatch(r"0[xX][0-9a-fA-F]+|[0-9]+", part) for part in parts):
        return None
    numbers: list[int] = []
    for part in parts:
        base = 16 if part[:2].lower() == "0x" else 8 if part.startswith("0") and len(part) > 1 else 10
        try:
            numbers.append(int(part, 16) if base == 16 else whole(part, base))
        except ValueError:
            return None
    room = 256 ** (5 - len(numbers))
    if any(n > 255 for n in numbers[:-1]) or numbers[-1] >= room:
        return None
    total = numbers[-1] + sum(n << (24 - 8 * position) for position, n in enumerate(numbers[:-1]))
    return ipaddress.IPv4Address(total)


def _options(rest: Sequence[Sequence[Token]], kind: str, method: str, major: int) -> dict[str, str]:
    given: dict[str, str] = {}
    for token in (token for tokens in rest for token in tokens):
        name, equals, value = token.text.partition("=")
        if not equals:
            raise _Refused(f"authentication option not in name=value format: {token.text}")
        why = options.refusal(name, value, kind=kind, method=method, major=major)
        if why:
            raise _Refused(why)
        given[name] = value
    why = options.lacking(method, given, major)
    if why:
        raise _Refused(why)
    return given
