"""Rights that go over from one table or column to another, read where the revision runs.

Roles differ from one environment to the next: a revision that named those of the database it was written for would fail
in another, and would leave out whom only that one knows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from dbkit.postgres.catalog import quote
from dbkit.postgres.migrate.changes.design import Line
from dbkit.postgres.migrate.names import literal

_WHY: Final = "whoever has rights there has them here, in every environment"
_SEEN: Final = '-- dbkit: ignore migrate.not-analysed reason="it grants what the catalogue says, and nothing else"'
_ROW: Final = ("SELECT", "INSERT", "UPDATE", "DELETE")
"""What can be given on a view."""


def of_columns(source: str, columns: Sequence[str], target: str, new: Sequence[str]) -> Line:
    """Who may do something with all of `columns` of table `source` may do it with each of `new` of `target`."""
    named = ", ".join(map(quote, new))
    return Line(
        _granting(
            f"({named}) on {target}",
            "    from pg_catalog.pg_attribute a\n    cross join lateral pg_catalog.aclexplode(a.attacl) g\n"
            f"    where a.attrelid = {literal(source)}::regclass\n"
            f"      and a.attname in ({', '.join(map(literal, columns))})\n"
            "    group by g.privilege_type, g.grantee\n"
            f"    having count(distinct a.attname) = {len(columns)}\n",
            grantable="bool_and(g.is_grantable)",
        ),
        _WHY,
    )


def of_table(source: str, target: str) -> tuple[Line, ...]:
    """All rights on a table, and on its columns, for another one with the same columns."""
    return (Line(_granting(f"on {target}", _whole(source)), _WHY), _by_name(source, target, ""))


def of_view(source: str, view: str, also: Mapping[str, str]) -> tuple[Line, ...]:
    """The rights that a view can have, from the table behind it; `also` gives more columns those of their source."""
    rows = "      and g.privilege_type in (" + ", ".join(map(literal, _ROW)) + ")\n"
    lines = [Line(_granting(f"on {view}", _whole(source) + rows), _WHY), _by_name(source, view, rows)]
    return (*lines, *(of_columns(source, [old], view, [new]) for new, old in also.items()))


def nobody_by_column(table: str) -> str:
    """A DO block that raises where a role may read some columns of the table and not all of it."""
    told = f"% may read some columns of {table} only"
    return (
        "do $$\ndeclare\n  few text;\nbegin\n"
        "  select string_agg(distinct quote_ident(pg_get_userbyid(g.grantee)), ', ')\n  into few\n"
        "  from pg_catalog.pg_attribute a\n  cross join lateral pg_catalog.aclexplode(a.attacl) g\n"
        f"  where a.attrelid = {literal(table)}::regclass\n    and g.privilege_type = 'SELECT'\n"
        "    and not exists (\n      select\n      from pg_catalog.pg_class c\n"
        "      cross join lateral pg_catalog.aclexplode(c.relacl) w\n      where c.oid = a.attrelid\n"
        "        and w.privilege_type = 'SELECT'\n        and w.grantee in (0, g.grantee)\n    );\n"
        f"  if few is not null then\n    raise exception {literal(told)}, few\n"
        "      using hint = 'write the change anew for this database: the view is made otherwise then';\n"
        "  end if;\nend\n$$"
    )


def policy(name: str, source: str, before: str, after: str) -> str:
    """CREATE POLICY for the roles that the policy of that name has on `source`: the text before and after them."""
    text = f"{before.replace('%', '%%')} %s{after.replace('%', '%%')}"
    return (
        f"do $$\nbegin\n  execute format(\n    {literal(text)},\n    (\n"
        "      select string_agg(case r when 0 then 'public' else quote_ident(pg_get_userbyid(r)) end, ', ')\n"
        "      from pg_catalog.pg_policy p\n      cross join unnest(p.polroles) r\n"
        f"      where p.polrelid = {literal(source)}::regclass\n        and p.polname = {literal(name)}\n"
        "    )\n  );\nend\n$$"
    )


def _whole(source: str) -> str:
    return (
        "    from pg_catalog.pg_class c\n    cross join lateral pg_catalog.aclexplode(c.relacl) g\n"
        f"    where c.oid = {literal(source)}::regclass\n      and g.grantee <> c.relowner\n"
    )


def _by_name(source: str, target: str, more: str) -> Line:
    """The rights on single columns, for the columns of the same names."""
    rows = (
        "    from pg_catalog.pg_attribute a\n    cross join lateral pg_catalog.aclexplode(a.attacl) g\n"
        f"    where a.attrelid = {literal(source)}::regclass\n      and not a.attisdropped\n{more}"
    )
    return Line(_granting(f"(%I) on {target.replace('%', '%%')}", rows, column="a.attname"))


def _granting(on: str, rows: str, *, grantable: str = "g.is_grantable", column: str = "") -> str:
    """A DO block that gives what the rows `g` hold; with `column`, on the column that it names."""
    place = on if column else on.replace("%", "%%")
    text = f"grant %s {place} to %s%s"
    return (
        f"{_SEEN}\ndo $$\ndeclare\n  given text;\nbegin\n  for given in\n    select format(\n"
        f"      {literal(text)}, g.privilege_type,{f' {column},' if column else ''}\n"
        "      case g.grantee when 0 then 'public' else quote_ident(pg_get_userbyid(g.grantee)) end,\n"
        f"      case when {grantable} then ' with grant option' else '' end\n    )\n"
        f"{rows}  loop\n    execute given;\n  end loop;\nend\n$$"
    )
