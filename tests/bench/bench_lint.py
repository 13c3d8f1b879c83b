"""1,000 migration files linted in one process, beside squawk on the same files.

    .venv/bin/python tests/bench/bench_lint.py [FILES] [ROUNDS]

Prints the median wall time of both and their ratio. dbkit starts as a user starts it: a new Python process.
"""

from __future__ import annotations

import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

STATEMENTS = (
    (
        "CREATE TABLE t{n} (\n    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,\n    name text NOT NULL,\n"
        "    owner_id bigint REFERENCES users (id),\n    created_at timestamptz NOT NULL DEFAULT now()\n);"
    ),
    "CREATE INDEX t{n}_name ON t{m} (name);",
    "CREATE INDEX CONCURRENTLY t{n}_owner ON t{m} (owner_id);",
    "ALTER TABLE t{m} ADD COLUMN c{n} integer DEFAULT 10;",
    "ALTER TABLE t{m} ADD COLUMN u{n} uuid DEFAULT gen_random_uuid();",
    "ALTER TABLE t{m} ALTER COLUMN name SET NOT NULL;",
    "ALTER TABLE t{m} ALTER COLUMN name TYPE varchar(200) USING name::varchar(200);",
    "ALTER TABLE t{m} ADD CONSTRAINT k{n} CHECK (id > 0) NOT VALID;",
    "ALTER TABLE t{m} VALIDATE CONSTRAINT k{n};",
    "ALTER TABLE t{m} ADD CONSTRAINT f{n} FOREIGN KEY (owner_id) REFERENCES users (id);",
    "UPDATE t{m} SET name = 'x' || id WHERE id BETWEEN {n} AND {n} + 1000;",
    "INSERT INTO t{m} (name) VALUES ('a'), ('b');",
    "DROP INDEX t{m}_name;",
    "ALTER TABLE t{m} DROP COLUMN c{m};",
    "SET lock_timeout = '2s';",
)


def write(folder: Path, files: int) -> tuple[int, int]:
    """Files with some 8 statements each; how many statements and bytes they hold."""
    dice = random.Random(20261123)
    statements = size = 0
    for n in range(files):
        chosen = dice.choices(STATEMENTS, k=dice.randint(4, 13))
        text = f"-- migration {n}\n" + "\n".join(s.format(n=n, m=dice.randrange(max(n, 1))) for s in chosen) + "\n"
        (folder / f"{n:04d}_change.sql").write_text(text, encoding="utf-8")
        statements, size = statements + len(chosen), size + len(text)
    return statements, size


def timed(command: list[str], rounds: int) -> tuple[float, str]:
    times: list[float] = []
    output = ""
    for _ in range(rounds):
        begin = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        times.append(time.perf_counter() - begin)
        output = done.stdout
        assert done.returncode in (0, 1), done.stderr
    return statistics.median(times), output


def main() -> None:
    files = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        statements, size = write(folder, files)
        paths = [str(p) for p in sorted(folder.glob("*.sql"))]
        bin_ = Path(sys.executable).parent
        mine, out = timed([str(bin_ / "dbkit"), "migrate", "lint", name, "--format", "json"], rounds)
        theirs, their_out = timed([str(bin_ / "squawk"), "--reporter=json", *paths], rounds)
        found, their_found = len(json.loads(out)["findings"]), len(json.loads(their_out))
    print(f"{files} files, {statements} statements, {size // 1000} kB, median of {rounds}")
    print(f"dbkit   {mine:6.2f} s  {found:6d} findings")
    print(f"squawk  {theirs:6.2f} s  {their_found:6d} findings")
    print(f"ratio   {mine / theirs:6.1f}  (target: under 1.5 s and within 8)")


if __name__ == "__main__":
    main()
