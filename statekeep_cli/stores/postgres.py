"""Postgres through psycopg 3."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Literal

import psycopg
from psycopg import errors, sql
from psycopg.conninfo import conninfo_to_dict

from statekeep_cli.errors import ConnectionLost, DatabaseBusy, DatabaseUnavailable, StateKeepError
from statekeep_cli.stores.interface import TABLES, Row, Values

SCHEMA = "statekeep"
CONNECT_SECONDS = 10
# How long a statement of an apply waits for a lock, and how long it may run, in milliseconds.
LOCK_MS, STATEMENT_MS = 3_000, 60_000
# What happens to busy databases and passes: a deadlock, a serialization failure, a lock or statement timeout.
PASSING = (
    errors.DeadlockDetected,
    errors.SerializationFailure,
    errors.LockNotAvailable,
    errors.QueryCanceled,
)
STREAMED_ROWS = 5_000
# What COPY's text format reads as something else (and a backslash before it, as itself).
_SPECIAL = re.compile(r"[\\\t\n\r]")
_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})
_NULL = "\\N"
_PLACES = re.compile(r"\{\{|\{(\w+)\}")


class Postgres:
    """One connection to a Postgres database (see `interface.Store`)."""

    kind: Literal["sqlite", "postgres"] = "postgres"

    def __init__(self, conninfo: str, *, read_only: bool = False):
        self.conninfo = conninfo
        self.read_only = read_only
        self._names = {table: f"{SCHEMA}.{table}" for table in TABLES}
        self._known: dict[str, bytes] = {}
        try:
            parameters = conninfo_to_dict(conninfo)
            parameters.setdefault("connect_timeout", str(CONNECT_SECONDS))
            parameters.setdefault("application_name", "statekeep")
            self._connection = psycopg.connect(**parameters, autocommit=True)  # type: ignore[arg-type]
        except psycopg.Error as error:
            raise DatabaseUnavailable(f"{_said(error)}; check --db and that the server is up") from None
        info = self._connection.info
        self.address = f"{info.host or 'localhost'}:{info.port}/{info.dbname}"
        backend = self.one("SELECT pg_backend_pid()")
        # A pooler tells its clients a process number of its own.
        self.pooled = backend is not None and backend[0] != info.backend_pid
        if self.pooled:
            self._connection.prepare_threshold = None
        elif read_only:
            self._connection.execute("SET default_transaction_read_only = on")

    # statements

    def _text(self, statement: str) -> bytes:
        text = self._known.get(statement)
        if text is None:
            if len(self._known) > 1_000:
                self._known.clear()
            text = self._known[statement] = _PLACES.sub(self._place, statement).encode()
        return text

    def _place(self, found: re.Match[str]) -> str:
        return self._names[found.group(1)] if found.group(1) else "{"

    def rows(self, statement: str, values: Values = ()) -> list[Row]:
        with self._translated():
            return self._connection.execute(self._text(statement), values).fetchall()

    def one(self, statement: str, values: Values = ()) -> Row | None:
        with self._translated():
            return self._connection.execute(self._text(statement), values).fetchone()

    def stream(self, statement: str, values: Values = ()) -> Iterator[Row]:
        with (
            self._translated(),
            self._connection.transaction(),
            self._connection.cursor(name="statekeep") as cursor,
        ):
            cursor.itersize = STREAMED_ROWS
            cursor.execute(self._text(statement), values)
            yield from cursor

    def execute(self, statement: str, values: Values = ()) -> int:
        with self._translated():
            return self._connection.execute(self._text(statement), values).rowcount

    def script(self, statements: str) -> None:
        with self._translated():
            self._connection.execute(self._text(statements))

    @contextmanager
    def copy_in(self, statement: str) -> Iterator[psycopg.Copy]:
        """`COPY … FROM STDIN`, to be written to with `write_row`."""
        with (
            self._translated(),
            self._connection.cursor() as cursor,
            cursor.copy(self._text(statement)) as copy,
        ):
            yield copy

    @contextmanager
    def transaction(self, *, read_only: bool = False, snapshot: bool = False) -> Iterator[None]:
        with self._translated(), self._connection.transaction():
            isolation = "REPEATABLE READ" if snapshot else "READ COMMITTED"
            # Never READ WRITE: whether writing is allowed is for the server to say.
            access = ", READ ONLY" if read_only or self.read_only else ""
            limits = "" if read_only else f"; SET LOCAL lock_timeout = {LOCK_MS}"
            limits += "" if snapshot else f"; SET LOCAL statement_timeout = {STATEMENT_MS}"
            self._connection.execute(f"SET TRANSACTION ISOLATION LEVEL {isolation}{access}{limits}".encode())
            yield

    # names

    def name(self, table: str) -> str:
        return self._names[table]

    def quote(self, *parts: str) -> str:
        return sql.Identifier(*parts).as_string(self._connection)

    # the connection

    def again(self) -> Postgres:
        return Postgres(self.conninfo, read_only=self.read_only)

    def close(self) -> None:
        with suppress(psycopg.Error):
            self._connection.close()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """psycopg's errors as ours, one sentence each."""
        try:
            yield
        except PASSING as error:
            raise DatabaseBusy(f"{self.address}: {_said(error)}; run again to go on") from error
        except (errors.InsufficientPrivilege, errors.ReadOnlySqlTransaction) as error:
            raise DatabaseUnavailable(
                f"{self.address}: {_said(error)}; use a user and a server that may do this"
            ) from error
        except errors.InvalidSchemaName as error:
            raise StateKeepError(f"{self.address} has no StateKeep tables; run statekeep db init") from error
        except errors.UndefinedTable as error:
            if f'"{SCHEMA}.' in str(error):
                raise StateKeepError(
                    f"{self.address} has no StateKeep tables, or old ones; run statekeep db init"
                ) from error
            raise StateKeepError(f"{self.address}: {_said(error)}; check the table's name") from error
        except psycopg.OperationalError as error:
            if self._connection.broken or self._connection.closed:
                raise ConnectionLost(f"{self.address}: the connection was lost ({_said(error)})") from error
            raise DatabaseUnavailable(f"{self.address}: {_said(error)}") from error
        except psycopg.Error as error:
            if self._connection.broken:
                raise ConnectionLost(f"{self.address}: the connection was lost ({_said(error)})") from error
            raise StateKeepError(f"{self.address}: {_said(error)}") from error


def cell(value: Any) -> str:
    """A value in COPY's text format; rows of cells are joined by tabs, and end with a newline."""
    if value is None:
        return _NULL
    if value is True or value is False:
        return "t" if value else "f"
    text: str = value
    return text.translate(_ESCAPES) if _SPECIAL.search(text) else text


def cells(texts: Sequence[str]) -> Sequence[str]:
    """`cell` of each; mostly there is nothing to do."""
    return [cell(text) for text in texts] if _SPECIAL.search("".join(texts)) else texts


def array(values: Sequence[Any]) -> str:
    """Texts or numbers as an array's literal, to be cast by the server: psycopg takes four times as long over
    a list."""
    if not values:
        return "{}"
    if isinstance(values[0], int):
        return f"{{{str(list(values))[1:-1]}}}"
    text = '","'.join(values)
    if "\\" in text or text.count('"') != 2 * len(values) - 2:
        text = '","'.join([v.replace("\\", "\\\\").replace('"', '\\"') for v in values])
    return f'{{"{text}"}}'


def _said(error: psycopg.Error) -> str:
    """The server's own words on one line. They never hold a password: libpq does not repeat it."""
    primary = error.diag.message_primary
    return " ".join((primary or str(error) or type(error).__name__).split())
