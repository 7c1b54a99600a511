"""Actor exports (surface.md, Files): JSON Lines, a JSON array or CSV; gzip or not; a file or standard input.

`read_actors` streams them in batches. For several processes, `plan_ranges` splits an uncompressed JSON Lines
file, and `read_range` reads one part with lines and ordinals counted from its own start; other inputs are cut
into blocks (`blocks`), which can be decoded anywhere (`Records.batch`).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Protocol

from statekeep_cli.core.trace import Symbols
from statekeep_cli.errors import InputUnreadable, Problem
from statekeep_cli.readers.checks import json_value
from statekeep_cli.readers.cut import Table, cut, cut_lines
from statekeep_cli.readers.reasons import UNDECODABLE, Refused
from statekeep_cli.readers.records import AnyActor, Batch, Block, Records, Unreadable
from statekeep_cli.readers.stream import BLOCK, Stream, name_of, unreadable

TABLE = Table(
    required=(("id",), ("state", "snapshot")),
    text=("id", "definition", "version", "status"),
    state=("state",),
    json=("context", "history", "origin", "snapshot"),
)
# Unreadable records that are listed.
LISTED = 10


class Histories(Protocol):
    """Where the traces are, if not in the export itself (`history.py`)."""

    def join(self, batch: Batch) -> Batch:
        """The batch with the traces of its actors."""

    def items(self, id: str) -> list[Any] | None:
        """Everything recorded of one actor's trace, as JSON values; None if there is nothing."""


@dataclass(frozen=True, slots=True)
class Range:
    """Some whole lines of a JSON Lines file, by the bytes where they start and end."""

    path: str
    start: int
    end: int


class Complaints:
    """Counts unreadable records and keeps the first ones.

    Without `keep_going` the `LISTED`th raises `InputUnreadable`, and `settle` raises it for any.
    """

    def __init__(self, path: str, keep_going: bool = False):
        self.name = name_of(path)
        self.keep_going = keep_going
        self.count = 0
        self.first: list[Unreadable] = []

    def add(self, unreadable: Iterable[Unreadable]) -> None:
        """In the order of the file."""
        for one in unreadable:
            self.count += 1
            if len(self.first) < LISTED:
                self.first.append(one)
        if not self.keep_going and self.count >= LISTED:
            self.settle()

    @property
    def problems(self) -> tuple[Problem, ...]:
        """The first ones, as problems of the file."""
        return tuple(Problem(self.name, line, column, message) for line, column, message in self.first)

    def settle(self) -> None:
        """To be called at the end."""
        if not self.count or self.keep_going:
            return
        what = (
            "a record"
            if self.count == 1
            else "records"
            if self.count < LISTED
            else f"{LISTED} records or more"
        )
        hint = "mend what is listed, or go on without with --keep-going"
        message = f"{self.name} has {what} that cannot be read; {hint}"
        raise InputUnreadable(message, self.problems)


def read_actors(
    path: str,
    *,
    symbols: Symbols | None = None,
    history: Histories | None = None,
    keep_going: bool = False,
    block: int = BLOCK,
) -> Iterator[Batch]:
    """All actors of an input (`-` is standard input), in batches of about `block` bytes.

    With `symbols`, plain traces come as letters. Records that cannot be read raise `InputUnreadable` with the
    first ten listed (no batch follows the first of them); with `keep_going` they are in the batches instead.
    An input that is damaged as a whole, or has no actors at all, raises either way.
    """
    records = Records(symbols)
    complaints = Complaints(path, keep_going)
    ordinal = 0
    for each in blocks(path, block):
        batch = records.batch(each, ordinal)
        if history is not None:
            batch = history.join(batch)
        ordinal += len(batch.actors)
        complaints.add(batch.unreadable)
        if keep_going or not complaints.count:
            yield batch
    complaints.settle()
    if not ordinal and not complaints.count:
        raise no_actors(path)


def no_actors(path: str) -> InputUnreadable:
    """The error for an input without a single record."""
    return unreadable(name_of(path), "holds no actors", "check the path and the query that exported it")


def blocks(path: str, block: int = BLOCK) -> Iterator[Block]:
    """The blocks of an input, whatever its format; to be decoded by `Records.batch`."""
    with Stream(path) as stream:
        yield from cut(stream, TABLE, block)


