"""What every test file shares: databases, and names of test cases that are the same in every process."""

from __future__ import annotations

from tests.databases import database, postgres, postgres_server, sqlite

__all__ = ["database", "postgres", "postgres_server", "sqlite"]


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Bytes go by their argument's name: gzip writes the clock into them, and a case named after its
    bytes would have another name in each of pytest-xdist's workers."""
    return argname if isinstance(val, bytes) else None
