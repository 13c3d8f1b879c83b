"""The frame of all tests: a clean environment, and the fixture families of tests/fixtures/."""

from __future__ import annotations

from tests.fixtures import environment

environment.clear()

pytest_plugins = [
    "tests.fixtures.parts",
    "tests.fixtures.servers",
    "tests.fixtures.databases",
    "tests.fixtures.poolers",
]
