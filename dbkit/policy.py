"""Policies: which rules count, how much, and what is knowingly set aside.

A policy is a YAML file. `extends` names another (a file beside it, or one that ships with dbkit such as `default`),
whose entries hold unless overridden. Example:

    version: 1
    extends: default
    rules:
      pg.index-unused: {severity: info, max_scans: 100}
      pg.index-bloated: off
    ignore:
      - rule: pg.index-undocumented
        object: public.report_*
        reason: owned by the reporting team
        until: 2027-03-31
"""

from __future__ import annotations

import difflib
from datetime import date
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from dbkit import assets, yamlfile
from dbkit.errors import UsageError
from dbkit.model import Finding, Severity, Suppression
from dbkit.rules import REGISTRY, Rule, resolve

L = TypeVar("L", bound=BaseModel)


class RuleEntry(BaseModel):
    """What a policy says of one rule; keys other than `severity` and `enabled` are the rule's own limits."""

    model_config = ConfigDict(extra="allow", frozen=True)

    severity: Severity | None = None
    enabled: bool = True


class Ignore(BaseModel):
    """One finding (or a family of them, by glob) knowingly set aside, with the reason and, if it should end, a date."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rule: str
    object: str = "*"
    target: str = "*"
    reason: str = Field(min_length=3)
    until: date | None = None


class Policy(BaseModel):
    """The merged policy of a run."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Literal[1] = 1
    extends: str | None = None
    rules: dict[str, RuleEntry] = Field(default_factory=dict)
    ignore: tuple[Ignore, ...] = ()

    @field_validator("rules", mode="before")
    @classmethod
    def _switches(cls, value: Any) -> Any:
        """`off`, `on` and a bare severity are short forms; YAML reads off and on as booleans."""
        if not isinstance(value, dict):
            return value
        entries: dict[Any, Any] = {}
        for name, entry in value.items():  # pyright: ignore[reportUnknownVariableType]
            if isinstance(entry, bool):
                entries[name] = {"enabled": entry}
            elif isinstance(entry, str):
                entries[name] = {"severity": entry}
            else:
                entries[name] = entry
        return entries

    def switched_on(self, rule: Rule[..., Any]) -> bool | None:
        """True or False when the policy says so, None when it does not mention the rule."""
        entry = self._entry(rule)
        return None if entry is None else entry.enabled

    def severity(self, rule: Rule[..., Any], default: Severity | None = None) -> Severity:
        """The severity a finding of this rule gets; `default` is the rule's own view of the case at hand."""
        entry = self._entry(rule)
        return entry.severity if entry and entry.severity else default or rule.severity

    def limits(self, rule: Rule[..., Any], model: type[L]) -> L:
        """The rule's limits: the model's defaults, overridden by the policy's entry (checked when it was loaded)."""
        entry = self._entry(rule)
        return model.model_validate(dict(entry.model_extra or {}) if entry else {})

    def suppression(self, finding: Finding, today: date) -> Suppression | None:
        """The first unexpired `ignore` entry that covers the finding."""
        for entry in self.ignore:
            if entry.until is not None and entry.until < today:
                continue
            covers = finding.rule == entry.rule or finding.rule.startswith(entry.rule + ".")
            if covers and fnmatchcase(finding.object, entry.object) and fnmatchcase(finding.target, entry.target):
                return Suppression("policy", entry.reason, entry.until)
        return None

    def expired(self, today: date) -> tuple[Ignore, ...]:
        """Entries whose date has passed: they no longer hide anything."""
        return tuple(e for e in self.ignore if e.until is not None and e.until < today)

    def _entry(self, rule: Rule[..., Any]) -> RuleEntry | None:
        for name in (rule.id, *rule.aliases):
            if name in self.rules:
                return self.rules[name]
        return None


def load(name: str | Path | None = None, *, unloaded: tuple[str, ...] = ()) -> Policy:
    """The policy called `name` (a file, or a shipped policy's bare name), merged over what it extends.

    None is the shipped `default`. Raises UsageError with file and line for anything unknown or malformed. Rules whose
    id begins with a part named in `unloaded` (`pgbouncer`) are taken as they stand: the run has no use for them.
    """
    return _load(_find(name or "default", Path.cwd()), (), unloaded)


