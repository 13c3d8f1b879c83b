"""The open corpus of migration cases, judged by dbkit and by squawk: recall and false alarms, and each disagreement.

    .venv/bin/python tests/bench/lint_corpus.py [--all]

How a case is judged. `scope: rule`: only the rules that dbkit declares as equivalents of the case's rule count.
`statement`, `transaction`, `file`: any finding of the categories lock and transaction counts. `context_sql` is the
schema. eugene and postgres-language-server judge every file as one transaction; squawk says so per case. A case of
several scripts is several files of one chain. Outside of the categories lock and transaction a case counts by its own
rule whatever its scope. The first table takes the labels as they are, the second without those that hold for no version
dbkit supports (11 to 18), each of which is named with the page that says so.

squawk is judged in its own cases by the very rule, and elsewhere in three readings, from strict to generous: by any of
its findings about locks and transactions; by any finding but those about time limits; by any finding at all. It gets
the version, the transaction setting and the files, but no schema, for which it has no option.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from dbkit.postgres.migrate import lint
from dbkit.postgres.migrate.rules import MIGRATION_RULES
from dbkit.postgres.migrate.source import Script, make
from dbkit.rules import Selection

CORPUS = Path(__file__).resolve().parents[3] / "shared" / "corpora" / "migrations.jsonl"
TOOLS = {"squawk": "squawk", "eugene": "eugene", "pgls": "postgres-language-server", "pgsafe": "pgsafe"}
HELD = {"lock": "lock", "txn": "transaction"}
OTHERS = ("appcompat", "policy", "style")
CATEGORY = {r.id: r.category for r in MIGRATION_RULES}
EVERY = Selection(select=tuple(r.id for r in MIGRATION_RULES))

_BEFORE_11 = (
    "the label holds for PostgreSQL 10 and older only: from 11 on a constant default is kept in the catalogue (release notes"
    " of 11: Allow ALTER TABLE to add a column with a non-null default without doing a table rewrite; measured)"
)
_IF_WRAPPED = (
    "if one transaction runs the file, the scan runs under the first statement's lock; reported as a note that says so"
)
_NEW = "the table or type is made by the same file: nobody waits for it"
_RLS = "ENABLE and DISABLE ROW LEVEL SECURITY can be run again (manual, ALTER TABLE; measured)"
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
"""Why dbkit disagrees with a label about locks and transactions, by case id; every disagreement has to be listed here."""
OTHER_REASONS: dict[str, str] = {
    "squawk-0077": "not SQL: `int array[]` is a syntax error, which is what is reported",
    "squawk-0119": _IF_WRAPPED,
    "squawk-0122": _IF_WRAPPED,
    "squawk-0217": "VACUUM FULL rewrites under ACCESS EXCLUSIVE on every version; squawk waits for REPACK in 19",
    "squawk-0268": _RLS,
    "squawk-0270": _RLS,
    "squawk-0276": "a temporary table ends with its session, so the next run makes it anew",
    "squawk-0372": _NEW,
    "squawk-0381": _NEW,
    "pgls-0567": "SET without LOCAL outlives COMMIT (manual, SET)",
}
"""The same for the other categories."""
UNSUPPORTED = frozenset(case for case, reason in REASONS.items() if reason is _BEFORE_11)
"""Cases whose label holds for no supported version."""


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


def by_rule(case: dict[str, Any]) -> bool:
    """Whether only the case's own rule counts."""
    return case["scope"] == "rule" or case["category"] not in HELD


def judge(case: dict[str, Any]) -> Verdict:
    version = (case.get("settings") or {}).get("pg_version")
    options = lint.Options(
        version=(min(int(str(version).partition(".")[0]), 18), None) if version else lint.DEFAULT_VERSION,
        assume=transactional(case),
        schema_sql=case.get("context_sql") or "",
        selection=EVERY if by_rule(case) else Selection(),
    )
    report = lint.lint(scripts(case), options)
    if by_rule(case):
        wanted = {r.id for r in MIGRATION_RULES if case["rule"] in r.equivalents.get(TOOLS[case["source"]], ())}
    else:
        wanted = {r for r, category in CATEGORY.items() if category in ("lock", "transaction")}
    return Verdict(case, tuple(sorted({f.rule for f in report.active} & wanted)))


