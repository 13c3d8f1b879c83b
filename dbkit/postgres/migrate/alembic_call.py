"""Alembic's own surroundings of one revision's function: `op`, `context` and the naming convention, without env.py."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any


@contextmanager
def surroundings(connection: Any, script: Any, naming: Mapping[str, str] | None, **options: Any) -> Generator[Any]:
    """Alembic's MigrationContext over a SQLAlchemy connection; inside, `alembic.op` and `alembic.context` work.

    `script` is Alembic's ScriptDirectory, `options` are those of `context.configure`.
    """
    from alembic.config import Config
    from alembic.operations import Operations
    from alembic.runtime.environment import EnvironmentContext
    from sqlalchemy import MetaData

    with EnvironmentContext(Config(), script) as held:
        metadata = MetaData(naming_convention=dict(naming)) if naming else None
        held.configure(connection=connection, target_metadata=metadata, **options)
        context = held.get_context()
        with Operations.context(context):
            yield context
