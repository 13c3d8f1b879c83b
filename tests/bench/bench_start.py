"""How long commands take to start, beside an empty Python and a typer program of one command, all in one run.

    python tests/bench/bench_start.py [rounds, default 15]

Rounds are interleaved, so that a busy moment hits all; the best of each is printed, and its distance to the bar.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time

HELLO = "import typer\napp = typer.Typer()\n@app.command()\ndef hello() -> None: print('hello')\napp()"
BARS = {"dbkit --help": 0.2, "dbkit --version": 0.2}
DBKIT = [sys.executable, "-m", "dbkit"]
PROGRAMS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "typer, one command": [sys.executable, "-c", HELLO],
    "dbkit --version": [*DBKIT, "--version"],
    "dbkit --help": [*DBKIT, "--help"],
    "dbkit index --help": [*DBKIT, "index", "--help"],
    "dbkit explain exit-codes": [*DBKIT, "explain", "exit-codes"],
    "dbkit index status, no server": [*DBKIT, "index", "status", "--dsn", "postgresql://u@127.0.0.1:1/d"],
}


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    best = dict.fromkeys(PROGRAMS, (float("inf"), float("inf")))
    for _ in range(rounds):
        for name, command in PROGRAMS.items():
            best[name] = tuple(map(min, best[name], timed(command)))
    hello = best["typer, one command"]
    print(f"{'best of ' + str(rounds):32} {'wall':>8} {'CPU':>8}   CPU beside typer")
    for name, (wall, cpu) in best.items():
        bar = f"   bar {BARS[name]} s: {'kept' if wall < BARS[name] else 'MISSED'}" if name in BARS else ""
        print(f"{name:32} {wall:6.3f} s {cpu:6.3f} s {cpu / hello[1]:6.2f} x{bar}")


def timed(command: list[str]) -> tuple[float, float]:
    """Wall time and CPU time of one run, in seconds; the second says more on a busy machine."""
    before, began = os.times(), time.perf_counter()
    subprocess.run(
        command,
        env={**os.environ, "DBKIT_CONFIG": os.devnull},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
    )
    wall, after = time.perf_counter() - began, os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return wall, cpu


if __name__ == "__main__":
    main()