def size_of(path: str) -> int | None:
    """The stored bytes of an input, of which `Batch.taken` counts those read; None if nobody knows."""
    try:
        status = os.stat(path) if path != "-" else None
    except OSError:
        return None
    return status.st_size if status is not None and stat.S_ISREG(status.st_mode) else None


def plan_ranges(path: str, size: int) -> list[Range]:
    """The file in ranges of about `size` bytes, for several processes.

    Empty where only reading from the front will do: anything but an uncompressed JSON Lines file.
    """
    total = size_of(path)
    if not total:
        return []
    with Stream(path) as stream:
        head = stream.look().lstrip()
        if stream.gzipped or not head.startswith(b"{"):
            return []
    ends = [0]
    with open(path, "rb") as file:
        while ends[-1] < total:
            file.seek(min(ends[-1] + size, total) - 1)
            # A line of many megabytes is skipped in pieces.
            while (piece := file.readline(BLOCK)) and not piece.endswith(b"\n"):
                pass
            ends.append(file.tell())
    return [Range(path, start, end) for start, end in pairwise(ends)]


def read_range(
    part: Range, records: Records, history: Histories | None = None, block: int = BLOCK
) -> Iterator[Batch]:
    """The batches of one range, unreadable records included.

    Lines count from 1 and ordinals from 0 at its start; by its last batch it has had `ends - 1` lines.
    `moved` puts them into the whole.
    """
    ordinal = 0
    with Stream(part.path, part.start, part.end) as stream:
        for each in cut_lines(stream, block):
            batch = records.batch(each, ordinal)
            if history is not None:
                batch = history.join(batch)
            ordinal += len(batch.actors)
            yield batch


def moved(unreadable: Iterable[Unreadable], lines: int) -> list[Unreadable]:
    """Complaints of a range, as lines of the file; `lines` come before the range."""
    return [one._replace(line=one.line + lines) for one in unreadable]


def identify(path: str, ordinals: Collection[int], joined: bool = False) -> dict[int, tuple[str, int]]:
    """The id and the line of the readable actors with these ordinals, by reading the file again.

    `joined`: they were read with a history file, where actors with a history of their own do not count. Only
    for inputs that can be read twice (`size_of` knows their size).
    """
    wanted = sorted(ordinals)
    found: dict[int, tuple[str, int]] = {}
    at = ordinal = 0
    for batch in read_actors(path, keep_going=True):
        places = [
            (str(actor.id), line)
            for actor, line in zip(batch.actors, batch.lines, strict=True)
            if not joined or actor.history is None
        ]
        while at < len(wanted) and wanted[at] < ordinal + len(places):
            found[wanted[at]] = places[wanted[at] - ordinal]
            at += 1
        if at == len(wanted):
            break
        ordinal += len(places)
    return found


def find_actor(
    path: str, id: str, history: Histories | None = None
) -> tuple[AnyActor, dict[str, Any]] | None:
    """The first actor with this id, and its record with everything in it; None if there is none.

    With `history`, both have the trace of the second file. Other records are not judged, but where the actor
    is not found and some could not be read, `InputUnreadable` lists those.
    """
    records = Records()
    complaints = Complaints(path, keep_going=True)
    for block in blocks(path):
        batch = records.batch(block)
        complaints.add(batch.unreadable)
        if id not in map(str, batch.ids):
            continue
        for actor, record, line in _whole_records(block, records):
            if str(actor.id) != id:
                continue
            if history is not None:
                one = replace(batch, actors=[actor], ids=[actor.id], lines=[line], plain=False, unreadable=())
                joined = history.join(one)
                if joined.unreadable:
                    raise InputUnreadable.of(Problem(name_of(path), *joined.unreadable[0]))
                record["history"] = history.items(id)
                actor = joined.actors[0]
            return actor, record
    if complaints.count:
        message = f"no actor '{id}' among the records of {complaints.name} that can be read; these cannot"
        raise InputUnreadable(message, complaints.problems)
    return None


def _whole_records(block: Block, records: Records) -> Iterator[tuple[AnyActor, dict[str, Any], int]]:
    """Each actor of a block with its whole record and its line; the unreadable ones are left out."""
    for record, line, _ in block.pieces():
        try:
            actors = records.actors(record)
        except (*UNDECODABLE, Refused):
            continue
        for actor, whole in zip(actors, json_value.decode_lines(record), strict=True):
            yield actor, whole, line