@cache
def squawk_hazards() -> frozenset[str]:
    """squawk's rules about locks and transactions: by dbkit's table of equivalents, and by the corpus itself."""
    held = [r for r in MIGRATION_RULES if r.category in ("lock", "transaction")]
    told = {name for r in held for name in r.equivalents.get("squawk", ())}
    return frozenset(told | {c["rule"] for c in cases() if c["source"] == "squawk"})


TIME_LIMITS = frozenset({"require-lock-timeout", "require-statement-timeout", "require-timeout-settings"})
READINGS = {
    "its lock and transaction rules": lambda names: names & squawk_hazards(),
    "any finding but time limits": lambda names: names - TIME_LIMITS,
    "any finding": lambda names: names,
}


def squawk_says(case: dict[str, Any]) -> frozenset[str]:
    """The rules squawk reports: for its own cases the very rule only. It takes no schema, so not `context_sql`."""
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
    reported = frozenset(str(v["rule_name"]) for v in json.loads(done.stdout or "[]"))
    own = case["source"] == "squawk" and case["scope"] == "rule"
    return reported & {case["rule"]} if own else reported


def rates(rows: list[dict[str, Any]], found: dict[str, bool]) -> tuple[float, float]:
    """Recall over the unsafe and false alarms over the safe."""
    unsafe, safe = ([r for r in rows if r["expect_unsafe"] is want] for want in (True, False))
    return sum(found[r["id"]] for r in unsafe) / len(unsafe), sum(found[r["id"]] for r in safe) / len(safe)


def table(verdicts: list[Verdict], theirs: dict[str, frozenset[str]]) -> str:
    mine = {v.case["id"]: bool(v.found) for v in verdicts}
    columns = {"dbkit": mine}
    if theirs:
        columns |= {
            f"squawk: {n}": {i: bool(read(names)) for i, names in theirs.items()} for n, read in READINGS.items()
        }
    lines = [f"{'recall / false alarms':<40}{'lock':>16}{'transaction':>16}{'both':>16}"]
    for name, found in columns.items():
        row = f"{name:<40}"
        for categories in (("lock",), ("txn",), ("lock", "txn")):
            hit, false = rates([v.case for v in verdicts if v.case["category"] in categories], found)
            row += f"{hit:>8.3f} {false:>6.1%} "
        lines.append(row.rstrip())
    unsafe = sum(1 for v in verdicts if v.case["expect_unsafe"])
    return "\n".join([*lines, f"{len(verdicts)} cases, {unsafe} unsafe"])


def others() -> list[Verdict]:
    """The cases of the other categories, each by its own rule."""
    return [judge(c) for c in cases(OTHERS)]


def disagreements(verdicts: list[Verdict], reasons: dict[str, str]) -> None:
    """Each disagreement with its reason; with --all, its SQL too."""
    for v in verdicts:
        if not v.right:
            label = "missed" if v.case["expect_unsafe"] else f"false alarm {v.found}"
            print(f"{v.case['id']} {v.case['rule']}: {label}: {reasons.get(v.case['id'], 'NO REASON GIVEN')}")
            if "--all" in sys.argv:
                print("    " + v.case["sql"].strip().replace("\n", "\n    "))


def main() -> None:
    verdicts = [judge(c) for c in cases()]
    theirs = {} if "--no-squawk" in sys.argv else {v.case["id"]: squawk_says(v.case) for v in verdicts}
    print("As labelled\n" + table(verdicts, theirs))
    supported = [v for v in verdicts if v.case["id"] not in UNSUPPORTED]
    print("\nLabels that hold on a supported version (11 to 18)")
    print(table(supported, {i: names for i, names in theirs.items() if i not in UNSUPPORTED}))
    print()
    disagreements(verdicts, REASONS)
    rest = others()
    print("\nOther categories, each case by its own rule")
    for category in OTHERS:
        own = [v for v in rest if v.case["category"] == category]
        hit, false = rates([v.case for v in own], {v.case["id"]: bool(v.found) for v in own})
        unsafe = sum(1 for v in own if v.case["expect_unsafe"])
        print(f"{category:<40}{hit:>8.3f} {false:>6.1%}   {len(own)} cases, {unsafe} unsafe")
    disagreements(rest, OTHER_REASONS)


if __name__ == "__main__":
    main()
