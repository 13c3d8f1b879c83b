"""Suppression comments: dbkit's own and those of squawk, eugene, pgsafe and postgres-language-server.

`-- dbkit: ignore RULE[, RULE] reason="..." until=2027-01-01` above a statement, behind it, or inside it; with
`ignore-file` for the whole file. A rule may be named by its dbkit id (the leading `migrate.` may be left out), by a
dotted prefix, or by another tool's name for it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

from dbkit.postgres.migrate.rules.declare import EUGENE, PGLS, PGSAFE, SQUAWK
from dbkit.rules import Rule

_COMMENT: Final = re.compile(
    r"(?:--|/\*)\s*(?:"
    r"(?P<dbkit>dbkit:\s*(?P<dbkit_verb>ignore(?:-file)?)\b)"
    r"|(?P<squawk>squawk-ignore(?P<squawk_verb>-next-statement|-file)?\b)"
    r"|(?P<eugene>eugene:\s*ignore\b)"
    r"|(?P<pgsafe>pgsafe:\s*ignore\b)"
    r"|(?P<pgls>(?:pgt|pgls)-ignore(?P<pgls_verb>-all|-start|-end)?\b)"
    r")(?P<rest>[^\n]*)",
    re.IGNORECASE,
)
_REASON: Final = re.compile(r"""reason\s*=\s*(?:"([^"]*)"|'([^']*)'|(\S+))""")
_UNTIL: Final = re.compile(r"until\s*=\s*(\S+)")
_MARKS: Final = ("ignore",)


@dataclass(slots=True)
class Directive:
    """One suppression comment."""

    tool: str
    names: tuple[str, ...]
    """Empty: every rule."""
    line: int
    whole_file: bool = False
    reason: str = ""
    until: date | None = None
    bad_date: str = ""
    own_line: bool = True
    used: bool = False
    first: int = 0
    last: int = 0
    """Lines of the statement it belongs to."""

    def over(self, today: date) -> bool:
        """Whether it has ended, or its end cannot be read: a slip of the pen must not silence for ever."""
        return bool(self.bad_date) or (self.until is not None and self.until < today)

    def covers(self, line: int) -> bool:
        """Whether a finding on that line is meant."""
        return self.whole_file or self.first <= line <= self.last


def find(text: str) -> list[Directive]:
    """All suppression comments of a text, with their lines."""
    if not any(mark in text for mark in _MARKS):
        return []
    found: list[Directive] = []
    started: list[Directive] = []
    for match in _COMMENT.finditer(text):
        line = text.count("\n", 0, match.start()) + 1
        begin = text.rfind("\n", 0, match.start()) + 1
        if text.count("'", begin, match.start()) % 2:
            continue  # in a string
        directive = _directive(match, line)
        directive.own_line = not text[begin : match.start()].strip()
        if match["pgls"] and (match["pgls_verb"] or "").lower() == "-start":
            started.append(directive)
        elif match["pgls"] and (match["pgls_verb"] or "").lower() == "-end":
            _close(started, directive)
            continue
        found.append(directive)
    return found


def _close(started: list[Directive], end: Directive) -> None:
    for directive in started:
        if directive.names == end.names and directive.last == 0:
            directive.first, directive.last = directive.line, end.line


def _directive(match: re.Match[str], line: int) -> Directive:
    rest = match["rest"].partition("*/")[0].strip()
    if match["dbkit"]:
        reason = _REASON.search(rest)
        until = _UNTIL.search(rest)
        names = _words(_UNTIL.sub("", _REASON.sub("", rest)))
        made = Directive("dbkit", names, line, match["dbkit_verb"].lower().endswith("-file"))
        made.reason = next((g for g in reason.groups() if g), "") if reason else ""
        if until:
            try:
                made.until = date.fromisoformat(until[1])
            except ValueError:
                made.bad_date = until[1]
        return made
    if match["squawk"]:
        words = _words(rest.split("--")[0])
        return Directive(SQUAWK, words, line, (match["squawk_verb"] or "").lower() == "-file")
    if match["eugene"]:
        return Directive(EUGENE, _words(rest), line)
    if match["pgsafe"]:
        first, _, reason_text = rest.partition(" ")
        return Directive(PGSAFE, (first,) if first else (), line, reason=reason_text.strip())
    names = _pgls_names(_words(rest.partition(":")[0]))
    made = Directive(PGLS, names, line, (match["pgls_verb"] or "").lower() == "-all")
    made.reason = rest.partition(":")[2].strip()
    return made


