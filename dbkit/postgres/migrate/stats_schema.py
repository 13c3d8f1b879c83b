"""The JSON Schema of a statistics file, printed by `dbkit policy schema --stats` and checked by the tests.

Lint needs `tables` with `name`, `bytes` and `rows`; a file written by hand may hold just these.
"""

from __future__ import annotations

from typing import Any, Final

_TEXT: Final = {"type": "string"}
_BYTES: Final = {"type": "integer", "minimum": 0}
_RATE: Final = {"type": ["number", "null"], "minimum": 0}

_INDEX: Final = {
    "type": "object",
    "required": ["name", "bytes"],
    "properties": {
        "name": _TEXT,
        "bytes": _BYTES,
        "unique": {"type": "boolean"},
        "primary": {"type": "boolean"},
        "valid": {"type": "boolean"},
        "partial": {"type": "boolean"},
        "method": _TEXT,
        "columns": {"type": "array", "items": _TEXT},
    },
}
_KEY: Final = {
    "type": "object",
    "required": ["name", "columns", "references"],
    "properties": {"name": _TEXT, "columns": {"type": "array", "items": _TEXT}, "references": _TEXT},
}
_TABLE: Final = {
    "type": "object",
    "required": ["name", "bytes", "rows"],
    "properties": {
        "name": {**_TEXT, "description": "schema.table"},
        "kind": {"enum": ["table", "partitioned table", "materialized view"]},
        "bytes": {**_BYTES, "description": "heap with TOAST and maps; of a partitioned table, all partitions together"},
        "rows": {**_BYTES, "description": "as ANALYZE estimated"},
        "heap_bytes": _BYTES,
        "toast_bytes": _BYTES,
        "index_bytes": _BYTES,
        "dead_rows": _BYTES,
        "reads_per_second": {**_RATE, "description": "scans of the table and of its indexes"},
        "writes_per_second": {**_RATE, "description": "rows inserted, updated and deleted"},
        "inserted_per_second": _RATE,
        "updated_per_second": _RATE,
        "deleted_per_second": _RATE,
        "statements_per_second": {**_RATE, "description": "null without pg_stat_statements"},
        "different_statements": {"type": ["integer", "null"], "minimum": 0},
        "null_shares": {
            "type": ["object", "null"],
            "additionalProperties": {"type": "number", "minimum": 0, "maximum": 1},
            "description": "of each nullable column, as ANALYZE estimated; null where nothing may be seen of them",
        },
        "partition_of": {"type": ["string", "null"]},
        "partitions": {"type": "array", "items": _TEXT},
        "indexes": {"type": "array", "items": _INDEX},
        "foreign_keys": {"type": "array", "items": _KEY},
    },
}

STATS: Final[dict[str, Any]] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "dbkit statistics",
    "type": "object",
    "required": ["schema", "tables"],
    "properties": {
        "schema": {"const": 1},
        "tool": _TEXT,
        "version": _TEXT,
        "taken": {**_TEXT, "format": "date-time"},
        "server_version": _TEXT,
        "database": _TEXT,
        "rates": {
            "type": "object",
            "required": ["basis", "seconds", "from"],
            "properties": {
                "basis": {"enum": ["window", "since reset"]},
                "seconds": {"type": "number", "minimum": 0},
                "from": _TEXT,
            },
        },
        "tables": {"type": "array", "items": _TABLE},
        "replicas": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "name": _TEXT,
                    "state": {"type": ["string", "null"]},
                    "sync_state": {"type": ["string", "null"]},
                    "lag_bytes": {"type": ["integer", "null"]},
                    "lag_seconds": {"type": ["number", "null"]},
                },
            },
        },
        "skipped": {
            "type": "array",
            "items": {"type": "object", "required": ["what", "opens"], "properties": {"what": _TEXT, "opens": _TEXT}},
        },
    },
}
