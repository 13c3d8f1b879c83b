"""Rules about the wanted set: what is missing, different, in the way, or cannot be seen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dbkit.model import Severity
from dbkit.postgres.indexes.rules.declare import Verdict, comment, index_rule

if TYPE_CHECKING:
    from dbkit.postgres.indexes.states import IndexState

_WANTED = "-- wanted: create index idx_users_email on users (email);"
_GOOD = f"""
{_WANTED}
create table users (email text);
create index idx_users_email on users (email);
"""


def _found(state: IndexState, *names: str) -> Verdict | None:
    if state.state.value not in names:
        return None
    return Verdict(state.detail or state.state.value, state.object, state.hint, comment(state.hint))


@index_rule(
    "index-missing",
    Severity.ERROR,
    ok="Every wanted index is there",
    bad=f"""
    {_WANTED}
    create table users (email text);
    """,
    good=_GOOD,
)
def missing(state: IndexState) -> Verdict | None:
    """A wanted index is not there, or its partitioned parent is only half attached.

    Why: the statements it was documented for read the whole table.

    Fix: `dbkit index apply` builds it without blocking writers; on a partitioned table partition by partition.

    Not reported when: an index of the same definition exists under another name.

    See: `dbkit explain pg.index-other-definition`.
    """
    if state.state.value == "missing":
        table = state.table.qualified if state.table else state.wanted.written_table
        why = f": {state.wanted.why}" if state.wanted.why else ""
        return Verdict(
            f"it is wanted on {table}{why}, but not there",
            state.object,
            "`dbkit index apply` builds it without blocking writers",
            f"{state.wanted.sql};",
        )
    return _found(state, "invalid-parent")


@index_rule(
    "index-other-definition",
    Severity.ERROR,
    ok="No wanted name stands for another index",
    bad=f"""
    {_WANTED}
    create table users (email text, full_name text);
    create index idx_users_email on users (full_name);
    """,
    good=_GOOD,
)
def other_definition(state: IndexState) -> Verdict | None:
    """An index has the wanted name but another definition.

    Why: people trust the name; the wanted statements are not served.

    Fix: decide which of the two is right; drop or rename the other. dbkit never drops it by itself.

    Not reported when: only the direction of all key columns differs, which a b-tree reads both ways.

    See: `dbkit index plan`.
    """
    return _found(state, "other-definition")


@index_rule(
    "index-name-taken",
    Severity.ERROR,
    ok="No wanted name belongs to something else",
    bad=f"""
    {_WANTED}
    create table users (email text);
    create table idx_users_email (id int);
    """,
    good=_GOOD,
)
def name_taken(state: IndexState) -> Verdict | None:
    """The wanted name belongs to another relation.

    Why: CREATE INDEX IF NOT EXISTS would succeed here without making an index.

    Fix: rename one of the two.

    Not reported when: the name belongs to the wanted index itself.

    See: `dbkit index plan`.
    """
    return _found(state, "name-taken")


@index_rule(
    "index-cannot-build",
    Severity.ERROR,
    ok="Every wanted index can be built",
    bad="""
    -- wanted: create index idx_users_name on users using gin (full_name gin_trgm_ops);
    create table users (full_name text);
    """,
    good="""
    -- wanted: create index idx_users_name on users using gin (full_name gin_trgm_ops);
    create extension pg_trgm;
    create table users (full_name text);
    """,
)
def cannot_build(state: IndexState) -> Verdict | None:
    """A wanted index cannot be built here: a table, column, operator class or right is missing.

    Why: found on an empty copy, before anything was tried on the real table.

    Fix: the finding says what is missing.

    Not reported when: the server was not allowed to try; then it is `pg.index-not-visible`.

    See: `dbkit doctor`.
    """
    return _found(state, "cannot-build", "no-table")


@index_rule(
    "index-not-visible",
    Severity.WARN,
    ok="Every wanted index could be judged",
    bad=f"""
    -- audited by a role without rights
    {_WANTED}
    create table users (email text);
    """,
    good=_GOOD,
)
def not_visible(state: IndexState) -> Verdict | None:
    """A wanted index could not be judged with the rights of this role, or on this server.

    Why: what cannot be seen must not count as passed.

    Fix: the finding names the GRANT that opens it.

    Not reported when: the role may see everything.

    See: `dbkit doctor`.
    """
    return _found(state, "not-visible", "not-compared")


RULES = (missing, other_definition, name_taken, cannot_build, not_visible)
