"""The options behind an authentication method: which method takes which, and with what values (parse_hba_auth_opt)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from dbkit.digits import whole
from dbkit.postgres.conf.checks import split_directories

_LDAP: Final = (
    "ldapurl ldaptls ldapscheme ldapserver ldapport ldapbinddn ldapbindpasswd ldapsearchattribute ldapsearchfilter "
    "ldapbasedn ldapprefix ldapsuffix"
).split()
_RADIUS: Final = "radiusservers radiusports radiussecrets radiusidentifiers".split()
_OAUTH: Final = "issuer scope validator delegate_ident_mapping".split()
_ONE: Final[Mapping[str, str]] = {
    **dict.fromkeys(("pamservice", "pam_use_hostname"), "pam"),
    **dict.fromkeys(_LDAP, "ldap"),
    **dict.fromkeys(("compat_realm", "upn_username"), "sspi"),
    **dict.fromkeys(_RADIUS, "radius"),
}
_BINDS: Final = ("ldapbasedn", "ldapbinddn", "ldapbindpasswd", "ldapsearchattribute", "ldapsearchfilter")


def refusal(name: str, value: str, *, kind: str, method: str, major: int) -> str:
    """Why the server refuses one option; empty when it takes it. `kind` is the connection type."""
    if name == "map":
        takers = ("ident", "peer", "gss", "sspi", "cert", *(("oauth",) if major >= 18 else ()))
        words = "ident, peer, gssapi, sspi, cert, and oauth" if major >= 18 else "ident, peer, gssapi, sspi, and cert"
        return "" if method in takers else _several(name, words)
    if name in ("krb_realm", "include_realm"):
        return "" if method in ("gss", "sspi") else _several(name, "gssapi and sspi")
    if name in ("clientcert", "clientname"):
        return _certificate(name, value, kind, method)
    known = {**_ONE, **(dict.fromkeys(_OAUTH, "oauth") if major >= 18 else {})}
    owner = known.get(name)
    if owner is None:
        return f'unrecognized authentication option name: "{name}"'
    if owner != method:
        return f'authentication option "{name}" is only valid for authentication methods {owner}'
    if name == "ldapport" and not whole((re.match(r"\s*([-+]?\d+)", value, re.ASCII) or ["0", "0"])[1]):
        return f'invalid LDAP port number: "{value}"'
    return ""


def _several(name: str, methods: str) -> str:
    return f'authentication option "{name}" is only valid for authentication methods {methods}'


def _certificate(name: str, value: str, kind: str, method: str) -> str:
    if kind != "hostssl":
        return f'{name} can only be configured for "hostssl" rows'
    if name == "clientname":
        return "" if value in ("CN", "DN") else f'invalid value for clientname: "{value}"'
    if value == "verify-ca" and method == "cert":
        return 'clientcert can only be set to "verify-full" when using "cert" authentication'
    return "" if value in ("verify-ca", "verify-full") else f'invalid value for clientcert: "{value}"'


def lacking(method: str, given: Mapping[str, str], major: int) -> str:
    """What a method needs and was not given, or was given twice over; empty when all is there."""
    needs: tuple[str, ...] = ()
    if method == "ldap" and "ldapurl" not in given:
        simple = "ldapprefix" in given or "ldapsuffix" in given
        if simple and any(name in given for name in _BINDS):
            if major >= 18:
                return "cannot mix options for simple bind and search+bind modes"
            return (
                "cannot use ldapbasedn, ldapbinddn, ldapbindpasswd, ldapsearchattribute, ldapsearchfilter, or ldapurl "
                "together with ldapprefix"
            )
        if not simple and "ldapbasedn" not in given:
            return (
                'authentication method "ldap" requires argument "ldapbasedn", "ldapprefix", or "ldapsuffix" to be set'
            )
        if "ldapsearchattribute" in given and "ldapsearchfilter" in given:
            return "cannot use ldapsearchattribute together with ldapsearchfilter"
    if method == "radius":
        needs = ("radiusservers", "radiussecrets")
    elif method == "oauth":
        needs = ("scope", "issuer")
    for name in needs:
        if name not in given:
            return f'authentication method "{method}" requires argument "{name}" to be set'
    return ""


def validator(given: Mapping[str, str], libraries: str) -> str:
    """Why a line with method oauth is refused for the libraries that may prove a token (18 and newer); else empty."""
    name = given.get("validator")
    allowed = split_directories(libraries)
    if not libraries:
        return "oauth_validator_libraries must be set for authentication method oauth"
    if allowed is None:
        return 'invalid list syntax in parameter "oauth_validator_libraries"'
    if name is None and len(allowed) > 1:
        return (
            'authentication method "oauth" requires argument "validator" to be set when oauth_validator_libraries '
            "contains multiple options"
        )
    if name is not None and name not in allowed:
        return f'validator "{name}" is not permitted by oauth_validator_libraries'
    if "map" in given and given.get("delegate_ident_mapping") == "1":
        return "map cannot be used in combination with delegate_ident_mapping"
    return ""
