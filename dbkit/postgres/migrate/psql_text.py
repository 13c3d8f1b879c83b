"""What only psql reads in a SQL file: its commands, the data of COPY, variables. Positions stay those of the file."""

from __future__ import annotations

import re
from typing import Final

_COPY: Final = re.compile(r"^COPY\s[^;]*?\sFROM\s+stdin\b[^;]*;[^\n]*\n", re.MULTILINE | re.IGNORECASE)
_COMMAND: Final = re.compile(r"^\\[^\n]*", re.MULTILINE)
_SEND: Final = re.compile(r"\\g(?:exec|x|desc|set(?:[ \t]+\w+)?)?(?=[ \t\r]*$)", re.MULTILINE)
"""A command that sends the statement before it, as a semicolon would."""
_INCLUDE: Final = re.compile(r"^\\(i|ir|include|include_relative)[ \t]+(\S+)", re.MULTILINE)
_EXECUTE: Final = re.compile(r"\\gexec[ \t\r]*$", re.MULTILINE)
_TEMPLATE: Final = re.compile(r"\$\{[^}\n]*\}|\{\{[^}\n]*\}\}")
_VARIABLE: Final = re.compile(r"""(?<![:\w]):(?:'(\w+)'|"(\w+)"|([A-Za-z_]\w*))""")


def blank(text: str) -> str:
    """The text without what only psql reads: its commands, and the data of COPY ... FROM stdin."""
    text = _without_data(text)
    if "\\g" in text:
        text = _SEND.sub(lambda m: ";" + " " * (len(m[0]) - 1), text)
    if text.startswith("\\") or "\n\\" in text:
        text = _COMMAND.sub(lambda m: " " * len(m[0]), text)
    return text


def left_out(text: str) -> tuple[tuple[int, str, str], ...]:
    """Commands by which psql would run SQL that is not in the text: line, the command, and why it is not judged."""
    if "\\" not in text:
        return ()
    text = _without_data(text)
    found = [(m.start(), m[0], "psql reads that file; lint it as well") for m in _INCLUDE.finditer(text)]
    found += [(m.start(), "\\gexec", "psql runs what the query returns") for m in _EXECUTE.finditer(text)]
    return tuple((text.count("\n", 0, at) + 1, words, why) for at, words, why in sorted(found))


def spaces(text: str) -> str:
    """White space of the same shape."""
    return re.sub(r"[^\n]", " ", text)


def _without_data(text: str) -> str:
    if "stdin" not in text.lower():
        return text
    position, pieces = 0, list[str]()
    for match in _COPY.finditer(text):
        if match.start() < position:
            continue
        end = text.find("\n\\.", match.end() - 1)
        end = len(text) if end < 0 else end + 3
        pieces += [text[position : match.end()], spaces(text[match.end() : end])]
        position = end
    return "".join([*pieces, text[position:]])


def filled(text: str, *, psql: bool) -> str:
    """The text with `${name}`, `{{ name }}` and, for psql, `:name` as words of the same length, to be parsed."""

    def template(match: re.Match[str]) -> str:
        word = re.sub(r"\W", "_", match[0].encode("ascii", "replace").decode())
        return "x" + word[1:]

    def variable(match: re.Match[str]) -> str:
        literal, identifier, bare = match.groups()
        return f"'x{literal}'" if literal else f'"x{identifier}"' if identifier else f"x{bare}"

    text = _TEMPLATE.sub(template, text)
    return _VARIABLE.sub(variable, text) if psql else text
