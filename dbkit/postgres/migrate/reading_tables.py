"""CREATE TABLE and ALTER TABLE, read into actions."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final, TypeAlias

from dbkit.postgres.ddl import Node, numbers
from dbkit.postgres.migrate import actions as a
from dbkit.postgres.migrate import expressions
from dbkit.postgres.migrate.bounds import read_key
from dbkit.postgres.migrate.names import Name, of_range, of_strings, quote
from dbkit.postgres.migrate.types import SERIALS, SqlType, read_type

_FK_ACTIONS: Final = {"r": "RESTRICT", "c": "CASCADE", "n": "SET NULL", "d": "SET DEFAULT"}

_C: Final = {name.removeprefix("CONSTR_"): number for name, number in numbers("ConstrType").items()}
NULL, NOT_NULL, DEFAULT, IDENTITY = _C["NULL"], _C["NOTNULL"], _C["DEFAULT"], _C["IDENTITY"]
GENERATED, CHECK, PRIMARY, UNIQUE = _C["GENERATED"], _C["CHECK"], _C["PRIMARY"], _C["UNIQUE"]
EXCLUDE, FOREIGN, NOT_ENFORCED = _C["EXCLUSION"], _C["FOREIGN"], _C["ATTR_NOT_ENFORCED"]


_LIKE: Final = {name.removeprefix("CREATE_TABLE_LIKE_"): number for name, number in numbers("TableLikeOption").items()}


def read_constraint(node: Any, default: str, columns: tuple[str, ...] = ()) -> a.Constraint | None:
    """A constraint node; None for those that are not constraints of a table (DEFAULT, GENERATED, DEFERRABLE)."""
    kind = node.contype
    keys = tuple(k.string.sval for k in node.keys) or columns
    if kind == CHECK:
        return a.Constraint(
            "check",
            node.conname,
            columns,
            node.raw_expr,
            not_valid=node.skip_validation,
            enforced=node.is_enforced,
            no_inherit=node.is_no_inherit,
        )
    if kind == NOT_NULL:
        return a.Constraint("notnull", node.conname, keys, not_valid=node.skip_validation)
    if kind in (PRIMARY, UNIQUE):
        return a.Constraint(
            "primary" if kind == PRIMARY else "unique",
            node.conname,
            keys,
            index=node.indexname,
            nulls_not_distinct=node.nulls_not_distinct,
            include=tuple(i.string.sval for i in node.including),
            deferrable=_deferrable(node),
            exact=not (len(node.options) or node.indexspace or node.without_overlaps),
        )
    if kind == EXCLUDE:
        elements = [pair.list.items[0].index_elem for pair in node.exclusions]
        return a.Constraint(
            "exclude",
            node.conname,
            tuple(e.name for e in elements),
            node.where_clause if node.HasField("where_clause") else None,
            reads=frozenset[str]().union(*(expressions.columns(e.expr) for e in elements if e.HasField("expr"))),
        )
    if kind == FOREIGN:
        return a.Constraint(
            "foreign",
            node.conname,
            tuple(k.string.sval for k in node.fk_attrs) or columns,
            not_valid=node.skip_validation,
            enforced=node.is_enforced,
            parent=of_range(node.pktable, default),
            parent_columns=tuple(k.string.sval for k in node.pk_attrs),
            actions=_key_actions(node),
            deferrable=_deferrable(node),
            exact=not (node.fk_with_period or node.pk_with_period),
        )
    return None


def _key_actions(node: Any) -> str:
    match = " MATCH FULL" if node.fk_matchtype == "f" else ""
    only = f" ({', '.join(quote(c.string.sval) for c in node.fk_del_set_cols)})" if len(node.fk_del_set_cols) else ""
    clauses = (("ON DELETE", node.fk_del_action, only), ("ON UPDATE", node.fk_upd_action, ""))
    return match + "".join(
        f" {words} {_FK_ACTIONS[code]}{cols}" for words, code, cols in clauses if code in _FK_ACTIONS
    )


def _deferrable(node: Any) -> str:
    if not node.deferrable:
        return ""
    return " DEFERRABLE INITIALLY DEFERRED" if node.initdeferred else " DEFERRABLE"


def read_column(node: Any, default: str) -> a.ColumnDef:
    """A column definition with its constraints."""
    kind = read_type(node.type_name) if node.HasField("type_name") else SqlType("")
    column = a.ColumnDef(node.colname, kind, not_null=node.is_not_null)
    column.exact = not (node.storage_name or node.compression or len(node.fdwoptions))
    if node.HasField("coll_clause"):
        column.collation = of_strings(node.coll_clause.collname).name
    if node.HasField("raw_default"):
        column.default = node.raw_default
    if kind.name in SERIALS and not kind.schema:
        column.not_null = True
    constraints: list[a.Constraint] = []
    for wrapped in node.constraints:
        item = wrapped.constraint
        what = item.contype
        if what == NOT_NULL:
            column.not_null = True
        elif what == NULL:
            column.null = True
        elif what == DEFAULT:
            column.default = item.raw_expr
        elif what == IDENTITY:
            column.identity, column.not_null = item.generated_when or "d", True
        elif what == GENERATED:
            column.generated = "virtual" if item.generated_kind == "v" else "stored"
            column.expression = item.raw_expr
        elif what == NOT_ENFORCED and constraints:
            constraints[-1].enforced = False
        else:
            made = read_constraint(item, default, (node.colname,))
            if made:
                constraints.append(made)
                column.not_null = column.not_null or made.kind == "primary"
    column.constraints = tuple(constraints)
    return column


def create_table(node: Any, default: str) -> a.CreateTable:
    """CREATE TABLE, whatever its form."""
    columns: list[a.ColumnDef] = []
    constraints: list[a.Constraint] = []
    likes: list[a.Like] = []
    for element in node.table_elts:
        kind = element.WhichOneof("node")
        if kind == "column_def":
            columns.append(read_column(element.column_def, default))
        elif kind == "constraint":
            made = read_constraint(element.constraint, default)
            if made:
                constraints.append(made)
        elif kind == "table_like_clause":
            likes.append(_like(element.table_like_clause, default))
    parents = tuple(of_range(p.range_var, default) for p in node.inh_relations)
    bound = node.HasField("partbound")
    return a.CreateTable(
        of_range(node.relation, default),
        columns=tuple(columns),
        constraints=tuple(constraints),
        parents=() if bound else parents,
        likes=tuple(likes),
        partition_of=parents[0] if bound and parents else None,
        default_partition=bound and node.partbound.is_default,
        partition_key=read_key(node.partspec) if node.HasField("partspec") else None,
        bound=node.partbound if bound else None,
        if_not_exists=node.if_not_exists,
        temporary=node.relation.relpersistence == "t",
        unlogged=node.relation.relpersistence == "u",
        access_method=node.access_method,
        of_type=of_strings(node.of_typename.names, default) if node.HasField("of_typename") else None,
    )


def _like(clause: Any, default: str) -> a.Like:
    def copied(what: str) -> bool:
        return bool(clause.options >> (_LIKE[what] - 1) & 1)  # the grammar keeps a set of bits

    return a.Like(
        of_range(clause.relation, default),
        copied("CONSTRAINTS"),
        copied("INDEXES"),
        copied("GENERATED"),
        copied("IDENTITY"),
        copied("DEFAULTS"),
    )


def alter_table(node: Any, default: str) -> Iterable[a.Action]:
    """Every part of an ALTER TABLE, INDEX, VIEW or SEQUENCE statement."""
    table = of_range(node.relation, default)
    only = not node.relation.inh
    objtype = node.objtype
    for wrapped in node.cmds:
        made = _command(wrapped.alter_table_cmd, table, objtype, default)
        if isinstance(made, a.OnTable):
            made.only = only
        yield made


OBJECTS: Final = {
    number: name.removeprefix("OBJECT_").lower().replace("_", " ") for name, number in numbers("ObjectType").items()
}


def relation_kind(objtype: int) -> str:
    """The kind of relation an ObjectType number names."""
    return OBJECTS.get(objtype, "table")


def _command(c: Any, table: Name, objtype: int, default: str) -> a.Action:
    kind = relation_kind(objtype)
    subtype: int = c.subtype
    if kind == "index" and subtype == _ATTACH:
        return a.AttachIndex(parent=table, child=of_range(getattr(c, "def").partition_cmd.name, default))
    if kind in ("view", "matview", "sequence", "type"):
        if subtype == _TABLESPACE and kind == "matview":
            return a.SetTablespace(table, c.name, kind)
        if subtype == _METHOD and kind == "matview":
            return a.SetAccessMethod(table, c.name)
        return a.Harmless(f"ALTER {kind.upper()}{_MORE.get(subtype, '')}")
    if kind == "index":
        return (
            a.SetTablespace(table, c.name, kind)
            if subtype == _TABLESPACE
            else a.OtherAlter(table, "index option", light=True)
        )
    maker = _MAKERS.get(subtype)
    if maker is not None:
        return maker(c, table, default)
    return a.OtherAlter(table, _OTHERS.get(subtype, f"subtype {subtype}"), light=subtype in _LIGHT)


_Maker: TypeAlias = Callable[[Any, Name, str], a.Action]


def _definition(c: Any) -> Any:
    return getattr(c, "def")


def _has_definition(c: Any) -> bool:
    return bool(c.HasField("def"))


def _alter_type(c: Any, table: Name, default: str) -> a.Action:
    column = _definition(c).column_def
    using: Node | None = column.raw_default if column.HasField("raw_default") else None
    collation = of_strings(column.coll_clause.collname).name if column.HasField("coll_clause") else ""
    return a.AlterType(table, c.name, read_type(column.type_name), using, collation)


def _add_constraint(c: Any, table: Name, default: str) -> a.Action:
    made = read_constraint(_definition(c).constraint, default)
    if made is None:
        return a.OtherAlter(table, "ADD CONSTRAINT")
    return a.AddConstraint(table, made)


def _alter_constraint(c: Any, table: Name, default: str) -> a.Action:
    change = _definition(c).atalter_constraint
    return a.AlterConstraint(table, change.conname, change.alter_enforceability, change.is_enforced)


def _partition(c: Any, table: Name, default: str) -> tuple[Name, Any]:
    command = _definition(c).partition_cmd
    return of_range(command.name, default), command


def _attach(c: Any, table: Name, default: str) -> a.Action:
    child, command = _partition(c, table, default)
    return a.AttachPartition(table, child, command.bound.is_default, command.bound)


def _detach(c: Any, table: Name, default: str) -> a.Action:
    child, command = _partition(c, table, default)
    return a.DetachPartition(table, child, command.concurrent)


def _set_identity(c: Any, table: Name, default: str) -> a.Action:
    """SET GENERATED changes who fills the column; RESTART and SET INCREMENT only with which numbers."""
    options = {o.def_elem.defname for o in _definition(c).list.items}
    return a.ColumnSetting(table, c.name, "SET IDENTITY" if "generated" in options else "IDENTITY NUMBERS")


_AT: Final = {name.removeprefix("AT_"): number for name, number in numbers("AlterTableType").items()}
_ATTACH, _TABLESPACE, _METHOD = _AT["AttachPartition"], _AT["SetTableSpace"], _AT["SetAccessMethod"]
_MORE: Final = {
    _AT["SetRelOptions"]: " OPTIONS",
    _AT["ResetRelOptions"]: " OPTIONS",
    _AT["AddColumn"]: " ADD ATTRIBUTE",
}
_LIGHT: Final = {
    _AT[n]
    for n in (
        "SetStatistics",
        "ClusterOn",
        "DropCluster",
        "SetRelOptions",
        "ResetRelOptions",
        "SetOptions",
        "ResetOptions",
    )
}
_OTHERS: Final = {number: name for name, number in _AT.items()}
_MAKERS: Final[dict[int, _Maker]] = {
    _AT["AddColumn"]: lambda c, t, d: a.AddColumn(t, read_column(_definition(c).column_def, d), c.missing_ok),
    _AT["DropColumn"]: lambda c, t, d: a.DropColumn(t, c.name, c.missing_ok, c.behavior == 2),
    _AT["ColumnDefault"]: lambda c, t, d: a.SetDefault(t, c.name, _definition(c) if _has_definition(c) else None),
    _AT["SetNotNull"]: lambda c, t, d: a.SetNotNull(t, c.name),
    _AT["DropNotNull"]: lambda c, t, d: a.DropNotNull(t, c.name),
    _AT["AlterColumnType"]: _alter_type,
    _AT["SetExpression"]: lambda c, t, d: a.SetExpression(t, c.name, _definition(c)),
    _AT["DropExpression"]: lambda c, t, d: a.ColumnSetting(t, c.name, "DROP EXPRESSION"),
    _AT["SetStorage"]: lambda c, t, d: a.ColumnSetting(t, c.name, "SET STORAGE"),
    _AT["SetCompression"]: lambda c, t, d: a.ColumnSetting(t, c.name, "SET COMPRESSION"),
    _AT["AddIdentity"]: lambda c, t, d: a.ColumnSetting(t, c.name, "ADD IDENTITY"),
    _AT["SetIdentity"]: _set_identity,
    _AT["DropIdentity"]: lambda c, t, d: a.ColumnSetting(t, c.name, "DROP IDENTITY"),
    _AT["AddConstraint"]: _add_constraint,
    _AT["ValidateConstraint"]: lambda c, t, d: a.ValidateConstraint(t, c.name),
    _AT["DropConstraint"]: lambda c, t, d: a.DropConstraint(t, c.name, c.missing_ok, c.behavior == 2),
    _AT["AlterConstraint"]: _alter_constraint,
    _AT["SetLogged"]: lambda c, t, d: a.SetLogged(t, True),
    _AT["SetUnLogged"]: lambda c, t, d: a.SetLogged(t, False),
    _AT["SetTableSpace"]: lambda c, t, d: a.SetTablespace(t, c.name),
    _AT["SetAccessMethod"]: lambda c, t, d: a.SetAccessMethod(t, c.name),
    _AT["AttachPartition"]: _attach,
    _AT["DetachPartition"]: _detach,
    _AT["DetachPartitionFinalize"]: lambda c, t, d: a.DetachPartition(
        t, _partition(c, t, d)[0], concurrently=True, finalize=True
    ),
    _AT["AddInherit"]: lambda c, t, d: a.Inherit(t, of_range(_definition(c).range_var, d), True),
    _AT["DropInherit"]: lambda c, t, d: a.Inherit(t, of_range(_definition(c).range_var, d), False),
    _AT["ReplicaIdentity"]: lambda c, t, d: a.ReplicaIdentity(t, _definition(c).replica_identity_stmt.identity_type),
    **{
        _AT[name]: (lambda c, t, d, verb=name: a.RowSecurity(t, verb))
        for name in ("EnableRowSecurity", "DisableRowSecurity", "ForceRowSecurity", "NoForceRowSecurity")
    },
    **{
        number: (lambda c, t, d, verb=name: a.ToggleTrigger(t, verb, c.name, rule=verb.endswith("Rule")))
        for name, number in _AT.items()
        if name.endswith(("Trig", "TrigAll", "TrigUser", "Rule"))
    },
}
