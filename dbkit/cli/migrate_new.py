"""`dbkit migrate new`: write a change as two Alembic revisions."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dbkit.cli import targets
from dbkit.cli.migrate_fleet import Fleet, Place
from dbkit.cli.migrate_options import VERSION_TABLE, Migrations
from dbkit.cli.options import Config, DryRun, Dsn, Format, OutputFormat, TargetNames
from dbkit.errors import UsageError


def new(
    kind: Annotated[str, typer.Argument(help="What to do; without more words, what that takes.", metavar="KIND")],
    place: Annotated[str | None, typer.Argument(help="The table, column or type.", metavar="[TABLE[.COLUMN]]")] = None,
    words: Annotated[
        list[str] | None, typer.Argument(help="What the kind takes beside it.", metavar="[WORD]...")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="A new column and its expression: 'last = split_part(name, '' '', 2)'.", metavar="C=EXPR"
        ),
    ] = None,
    back: Annotated[
        list[str] | None,
        typer.Option("--back", help="An old column and its expression over the new ones.", metavar="C=EXPR"),
    ] = None,
    using: Annotated[
        str | None, typer.Option("--using", help="The new value from the old column.", metavar="EXPR")
    ] = None,
    default: Annotated[
        str | None, typer.Option("--default", help="What a row gets for which no value is given.", metavar="EXPR")
    ] = None,
    on_delete: Annotated[
        str | None, typer.Option("--on-delete", help="cascade, set null, restrict or no action.", metavar="ACTION")
    ] = None,
    match: Annotated[
        str | None,
        typer.Option("--match", help="What joins the two tables: id=user_id.", metavar="KEY=KEY"),
    ] = None,
    by: Annotated[
        str | None, typer.Option("--by", help="The column that says which partition a row is in.", metavar="COLUMN")
    ] = None,
    every: Annotated[
        str | None, typer.Option("--every", help="How much a partition holds.", metavar="month|week|day|N")
    ] = None,
    from_: Annotated[
        str | None, typer.Option("--from", help="Where the first new partition begins.", metavar="VALUE")
    ] = None,
    ahead: Annotated[
        str | None, typer.Option("--ahead", help="How many partitions to make at once.", metavar="N")
    ] = None,
    name: Annotated[str | None, typer.Option("--name", help="What the new object is called.", metavar="NAME")] = None,
    expression: Annotated[
        str | None, typer.Option("--expression", help="What a computed column holds.", metavar="EXPR")
    ] = None,
    virtual: Annotated[
        bool, typer.Option("--virtual", help="Compute it when it is read (PostgreSQL 18), and store nothing.")
    ] = False,
    before: Annotated[
        str | None, typer.Option("--before", help="The value before which a new enum value sorts.", metavar="VALUE")
    ] = None,
    after: Annotated[
        str | None, typer.Option("--after", help="The value after which it sorts.", metavar="VALUE")
    ] = None,
    view: Annotated[
        bool, typer.Option("--view", help="Rename behind a view, as is done for columns of keys, without a copy.")
    ] = False,
    accept: Annotated[
        list[str] | None, typer.Option("--accept", help="Waive a refusal that names this word.", metavar="WORD")
    ] = None,
    target: TargetNames = None,
    dsn: Dsn = None,
    config: Config = None,
    migrations: Migrations = None,
    any_schema: Annotated[
        bool,
        typer.Option("--any-schema", help="Name no schema in the revisions: for --schema-pattern, a tenant in each."),
    ] = False,
    dry_run: DryRun = False,
    fmt: OutputFormat = Format.TEXT,
) -> None:
    """Write an expand and a contract revision for one change, made for the table as it is in the database.

    Nothing is changed in the database. The files are yours: read them, edit them, lint and rehearse them, commit them.
    `dbkit explain changes` lists the kinds and tells what happens when.

    Examples:

      dbkit migrate new rename-column users.full_name display_name

      dbkit migrate new rename-column users.full_name display_name --dry-run

      dbkit migrate new rename-column tenant_1.users.full_name display_name --any-schema
    """
    import json
    import sys

    from dbkit.postgres.connect import connect
    from dbkit.postgres.migrate import revisions
    from dbkit.postgres.migrate.changes import kinds, write

    if fmt not in (Format.TEXT, Format.JSON):
        raise UsageError(f"new revisions are not told as {fmt.value}", hint="use --format text or json")
    known = kinds.kind(kind)
    if place is None:
        raise UsageError(f"{kind} needs more words", hint=known.told)
    options = {
        "using": using, "name": name, "default": default, "on-delete": on_delete, "before": before, "after": after,
        "expression": expression, "virtual": "yes" if virtual else None,
        "view": "yes" if view else None,
    }  # fmt: skip
    options |= {"by": by, "every": every, "from": from_, "ahead": ahead, "match": match}
    environment = revisions.find(migrations)
    _, chosen = targets.one_target(target, dsn, config)
    with connect(chosen, purpose="migrate new") as connection:
        design = kinds.make(
            connection,
            known,
            place,
            words or [],
            {k: v for k, v in options.items() if v},
            set_ or [],
            back or [],
            accept or [],
        )
    if dry_run:
        sys.stdout.write(write.preview(design, any_schema=any_schema))
        return
    written = write.write(environment, design, any_schema=any_schema)
    files = [Path(f) for f in (written.expand, written.contract) if f is not None]
    if fmt is Format.JSON:
        data = {"change": design.id, "kind": design.kind, "files": [str(f) for f in files], "notes": list(design.notes)}
        print(json.dumps(data, indent=2, ensure_ascii=False))
        return
    for file in files:
        print(f"wrote {_shown(file)}")
    for note in design.notes:
        print(f"{'to be moved by hand before contract' if design.contract else 'to be looked at before'}: {note}")
    fleet = Fleet(target, dsn, config, migrations, VERSION_TABLE)
    expand = Place(chosen, environment, "", *fleet.flags(chosen)).command(f"dbkit migrate expand {design.id}")
    print(f"next: dbkit migrate lint {_shown(files[0])}; {expand}")


def _shown(file: Path) -> str:
    try:
        return str(file.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(file)
