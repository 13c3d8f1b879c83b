"""Finds the data that travels with dbkit (`sql/`, `policies/`, `migrations/`) in a wheel or in a checkout.

SQL queries live in `sql/` as files that psql runs as they stand; `query("postgres/server")` returns the text.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import LiteralString, cast

from dbkit.errors import Broken

_PACKAGE = Path(__file__).parent


@cache
def root() -> Path:
    """The folder that holds `sql/`, `policies/` and `migrations/`."""
    for place in (_PACKAGE / "_assets", _PACKAGE.parent):
        if (place / "sql").is_dir() and (place / "policies").is_dir():
            return place
    raise Broken(
        "dbkit's own sql/ and policies/ are missing", hint="reinstall dbkit-cli: this installation is incomplete"
    )


def path(relative: str) -> Path:
    """The file or folder `relative` (such as `sql/indexes`) below the asset root."""
    return root() / relative


@cache
def query(name: str) -> LiteralString:
    """The text of `sql/<name>.sql`.

    It is typed as a literal because it is part of the program: shipped with it, reviewed with it, never built from
    input. Values go in as parameters only.
    """
    return cast(LiteralString, path(f"sql/{name}.sql").read_text(encoding="utf-8"))
