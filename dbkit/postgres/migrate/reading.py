"""Statements read into actions. A kind that is not listed here comes out as `Unread` and is reported as such."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from dbkit.postgres.ddl import Statement, numbers
from dbkit.postgres.migrate import actions as a
from dbkit.postgres.migrate import expressions, reading_data, reading_objects
from dbkit.postgres.migrate.names import Name, of_object, of_range, of_strings
from dbkit.postgres.migrate.reading_options import switched_on
from dbkit.postgres.migrate.reading_tables import (
    OBJECTS,
    alter_table,
    create_table,
)

_REINDEX: Final = {
    number: name.removeprefix("REINDEX_OBJECT_").lower() for name, number in numbers("ReindexObjectType").items()
}


def read(statement: Statement, default: str = "") -> list[a.Action]:
    """What a statement does; unqualified names get the schema `default`."""
    reader = _READERS.get(statement.kind)
    if reader is None:
        return [_other(statement.kind)]
    return reader(getattr(statement.node, statement.kind), default)


def _other(kind: str) -> a.Action:
    words = kind.removesuffix("_stmt").replace("_", " ").upper()
    if kind in _OUTSIDE:
        return a.OutsideTransaction(_OUTSIDE[kind])
    return a.Harmless(words) if kind in _HARMLESS else a.Unread(words)


def _index(n: Any, d: str) -> list[a.Action]:
    return [
        a.CreateIndex(
            of_range(n.relation, d),
            name=n.idxname,
            columns=tuple(p.index_elem.name for p in n.index_params),
            unique=n.unique,
            concurrently=n.concurrent,
            if_not_exists=n.if_not_exists,
            partial=n.HasField("where_clause"),
            reads=_index_reads(n),
            only=not n.relation.inh,
            include=tuple(p.index_elem.name for p in n.index_including_params),
            method=n.access_method or "btree",
        )
    ]


def _index_reads(n: Any) -> frozenset[str]:
    found = expressions.columns(n.where_clause) if n.HasField("where_clause") else frozenset[str]()
    for param in n.index_params:
        if param.index_elem.HasField("expr"):
            found |= expressions.columns(param.index_elem.expr)
    return found


def _drop(n: Any, d: str) -> list[a.Action]:
    kind = OBJECTS[n.remove_type]
    on: Name | None = None
    if kind in ("trigger", "rule", "policy"):
        names: list[Name] = []
        for o in n.objects:
            parts = [i.string.sval for i in o.list.items]
            on = Name(parts[-3] if len(parts) > 2 else d, parts[-2] if len(parts) > 1 else "")
            names.append(Name("", parts[-1]))
    elif kind in ("schema", "extension", "publication"):
        names = [Name("", o.string.sval) for o in n.objects]
    elif kind == "cast":
        sides = ([of_strings(t.type_name.names).name for t in o.list.items] for o in n.objects)
        names = [Name("", " as ".join(pair)) for pair in sides]
    elif kind in ("opclass", "opfamily"):
        names = [Name("", o.list.items[-1].string.sval) for o in n.objects]
    else:
        names = [of_object(o, d) for o in n.objects]
    return [a.Drop(kind, tuple(names), on, n.behavior == reading_objects.DROP_CASCADE, n.concurrent, n.missing_ok)]


def _rename(n: Any, d: str) -> list[a.Action]:
    kind = OBJECTS[n.rename_type]
    if n.HasField("relation"):
        table = of_range(n.relation, d)
        if kind == "column":
            return [a.Rename(table, "column", n.subname, n.newname, only=not n.relation.inh)]
        if kind == "tabconstraint":
            return [a.Rename(table, "constraint", n.subname, n.newname, only=not n.relation.inh)]
        if kind in ("trigger", "rule", "policy", "attribute"):
            return [a.Rename(table, kind, n.subname, n.newname)]
        return [a.Rename(table, kind, table.name, n.newname)]
    name = of_object(n.object, d) if n.HasField("object") else Name("", n.subname)
    if kind == "domconstraint":
        return [a.Harmless("ALTER DOMAIN RENAME CONSTRAINT")]
    return [a.Rename(name, kind, name.name, n.newname)]


def _refresh(n: Any, d: str) -> list[a.Action]:
    return [a.Refresh(of_range(n.relation, d), n.concurrent, not n.skip_data)]


def _vacuum(n: Any, d: str) -> list[a.Action]:
    tables = tuple(of_range(r.vacuum_relation.relation, d) for r in n.rels if r.vacuum_relation.HasField("relation"))
    return [a.Vacuum(n.is_vacuumcmd and switched_on(n.options, "full"), not n.is_vacuumcmd, tables)]


def _reindex(n: Any, d: str) -> list[a.Action]:
    kind = _REINDEX[n.kind]
    name = of_range(n.relation, d) if n.HasField("relation") else Name("", n.name)
    return [a.Reindex(kind, name, switched_on(n.params, "concurrently"))]


def _only(n: Any, d: str) -> tuple[Name, ...]:
    return tuple(of_range(r.range_var, d) for r in n.relations if not r.range_var.inh)


def _create_schema(n: Any, d: str) -> list[a.Action]:
    found: list[a.Action] = [a.Harmless("CREATE SCHEMA")]
    for element in n.schema_elts:
        reader = _READERS.get(element.WhichOneof("node") or "")
        if reader:
            found += reader(getattr(element, element.WhichOneof("node")), n.schemaname)
    return found


def _foreign_table(n: Any, d: str) -> list[a.Action]:
    made = create_table(n.base_stmt, d)
    made.foreign = True
    return [made]


def _explain(n: Any, d: str) -> list[a.Action]:
    """EXPLAIN ANALYZE runs what it explains."""
    kind = n.query.WhichOneof("node") or ""
    if switched_on(n.options, "analyze") and kind in _READERS:
        return _READERS[kind](getattr(n.query, kind), d)
    return [a.Query()]


_READERS: Final[dict[str, Callable[[Any, str], list[a.Action]]]] = {
    **reading_data.READERS,
    **reading_objects.READERS,
    "create_stmt": lambda n, d: [create_table(n, d)],
    "create_foreign_table_stmt": _foreign_table,
    "alter_table_stmt": lambda n, d: list(alter_table(n, d)),
    "index_stmt": _index,
    "drop_stmt": _drop,
    "rename_stmt": _rename,
    "refresh_mat_view_stmt": _refresh,
    "vacuum_stmt": _vacuum,
    "cluster_stmt": lambda n, d: [a.Cluster(of_range(n.relation, d) if n.HasField("relation") else None)],
    "reindex_stmt": _reindex,
    "truncate_stmt": lambda n, d: [
        a.Truncate(
            tuple(of_range(r.range_var, d) for r in n.relations),
            n.behavior == reading_objects.DROP_CASCADE,
            _only(n, d),
        )
    ],
    "lock_stmt": lambda n, d: [a.LockTable(tuple(of_range(r.range_var, d) for r in n.relations), n.mode, _only(n, d))],
    "create_extension_stmt": lambda n, d: [a.Extension(n.extname, "create")],
    "alter_extension_stmt": lambda n, d: [a.Extension(n.extname, "update")],
    "grant_stmt": lambda n, d: [a.Privileges(n.is_grant)],
    "grant_role_stmt": lambda n, d: [a.Privileges(n.is_grant)],
    "alter_object_schema_stmt": lambda n, d: [
        a.SetSchema(
            of_range(n.relation, d) if n.HasField("relation") else of_object(n.object, d),
            OBJECTS[n.object_type],
            n.newschema,
        )
    ],
    "alter_owner_stmt": lambda n, d: [a.Harmless("OWNER TO")],
    "create_schema_stmt": _create_schema,
    "alter_table_move_all_stmt": lambda n, d: [
        a.SetTablespace(Name("", f"everything in tablespace {n.orig_tablespacename}"), n.new_tablespacename, "all")
    ],
    "dropdb_stmt": lambda n, d: [a.Drop("database", (Name("", n.dbname),), if_exists=n.missing_ok)],
    "explain_stmt": _explain,
}
_OUTSIDE: Final = {
    "createdb_stmt": "CREATE DATABASE",
    "create_table_space_stmt": "CREATE TABLESPACE",
    "drop_table_space_stmt": "DROP TABLESPACE",
    "alter_system_stmt": "ALTER SYSTEM",
    "create_subscription_stmt": "CREATE SUBSCRIPTION",
}
_HARMLESS: Final = frozenset(
    """
comment_stmt sec_label_stmt create_stats_stmt alter_stats_stmt define_stmt create_op_class_stmt create_op_family_stmt
alter_op_family_stmt alter_collation_stmt alter_default_privileges_stmt alter_operator_stmt alter_type_stmt
create_conversion_stmt create_cast_stmt create_transform_stmt create_am_stmt create_plang_stmt create_role_stmt
alter_role_set_stmt alter_function_stmt alter_object_depends_stmt
alter_extension_contents_stmt create_fdw_stmt alter_fdw_stmt create_foreign_server_stmt alter_foreign_server_stmt
create_user_mapping_stmt alter_user_mapping_stmt create_event_trig_stmt alter_event_trig_stmt
 notify_stmt listen_stmt unlisten_stmt
alter_database_stmt alter_database_set_stmt alter_database_refresh_coll_stmt variable_show_stmt discard_stmt
check_point_stmt load_stmt constraints_set_stmt prepare_stmt deallocate_stmt declare_cursor_stmt close_portal_stmt
fetch_stmt alter_tsdictionary_stmt alter_tsconfiguration_stmt reassign_owned_stmt alter_table_space_options_stmt
import_foreign_schema_stmt
""".split()
)
