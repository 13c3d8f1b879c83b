"""`dbkit explain`: the page of a rule or topic, offline."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from dbkit.cli.options import Format
from dbkit.errors import UsageError


def explain(
    name: Annotated[
        str | None, typer.Argument(help="A rule id, or a topic such as exit-codes.", show_default=False)
    ] = None,
    list_: Annotated[bool, typer.Option("--list", help="List every rule, with what other tools call it.")] = False,
    fmt: Annotated[Format, typer.Option("--format", help="text, markdown or json.")] = Format.TEXT,
) -> None:
    """Print the page of a rule or a topic.

    Examples:
      dbkit explain pg.index-invalid

      dbkit explain exit-codes

      dbkit explain --list --format json

    """
    from dbkit import pages
    from dbkit.cli.engines import load_rules
    from dbkit.rules import REGISTRY, listing

    if name not in pages.TOPICS:
        load_rules()
    if fmt not in (Format.TEXT, Format.MARKDOWN, Format.JSON):
        raise UsageError(f"explain does not write {fmt.value}", hint="use --format text, markdown or json")
    if name is None:
        rows = listing(REGISTRY.values())
        print(
            json.dumps(rows, indent=2, ensure_ascii=False)
            if fmt is Format.JSON
            else pages.index(rows, topics=not list_)
        )
        return
    if fmt is Format.JSON:
        print(json.dumps(pages.as_data(name), indent=2, ensure_ascii=False))
    else:
        print(pages.page(name))
