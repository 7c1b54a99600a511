"""Histories in a second file: one row per event, sorted by actor or not (surface.md, Files).

Rows are spooled into a temporary SQLite database, consecutive rows of an actor together, so that memory does
not grow with the file. Within an actor the order of the file is the order of the trace.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from types import GenericAlias, TracebackType
from typing import Any, Self
from weakref import finalize

from msgspec import Raw, ValidationError
from msgspec.json import Decoder, Encoder
from msgspec.structs import force_setattr

from statekeep_cli.core.trace import Item, Symbols
from statekeep_cli.errors import StateKeepError
from statekeep_cli.readers.actors import Complaints
from statekeep_cli.readers.checks import json_value, without_null
from statekeep_cli.readers.cut import cut
from statekeep_cli.readers.records import (
    GENERAL_BLOCKS,
    Batch,
    Plain,
    Unreadable,
    plain_item,
)
from statekeep_cli.readers.rows import TABLE, Rows
from statekeep_cli.readers.stream import BLOCK, Stream, unreadable

# Bytes of rows held back, so that an actor's rows that are near each other are written together.
HELD = 16 * 1024 * 1024
# Kibibytes of the database that each process keeps in memory.
CACHE = 8 * 1024
# Ids asked for in one query; SQLite's own bound on parameters is 999 in old versions.
ASKED = 500
# Ids of unclaimed actors that are named.
SAMPLE = 5

_rows: Decoder[list[dict[str, Raw]]] = Decoder(list[dict[str, Raw]])
_key = Encoder().encode


@dataclass(frozen=True, slots=True)
class Unclaimed:
    """Rows of actors that the export does not have; `sample` are the first few of those actors' ids."""

    actors: int
    events: int
    sample: tuple[str, ...]


