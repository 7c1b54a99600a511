"""Which database is meant, and a connection to it (surface.md, Connections)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Literal
from urllib.parse import unquote

from statekeep_cli.errors import UsageMistake
from statekeep_cli.stores.interface import Store

# libpq's own settings: any of them says that a Postgres is meant.
LIBPQ = ("PGHOST", "PGHOSTADDR", "PGSERVICE", "PGDATABASE", "PGUSER", "PGPORT")


def database_url(given: str | None, environment: Mapping[str, str] = os.environ) -> str | None:
    """`--db`, else the environment's; "" for libpq's own settings, None where nothing names a database."""
    for url in (given, environment.get("STATEKEEP_DATABASE_URL"), environment.get("DATABASE_URL")):
        if url:
            return url
    return "" if any(environment.get(name) for name in LIBPQ) else None


def connect(given: str | None, *, read_only: bool = False, create: bool = False) -> Store:
    """A connection to the database that `--db` or the environment names.

    `sqlite:///path` or a bare path is SQLite, `postgresql://…` (or libpq's `key=value`, or its own
    environment) is Postgres. `create`: an SQLite file may be new. Raises `UsageMistake` where nothing
    names a database, `DatabaseUnavailable` where it does not answer.
    """
    url = database_url(given)
    if url is None:
        raise UsageMistake("no database is given; use --db URL or set DATABASE_URL")
    kind, where = _read(url)
    return _postgres(where, read_only) if kind == "postgres" else _sqlite(where, read_only, create)


def is_new(given: str | None) -> Literal["sqlite", "postgres"] | None:
    """The kind of a database that is not there yet: an SQLite file to be, or Postgres where none is named."""
    url = database_url(given)
    if url is None:
        return "postgres"
    kind, where = _read(url)
    return kind if kind == "sqlite" and not os.path.exists(where) else None


def _read(url: str) -> tuple[Literal["sqlite", "postgres"], str]:
    """A database's kind, and its file or libpq's connection string."""
    scheme, colon, rest = url.partition("://")
    # SQLAlchemy's spelling of a driver (`postgresql+psycopg://`) is what many DATABASE_URLs hold.
    kind = scheme.partition("+")[0] if colon else ""
    if kind in ("postgresql", "postgres"):
        return "postgres", f"postgresql://{rest}"
    if kind == "sqlite":
        return "sqlite", unquote(rest.partition("?")[0]).removeprefix("/") or ":memory:"
    if kind:
        raise UsageMistake(f"--db: '{scheme}' is not supported; give a postgresql:// or sqlite:/// URL")
    if not url or ("=" in url and not os.path.exists(url)):
        return "postgres", url
    return "sqlite", url


def _postgres(conninfo: str, read_only: bool) -> Store:
    from statekeep_cli.stores.postgres import Postgres

    return Postgres(conninfo, read_only=read_only)


def _sqlite(path: str, read_only: bool, create: bool) -> Store:
    from statekeep_cli.stores.sqlite import Sqlite

    if path == ":memory:":
        raise UsageMistake("--db: an SQLite URL needs a path, as in sqlite:///statekeep.db")
    return Sqlite(path, read_only=read_only, create=create)
