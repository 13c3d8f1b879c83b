"""Writes a design as two Alembic revisions that read like hand-written ones."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, cast

from dbkit.errors import Refused, UsageError
from dbkit.model import Json
from dbkit.postgres.catalog import quote
from dbkit.postgres.migrate import tenants
from dbkit.postgres.migrate.changes.design import Block, Design, Fill
from dbkit.postgres.migrate.revisions import Environment

_WIDTH: Final = 112
_BIND: Final = re.compile(r"(?<![:\w\\]):(?=\w)")


@dataclass(frozen=True, slots=True)
class Written:
    """The two files; `contract` is None where one revision is all."""

    expand: Path
    contract: Path | None
    expand_id: str
    contract_id: str


def write(environment: Environment, design: Design, *, any_schema: bool = False) -> Written:
    """Write the revisions behind the head. `any_schema`: they name no schema, for `--schema-pattern`.

    Raises Refused when a change of that id is there already, or when it cannot do without its schema.
    """
    for revision in environment.revisions:
        if revision.change is not None and revision.change.get("id") == design.id:
            raise Refused(
                f"the change {design.id} is there already",
                why=f"revision {revision.id} in {revision.path.name}",
                hint="edit that file, or delete both files of the change and run this again",
            )
    preview(design, any_schema=any_schema)  # what cannot be written is refused before there is any file
    first = _file(environment, f"expand {design.title}", environment.head)
    first_id = first.revision
    _fill(first, _revision(design, first, second=False, any_schema=any_schema))
    if not design.contract:
        return Written(Path(first.path), None, first_id, "")
    second = _file(environment, f"contract {design.title}", first_id)
    _fill(second, _revision(design, second, second=True, any_schema=any_schema))
    return Written(Path(first.path), Path(second.path), first_id, second.revision)


def preview(design: Design, *, any_schema: bool = False) -> str:
    """Both revisions as they would be written, without identifiers."""
    texts = [_revision(design, _Draft("(new)", None), second=False, any_schema=any_schema)]
    if design.contract:
        texts.append(_revision(design, _Draft("(new)", "(new)"), second=True, any_schema=any_schema))
    return "\n\n".join(texts)


def _revision(design: Design, script: Any, *, second: bool, any_schema: bool) -> str:
    make = _contract if second else _expand
    if not any_schema:
        return make(design, script)
    fills, what = (*design.fills, *design.restore), f"{design.id} cannot be written for any schema"
    others = {f.schema for f in fills} - {design.schema}
    if others:
        raise Refused(what, why=f"it also changes tables of schema {min(others)}")
    texts = " ".join(f.assignments + f.pending for f in fills)
    if tenants.unplaced(texts, design.schema) != texts:
        raise Refused(what, why=f"rows are filled by a function or type of schema {design.schema}")
    bare = replace(
        design, schema="", fills=tuple(replace(f, schema="") for f in design.fills),
        restore=tuple(replace(f, schema="") for f in design.restore),
    )  # fmt: skip
    text = tenants.unplaced(make(bare, script), design.schema)
    tenants.require_unplaced(text, design.schema, design.id)
    return text


@dataclass(frozen=True, slots=True)
class _Draft:
    """Stands for a file that is not written."""

    revision: str
    down_revision: str | None


def _file(environment: Environment, message: str, head: str | None) -> Any:
    """A new file where, and under the name that, this environment gives its revisions."""
    from alembic.util import rev_id
    from alembic.util.exc import CommandError

    try:
        with redirect_stdout(io.StringIO()):  # Alembic tells about each file; the command does so itself
            made = environment.script.generate_revision(
                _next(environment) or rev_id(), message, head=head or "base", splice=False
            )
    except CommandError as error:
        raise UsageError(f"{environment.directory}: cannot write a revision", why=str(error)) from None
    except OSError as error:
        raise UsageError(f"{environment.directory}: cannot write a revision", why=error.strerror) from None
    return made


def _next(environment: Environment) -> str:
    """The next number where revisions are numbered; empty where they are hashes."""
    names = [r.revision for r in environment.script.walk_revisions()]
    if not names or not all(n.isdigit() for n in names):
        return ""
    return str(max(map(int, names)) + 1).zfill(max(map(len, names)))


def _fill(script: Any, text: str) -> None:
    Path(script.path).write_text(text, encoding="utf-8")


def _expand(design: Design, script: Any) -> str:
    story = [*design.story]
    if design.notes:
        when = "To be moved by hand before contract" if design.contract else "To be looked at before"
        story.append(f"{when}: {'; '.join(design.notes)}.")
    change: dict[str, Json] = {
        "id": design.id,
        "kind": design.kind,
        "schema": design.schema,
        "table": design.table,
        "old": list(design.old),
        "new": list(design.new),
        "fill": [_fill_data(f) for f in design.fills],
    }
    if design.contract:
        change["contract"] = True
    if design.reads_old:
        change["reads_old"] = list(design.reads_old)
    if design.swaps:
        change["swaps"] = [{"schema": s, "table": t, "column": c} for s, t, c in design.swaps]
    if design.lost:
        change["lost"] = list(design.lost)
    if design.base:
        change["base"] = design.base
    if design.keys:
        change["keys"] = [", ".join(map(quote, key)) for key in design.keys]
    title = f"Expand: {design.title}" if design.contract else design.title[0].upper() + design.title[1:]
    return _text(title, script, story, "expand", change, design.expand, design.undo_expand, "")


def _contract(design: Design, script: Any) -> str:
    gone = ", ".join(design.old) or ("the old shape" if design.reads_old or design.final else "")
    told = f"when no application uses {gone} any more: `dbkit migrate contract` looks for that"
    story = [f"Run it {told if gone else 'after `dbkit migrate verify`: nothing goes away by it'}."]
    change: dict[str, Json] = {"id": design.id, "kind": design.kind}
    if design.final:
        change["final"] = design.final
    if design.fits:
        change["fits"] = [{"schema": f.schema, "table": f.table, "holds": f.holds, "told": f.told} for f in design.fits]
    if design.restore:
        change["fill"] = [_fill_data(f) for f in design.restore]
    return _text(
        f"Contract: {design.title}",
        script,
        story,
        "contract",
        change,
        design.contract,
        design.undo_contract,
        design.final,
    )


def _fill_data(fill: Fill) -> dict[str, Json]:
    data: dict[str, Json] = {
        "schema": fill.schema,
        "table": fill.table,
        "set": fill.assignments,
        "where": fill.pending,
        "columns": list(fill.columns),
        "tie": fill.tie,
    }
    if not fill.immutable:
        data["immutable"] = False
    if fill.kept:
        data["kept"] = fill.kept
    return data


def _text(
    title: str, script: Any, story: Sequence[str], phase: str, change: Mapping[str, Json], up: Sequence[Block],
    down: Sequence[Block], final: str,
) -> str:  # fmt: skip
    revises = script.down_revision or ""
    created = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    head = [f'"""{title}', "", f"Revision ID: {script.revision}", f"Revises: {revises}".rstrip(), f"Created: {created}"]
    paragraphs = ["\n".join(_wrapped(sentence)) for sentence in story]
    lines = [
        *head,
        *(["", *paragraphs] if paragraphs else []),
        '"""',
        "",
        "from __future__ import annotations",
        "",
        "from alembic import op",
        "",
        f"revision = {_literal(script.revision)}",
        f"down_revision = {_literal(script.down_revision)}",
        "branch_labels = None",
        "depends_on = None",
        "",
        f"phase = {_literal(phase)}",
        f"change = {_data(change)}",
        "",
        "",
        "def upgrade() -> None:",
        *_blocks(up),
        "",
        "",
        "def downgrade() -> None:",
        *(_blocks(down) if not final else [f"    raise NotImplementedError({_literal(final)})"]),
        "",
    ]
    return "\n".join(lines)


