"""Nothing is left behind, however a holder of a server ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest

from dbkit.ephemeral import guard, lease

HOLDER = """
import json, os, sys, time
from dbkit.ephemeral.postgres import start_postgres
major, share, how = int(sys.argv[1]), sys.argv[2] or None, sys.argv[3]
server = start_postgres(major, share=share, sources=("embedded", "local"))
place = server.held.directory
print(json.dumps({"pid": server.pid, "place": str(place), "dsn": server.dsn,
                  "guard": int((place / "guard.pid").read_text())}), flush=True)
if how == "busy":
    import psycopg
    psycopg.connect(server.dsn).execute("select sum(i) from generate_series(1, 100000000000) i")
if how == "wait":
    time.sleep(600)
if how == "raise":
    raise RuntimeError("a test bug")
if how == "fork":
    if os.fork() == 0:
        time.sleep(5)
        os._exit(0)
    time.sleep(600)
"""


def hold(major, share="", how="wait"):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(major), share, how],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    line = process.stdout.readline()
    assert line, "the holder could not start its server"
    return process, json.loads(line)


def kill(process, how=signal.SIGKILL):
    process.send_signal(how)
    process.wait()
    process.stdout.close()


def until(condition, seconds=20.0):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    return condition()


def gone(told):
    place = Path(told["place"])
    return not place.exists() and not guard.alive(told["pid"]) and not list(place.parent.glob(f"gone-*{place.name}"))


def working_in(place):
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if str((entry / "cwd").readlink()).startswith(place):
                found.append(entry.name)
        except OSError:
            continue
    return found


@pytest.mark.parametrize("how", ["wait", "busy", "fork"])
def test_kill_9_of_the_holder_ends_server_and_directory(pg, pg_major, how):
    process, told = hold(pg_major, how=how)
    assert guard.alive(told["pid"])
    time.sleep(0.3 if how == "busy" else 0)
    kill(process)
    assert until(lambda: gone(told))
    assert until(lambda: not guard.alive(told["guard"]))
    assert until(lambda: not working_in(told["place"]))


@pytest.mark.parametrize(("how", "signal_number"), [("raise", None), ("wait", signal.SIGINT), ("wait", signal.SIGTERM)])
def test_other_ends_leave_nothing_either(pg18, how, signal_number):
    process, told = hold(18, how=how)
    if signal_number is None:
        process.wait(timeout=30)
        process.stdout.close()
    else:
        kill(process, signal_number)
    assert until(lambda: gone(told))


def test_the_sweeper_clears_what_killed_guardians_left(pg18):
    process, told = hold(18)
    os.kill(told["guard"], signal.SIGKILL)
    kill(process)
    assert until(lambda: not guard.alive(told["guard"]))
    assert guard.alive(told["pid"]), "without guardian and holder the server runs on"
    with lease.exclusive() as place:
        # Another worker's start may have swept it already; either way it is gone now.
        lease.sweep(place)
    assert until(lambda: gone(told))


def test_the_sweeper_leaves_servers_in_use(own_server):
    server = own_server()
    with lease.exclusive() as place:
        assert server.held.directory not in lease.sweep(place)
    psycopg.connect(server.dsn).close()
    process, told = hold(server.major)
    with lease.exclusive() as place:
        assert Path(told["place"]) not in lease.sweep(place)
    psycopg.connect(told["dsn"]).close()
    kill(process)
    assert until(lambda: gone(told))


def test_a_killed_guardian_is_replaced_at_restart(own_server):
    server = own_server()
    before = int((server.held.directory / "guard.pid").read_text())
    os.kill(before, signal.SIGKILL)
    assert until(lambda: not guard.alive(before))
    server.restart()
    psycopg.connect(server.dsn).close()
    assert int((server.held.directory / "guard.pid").read_text()) != before
    place = server.held.directory
    server.stop()
    assert not place.exists()


def test_stop_ends_the_server_when_its_guardian_is_gone(own_server):
    server = own_server()
    place, pid = server.held.directory, server.pid
    os.kill(int((place / "guard.pid").read_text()), signal.SIGKILL)
    server.stop()
    assert not place.exists()
    assert not guard.alive(pid)


def test_processes_share_one_server_until_the_last_goes(pg18):
    share = f"test-{os.getpid()}-{time.monotonic_ns()}"
    first, one = hold(18, share)
    second, two = hold(18, share)
    assert (one["pid"], one["place"]) == (two["pid"], two["place"])
    kill(first)  # its maker
    time.sleep(0.3)
    psycopg.connect(two["dsn"]).close()
    third, three = hold(18, share)
    assert three["pid"] == two["pid"]
    kill(second, signal.SIGTERM)
    kill(third)
    assert until(lambda: gone(three))
    fourth, four = hold(18, share)
    assert four["pid"] != one["pid"]
    kill(fourth)
    assert until(lambda: gone(four))


def test_many_processes_start_at_once_and_get_one_server(pg18):
    share = f"test-{os.getpid()}-{time.monotonic_ns()}"
    command = [sys.executable, "-c", HOLDER, "18", share, "wait"]
    holders = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) for _ in range(4)
    ]
    told = [json.loads(holder.stdout.readline()) for holder in holders]
    assert len({one["pid"] for one in told}) == 1
    for holder in holders:
        kill(holder)
    assert until(lambda: gone(told[0]))


def test_a_shared_server_whose_maker_died_half_way_is_made_again(pg18, monkeypatch):
    from dbkit.ephemeral import postgres

    share = f"test-{os.getpid()}-{time.monotonic_ns()}"
    process, told = hold(18, share)
    name = Path(told["place"]).name.removeprefix("srv-")
    kill(process)
    assert until(lambda: gone(told))
    with lease.exclusive() as place:
        half = place / f"srv-{name}"
        half.mkdir()
        (half / "alive").touch()
    with postgres.start_postgres(18, share=share, sources=("embedded",)) as server:
        assert server.held.directory == half
        psycopg.connect(server.dsn).close()
    assert not half.exists()
