"""The JSON Schema of the JSON report, printed by `dbkit policy schema --report` and checked by the tests."""

from __future__ import annotations

from typing import Any, Final

_TEXT: Final = {"type": "string"}
_COUNT: Final = {"type": "integer", "minimum": 0}


def _record(required: dict[str, Any], **optional: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "required": list(required),
        "properties": {**required, **optional},
        "additionalProperties": False,
    }


_FINDING: Final = {
    "rule": _TEXT,
    "severity": {"enum": ["error", "warn", "info"]},
    "evidence": {"enum": ["text", "schema", "observed"]},
    "message": _TEXT,
    "target": _TEXT,
    "object": _TEXT,
    "location": {"anyOf": [{"type": "null"}, _record({"file": _TEXT, "line": {"type": ["integer", "null"]}})]},
    "data": {"type": "object"},
    "fix": {"anyOf": [{"type": "null"}, _record({"kind": _TEXT, "text": _TEXT, "safe": {"type": "boolean"}})]},
    "fingerprint": {"type": "string", "pattern": "^[0-9a-f]{16}$"},
}

_MAYBE: Final = {"type": ["string", "null"]}
_LINE: Final = {"type": ["integer", "null"]}
_FILE: Final = {
    "type": "object",
    "required": ["path", "kind", "version", "loads", "entries", "errors", "settings"],
    "properties": {
        "path": _TEXT,
        "kind": {"enum": ["postgresql.conf", "pgbouncer.ini"]},
        "version": _TEXT,
        "loads": {"type": "boolean", "description": "whether a server of that version would take the file"},
        "entries": _COUNT,
        "errors": {
            "type": "array",
            "description": "what the server says, with the line that it names; `at` is where a pgbouncer.ini is wrong",
            "items": {
                "type": "object",
                "required": ["file", "line", "message"],
                "properties": {"file": _TEXT, "line": _LINE, "message": _TEXT, "at": _LINE, "name": _MAYBE},
            },
        },
        "settings": {
            "type": "object",
            "additionalProperties": _record(
                {
                    "raw": _TEXT,
                    "value": {**_MAYBE, "description": "what the server would then show"},
                    "unit": _MAYBE,
                    "file": _TEXT,
                    "line": _LINE,
                    "occurrences": _COUNT,
                    "error": _MAYBE,
                }
            ),
        },
        "databases": {
            "type": "object",
            "description": "of a pgbouncer.ini that loads: each entry as SHOW DATABASES would print it",
            "additionalProperties": {"type": "object", "additionalProperties": _TEXT},
        },
        "fallback": {"type": ["object", "null"], "description": "the entry of *"},
        "users": {
            "type": "object",
            "description": "each entry of [users] as SHOW USERS would print it",
            "additionalProperties": {"type": "object", "additionalProperties": _TEXT},
        },
        "peers": {"type": "array", "items": {"type": "integer"}},
    },
}

REPORT: Final[dict[str, Any]] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "dbkit report",
    "type": "object",
    "required": ["schema", "tool", "version", "command", "targets", "summary", "findings", "passed", "skipped"],
    "properties": {
        "schema": {"const": 1},
        "tool": _TEXT,
        "version": _TEXT,
        "command": _TEXT,
        "targets": {
            "type": "array",
            "items": _record({"name": _TEXT, "engine": _TEXT, "server_version": {"type": ["string", "null"]}}),
        },
        "summary": _record(dict.fromkeys(("error", "warn", "info", "suppressed", "passed", "skipped"), _COUNT)),
        "findings": {"type": "array", "items": _record(_FINDING)},
        "suppressed": {"type": "array", "items": _record({**_FINDING, "reason": _TEXT, "source": _TEXT})},
        "passed": {"type": "array", "items": _record({"rule": _TEXT, "target": _TEXT})},
        "skipped": {"type": "array", "items": _record({"rule": _TEXT, "target": _TEXT, "reason": _TEXT})},
        "files": {"type": "array", "description": "what a server would read, of a file audit", "items": _FILE},
    },
}
