"""Statements read into actions. A kind that is not listed here comes out as `Unread` and is reported as such."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from dbkit.postgres.ddl import Statement, numbers, walk
from dbkit.postgres.migrate import actions as a
from dbkit.postgres.migrate import expressions
from dbkit.postgres.migrate.names import Name, of_object, of_range, of_strings
from dbkit.postgres.migrate.reading_tables import (
    OBJECTS,
    alter_table,
    create_table,
    read_column,
    read_constraint,
    relation_kind,
)
from dbkit.postgres.migrate.types import read_type

_TRANS: Final = numbers("TransactionStmtKind")
_SET: Final = numbers("VariableSetKind")
_CASCADE: Final = numbers("DropBehavior")["DROP_CASCADE"]
_REINDEX: Final = {
    number: name.removeprefix("REINDEX_OBJECT_").lower() for name, number in numbers("ReindexObjectType").items()
}
_VERBS: Final = {
    _TRANS["TRANS_STMT_BEGIN"]: "begin",
    _TRANS["TRANS_STMT_START"]: "begin",
    _TRANS["TRANS_STMT_COMMIT"]: "commit",
    _TRANS["TRANS_STMT_ROLLBACK"]: "rollback",
    _TRANS["TRANS_STMT_SAVEPOINT"]: "savepoint",
    _TRANS["TRANS_STMT_RELEASE"]: "release",
    _TRANS["TRANS_STMT_ROLLBACK_TO"]: "rollback-to",
    _TRANS["TRANS_STMT_PREPARE"]: "prepare",
}
_DOMAIN_VERBS: Final = {
    "T": "set-default",
    "N": "drop-not-null",
    "O": "set-not-null",
    "C": "add-constraint",
    "X": "drop-constraint",
    "V": "validate",
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


def _option(options: Any, name: str) -> Any:
    for wrapped in options:
        if wrapped.def_elem.defname == name:
            return wrapped.def_elem
    return None


def _switched_on(options: Any, name: str) -> bool:
    """Whether a boolean option is given and not turned off: `(FULL)`, `(FULL true)`, not `(FULL off)`."""
    found = _option(options, name)
    if found is None:
        return False
    if not found.HasField("arg"):
        return True
    kind = found.arg.WhichOneof("node")
    if kind == "string":
        return found.arg.string.sval.lower() not in ("false", "off", "0", "no")
    if kind == "boolean":
        return bool(found.arg.boolean.boolval)
    return kind != "integer" or found.arg.integer.ival != 0


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
    elif kind in ("schema", "extension"):
        names = [Name("", o.string.sval) for o in n.objects]
    else:
        names = [of_object(o, d) for o in n.objects]
    return [a.Drop(kind, tuple(names), on, n.behavior == _CASCADE, n.concurrent, n.missing_ok)]


def _rename(n: Any, d: str) -> list[a.Action]:
    kind = OBJECTS[n.rename_type]
    if n.HasField("relation"):
        table = of_range(n.relation, d)
        if kind == "column":
            return [a.Rename(table, "column", n.subname, n.newname)]
        if kind == "tabconstraint":
            return [a.Rename(table, "constraint", n.subname, n.newname)]
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
    return [a.Vacuum(n.is_vacuumcmd and _switched_on(n.options, "full"), not n.is_vacuumcmd, tables)]


def _reindex(n: Any, d: str) -> list[a.Action]:
    kind = _REINDEX[n.kind]
    name = of_range(n.relation, d) if n.HasField("relation") else Name("", n.name)
    return [a.Reindex(kind, name, _switched_on(n.params, "concurrently"))]


def _domain(n: Any, d: str) -> list[a.Action]:
    constraints: list[a.Constraint] = []
    default = None
    for wrapped in n.constraints:
        item = wrapped.constraint
        made = read_constraint(item, d)
        if made:
            constraints.append(made)
        elif item.HasField("raw_expr"):
            default = item.raw_expr
    return [a.CreateDomain(of_strings(n.domainname, d), read_type(n.type_name), tuple(constraints), default)]


def _alter_domain(n: Any, d: str) -> list[a.Action]:
    definition = getattr(n, "def")
    held = n.HasField("def") and definition.WhichOneof("node") == "constraint"
    constraint = read_constraint(definition.constraint, d) if held else None
    return [
        a.AlterDomain(of_strings(n.type_name, d), _DOMAIN_VERBS.get(str(n.subtype), str(n.subtype)), constraint, n.name)
    ]


def _enum(n: Any, d: str) -> list[a.Action]:
    return [a.CreateType(of_strings(n.type_name, d), "enum", tuple(v.string.sval for v in n.vals))]


def _alter_enum(n: Any, d: str) -> list[a.Action]:
    placed = bool(n.new_val_neighbor)
    return [a.AlterEnum(of_strings(n.type_name, d), n.new_val, n.old_val, placed, n.skip_if_new_val_exists)]


def _query_parts(node: Any, d: str) -> tuple[tuple[Name, ...], frozenset[str], tuple[Name, ...]]:
    tables: list[Name] = []
    columns: set[str] = set()
    calls: list[Name] = []
    local: set[str] = set()
    for message in walk(node):
        held: Any = message
        kind = message.DESCRIPTOR.name
        if kind == "RangeVar":
            tables.append(of_range(held, d))
        elif kind == "CommonTableExpr":
            local.add(held.ctename)
        elif kind == "FuncCall":
            calls.append(of_strings(held.funcname))
        elif kind == "ColumnRef":
            last = held.fields[-1]
            columns.add(last.string.sval if last.WhichOneof("node") == "string" else "*")
    return tuple(t for t in tables if t.name not in local), frozenset(columns), tuple(calls)


def _view(n: Any, d: str) -> list[a.Action]:
    tables, columns, _ = _query_parts(n.query, d)
    return [a.CreateView(of_range(n.view, d), False, tables, columns, n.replace)]


def _table_as(n: Any, d: str) -> list[a.Action]:
    name = of_range(n.into.rel, d)
    if OBJECTS[n.objtype] == "matview":
        tables, columns, _ = _query_parts(n.query, d)
        return [a.CreateView(name, True, tables, columns, with_data=not n.into.skip_data)]
    temporary = n.into.rel.relpersistence == "t"
    return [
        a.CreateTable(
            name,
            from_query=True,
            filled=not n.into.skip_data,
            if_not_exists=n.if_not_exists,
            temporary=temporary,
        )
    ]


def _select(n: Any, d: str) -> list[a.Action]:
    if n.HasField("into_clause"):
        return [a.CreateTable(of_range(n.into_clause.rel, d), from_query=True, filled=True)]
    tables, _, calls = _query_parts(n, d)
    found: list[a.Action] = [a.Query(tables, calls)]
    if n.HasField("with_clause"):
        for wrapped in n.with_clause.ctes:
            inner = wrapped.common_table_expr.ctequery
            reader = _READERS.get(inner.WhichOneof("node") or "")
            if reader is not None and inner.WhichOneof("node") != "select_stmt":
                found += reader(getattr(inner, inner.WhichOneof("node")), d)
    return found


def _function(n: Any, d: str) -> list[a.Action]:
    language = _option(n.options, "language")
    volatility = _option(n.options, "volatility")
    body = _option(n.options, "as")
    text = body.arg.list.items[0].string.sval if body is not None and body.arg.WhichOneof("node") == "list" else ""
    return [
        a.CreateFunction(
            of_strings(n.funcname, d),
            language.arg.string.sval.lower() if language is not None else "sql",
            text,
            volatility.arg.string.sval if volatility is not None else "volatile",
            n.replace,
        )
    ]


def _do(n: Any, d: str) -> list[a.Action]:
    body = _option(n.args, "as")
    language = _option(n.args, "language")
    return [
        a.Code(
            language.arg.string.sval.lower() if language is not None else "plpgsql",
            body.arg.string.sval if body is not None else "",
        )
    ]


def _call(n: Any, d: str) -> list[a.Action]:
    return [a.Code("call", "", of_strings(n.funccall.funcname, d))]


def _update(n: Any, d: str) -> list[a.Action]:
    columns = tuple(t.res_target.name for t in n.target_list if not t.res_target.indirection)
    return [a.Dml(of_range(n.relation, d), "update", _narrowed(n), columns), *_with(n, d)]


def _delete(n: Any, d: str) -> list[a.Action]:
    return [a.Dml(of_range(n.relation, d), "delete", _narrowed(n)), *_with(n, d)]


def _with(n: Any, d: str) -> list[a.Action]:
    """Statements that change data inside a WITH."""
    found: list[a.Action] = []
    if n.HasField("with_clause"):
        for wrapped in n.with_clause.ctes:
            inner = wrapped.common_table_expr.ctequery
            kind = inner.WhichOneof("node") or ""
            if kind in ("update_stmt", "delete_stmt", "insert_stmt"):
                found += _READERS[kind](getattr(inner, kind), d)
    return found


def _narrowed(n: Any) -> bool:
    return n.HasField("where_clause") and not expressions.always_true(n.where_clause)


def _insert(n: Any, d: str) -> list[a.Action]:
    rows = len(n.select_stmt.select_stmt.values_lists) if n.HasField("select_stmt") else 1
    columns = tuple(c.res_target.name for c in n.cols if not c.res_target.indirection)
    return [a.Dml(of_range(n.relation, d), "insert", bool(rows), columns, rows), *_with(n, d)]


def _merge(n: Any, d: str) -> list[a.Action]:
    return [a.Dml(of_range(n.relation, d), "merge", False)]


def _copy(n: Any, d: str) -> list[a.Action]:
    if n.is_from and n.HasField("relation"):
        return [a.Dml(of_range(n.relation, d), "copy", True)]
    return [a.Query((of_range(n.relation, d),) if n.HasField("relation") else ())]


def _set(n: Any, d: str) -> list[a.Action]:
    if n.kind not in (_SET["VAR_SET_VALUE"], _SET["VAR_SET_DEFAULT"], _SET["VAR_RESET"], _SET["VAR_RESET_ALL"]):
        return [a.Harmless("SET")]
    name = n.name.lower() or "all"
    if n.kind != _SET["VAR_SET_VALUE"]:
        return [a.SetVariable(name, None, n.is_local)]
    return [a.SetVariable(name, ", ".join(_value(v) for v in n.args), n.is_local)]


def _value(node: Any) -> str:
    if node.WhichOneof("node") != "a_const":
        return ""
    constant = node.a_const
    kind = constant.WhichOneof("val")
    if kind == "ival":
        return str(constant.ival.ival)
    if kind == "fval":
        return str(constant.fval.fval)
    if kind == "boolval":
        return str(constant.boolval.boolval).lower()
    return str(constant.sval.sval)


def _transaction(n: Any, d: str) -> list[a.Action]:
    verb: Any = _VERBS.get(n.kind)
    return [a.Transaction(verb, n.chain)] if verb else [a.Harmless("two-phase commit")]


def _sequence(n: Any, d: str, *, create: bool) -> list[a.Action]:
    kind = _option(n.options, "as")
    owned = _option(n.options, "owned_by")
    return [
        a.Sequence(
            of_range(n.sequence, d),
            create,
            read_type(kind.arg.type_name).name if kind is not None else "",
            tuple(i.string.sval for i in owned.arg.list.items) if owned is not None else (),
            _option(n.options, "restart") is not None,
        )
    ]


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


_READERS: Final[dict[str, Callable[[Any, str], list[a.Action]]]] = {
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
        a.Truncate(tuple(of_range(r.range_var, d) for r in n.relations), n.behavior == _CASCADE)
    ],
    "lock_stmt": lambda n, d: [a.LockTable(tuple(of_range(r.range_var, d) for r in n.relations), n.mode)],
    "create_domain_stmt": _domain,
    "alter_domain_stmt": _alter_domain,
    "create_enum_stmt": _enum,
    "alter_enum_stmt": _alter_enum,
    "composite_type_stmt": lambda n, d: [a.CreateType(of_range(n.typevar, d), "composite")],
    "create_range_stmt": lambda n, d: [a.CreateType(of_strings(n.type_name, d), "range")],
    "view_stmt": _view,
    "create_table_as_stmt": _table_as,
    "select_stmt": _select,
    "create_function_stmt": _function,
    "do_stmt": _do,
    "call_stmt": _call,
    "update_stmt": _update,
    "delete_stmt": _delete,
    "insert_stmt": _insert,
    "merge_stmt": _merge,
    "copy_stmt": _copy,
    "variable_set_stmt": _set,
    "transaction_stmt": _transaction,
    "create_seq_stmt": lambda n, d: _sequence(n, d, create=True),
    "alter_seq_stmt": lambda n, d: _sequence(n, d, create=False),
    "create_trig_stmt": lambda n, d: [
        a.CreateTrigger(
            of_range(n.relation, d), n.trigname, of_range(n.constrrel, d) if n.HasField("constrrel") else None
        )
    ],
    "rule_stmt": lambda n, d: [a.CreateRule(of_range(n.relation, d), n.rulename)],
    "create_policy_stmt": lambda n, d: [a.Policy(of_range(n.table, d), n.policy_name, "create")],
    "alter_policy_stmt": lambda n, d: [a.Policy(of_range(n.table, d), n.policy_name, "alter")],
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
    "explain_stmt": lambda n, d: [a.Query()],
}
_OUTSIDE: Final = {
    "createdb_stmt": "CREATE DATABASE",
    "create_table_space_stmt": "CREATE TABLESPACE",
    "drop_table_space_stmt": "DROP TABLESPACE",
    "alter_system_stmt": "ALTER SYSTEM",
    "create_subscription_stmt": "CREATE SUBSCRIPTION",
    "drop_subscription_stmt": "DROP SUBSCRIPTION",
}
_HARMLESS: Final = frozenset(
    """
