"""What every test file shares: databases, and names of test cases that are the same in every process."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

from tests.databases import database, postgres, postgres_server, sqlite

# The same cases in every run, so that a red run is about the change; STATEKEEP_SEED=random looks for others.
settings.register_profile("statekeep", derandomize=os.environ.get("STATEKEEP_SEED") != "random")
settings.load_profile("statekeep")

__all__ = ["database", "postgres", "postgres_server", "sqlite"]


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Bytes go by their argument's name: gzip writes the clock into them, and a case named after its
    bytes would have another name in each of pytest-xdist's workers."""
    return argname if isinstance(val, bytes) else None


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "database: works on a database of its own")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whatever asks for a database is marked so."""
    databases = {"database", "postgres", "postgres_server", "sqlite"}
    for item in items:
        if databases & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.database)