def _wrapped(text: str) -> list[str]:
    import textwrap

    return textwrap.wrap(text.replace("\\", "\\\\").replace('"""', "'''"), _WIDTH, break_long_words=False)


def _blocks(blocks: Sequence[Block]) -> list[str]:
    found: list[str] = []
    outside: bool | None = False
    for block in blocks:
        if block.outside:
            if outside is not True:
                found.append("    with op.get_context().autocommit_block():")
            found += _calls(block, "        ")
        else:
            if outside is False and found:
                # Two transactions in a row: an empty block between them is Alembic's way to commit.
                found += ["    with op.get_context().autocommit_block():", "        pass"]
            found += _calls(block, "    ")
        outside = block.outside
    return found or ["    pass"]


def _calls(block: Block, indent: str) -> list[str]:
    found: list[str] = []
    for line in block.lines:
        found += [f"{indent}# {part}" for part in (_wrapped(line.why) if line.why else [])]
        text = _BIND.sub(r"\\:", line.sql)  # Alembic would take :word for a bind parameter
        if "\n" in text or len(text) > _WIDTH - len(indent):
            found.append(f'{indent}op.execute("""\n{_escaped(text)}\n{indent}""")')
        else:
            found.append(f"{indent}op.execute({_literal(text)})")
    return found


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"""', '\\"\\"\\"')


def _literal(value: Any) -> str:
    """A Python literal in double quotes, as formatters leave it."""
    if not isinstance(value, str):
        return repr(value)
    if '"' not in value and "\\" not in value:
        return f'"{value}"'
    return repr(value)


def _data(change: Mapping[str, Json]) -> str:
    """The mapping as a Python literal, one entry a line."""
    lines = ["{"]
    for key, value in change.items():
        if isinstance(value, list) and value and isinstance(value[0], Mapping):
            lines.append(f"    {_literal(key)}: [")
            for entry in value:
                inner = [f"            {_literal(k)}: {_plain(v)}," for k, v in cast(Mapping[str, Json], entry).items()]
                lines += ["        {", *inner, "        },"]
            lines.append("    ],")
        else:
            lines.append(f"    {_literal(key)}: {_plain(value)},")
    return "\n".join([*lines, "}"])


def _plain(value: Json) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_literal, value))}]"
    return _literal(value)
