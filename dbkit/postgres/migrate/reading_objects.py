"""Domains, types, views, functions and sequences, read into actions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Literal

from dbkit.postgres.ddl import numbers
from dbkit.postgres.migrate import actions as a
from dbkit.postgres.migrate.names import Name, of_range, of_strings
from dbkit.postgres.migrate.reading_options import option, switched_on
from dbkit.postgres.migrate.reading_reads import of_publication, of_query, of_trigger
from dbkit.postgres.migrate.reading_tables import (
    OBJECTS,
    read_constraint,
)
from dbkit.postgres.migrate.types import read_type

_DOMAIN_VERBS: Final = {
    "T": "set-default",
    "N": "drop-not-null",
    "O": "set-not-null",
    "C": "add-constraint",
    "X": "drop-constraint",
    "V": "validate",
}


DROP_CASCADE: Final = numbers("DropBehavior")["DROP_CASCADE"]
_STEPS: Final = ("restart", "increment", "minvalue", "maxvalue", "start", "cycle", "cache")


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


def _view(n: Any, d: str) -> list[a.Action]:
    return [a.CreateView(of_range(n.view, d), False, of_query((n.query,), d), n.replace)]


def _table_as(n: Any, d: str) -> list[a.Action]:
    name = of_range(n.into.rel, d)
    if OBJECTS[n.objtype] == "matview":
        return [a.CreateView(name, True, of_query((n.query,), d), with_data=not n.into.skip_data)]
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


def _function(n: Any, d: str) -> list[a.Action]:
    language = option(n.options, "language")
    volatility = option(n.options, "volatility")
    body = option(n.options, "as")
    text = body.arg.list.items[0].string.sval if body is not None and body.arg.WhichOneof("node") == "list" else ""
    return [
        a.CreateFunction(
            of_strings(n.funcname, d),
            language.arg.string.sval.lower() if language is not None else "sql",
            text,
            volatility.arg.string.sval if volatility is not None else "volatile",
            n.replace,
            of_query((n.sql_body,), d) if n.HasField("sql_body") else (),
        )
    ]


def _trigger(n: Any, d: str) -> list[a.Action]:
    table = of_range(n.relation, d)
    other = of_range(n.constrrel, d) if n.HasField("constrrel") else None
    return [a.CreateTrigger(table, n.trigname, other, of_trigger(n, table))]


def _rule(n: Any, d: str) -> list[a.Action]:
    table = of_range(n.relation, d)
    parts = (*((n.where_clause,) if n.HasField("where_clause") else ()), *n.actions)
    return [a.CreateRule(table, n.rulename, of_query(parts, d, own=table, called=("old", "new")))]


def _policy(n: Any, d: str, verb: str) -> list[a.Action]:
    table = of_range(n.table, d)
    parts = [getattr(n, clause) for clause in ("qual", "with_check") if n.HasField(clause)]
    return [a.Policy(table, n.policy_name, verb, of_query(parts, d, own=table))]


_PUBLICATION: Final = numbers("AlterPublicationAction")


def _publication(n: Any, d: str, verb: Literal["create", "add", "set", "drop", "options"]) -> list[a.Action]:
    tables = tuple(
        of_range(o.publication_obj_spec.pubtable.relation, d)
        for o in n.pubobjects
        if o.publication_obj_spec.HasField("pubtable")
    )
    return [a.Publication(n.pubname, verb, of_publication(n, d), tables)]


def _alter_publication(n: Any, d: str) -> list[a.Action]:
    if n.options:
        return _publication(n, d, "options")
    verb = "add" if n.action == _PUBLICATION["AP_AddObjects"] else "drop"
    return _publication(n, d, "set" if n.action == _PUBLICATION["AP_SetObjects"] else verb)


_SUBSCRIPTION: Final = {
    number: name.removeprefix("ALTER_SUBSCRIPTION_") for name, number in numbers("AlterSubscriptionType").items()
}
_OTHER_ROWS: Final = {
    "CONNECTION": "is connected elsewhere",
    "SET_PUBLICATION": "follows other publications",
    "DROP_PUBLICATION": "leaves a publication",
    "SKIP": "skips a transaction",
}


def _alter_subscription(n: Any, d: str) -> list[a.Action]:
    kind = _SUBSCRIPTION[n.kind]
    what = _OTHER_ROWS.get(kind, "")
    if kind == "ENABLED" and not switched_on(n.options, "enabled"):
        what = "is disabled"
    return [a.Subscription(n.subname, what)]


def _drop_subscription(n: Any, d: str) -> list[a.Action]:
    return [a.OutsideTransaction("DROP SUBSCRIPTION"), a.Subscription(n.subname, "is dropped")]


def _drop_roles(n: Any, d: str, kind: str) -> list[a.Action]:
    names = tuple(Name("", r.role_spec.rolename or "the current user") for r in n.roles)
    if kind == "owned":
        return [a.Drop(kind, names, cascade=n.behavior == DROP_CASCADE)]
    return [a.Drop(kind, names, if_exists=n.missing_ok)]


def _drop_mapping(n: Any, d: str) -> list[a.Action]:
    user = n.user.rolename or "the current user"
    return [a.Drop("user mapping", (Name("", f"of {user} at {n.servername}"),), if_exists=n.missing_ok)]


def _alter_role(n: Any, d: str) -> list[a.Action]:
    leaves = n.action < 0 and option(n.options, "rolemembers") is not None  # ALTER GROUP ... DROP USER
    return [a.Privileges(False) if leaves else a.Harmless("ALTER ROLE")]


def _sequence(n: Any, d: str, *, create: bool) -> list[a.Action]:
    kind = option(n.options, "as")
    owned = option(n.options, "owned_by")
    return [
        a.Sequence(
            of_range(n.sequence, d),
            create,
            read_type(kind.arg.type_name).name if kind is not None else "",
            tuple(i.string.sval for i in owned.arg.list.items) if owned is not None else (),
            option(n.options, "restart") is not None,
            any(option(n.options, name) is not None for name in _STEPS),
        )
    ]


READERS: Final[dict[str, Callable[[Any, str], list[a.Action]]]] = {
    "create_domain_stmt": _domain,
    "alter_domain_stmt": _alter_domain,
    "create_enum_stmt": _enum,
    "alter_enum_stmt": _alter_enum,
    "view_stmt": _view,
    "create_table_as_stmt": _table_as,
    "create_function_stmt": _function,
    "create_seq_stmt": lambda n, d: _sequence(n, d, create=True),
    "alter_seq_stmt": lambda n, d: _sequence(n, d, create=False),
    "create_trig_stmt": _trigger,
    "rule_stmt": _rule,
    "create_policy_stmt": lambda n, d: _policy(n, d, "create"),
    "alter_policy_stmt": lambda n, d: _policy(n, d, "alter"),
    "create_publication_stmt": lambda n, d: _publication(n, d, "create"),
    "alter_publication_stmt": _alter_publication,
    "alter_subscription_stmt": _alter_subscription,
    "drop_subscription_stmt": _drop_subscription,
    "drop_role_stmt": lambda n, d: _drop_roles(n, d, "role"),
    "drop_owned_stmt": lambda n, d: _drop_roles(n, d, "owned"),
    "drop_user_mapping_stmt": _drop_mapping,
    "alter_role_stmt": _alter_role,
    "composite_type_stmt": lambda n, d: [a.CreateType(of_range(n.typevar, d), "composite")],
    "create_range_stmt": lambda n, d: [a.CreateType(of_strings(n.type_name, d), "range")],
}
