"""The open corpus of migration cases, judged by dbkit and by squawk: recall and false alarms, and each disagreement.

    .venv/bin/python tests/bench/lint_corpus.py [--all]

How a case is judged. `scope: rule`: only the rules that dbkit declares as equivalents of the case's rule count.
`statement`, `transaction`, `file`: any finding of the categories lock and transaction counts. `context_sql` is the
schema. eugene and postgres-language-server judge every file as one transaction; squawk says so per case. A case of
several scripts is several files of one chain.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dbkit.postgres.migrate import lint
from dbkit.postgres.migrate.rules import MIGRATION_RULES
from dbkit.postgres.migrate.source import Script, make
from dbkit.rules import Selection

CORPUS = Path(__file__).resolve().parents[3] / "shared" / "corpora" / "migrations.jsonl"
TOOLS = {"squawk": "squawk", "eugene": "eugene", "pgls": "postgres-language-server", "pgsafe": "pgsafe"}
HELD = {"lock": "lock", "txn": "transaction"}
CATEGORY = {r.id: r.category for r in MIGRATION_RULES}
EVERY = Selection(select=tuple(r.id for r in MIGRATION_RULES))

_BEFORE_11 = (
    "the label holds for PostgreSQL 10 and older only; from 11 on the value is stored in the catalogue (measured)"
)
_SAME_STATEMENT = (
    "VALIDATE CONSTRAINT and DROP COLUMN are parts of one ALTER TABLE, so the scan runs under ACCESS EXCLUSIVE (measured);"
    " eugene looks at the strongest lock and at rewrites, not at scans"
)
REASONS: dict[str, str] = {
    "eugene-0423": _SAME_STATEMENT,
    "eugene-0426": _SAME_STATEMENT,
    "pgls-0462": _BEFORE_11,
    "pgls-0465": _BEFORE_11,
    "pgls-0466": _BEFORE_11,
}
"""Why dbkit disagrees with a label, by case id; every disagreement has to be listed here."""


@dataclass(frozen=True)
class Verdict:
    case: dict[str, Any]
    found: tuple[str, ...]

    @property
    def right(self) -> bool:
        return bool(self.found) == self.case["expect_unsafe"]


def cases(categories: tuple[str, ...] = ("lock", "txn")) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in CORPUS.read_text(encoding="utf-8").splitlines()]
    return [r for r in rows if r["category"] in categories]


def scripts(case: dict[str, Any]) -> list[Script]:
    if not case.get("multi_script"):
        return [make("case.sql", case["sql"])]
    pieces = re.split(r"^-- (\d+)\.sql\s*$", case["sql"], flags=re.MULTILINE)
    return [make(f"{n}.sql", text) for n, text in zip(pieces[1::2], pieces[2::2], strict=True)]


def transactional(case: dict[str, Any]) -> bool | None:
    told = (case.get("settings") or {}).get("assume_in_transaction")
    alone = case["source"] == "eugene" and "concurrently" in case["sql"].lower()  # eugene runs those outside of one
    return True if told or (case["source"] in ("eugene", "pgls") and not alone) else None


def judge(case: dict[str, Any]) -> Verdict:
    version = (case.get("settings") or {}).get("pg_version")
    options = lint.Options(
        version=(min(int(str(version).partition(".")[0]), 18), None) if version else lint.DEFAULT_VERSION,
        assume=transactional(case),
        schema_sql=case.get("context_sql") or "",
        selection=EVERY if case["scope"] == "rule" else Selection(),
    )
    report = lint.lint(scripts(case), options)
    if case["scope"] == "rule":
        wanted = {r.id for r in MIGRATION_RULES if case["rule"] in r.equivalents.get(TOOLS[case["source"]], ())}
    else:
        wanted = {r for r, category in CATEGORY.items() if category in ("lock", "transaction")}
    return Verdict(case, tuple(sorted({f.rule for f in report.active} & wanted)))


def judge_squawk(case: dict[str, Any]) -> bool:
    """Whether squawk reports a hazard of the same kind; it takes no schema, so the context is put before."""
    names = set[str]()
    for r in MIGRATION_RULES:
        mine = case["rule"] in r.equivalents.get(TOOLS[case["source"]], ())
        if (case["scope"] == "rule" and mine) or (case["scope"] != "rule" and r.category in ("lock", "transaction")):
            names |= set(r.equivalents.get("squawk", ()))
    if case["source"] == "squawk":
        names = {case["rule"]}
    with tempfile.TemporaryDirectory() as folder:
        files = []
        for position, script in enumerate(scripts(case)):
            file = Path(folder) / f"{position}.sql"
            file.write_text(script.original, encoding="utf-8")
            files.append(str(file))
        flags = ["--assume-in-transaction"] if transactional(case) else []
        version = (case.get("settings") or {}).get("pg_version")
        flags += [f"--pg-version={version}"] if version else []
        program = Path(sys.executable).with_name("squawk")
        done = subprocess.run(
            [str(program), "--reporter=json", *flags, *files], capture_output=True, text=True, check=False
        )
    reported = {v["rule_name"] for v in json.loads(done.stdout or "[]")}
    return bool(reported & names)


def table(verdicts: list[Verdict], theirs: dict[str, bool]) -> str:
    lines = [
        f"{'cases':<14}{'unsafe':>8}{'safe':>6}   {'dbkit recall':>13} {'false':>7}   {'squawk recall':>14} {'false':>7}"
    ]
    for name, categories in (("lock", ("lock",)), ("transaction", ("txn",)), ("both", ("lock", "txn"))):
        mine = [v for v in verdicts if v.case["category"] in categories]
        unsafe = [v for v in mine if v.case["expect_unsafe"]]
        safe = [v for v in mine if not v.case["expect_unsafe"]]
        hit = sum(1 for v in unsafe if v.found) / len(unsafe)
        false = sum(1 for v in safe if v.found) / len(safe)
        row = f"{name:<14}{len(unsafe):>8}{len(safe):>6}   {hit:>13.3f} {false:>7.1%}"
        if theirs:
            their_hit = sum(1 for v in unsafe if theirs[v.case["id"]]) / len(unsafe)
            their_false = sum(1 for v in safe if theirs[v.case["id"]]) / len(safe)
            row += f"   {their_hit:>14.3f} {their_false:>7.1%}"
        lines.append(row)
    return "\n".join(lines)


def main() -> None:
    verdicts = [judge(c) for c in cases()]
    theirs = {} if "--no-squawk" in sys.argv else {v.case["id"]: judge_squawk(v.case) for v in verdicts}
    print(table(verdicts, theirs))
    print()
    for v in verdicts:
        if not v.right:
            label = "missed" if v.case["expect_unsafe"] else f"false alarm {v.found}"
            print(f"{v.case['id']} {v.case['rule']}: {label}: {REASONS.get(v.case['id'], 'NO REASON GIVEN')}")
            if "--all" in sys.argv:
                print("    " + v.case["sql"].strip().replace("\n", "\n    "))


if __name__ == "__main__":
    main()
