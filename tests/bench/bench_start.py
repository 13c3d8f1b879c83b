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
BARS = {"dbkit --help": 0.2, "dbkit index --help": 0.2, "dbkit --version": 0.2}
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
    best = dict.fromkeys(PROGRAMS, float("inf"))
    for _ in range(rounds):
        for name, command in PROGRAMS.items():
            best[name] = min(best[name], timed(command))
    hello = best["typer, one command"]
    for name, seconds in best.items():
        bar = f"  bar {BARS[name]} s: {'kept' if seconds < BARS[name] else 'MISSED'}" if name in BARS else ""
        print(f"{name:32} {seconds:6.3f} s  {seconds / hello:5.2f} x typer{bar}")


def timed(command: list[str]) -> float:
    """Wall time of one run."""
    began = time.perf_counter()
    subprocess.run(
        command,
        env={**os.environ, "DBKIT_CONFIG": os.devnull},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
    )
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
