"""SQLite through the standard library."""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal
from urllib.parse import quote

from statekeep_cli.errors import DatabaseBusy, DatabaseUnavailable, StateKeepError
from statekeep_cli.stores.interface import TABLES, Row, Values

PREFIX = "statekeep_"
BUSY_SECONDS = 10.0
STREAMED_ROWS = 5_000
_PLACES = re.compile(r"\{\{|\{(\w+)\}|%(.)")


class Sqlite:
    """One connection to an SQLite file (see `interface.Store`)."""

    kind: Literal["sqlite", "postgres"] = "sqlite"
    pooled = False

    def __init__(self, path: str, *, read_only: bool = False, create: bool = False):
        self.path = self.address = path
        self.read_only = read_only
        self._names = {table: PREFIX + table for table in TABLES}
        self._known: dict[str, str] = {}
        if not create and not os.path.exists(path):
            raise DatabaseUnavailable(f"{path}: no such database; check --db, or run statekeep db init")
        mode = "ro" if read_only else "rwc" if create else "rw"
        try:
            self._connection = sqlite3.connect(
                f"file:{quote(os.path.abspath(path))}?mode={mode}",
                uri=True,
                timeout=BUSY_SECONDS,
                isolation_level=None,
                check_same_thread=False,
                cached_statements=256,
            )
            self._connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        except sqlite3.Error as error:
            raise DatabaseUnavailable(f"{path}: {error}; check --db and the file's permissions") from None

    # statements

    def _text(self, statement: str) -> str:
        text = self._known.get(statement)
        if text is None:
            if len(self._known) > 1_000:
                self._known.clear()
            text = self._known[statement] = _PLACES.sub(self._place, statement)
        return text

    def _place(self, found: re.Match[str]) -> str:
        if found.group(0) == "{{":
            return "{"
        name, escaped = found.groups()
        return self._names[name] if name else "?" if escaped == "s" else escaped

    def rows(self, statement: str, values: Values = ()) -> list[Row]:
        with self._translated():
            return self._connection.execute(self._text(statement), values).fetchall()

    def one(self, statement: str, values: Values = ()) -> Row | None:
        with self._translated():
            found: Row | None = self._connection.execute(self._text(statement), values).fetchone()
            return found

    def stream(self, statement: str, values: Values = ()) -> Iterator[Row]:
        with self._translated():
            cursor = self._connection.execute(self._text(statement), values)
            while some := cursor.fetchmany(STREAMED_ROWS):
                yield from some

    def execute(self, statement: str, values: Values = ()) -> int:
        with self._translated():
            return self._connection.execute(self._text(statement), values).rowcount

    def execute_many(self, statement: str, rows: Iterable[Sequence[Any]]) -> int:
        """One statement for many rows of values; how many rows of the table it changed."""
        with self._translated():
            return self._connection.executemany(self._text(statement), rows).rowcount

    def script(self, statements: str) -> None:
        # Not `executescript`: it would commit the transaction that this is part of. Nor `_text`: without
        # values a `%` is what it is.
        text = re.sub(r"\{\{|\{(\w+)\}", lambda m: self._names[m[1]] if m[1] else "{", statements)
        with self._translated():
            for statement in _statements(text):
                self._connection.execute(statement)

    @contextmanager
    def transaction(self, *, read_only: bool = False, snapshot: bool = False) -> Iterator[None]:
        with self._translated():
            if self._connection.in_transaction:
                raise RuntimeError("a transaction within a transaction")
            self._connection.execute("BEGIN" if read_only or self.read_only else "BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    # names

    def name(self, table: str) -> str:
        return self._names[table]

    def quote(self, *parts: str) -> str:
        return ".".join(
            self._connection.execute("""SELECT format('"%w"', ?)""", (part,)).fetchone()[0] for part in parts
        )

    # the connection

    def again(self) -> Sqlite:
        return Sqlite(self.path, read_only=self.read_only)

    def close(self) -> None:
        self._connection.close()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """sqlite3's errors as ours, one sentence each."""
        try:
            yield
        except sqlite3.OperationalError as error:
            said = str(error)
            code = error.sqlite_errorcode & 0xFF if hasattr(error, "sqlite_errorcode") else 0
            if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                raise DatabaseBusy(f"{self.path}: {said}; run again to go on") from error
            if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_CANTOPEN):
                raise DatabaseUnavailable(f"{self.path}: {said}; check the file's permissions") from error
            if said.startswith("no such table: " + PREFIX):
                raise StateKeepError(f"{self.path} has no StateKeep tables; run statekeep db init") from error
            raise StateKeepError(f"{self.path}: {said}") from error
        except sqlite3.DatabaseError as error:
            if error.__class__ is sqlite3.DatabaseError:
                raise DatabaseUnavailable(f"{self.path}: {error}; is it an SQLite file?") from error
            raise StateKeepError(f"{self.path}: {error}") from error


def _statements(script: str) -> Iterator[str]:
    """The statements of a script, one by one; a trigger's body holds semicolons of its own."""
    statement = ""
    for piece in script.split(";"):
        statement += piece + ";"
        if sqlite3.complete_statement(statement):
            if statement.strip(" \n;"):
                yield statement
            statement = ""
