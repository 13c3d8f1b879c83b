"""The naming convention of an Alembic environment's MetaData, read from the source: neither env.py nor a model is run.

A convention is found where it is written as a dictionary of texts, in `MetaData(naming_convention=...)` or by a name,
in env.py or in a module of the project that env.py imports, directly or through others.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_KEYS: Final = frozenset({"ix", "uq", "ck", "fk", "pk"})
_TOKEN: Final = re.compile(r"%\((\w+)\)s")
_KNOWN: Final = re.compile(
    r"(?:referred_)?table_name|constraint_name|(?:referred_)?column_\d+(?:_N|N)?(?:_?(?:name|key|label))?|column_0_?N?_?(?:name|key|label)"
)
_MOST: Final = 300
"""Modules looked at: a project's models, not its whole tree."""


@dataclass(frozen=True, slots=True)
class Written:
    """A convention in the source: its entries, none where they are not plain texts, and where it stands."""

    names: Mapping[str, str]
    file: Path
    line: int


def convention(environment: Path) -> Mapping[str, str] | None:
    """The convention of `environment/env.py`, or None when there is none, or more than one that differ."""
    return settled(conventions(environment))


def settled(found: Sequence[Written]) -> Mapping[str, str] | None:
    """The names of the one convention that can be read; None when there is none, or more than one that differ."""
    held = [c.names for c in found if c.names]
    return held[0] if held and all(names == held[0] for names in held) else None


def conventions(environment: Path) -> list[Written]:
    """Every naming convention that env.py and the project's modules behind it give to a MetaData."""
    start = environment / "env.py"
    roots = [r for up in (environment, *environment.resolve().parents[:3]) for r in (up, up / "src") if r.is_dir()]
    found: list[Written] = []
    seen: set[Path] = set()
    pending = [start]
    while pending and len(seen) < _MOST:
        file = pending.pop(0)
        if file in seen:
            continue
        seen.add(file)
        tree = _parsed(file)
        if tree is None:
            continue
        found += _conventions(tree, file, roots)
        pending += _imported(tree, file, roots)
    return found


def _parsed(file: Path) -> ast.Module | None:
    try:
        return ast.parse(file.read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError):
        return None


def _conventions(tree: ast.Module, file: Path, roots: list[Path]) -> Iterator[Written]:
    for node in ast.walk(tree):
        value: ast.expr | None = None
        if isinstance(node, ast.Call):
            value = next((k.value for k in node.keywords if k.arg == "naming_convention"), None)
        elif isinstance(node, ast.Assign):
            named = any(isinstance(t, ast.Attribute) and t.attr == "naming_convention" for t in node.targets)
            value = node.value if named else None
        if value is None or (isinstance(value, ast.Constant) and value.value is None):
            continue
        line = value.lineno
        if isinstance(value, ast.Name):
            value = _value(tree, value.id) or _elsewhere(tree, value.id, file, roots)
        yield Written(_texts(value), file, line)


def _value(tree: ast.Module, name: str) -> ast.expr | None:
    """What a name is set to at the top of a module."""
    for node in tree.body:
        if not isinstance(node, ast.Assign | ast.AnnAssign):
            continue
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        if any(isinstance(t, ast.Name) and t.id == name for t in targets):
            return node.value
    return None


def _elsewhere(tree: ast.Module, name: str, file: Path, roots: list[Path]) -> ast.expr | None:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    for source in _files(node, file, roots):
                        other = _parsed(source)
                        value = _value(other, alias.name) if other is not None else None
                        if value is not None:
                            return value
    return None


def _texts(value: ast.expr | None) -> dict[str, str]:
    """The entries that are plain texts with tokens that SQLAlchemy knows by itself."""
    if not isinstance(value, ast.Dict):
        return {}
    found: dict[str, str] = {}
    for pair in zip(value.keys, value.values, strict=True):
        name, text = (n.value if isinstance(n, ast.Constant) else None for n in pair)
        if name in _KEYS and isinstance(text, str) and all(_KNOWN.fullmatch(t) for t in _TOKEN.findall(text)):
            found[str(name)] = text
    return found


def _imported(tree: ast.Module, file: Path, roots: list[Path]) -> Iterator[Path]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom | ast.Import):
            yield from _files(node, file, roots)


def _files(node: ast.ImportFrom | ast.Import, file: Path, roots: list[Path]) -> Iterator[Path]:
    """The project's own files that an import may mean."""
    if isinstance(node, ast.Import):
        modules, bases = [a.name for a in node.names], roots
    else:
        module = node.module or ""
        modules = [".".join(filter(None, (module, a.name))) for a in node.names] + ([module] if module else [])
        bases = [file.resolve().parents[node.level - 1]] if node.level else roots
    for module in modules:
        path = Path(*module.split("."))
        for base in bases:
            for candidate in (base / path.with_suffix(".py"), base / path / "__init__.py"):
                if candidate.is_file():
                    yield candidate.resolve()
