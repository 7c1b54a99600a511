"""Many actors into the own tables: COPY on Postgres, one prepared statement on SQLite."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from statekeep_cli.errors import StateKeepError
from statekeep_cli.stores.interface import Store
from statekeep_cli.stores.postgres import Postgres
from statekeep_cli.stores.recording import ACTOR_COLUMNS, EVENT_COLUMNS, ActorRow, EventRow
from statekeep_cli.stores.sqlite import Sqlite

# What COPY's text format reads as something else (and a backslash before it, as itself).
_SPECIAL = re.compile(r"[\\\t\n\r]")
_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})
# Ids that are named in an error, and ids asked for in one query.
NAMED, ASKED = 3, 500

Incoming = tuple[ActorRow, Sequence[EventRow]]


def store_actors(store: Store, actors: Sequence[Incoming]) -> None:
    """Stores some actors with their traces; within a transaction of the caller's.

    Raises `StateKeepError` where an id is there already, or twice among them; it names the first ones.
    """
    with _repeats_named(store, actors):
        # Events first: while an actor is not there, nothing can refuse them for its being rescued.
        if isinstance(store, Postgres):
            _copy(store, "events", ("actor", *EVENT_COLUMNS), _event_lines(actors))
            _copy(store, "actors", ACTOR_COLUMNS, (_line(row) for row, _ in actors))
        elif isinstance(store, Sqlite):
            rows = ((row.id, *event) for row, events in actors for event in events)
            store.execute_many(_insert("events", ("actor", *EVENT_COLUMNS)), rows)
            store.execute_many(_insert("actors", ACTOR_COLUMNS), (row for row, _ in actors))


@contextmanager
def _repeats_named(store: Store, actors: Sequence[Incoming]) -> Iterator[None]:
    store.execute("SAVEPOINT some_actors")
    try:
        yield
    except StateKeepError as refused:
        try:
            store.execute("ROLLBACK TO SAVEPOINT some_actors")
            repeated = _repeated(store, [row.id for row, _ in actors])
        except StateKeepError:  # the connection is gone, or the disk full
            raise refused from None
        if not repeated:
            raise
        names = ", ".join(f"'{id}'" for id in repeated[:NAMED])
        more = f" and {len(repeated) - NAMED} more" if len(repeated) > NAMED else ""
        subject = "the actor" if len(repeated) == 1 else "the actors"
        raise StateKeepError(
            f"{subject} {names}{more} would be stored twice in {store.address}, so nothing was"
            " imported; leave out what is repeated or is there already"
        ) from None
    store.execute("RELEASE SAVEPOINT some_actors")


def _repeated(store: Store, ids: Sequence[str]) -> list[str]:
    """Of these ids, those that come twice or are stored already, in their order."""
    found = {id for id, count in Counter(ids).items() if count > 1}
    for start in range(0, len(ids), ASKED):
        some = ids[start : start + ASKED]
        places = ",".join(["%s"] * len(some))
        found |= {id for (id,) in store.rows(f"SELECT id FROM {{actors}} WHERE id IN ({places})", some)}
    return [id for id in dict.fromkeys(ids) if id in found]


# --- SQLite ---


def _insert(table: str, columns: Sequence[str]) -> str:
    return f"INSERT INTO {{{table}}} ({', '.join(columns)}) VALUES ({', '.join(['%s'] * len(columns))})"


# --- Postgres ---


def _copy(store: Postgres, table: str, columns: Sequence[str], lines: Iterable[str]) -> None:
    with store.copy_in(f"COPY {{{table}}} ({', '.join(columns)}) FROM STDIN") as copy:
        copy.write("".join(lines))


def _line(values: Sequence[Any]) -> str:
    """A row in COPY's text format. Made here rather than value by value in psycopg: a third of the time."""
    return "\t".join([_cell(value) for value in values]) + "\n"


def _cell(value: Any) -> str:
    if value is None:
        return "\\N"
    if value is True or value is False:
        return "t" if value else "f"
    text: str = value
    return text.translate(_ESCAPES) if _SPECIAL.search(text) else text


def _event_lines(actors: Sequence[Incoming]) -> Iterator[str]:
    cell = _remembered(_cell)
    for row, events in actors:
        id = _cell(row.id)
        for type, at, state, item in events:
            yield f"{id}\t{cell(type)}\t{_cell(at)}\t{cell(state)}\t{_cell(item)}\n"


def _remembered(make: Callable[[Any], str], most: int = 10_000) -> Callable[[Any], str]:
    """Event types and states are few."""
    known: dict[Any, str] = {}

    def cell(value: Any) -> str:
        found = known.get(value)
        if found is None:
            if len(known) >= most:
                known.clear()
            found = known[value] = make(value)
        return found

    return cell
