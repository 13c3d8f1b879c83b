"""Whether a statement uses the old shape, told by PostgreSQL's own grammar and the scopes of its names.

The rule where it cannot be known: it counts as used. A column that an unqualified name might mean, a text the grammar
rejects but that names table and column: both keep the gate closed. `select *` in a subquery does not, by itself: the
server would expand it to what is left.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from google.protobuf.message import Message

from dbkit.postgres import ddl
from dbkit.postgres.migrate import bodies
from dbkit.postgres.migrate.gate.shape import ALL, READS, TABLE, UNREAD, WRITES, Shape, mentions

Columns = Callable[[str, str], "frozenset[str] | None"]
"""Columns of a relation by schema ('' = by the search path) and name; None when it is not known."""
_WRAPPED: Final = ("prepare_stmt", "declare_cursor_stmt", "create_table_as_stmt", "explain_stmt")


@dataclass(frozen=True, slots=True)
class Source:
    """One entry of a FROM list: the old columns that it carries, and whether other columns of it are known."""

    alias: str
    carries: frozenset[str]
    columns: frozenset[str] | None = None


Scope = list[Source]
NONE: Final[frozenset[str]] = frozenset()


def uses(sql: str, shape: Shape, columns: Columns = lambda schema, name: None) -> frozenset[str]:
    """How a text uses the old shape: a set of READS, WRITES, ALL, TABLE, UNREAD; empty when it does not."""
    try:
        statements = ddl.parse(sql)
    except ddl.SqlSyntaxError:
        return frozenset({UNREAD}) if mentions(sql, shape) else NONE
    found: set[str] = set()
    for statement in statements:
        reader = Reader(shape, columns)
        reader.statement(statement.node, statement.sql)
        found |= reader.found
    return frozenset(found)


@dataclass
class Reader:
    """Reads one statement; `found` is how it uses the old shape."""

    shape: Shape
    columns: Columns
    found: set[str] = field(default_factory=set[str])

    def statement(self, node: Any, sql: str = "") -> None:
        """A top-level statement. Utility statements that hold a query are read through to it."""
        kind = node.WhichOneof("node") or ""
        held = getattr(node, kind) if kind else None
        if held is None:
            return
        if kind in _WRAPPED:
            self.statement(held.query)
        elif kind == "copy_stmt":
            self._copy(held)
        elif kind == "do_stmt":
            body = bodies.of_do(sql)
            for inner in body.statements:
                self.found |= uses(inner.sql, self.shape, self.columns)
            if body.opaque and mentions(sql, self.shape):
                self.found.add(UNREAD)
        elif kind in ("select_stmt", "insert_stmt", "update_stmt", "delete_stmt", "merge_stmt"):
            self._query(node, [], {}, top=True)

    def _query(self, node: Any, outer: list[Scope], ctes: Mapping[str, frozenset[str]], *, top: bool) -> frozenset[str]:
        """A query of any kind; gives the old columns that its output carries by a star."""
        kind = node.WhichOneof("node") or ""
        held = getattr(node, kind) if kind else None
        if held is None:
            return NONE
        inner = dict(ctes)
        if kind == "select_stmt" or held.HasField("with_clause"):
            self._with(held.with_clause, outer, inner)
        if kind == "select_stmt":
            return self._select(held, outer, inner, top=top)
        if kind == "insert_stmt":
            return self._insert(held, outer, inner, top=top)
        if kind in ("update_stmt", "delete_stmt"):
            return self._change(kind, held, outer, inner, top=top)
        if kind == "merge_stmt":
            return self._merge(held, outer, inner, top=top)
        return NONE

    def _with(self, clause: Any, outer: list[Scope], ctes: dict[str, frozenset[str]]) -> None:
        for entry in clause.ctes:
            cte = entry.common_table_expr
            if clause.recursive:
                ctes[cte.ctename] = NONE
            ctes[cte.ctename] = self._query(cte.ctequery, outer, ctes, top=False)

    def _select(self, held: Any, outer: list[Scope], ctes: dict[str, frozenset[str]], *, top: bool) -> frozenset[str]:
        if held.HasField("larg") or held.HasField("rarg"):
            carried = NONE
            for arm in (held.larg, held.rarg):
                arms = dict(ctes)
                self._with(arm.with_clause, outer, arms)
                carried |= self._select(arm, outer, arms, top=top)
            self._expressions(held.sort_clause, outer, ctes)
            return carried
        scope: Scope = []
        scopes = [scope, *outer]
        for item in held.from_clause:
            self._from(item, scope, scopes, ctes)
        carried = self._output(held.target_list, scope, scopes, ctes, top=top)
        skipped = {"target_list", "from_clause", "with_clause", "larg", "rarg", "into_clause"}
        for descriptor, value in held.ListFields():
            if descriptor.message_type is not None and descriptor.name not in skipped:
                self._expressions(value if descriptor.is_repeated else [value], scopes, ctes)
        return carried

    def _output(
        self,
        targets: Sequence[Any],
        scope: Scope,
        scopes: list[Scope],
        ctes: Mapping[str, frozenset[str]],
        *,
        top: bool,
    ) -> frozenset[str]:
        """A select or returning list; a star at the top gives the application the old columns too."""
        carried = NONE
        for item in targets:
            value = item.res_target.val if item.WhichOneof("node") == "res_target" else item
            starred = self._star(value, scope)
            if starred is None:
                self._expressions([value], scopes, ctes)
                continue
            carried |= starred
            if starred and top:
                self.found.add(ALL)
        return carried

    def _star(self, value: Any, scope: Scope) -> frozenset[str] | None:
        """The old columns behind `*`, `alias.*` or a whole row; None for any other expression."""
        if value.WhichOneof("node") != "column_ref":
            return None
        fields = list(value.column_ref.fields)
        names = [f.string.sval for f in fields if f.WhichOneof("node") == "string"]
        if fields[-1].WhichOneof("node") != "a_star":
            whole = [s.carries for s in scope if len(fields) == 1 and s.alias == names[0] and s.carries]
            known = names[-1] in self.shape.others
            return frozenset[str]().union(*whole) if whole and not known else None
        if not names:
            return frozenset[str]().union(*(s.carries for s in scope))
        return frozenset[str]().union(*(s.carries for s in scope if s.alias == names[-1]))

    def _from(self, item: Any, scope: Scope, scopes: list[Scope], ctes: Mapping[str, frozenset[str]]) -> Scope:
        """Adds an entry of a FROM list to the scope; gives the sources it added."""
        kind = item.WhichOneof("node")
        made: Scope = []
        if kind == "range_var":
            made = [self._relation(item.range_var, ctes)]
        elif kind == "join_expr":
            join = item.join_expr
            left = self._from(join.larg, scope, scopes, ctes)
            right = self._from(join.rarg, scope, scopes, ctes)
            joined = [*left, *right]
            carried = frozenset[str]().union(*(s.carries for s in joined))
            shared = {name.string.sval for name in join.using_clause}
            if carried & shared or (join.is_natural and carried):
                self.found.add(READS)
            self._expressions([join.quals], scopes, ctes)
            if join.HasField("alias"):
                scope.append(Source(join.alias.aliasname, carried))
            return joined
        elif kind == "range_subselect":
            carried = self._query(item.range_subselect.subquery, scopes, ctes, top=False)
            made = [Source(item.range_subselect.alias.aliasname, carried)]
        elif kind == "range_table_sample":
            made = self._from(item.range_table_sample.relation, [], scopes, ctes)
        else:
            held = getattr(item, kind) if kind else None
            if held is not None:
                self._expressions([held], scopes, ctes)
                made = [Source(held.alias.aliasname if held.HasField("alias") else "", NONE)]
        scope.extend(made)
        return made

    def _relation(self, held: Any, ctes: Mapping[str, frozenset[str]]) -> Source:
        alias = held.alias.aliasname or held.relname
        if not held.schemaname and held.relname in ctes:
            return Source(alias, ctes[held.relname])
        if self.shape.names(held.schemaname, held.relname):
            if not self.shape.columns:
                self.found.add(TABLE)
            return Source(alias, self.shape.columns, self.shape.others)
        return Source(alias, NONE, self.columns(held.schemaname, held.relname))

    def _insert(self, held: Any, outer: list[Scope], ctes: dict[str, frozenset[str]], *, top: bool) -> frozenset[str]:
        target = self._relation(held.relation, {})
        rows = held.select_stmt.WhichOneof("node") is not None
        if target.carries:
            if any(c.res_target.name in target.carries for c in held.cols):
                self.found.add(WRITES)
            if rows and not len(held.cols):
                self.found.add(ALL)
        for column in held.cols:
            self._expressions(column.res_target.indirection, outer, ctes)
        if rows:
            self._query(held.select_stmt, outer, ctes, top=True)
        scope = [target, Source("excluded", target.carries, target.columns)]
        conflict = held.on_conflict_clause
        if held.HasField("on_conflict_clause"):
            for element in conflict.infer.index_elems:
                if element.index_elem.name in target.carries:
                    self.found.add(READS)
            self._assigned(conflict.target_list, target)
            self._expressions([conflict], [scope, *outer], ctes)
        return self._returning(held, [target], outer, ctes, top=top)

    def _change(
        self, kind: str, held: Any, outer: list[Scope], ctes: dict[str, frozenset[str]], *, top: bool
    ) -> frozenset[str]:
        target = self._relation(held.relation, {})
        scope = [target]
        scopes = [scope, *outer]
        for item in held.from_clause if kind == "update_stmt" else held.using_clause:
            self._from(item, scope, scopes, ctes)
        if kind == "update_stmt":
            self._assigned(held.target_list, target)
            self._expressions([t.res_target.val for t in held.target_list], scopes, ctes)
        self._expressions([held.where_clause], scopes, ctes)
        return self._returning(held, scope, outer, ctes, top=top)

    def _merge(self, held: Any, outer: list[Scope], ctes: dict[str, frozenset[str]], *, top: bool) -> frozenset[str]:
        target = self._relation(held.relation, {})
        scope = [target]
        scopes = [scope, *outer]
        self._from(held.source_relation, scope, scopes, ctes)
        for item in held.merge_when_clauses:
            clause = item.merge_when_clause
            self._assigned(clause.target_list, target)
            if target.carries and len(clause.values) and not len(clause.target_list):
                self.found.add(ALL)
            self._expressions([clause], scopes, ctes)
        self._expressions([held.join_condition], scopes, ctes)
        return self._returning(held, scope, outer, ctes, top=top)

    def _returning(
        self, held: Any, scope: Scope, outer: list[Scope], ctes: Mapping[str, frozenset[str]], *, top: bool
    ) -> frozenset[str]:
        target = scope[0]
        both = [*scope, Source("old", target.carries, target.columns), Source("new", target.carries, target.columns)]
        return self._output(held.returning_clause.exprs, both, [both, *outer], ctes, top=top)

    def _assigned(self, targets: Sequence[Any], target: Source) -> None:
        if any(t.res_target.name in target.carries for t in targets):
            self.found.add(WRITES)

    def _copy(self, held: Any) -> None:
        if held.query.WhichOneof("node"):
            self._query(held.query, [], {}, top=True)
            return
        target = self._relation(held.relation, {})
        named = {a.string.sval for a in held.attlist}
        if target.carries and not named:
            self.found.add(ALL)
        elif named & target.carries:
            self.found.add(WRITES if held.is_from else READS)

    def _expressions(self, parts: Sequence[Any], scopes: list[Scope], ctes: Mapping[str, frozenset[str]]) -> None:
        """Everything below: columns are resolved, subqueries read with these scopes outside."""
        for part in parts:
            if isinstance(part, ddl.Node):
                kind = part.WhichOneof("node")
                if kind is None:
                    continue
                if kind in ("select_stmt", "insert_stmt", "update_stmt", "delete_stmt", "merge_stmt"):
                    self._query(part, scopes, ctes, top=False)
                    continue
                part = getattr(part, kind)  # noqa: PLW2901
            name = part.DESCRIPTOR.name
            if name == "ColumnRef":
                self._column(part, scopes)
            elif name == "SubLink":
                self._expressions([part.testexpr], scopes, ctes)
                # EXISTS does not care what is selected; the others give one column, or a row that is compared.
                self._query(part.subselect, scopes, ctes, top=False)
            else:
                for descriptor, value in part.ListFields():
                    if descriptor.message_type is not None:
                        held: Sequence[Message] = value if descriptor.is_repeated else [value]
                        self._expressions(held, scopes, ctes)

    def _column(self, held: Any, scopes: list[Scope]) -> None:
        names = [f.string.sval for f in held.fields if f.WhichOneof("node") == "string"]
        if len(names) != len(held.fields) or not names:
            self._row(names, scopes)
            return
        column = names[-1]
        if column not in self.shape.columns:
            if len(names) == 1 and column not in self.shape.others:
                self._row(names, scopes)
            return
        for scope in scopes:
            for source in scope:
                if len(names) > 1:
                    if source.alias == names[-2]:
                        if column in source.carries:
                            self.found.add(READS)
                        return
                elif column in source.carries:
                    self.found.add(READS)
                    return
            if len(names) == 1 and any(s.columns is not None and column in s.columns for s in scope):
                return  # it is that other table's column

    def _row(self, names: Sequence[str], scopes: list[Scope]) -> None:
        """`f(alias.*)` or `f(alias)`: the whole row goes somewhere."""
        wanted = names[-1] if names else ""
        for scope in scopes:
            for source in scope:
                if source.alias == wanted:
                    if source.carries:
                        self.found.add(ALL)
                    return
