"""The frame of all tests: a clean environment, and the fixture families of tests/fixtures/."""

from __future__ import annotations

import os

from hypothesis import settings

from tests.fixtures import environment

environment.clear()
environment.servers_in_memory()
# How long an example takes says more of the machine than of us. The same examples on every run, so that a red run speaks
# of the change at hand; DBKIT_TEST_RANDOM=1 draws new ones, to hunt with.
settings.register_profile("dbkit", deadline=None, derandomize=not os.environ.get("DBKIT_TEST_RANDOM"))
settings.load_profile("dbkit")

pytest_plugins = [
    "tests.fixtures.parts",
    "tests.fixtures.servers",
    "tests.fixtures.databases",
    "tests.fixtures.poolers",
    "tests.fixtures.daemons",
    "tests.fixtures.changes",
    "tests.fixtures.change_scenes",
    "tests.fixtures.disks",
]