def _find(name: str | Path, beside: Path) -> Path:
    given = Path(name)
    for candidate in (beside / given, beside / f"{given}.yaml"):
        if candidate.is_file():
            return candidate
    shipped = assets.path("policies") / f"{given}.yaml"
    if given.name == str(given) and shipped.is_file():
        return shipped
    names = ", ".join(sorted(p.stem for p in assets.path("policies").glob("*.yaml")))
    raise UsageError(f"no policy {str(name)!r}", hint=f"give a file, or one of the shipped policies: {names}")


def _load(file: Path, chain: tuple[Path, ...], unloaded: tuple[str, ...]) -> Policy:
    if file in chain:
        raise UsageError(f"{file}: policies extend each other in a circle")
    data, lines = yamlfile.parse(file)
    policy = yamlfile.validate(data, lines, Policy, str(file))
    _check_entries(policy, lines, file, unloaded)
    if policy.extends is None:
        return policy
    base = _load(_find(policy.extends, file.parent), (*chain, file), unloaded)
    merged = {**base.rules}
    for rule_id, entry in policy.rules.items():
        held = merged.get(rule_id)
        update = entry.model_dump(exclude_unset=True)
        merged[rule_id] = RuleEntry.model_validate({**(held.model_dump(exclude_unset=True) if held else {}), **update})
    return Policy(rules=merged, ignore=(*base.ignore, *policy.ignore))


def json_schema() -> dict[str, Any]:
    """The JSON Schema of policy files, every registered rule with its own limits. Load the rules first."""
    schema = Policy.model_json_schema()
    entries: dict[str, Any] = {}
    for rule in sorted(REGISTRY.values(), key=lambda r: r.id):
        limits = rule.limits.model_json_schema() if rule.limits else {}
        detailed = {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "severity": {"enum": [s.value for s in Severity]},
                "enabled": {"type": "boolean"},
                **limits.get("properties", {}),
            },
        }
        short = {"enum": [True, False, *(s.value for s in Severity)]}
        entries[rule.id] = {"description": rule.title, "anyOf": [short, detailed]}
    schema["properties"]["rules"] = {"type": "object", "additionalProperties": False, "properties": entries}
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    return schema


def _check_entries(policy: Policy, lines: dict[yamlfile.KeyPath, int], file: Path, unloaded: tuple[str, ...]) -> None:
    """Refuse unknown rules and wrong limits at the line where they stand."""
    for rule_id, entry in policy.rules.items():
        if rule_id.partition(".")[0] in unloaded:
            continue
        at = f"{file}:{lines.get(('rules', rule_id), 1)}"
        try:
            rule = resolve(rule_id)
        except UsageError as error:
            raise UsageError(f"{at}: {error.what}", hint=error.hint) from None
        _check_limits(rule, dict(entry.model_extra or {}), lines, file, rule_id)
    for position, ignored in enumerate(policy.ignore):
        if ignored.rule.partition(".")[0] in unloaded:
            continue
        if not any(r == ignored.rule or r.startswith(ignored.rule + ".") for r in REGISTRY):
            line = lines.get(("ignore", position, "rule"), 1)
            raise UsageError(
                f"{file}:{line}: ignore names no known rule: {ignored.rule!r}", hint="see `dbkit explain --list`"
            )


def _check_limits(
    rule: Rule[..., Any], given: dict[str, Any], lines: dict[yamlfile.KeyPath, int], file: Path, rule_id: str
) -> None:
    known = sorted(rule.limits.model_fields) if rule.limits else []
    for key in given:
        if key not in known:
            line = lines.get(("rules", rule_id, key), 1)
            near = difflib.get_close_matches(key, [*known, "severity", "enabled"], n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"limits of this rule: {', '.join(known) or 'none'}"
            raise UsageError(f"{file}:{line}: {rule_id} has no limit {key!r}", hint=hint)
    if rule.limits:
        try:
            rule.limits.model_validate(given)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            line = lines.get(("rules", rule_id, *first["loc"]), 1)
            raise UsageError(f"{file}:{line}: {rule_id}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
