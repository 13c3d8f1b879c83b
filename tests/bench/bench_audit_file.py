"""A postgresql.conf audited from the command line beside `python -c pass`, in one run. Prints both and the difference.

    .venv/bin/python tests/bench/bench_audit_file.py [ROUNDS]

dbkit starts as a user starts it: a new Python process. The documented limit is 0.6 s wall (DESIGN.md 9).
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CONF = """\
shared_buffers = 4GB -- 25% of RAM
work_mem = 256MB
connection_pooling = 'PgBouncer'
max_connections = 200
log_min_duration_statement = 1000
"""


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 11
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "postgresql.conf"
        file.write_text(CONF, encoding="utf-8")
        flags = ["--pg-version", "15", "--memory", "16GB", "--cpus", "4", "--format", "json"]
        sides = {
            "python -c pass": [sys.executable, "-c", "pass"],
            "dbkit --help": [sys.executable, "-m", "dbkit", "--help"],
            "dbkit audit --pg-conf": [sys.executable, "-m", "dbkit", "audit", "--pg-conf", str(file), *flags],
        }
        times: dict[str, list[float]] = {name: [] for name in sides}
        for _ in range(rounds):
            for name, command in sides.items():
                began = time.perf_counter()
                subprocess.run(command, capture_output=True, check=False)
                times[name].append(time.perf_counter() - began)
    base = statistics.median(times["python -c pass"])
    for name, held in times.items():
        middle = statistics.median(held)
        print(f"{name:<24} median {middle:.3f} s, best {min(held):.3f} s, {middle / base:.0f} times python -c pass")


if __name__ == "__main__":
    main()