_PGLS_GROUPS: Final = {
    "correctness": "avoidAlterEnumAddValue banConcurrentIndexCreationInTransaction transactionNesting",
    "destructive": "addingRequiredField banDeleteWithoutWhere banDropColumn banDropDatabase banDropNotNull"
    " banDropSchema banDropTable banTruncate banTruncateCascade banUpdateWithoutWhere changingColumnType renamingColumn"
    " renamingTable",
    "style": "banCharField creatingEnum preferBigInt preferBigintOverInt preferBigintOverSmallint preferIdentity"
    " preferJsonb preferTextField preferTimestamptz",
    "typecheck": "",
}
"""The rules of its groups, but for `safety`, which holds all others."""


def _pgls_names(words: tuple[str, ...]) -> tuple[str, ...]:
    """Rule names of `banDropTable`, `lint/banDropTable`, `lint/safety/banDropTable`, a group, or (empty) all rules."""
    names: list[str] = []
    for word in words:
        flat = word.removeprefix("lint/")
        if word in ("lint", "lint/safety"):  # the latter once held every rule, and keeps meaning that
            return ()
        names += _PGLS_GROUPS[flat].split() or [flat] if flat in _PGLS_GROUPS else [flat.rpartition("/")[2]]
    return tuple(names)


def _words(text: str) -> tuple[str, ...]:
    return tuple(w for w in re.split(r"[\s,]+", text.strip()) if w)


def place(directives: Iterable[Directive], statements: list[tuple[int, int]]) -> None:
    """Tie each comment to the statement around it, behind which it stands, or the next one; lines from 1."""
    for directive in directives:
        if directive.last or directive.whole_file:
            continue
        line = directive.line
        around = next((s for s in reversed(statements) if s[0] <= line <= s[1]), None)
        if around is not None and directive.own_line and around[1] == line and around[0] < line:
            around = next((s for s in statements if s[0] > line), around)
        after = next((s for s in statements if s[0] > line), None)
        chosen = around or after
        if chosen is not None:
            directive.first, directive.last = chosen


def names_by_tool(rules: Iterable[Rule[..., Any]]) -> Mapping[tuple[str, str], frozenset[str]]:
    """(tool, name) to the ids of the rules that answer to it."""
    found: dict[tuple[str, str], set[str]] = {}
    for rule in rules:
        for name in (rule.id, rule.id.removeprefix("migrate."), *rule.aliases):
            found.setdefault(("dbkit", name.lower()), set()).add(rule.id)
        for tool, names in rule.equivalents.items():
            for name in names:
                found.setdefault((tool, name.lower()), set()).add(rule.id)
                found.setdefault(("dbkit", name.lower()), set()).add(rule.id)
    return {key: frozenset(ids) for key, ids in found.items()}


def matches(directive: Directive, rule: str, known: Mapping[tuple[str, str], frozenset[str]]) -> bool:
    """Whether the comment means the rule."""
    if not directive.names:
        return directive.tool not in ("dbkit", SQUAWK) or (directive.tool == SQUAWK and directive.whole_file)
    if directive.tool == PGLS and "safety" in directive.names:
        theirs = {n.lower() for group in _PGLS_GROUPS.values() for n in group.split()}
        safety = {i for (tool, n), ids in known.items() if tool == PGLS and n not in theirs for i in ids}
        if rule in safety:
            return True
    for name in directive.names:
        if rule in known.get((directive.tool, name.lower()), ()):
            return True
        if directive.tool == "dbkit" and (rule == name or rule.startswith(name + ".")):
            return True
    return False


def complaints(
    directives: Iterable[Directive],
    known: Mapping[tuple[str, str], frozenset[str]],
    active: AbstractSet[str],
    today: date,
) -> Iterable[tuple[int, str]]:
    """What is wrong with dbkit's own comments: line and sentence. Only rules in `active` can show a comment unused."""
    for d in directives:
        if d.tool != "dbkit":
            continue
        unknown = [n for n in d.names if ("dbkit", n.lower()) not in known and n != "migrate"]
        if d.bad_date:
            yield d.line, f"until={d.bad_date} is not a date such as 2027-01-01, so nothing is silenced"
        elif d.until is not None and d.until < today:
            yield d.line, f"this suppression ended on {d.until}"
        elif not d.names:
            yield d.line, "this suppression names no rule, and so silences none"
        elif unknown:
            yield d.line, f"no rule is called {', '.join(unknown)}"
        elif not d.used and any(matches(d, rule, known) for rule in active):
            yield d.line, f"nothing here is reported as {', '.join(d.names)}: delete the comment"
        elif d.used and len(d.reason) < 3:
            yield d.line, 'this suppression gives no reason: add reason="..."'
