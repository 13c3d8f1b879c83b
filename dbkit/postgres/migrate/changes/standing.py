"""Where every change of an environment stands in one database: read from alembic_version, the catalogue and the records
of revisions that were begun. Nothing about the phase is stored for its own sake.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dbkit.errors import UsageError
from dbkit.postgres.catalog import quoted
from dbkit.postgres.connect import Connection, fetch
from dbkit.postgres.migrate import revisions
from dbkit.postgres.migrate.changes import words
from dbkit.postgres.migrate.changes.spec import BackfillSpec, Change, Phase
from dbkit.postgres.migrate.revisions import DOWN, UP, Environment, Revision


def changes(connection: Connection, environment: Environment) -> tuple[Change, ...]:
    """All changes, in the order of their expand revisions."""
    applied = environment.ancestors(revisions.heads(connection, environment))
    begun = _begun(connection, environment)
    back = returning(connection, environment)
    expands = [r for r in environment.revisions if r.change is not None and r.phase != "contract"]
    contracts = {
        str(r.change["id"]): r for r in environment.revisions if r.change is not None and r.phase == "contract"
    }
    return tuple(_change(connection, e, contracts.get(_text(e, "id")), applied, begun, back) for e in expands)


def one(connection: Connection, environment: Environment, name: str) -> Change:
    """The change of that id, of one of its revisions, or on that table. Raises UsageError with what there is."""
    known = changes(connection, environment)
    exact = [c for c in known if name in (c.id, c.expand, c.contract) or c.id == environment.mark(name)]
    found = exact or [c for c in known if name in (c.table, c.qualified)]
    if len(found) == 1:
        return found[0]
    told = ", ".join(c.id for c in found or known) or "none; `dbkit migrate new` writes one"
    what = f"{name} may mean several changes" if found else f"there is no change {name}"
    raise UsageError(what, hint=f"changes: {told}")


def specs(connection: Connection, revision: Revision) -> tuple[BackfillSpec, ...]:
    """What a revision of a change has to fill."""
    entries = revision.change.get("fill", ()) if revision.change is not None else ()
    return tuple(_spec(connection, _text(revision, "id"), entry) for entry in entries)


def _change(
    connection: Connection, expand: Revision, contract: Revision | None, applied: frozenset[str],
    begun: frozenset[str], back: frozenset[str],
) -> Change:  # fmt: skip
    change = expand.change or {}
    if not change.get("schema", "-"):
        raise UsageError(
            f"{expand.path.name}: this change is written for any schema", hint="say which with --schema-pattern"
        )
    fills = specs(connection, expand)
    return Change(
        id=_text(expand, "id"),
        kind=_text(expand, "kind"),
        schema=_text(expand, "schema"),
        table=_text(expand, "table"),
        old=tuple(map(str, change.get("old", ()))),
        new=tuple(map(str, change.get("new", ()))),
        expand=expand.id,
        contract=contract.id if contract else "",
        phase=_phase(connection, expand, contract, fills, applied, begun),
        backfills=fills,
        reads_old=tuple(map(str, change.get("reads_old", ()))),
        swaps=tuple((str(s["schema"]), str(s["table"]), str(s["column"])) for s in change.get("swaps", ())),
        lost=tuple(map(str, change.get("lost", ()))),
        base=str(change.get("base", "")),
        keys=tuple(words.columns_in(f"row({key})", "keys") for key in change.get("keys", ())),
        halved=bool(change.get("contract")) and contract is None,
        returning=next((r.id for r in (contract, expand) if r is not None and r.id in back), ""),
    )


def _phase(
    connection: Connection, expand: Revision, contract: Revision | None, fills: Sequence[BackfillSpec],
    applied: frozenset[str], begun: frozenset[str],
) -> Phase:  # fmt: skip
    if contract is not None and contract.id in begun:
        return Phase.CONTRACTING
    if contract is not None and contract.id in applied:
        return Phase.CONTRACTED
    if expand.id in begun:
        return Phase.EXPANDING
    if expand.id not in applied:
        return Phase.NEW
    if contract is None and not (expand.change or {}).get("contract"):
        return Phase.CONTRACTED  # one revision is all it takes
    return Phase.VERIFIED if all(validated(connection, f) for f in fills) else Phase.EXPANDED


def validated(connection: Connection, spec: BackfillSpec) -> bool:
    """Whether the tie of a fill is there and proved, or its trigger is there, always on, and noted as verified.

    A fill without either proves nothing.
    """
    if spec.kept:
        return bool(
            fetch(
                connection,
                "select from pg_catalog.pg_trigger t where tgrelid = %s and tgname = %s "
                "and pg_catalog.obj_description(oid, 'pg_trigger') like 'verified%%' and not exists ("
                "select from pg_catalog.pg_trigger o where o.tgrelid = t.tgrelid and o.tgname ~ '^[!~]dbkit_' "
                "and o.tgenabled <> 'A')",
                [spec.oid, spec.kept],
            )
        )
    if not spec.tie:
        return False
    rows = fetch(
        connection,
        "select convalidated from pg_catalog.pg_constraint where conrelid = %s and conname = %s",
        [spec.oid, spec.tie],
    )
    return bool(rows and rows[0]["convalidated"])


def _spec(connection: Connection, change: str, entry: Mapping[str, Any]) -> BackfillSpec:
    schema, table = str(entry["schema"]), str(entry["table"])
    oid = fetch(connection, "select to_regclass(%s)::oid::bigint as oid", [quoted(schema, table)])[0]["oid"]
    return BackfillSpec(
        change=change,
        schema=schema,
        table=table,
        assignments=str(entry["set"]),
        pending=str(entry["where"]),
        columns=tuple(map(str, entry.get("columns", ()))),
        tie=str(entry.get("tie", "")),
        oid=int(oid or 0),
        immutable=bool(entry.get("immutable", True)),
        kept=str(entry.get("kept", "")),
    )


def returning(connection: Connection, environment: Environment) -> frozenset[str]:
    """Revisions whose rollback was begun and has not ended: half of each is gone, and nothing can build on it."""
    return _begun(connection, environment, [DOWN])


def _begun(connection: Connection, environment: Environment, directions: Sequence[str] = (UP, DOWN)) -> frozenset[str]:
    there = fetch(connection, "select to_regclass('dbkit.migration_part') is not null as there")[0]["there"]
    if not there:
        return frozenset()
    marked = {environment.mark(r.id): r.id for r in environment.revisions}
    rows = fetch(
        connection,
        "select distinct revision from dbkit.migration_part where direction = any(%s)",
        [list(directions)],
    )
    return frozenset(marked[r["revision"]] for r in rows if r["revision"] in marked)


def _text(revision: Revision, key: str) -> str:
    held = revision.change or {}
    if key not in held:
        raise UsageError(f"{revision.path.name}: `change` lacks {key!r}", hint="`dbkit migrate new` writes it whole")
    return str(held[key])
