"""The advice of `dbkit index advise`, put to the proof: the real run time of a workload before and after `dbkit apply`
has built what was advised, in one run on one database. Prints both sides and the ratio, statement by statement.

    python tests/bench/bench_advise.py [copies of the seed, default 1: 770,000 rows]
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psycopg

from dbkit import assets
from dbkit.demo.tour import SERVER_SETTINGS, migrate
from dbkit.ephemeral.postgres import start_postgres
from dbkit.ephemeral.postgres_databases import create

# Statement and the parameters of its n-th run.
WORKLOAD = {
    "select * from users where email = %s": lambda n: [f"user{n * 97}@example.org"],
    "select * from users where id = %s": lambda n: [n * 91],
    "select * from users where lower(full_name) = lower(%s)": lambda n: [f"USER {n * 53}"],
    "select * from jobs where company_id = %s order by posted_at desc limit 20": lambda n: [n],
    "select * from jobs where title ilike '%%quantum%%' and id <> %s": lambda n: [n],
    "select * from applications where user_id = %s order by created_at desc limit 10": lambda n: [n * 71],
    "select max(created_at) from applications where job_id = %s": lambda n: [n * 31],
    "select u.email from users u join applications a on a.user_id = u.id where a.job_id = %s": lambda n: [n * 17],
    "select * from resumes where user_id = %s and is_primary": lambda n: [n * 61],
    "select * from sessions where token_hash = md5('token' || %s::text)": lambda n: [n * 41],
    "select * from audit_logs where user_id = %s order by created_at desc limit 50": lambda n: [n * 29],
    "select j.id, count(a.id) from jobs j left join applications a on a.job_id = j.id where j.company_id = %s group by j.id":
        lambda n: [n],
}  # fmt: skip
RUNS = 20


def main() -> None:
    copies = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    with start_postgres(18, settings=SERVER_SETTINGS) as server, tempfile.TemporaryDirectory() as scratch:
        dsn = server.dsn_for(create(server, "shop"))
        migrate(dsn)
        with psycopg.connect(dsn, autocommit=True) as connection:
            for _ in range(copies):
                connection.execute(assets.query("demo/seed"))
            connection.execute("vacuum analyze")
        file, plan = Path(scratch) / "workload.sql", Path(scratch) / "plan.json"
        file.write_text(";\n".join(w.replace("%%", "%") for w in WORKLOAD))
        before = run(dsn)
        began = time.monotonic()
        advise = ["index", "advise", "--sql", str(file), "--file", empty(scratch), "--plan", str(plan), "-q"]
        subprocess.run([*DBKIT, *advise], env=environment(dsn), check=True, stdout=subprocess.DEVNULL)
        print(f"dbkit index advise: {time.monotonic() - began:.1f} s for {len(WORKLOAD)} statements")
        subprocess.run([*DBKIT, "apply", str(plan), "-q"], env=environment(dsn), check=True, stdout=subprocess.DEVNULL)
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute("vacuum analyze")
        after = run(dsn)
    for statement, old in before.items():
        new = after[statement]
        print(f"{old:8.2f} ms  {new:8.2f} ms  {old / new:7.1f} x  {statement[:90]}")
    old, new = sum(before.values()), sum(after.values())
    print(f"whole workload, one run of each: {old:.1f} ms before, {new:.1f} ms after the advice; ratio {old / new:.1f}")


DBKIT = [sys.executable, "-m", "dbkit"]


def empty(scratch: str) -> str:
    """A file that wants nothing of interest: advice must not lean on the documented set."""
    file = Path(scratch) / "wanted.sql"
    file.write_text("create index other_key on api_keys (key_hash);\n")
    return str(file)


def environment(dsn: str) -> dict[str, str]:
    return {**os.environ, "DBKIT_CONFIG": os.devnull, "DBKIT_DSN": dsn}


def run(dsn: str) -> dict[str, float]:
    """Milliseconds of one run of each statement: the mean of many, after one to warm the cache."""
    found: dict[str, float] = {}
    with psycopg.connect(dsn, autocommit=True) as connection:
        for statement, parameters in WORKLOAD.items():
            connection.execute(statement.encode(), parameters(1) or None).fetchall()
            began = time.perf_counter()
            for n in range(1, RUNS + 1):
                connection.execute(statement.encode(), parameters(n) or None).fetchall()
            found[statement] = (time.perf_counter() - began) * 1000 / RUNS
    return found


if __name__ == "__main__":
    main()
