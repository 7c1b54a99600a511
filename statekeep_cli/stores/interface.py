"""What every store offers: one connection, its statements, and the tables of StateKeep's own.

Statements are written once, in the SQL that SQLite and Postgres share, with `%s` for values and names
of own tables in braces: `SELECT state FROM {runs} WHERE run = %s`. Where the two differ, a store has a
method for it. An opening brace or a percent sign of its own is doubled. Values never become part of a
statement's text, and names only through `quote`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Literal, Protocol

Row = tuple[Any, ...]
Values = Sequence[Any] | Mapping[str, Any]  # for `%s`, or (Postgres only) `%(name)s`

# StateKeep's own tables; `{name}` in a statement.
TABLES = (
    "meta",
    "definitions",
    "populations",
    "actors",
    "events",
    "marks",
    "runs",
    "classes",
    "decisions",
)


def raw(sql: str) -> str:
    """SQL of somebody else (a quoted name, a condition of the configuration) as part of a statement."""
    return sql.replace("%", "%%").replace("{", "{{")


class Store(Protocol):
    """One connection. Not shared between threads; `again()` opens another one to the same database.

    Every method raises `DatabaseUnavailable` (exit 9) where the database cannot be reached or refuses
    access, `StateKeepError` where it refuses a statement; both name the database.
    """

    kind: Literal["sqlite", "postgres"]
    address: str  # host, port and database, or the file; never a password
    pooled: bool  # a transaction pooler stands between: session locks mean nothing
    read_only: bool

    def rows(self, statement: str, values: Values = ()) -> list[Row]:
        """All rows of a query."""

    def one(self, statement: str, values: Values = ()) -> Row | None:
        """The first row of a query, or None."""

    def stream(self, statement: str, values: Values = ()) -> Iterator[Row]:
        """The rows of a large query, a few at a time; the store does nothing else meanwhile."""

    def execute(self, statement: str, values: Values = ()) -> int:
        """Run a statement; how many rows it changed."""

    def script(self, statements: str) -> None:
        """Several statements without values, separated by semicolons (DDL)."""

    def transaction(self, *, read_only: bool = False, snapshot: bool = False) -> AbstractContextManager[None]:
        """Commit at the end, roll back where something is raised. `snapshot`: one view of the data
        throughout (repeatable read). Outside of it every statement commits by itself."""

    def name(self, table: str) -> str:
        """An own table's name as SQL text."""

    def quote(self, *parts: str) -> str:
        """An identifier as SQL text, quoted by the database's own rules."""

    def again(self) -> Store:
        """Another connection to the same database."""

    def close(self) -> None: ...
