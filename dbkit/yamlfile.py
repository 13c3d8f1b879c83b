"""Reads a YAML file into a typed model, so that every mistake is reported as `file:line: what`, with the nearest key.

Used for policies and for the documents kept as data under `policies/`.
"""

from __future__ import annotations

import difflib
from collections.abc import Hashable
from pathlib import Path
from typing import Any, Final, TypeAlias, TypeVar, cast, get_args

import yaml
from pydantic import BaseModel, ValidationError

from dbkit.errors import UsageError

M = TypeVar("M", bound=BaseModel)
KeyPath: TypeAlias = "tuple[str | int, ...]"


# libyaml where PyYAML was built with it: a policy is read in a tenth of the time.
_Loader: Final[type[yaml.SafeLoader]] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read(file: Path, model: type[M], *, name: str | None = None) -> M:
    """The file as an instance of `model`. Raises UsageError naming file and line; messages call the file `name`."""
    label = name or str(file)
    data, lines = parse(file, name=label)
    return validate(data, lines, model, label)


def parse(file: Path, *, name: str | None = None) -> tuple[Any, dict[KeyPath, int]]:
    """The plain data of a YAML file and the 1-based line of every key and item."""
    label = name or str(file)
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot read {label}", why=error.strerror) from None
    except UnicodeDecodeError as error:
        raise UsageError(f"{label} is not UTF-8 text", why=str(error)) from None
    lines: dict[KeyPath, int] = {}
    try:
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            data = None if node is None else _plain(loader, node, (), lines, label)
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise UsageError(f"{label}:{line}: not valid YAML", why=error.problem) from None
    except yaml.YAMLError as error:
        raise UsageError(f"{label}: not valid YAML", why=str(error)) from None
    return data, lines


def validate(data: Any, lines: dict[KeyPath, int], model: type[M], label: str) -> M:
    """`data` as a `model`; every validation error becomes one UsageError for the first, counting the others."""
    try:
        return model.model_validate(data if data is not None else {})
    except ValidationError as error:
        details = error.errors(include_url=False)
        first = min(details, key=lambda d: d["type"] != "extra_forbidden")  # a typo explains what then seems missing
        where = _line(lines, first["loc"])
        key = ".".join(str(part) for part in first["loc"])
        more = f" (and {len(details) - 1} more)" if len(details) > 1 else ""
        if first["type"] == "extra_forbidden":
            what, hint = (
                f"{label}:{where}: unknown key {key!r}{more}",
                _nearest(str(first["loc"][-1]), model, first["loc"]),
            )
            raise UsageError(what, hint=hint) from None
        raise UsageError(f"{label}:{where}: {key}: {first['msg']}{more}") from None


def _plain(loader: yaml.SafeLoader, node: yaml.Node, path: KeyPath, lines: dict[KeyPath, int], label: str) -> Any:
    lines.setdefault(path, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = cast(Hashable, loader.construct_object(key_node))  # pyright: ignore[reportUnknownMemberType]
            line = key_node.start_mark.line + 1
            if str(key) in result:
                raise UsageError(f"{label}:{line}: {key!r} is given twice", hint="keep one of the two")
            lines[(*path, str(key))] = line
            result[str(key)] = _plain(loader, value_node, (*path, str(key)), lines, label)
        return result
    if isinstance(node, yaml.SequenceNode):
        return [_plain(loader, item, (*path, i), lines, label) for i, item in enumerate(node.value)]
    return loader.construct_object(node)  # pyright: ignore[reportUnknownMemberType]


def _line(lines: dict[KeyPath, int], path: KeyPath) -> int:
    while path and path not in lines:
        path = path[:-1]
    return lines.get(path, 1)


def _nearest(key: str, model: type[BaseModel], path: KeyPath) -> str | None:
    known = _known_keys(model, path[:-1])
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    if near:
        return f"did you mean {near[0]!r}?"
    return f"known keys: {', '.join(sorted(known))}" if known else None


def _known_keys(model: type[BaseModel], path: KeyPath) -> list[str]:
    """The keys allowed where `path` leads, following nested models, lists and mappings of models."""
    for part in path:
        field = model.model_fields.get(str(part))
        if field is None:
            continue
        inner = _inner_model(field.annotation)
        if inner is None:
            return []
        model = inner
    return [field.alias or name for name, field in model.model_fields.items()]


def _inner_model(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in get_args(annotation):
        found = _inner_model(argument)
        if found is not None:
            return found
    return None