comment_stmt sec_label_stmt create_stats_stmt alter_stats_stmt define_stmt create_op_class_stmt create_op_family_stmt
alter_op_family_stmt alter_collation_stmt alter_default_privileges_stmt alter_operator_stmt alter_type_stmt
create_conversion_stmt create_cast_stmt create_transform_stmt create_am_stmt create_plang_stmt create_role_stmt
alter_role_stmt alter_role_set_stmt drop_role_stmt alter_function_stmt alter_object_depends_stmt
alter_extension_contents_stmt create_fdw_stmt alter_fdw_stmt create_foreign_server_stmt alter_foreign_server_stmt
create_user_mapping_stmt alter_user_mapping_stmt drop_user_mapping_stmt create_event_trig_stmt alter_event_trig_stmt
create_publication_stmt alter_publication_stmt alter_subscription_stmt notify_stmt listen_stmt unlisten_stmt
alter_database_stmt alter_database_set_stmt alter_database_refresh_coll_stmt variable_show_stmt discard_stmt
check_point_stmt load_stmt constraints_set_stmt prepare_stmt deallocate_stmt declare_cursor_stmt close_portal_stmt
fetch_stmt alter_tsdictionary_stmt alter_tsconfiguration_stmt reassign_owned_stmt alter_table_space_options_stmt
import_foreign_schema_stmt drop_owned_stmt
""".split()
)

__all__ = ["read", "read_column", "relation_kind"]
