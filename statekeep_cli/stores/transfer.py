"""Many actors into the own tables: COPY on Postgres, one prepared statement on SQLite."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from statekeep_cli.errors import StateKeepError
from statekeep_cli.stores.interface import Store
from statekeep_cli.stores.postgres import Postgres
from statekeep_cli.stores.recording import ACTOR_COLUMNS, EVENT_COLUMNS, ActorRow, EventRow
from statekeep_cli.stores.sqlite import Sqlite

# Ids that are named in an error, and ids asked for in one query.
NAMED, ASKED = 3, 500

Incoming = tuple[ActorRow, Sequence[EventRow]]


def store_actors(store: Store, actors: Sequence[Incoming]) -> None:
    """Stores some actors with their traces; within a transaction of the caller's.

    Raises `StateKeepError` where an id is there already, or twice among them; it names the first ones.
    """
    with _repeats_named(store, actors):
        # Events first: while an actor is not there, nothing can refuse them for its being rescued.
        events = ((row.id, *event) for row, trace in actors for event in trace)
        _insert(store, "events", ("actor", *EVENT_COLUMNS), events)
        _insert(store, "actors", ACTOR_COLUMNS, (row for row, _ in actors))


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


def _insert(store: Store, table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    names = f"{{{table}}} ({', '.join(columns)})"
    if isinstance(store, Postgres):
        # A sixth of the time of prepared INSERTs.
        with store.copy_in(f"COPY {names} FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)
    elif isinstance(store, Sqlite):
        store.execute_many(f"INSERT INTO {names} VALUES ({', '.join(['%s'] * len(columns))})", rows)