class Spool:
    """All rows of a history file, by actor. Close it, or use it as a context, to remove its temporary files.

    Raises `InputUnreadable` with the first ten bad rows, always: nobody could say whose trace lacks them.
    """

    def __init__(self, path: str, block: int = BLOCK, held: int = HELD):
        directory = tempfile.mkdtemp(prefix="statekeep-")
        # Forked workers hold this object too; only the process that made the files removes them.
        self.close = finalize(self, _remove, directory, os.getpid())
        self.database = os.path.join(directory, "history.db")
        self.chunks = 0
        try:
            with closing(sqlite3.connect(self.database, isolation_level=None)) as database:
                database.executescript(
                    "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA locking_mode=EXCLUSIVE;"
                    f"PRAGMA cache_size=-{CACHE};"
                    "CREATE TABLE chunks (seq INTEGER PRIMARY KEY, actor TEXT NOT NULL,"
                    " events INTEGER NOT NULL, items BLOB NOT NULL);"
                )
                database.execute("BEGIN")
                self._fill(database, path, block, held)
                database.execute("CREATE INDEX chunks_by_actor ON chunks (actor)")
                database.execute("COMMIT")
        except sqlite3.Error as error:
            self.close()
            where = tempfile.gettempdir()
            message = (
                f"cannot keep the rows of {path} in {where}: {error}; set TMPDIR to where there is more room"
            )
            raise StateKeepError(message) from None
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _fill(self, database: sqlite3.Connection, path: str, block: int, most: int) -> None:
        rows = Rows()
        complaints = Complaints(path)
        held: dict[str, list[bytes]] = {}
        size = 0
        with Stream(path) as stream:
            for each in cut(stream, TABLE, block):
                pairs, bad = rows.of(each)
                complaints.add(bad)
                if complaints.count:
                    continue
                for actor, item in pairs:
                    held.setdefault(actor, []).append(item)
                size += len(each.data)
                if size >= most:
                    self._write(database, held)
                    held, size = {}, 0
        complaints.settle()
        self._write(database, held)
        if not self.chunks:
            raise unreadable(stream.name, "holds no rows", "check the path, or leave --history out")

    def _write(self, database: sqlite3.Connection, held: dict[str, list[bytes]]) -> None:
        chunks = ((actor, len(items), b",".join(items)) for actor, items in held.items())
        database.executemany("INSERT INTO chunks (actor, events, items) VALUES (?, ?, ?)", chunks)
        self.chunks += len(held)

    def unclaimed(self, claims: Iterable[bytes | bytearray]) -> Unclaimed:
        """What no actor of the export asked for; `claims` are those of every `History` that was used."""
        claimed = 0
        for each in claims:
            claimed |= int.from_bytes(each, "little")
        if claimed.bit_count() == self.chunks:
            return Unclaimed(0, 0, ())
        bits = claimed.to_bytes(self.chunks // 8 + 1, "little")
        actors = events = 0
        sample: list[str] = []
        with closing(_open(self.database)) as database:
            last = None
            for seq, actor, count in database.execute(
                "SELECT seq, actor, events FROM chunks ORDER BY actor, seq"
            ):
                if bits[seq >> 3] >> (seq & 7) & 1:
                    continue
                events += count
                if actor != last:
                    last = actor
                    actors += 1
                    if len(sample) < SAMPLE:
                        sample.append(actor)
        return Unclaimed(actors, events, tuple(sample))


class History:
    """Traces out of a spool, for one process (make it after forking). With `symbols`, plain ones as letters.

    `claims` has a bit for every chunk of rows that was asked for.
    """

    def __init__(self, spool: Spool, symbols: Symbols | None = None):
        self._database = _open(spool.database)
        self.claims = bytearray(spool.chunks // 8 + 1)
        self._plain = None if symbols is None else Plain(symbols, plain_trace)
        self._general: Decoder[list[str | Item]] = Decoder(list[str | Item])
        self._general_left = 0

    def close(self) -> None:
        self._database.close()

    def join(self, batch: Batch) -> Batch:
        """The batch with the traces of its actors; an actor without rows has no history.

        An actor that brings a history of its own is unreadable: one of the two would be ignored.
        """
        traces = self._traces([str(id) for id in batch.ids])
        own = [i for i, actor in enumerate(batch.actors) if actor.history is not None]
        if own:
            batch = _without(batch, own)
        histories, plain = self._decoded(traces, batch.plain)
        for actor, id in zip(batch.actors, batch.ids, strict=True):
            force_setattr(actor, "history", histories.get(str(id)))
        return replace(batch, plain=plain)

    def raw(self, ids: list[str]) -> dict[str, bytes]:
        """Every row of these actors with everything in it, as a JSON array each."""
        return self._traces(ids)

    def items(self, id: str) -> list[Any] | None:
        """Every row of an actor with everything in it, without its `actor`."""
        traces = self._traces([id])
        if id not in traces:
            return None
        return [
            {key: value for key, value in row.items() if key != "actor"}
            for row in json_value.decode(traces[id])
        ]

    def inline(self, ids: list[str]) -> dict[str, bytes]:
        """The rows of these actors as the `history` of their records: a JSON array each, with everything
        that is in a row but its `actor`. An actor without rows has none."""
        return {
            id: b"[" + b", ".join(_without_actor(row) for row in _rows.decode(trace)) + b"]"
            for id, trace in self._traces(ids).items()
        }

    def everyone(self) -> Iterator[tuple[str, list[str | Item]]]:
        """Every actor of the file with its trace, in the order of the ids."""
        decode = self._general.decode
        rows = self._database.execute("SELECT actor, items FROM chunks ORDER BY actor, seq")
        for actor, chunks in groupby(rows, key=itemgetter(0)):
            trace = b"[" + b",".join(items for _, items in chunks) + b"]"
            yield actor, [without_null(item) for item in decode(trace)]

    def _traces(self, ids: list[str]) -> dict[str, bytes]:
        """The rows of these actors, as a JSON array each."""
        chunks: dict[str, list[bytes]] = {}
        for start in range(0, len(ids), ASKED):
            some = ids[start : start + ASKED]
            marks = ",".join("?" * len(some))
            query = f"SELECT seq, actor, items FROM chunks WHERE actor IN ({marks}) ORDER BY actor, seq"
            found: dict[str, list[bytes]] = {}
            for seq, actor, items in self._database.execute(query, some):
                self.claims[seq >> 3] |= 1 << (seq & 7)
                found.setdefault(actor, []).append(items)
            chunks |= found
        return {actor: b"[" + b",".join(items) + b"]" for actor, items in chunks.items()}

    def _decoded(self, traces: dict[str, bytes], plain: bool) -> tuple[dict[str, list[Any]], bool]:
        if plain and self._plain is not None and not self._general_left:
            decode = self._plain.decoder().decode
            try:
                return {actor: decode(trace) for actor, trace in traces.items()}, True
            except ValidationError:
                self._general_left = GENERAL_BLOCKS
        self._general_left = max(0, self._general_left - 1)
        general = self._general.decode
        return {
            actor: [without_null(item) for item in general(trace)] for actor, trace in traces.items()
        }, False


def _without_actor(row: dict[str, Raw]) -> bytes:
    return b"{" + b", ".join(_key(k) + b": " + bytes(v) for k, v in row.items() if k != "actor") + b"}"


def plain_trace(letter: Any) -> Any:
    """The type of a plain trace."""
    return GenericAlias(list, plain_item(letter))


def _without(batch: Batch, indexes: list[int]) -> Batch:
    """The batch without the actors that have a history of their own already."""
    message = "history: the record has one of its own besides the history file; leave one of them out"
    bad = [Unreadable(batch.lines[i], 1, message) for i in indexes]
    keep = sorted(set(range(len(batch.actors))) - set(indexes))
    return replace(
        batch,
        actors=[batch.actors[i] for i in keep],
        ids=[batch.ids[i] for i in keep],
        states=[batch.states[i] for i in keep],
        lines=[batch.lines[i] for i in keep],
        unreadable=tuple(sorted((*batch.unreadable, *bad))),
    )


def _open(database: str) -> sqlite3.Connection:
    """A connection that only reads; any number of processes may have one."""
    connection = sqlite3.connect(f"{Path(database).as_uri()}?mode=ro&immutable=1", uri=True)
    connection.execute(f"PRAGMA cache_size=-{CACHE}")
    return connection


def _remove(directory: str, owner: int) -> None:
    if os.getpid() == owner:
        shutil.rmtree(directory, ignore_errors=True)


@contextmanager
def spooled(path: str | None) -> Iterator[Spool | None]:
    """The rows of an optional history file, for as long as they are needed."""
    if path is None:
        yield None
        return
    with Spool(path) as spool:
        yield spool
