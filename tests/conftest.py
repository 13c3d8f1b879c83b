"""The frame of all tests: a clean environment, and the fixture families of tests/fixtures/."""

from __future__ import annotations

from hypothesis import settings

from tests.fixtures import environment

environment.clear()
settings.register_profile("dbkit", deadline=None)  # how long an example takes says more of the machine than of us
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
