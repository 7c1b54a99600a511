"""One block of records -> actors, and what could not be read with its place and reason.

The fast way decodes a whole block at once, into actors whose traces are nothing but events. Recorded states,
markers, origins and snapshots are read by a second decoder, and a block with a bad record record by record.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

from msgspec import Raw, ValidationError
from msgspec.json import Decoder

from statekeep_cli.core.router import Columns
from statekeep_cli.core.trace import Actor, Event, Item, Symbols
from statekeep_cli.readers.checks import Checks
from statekeep_cli.readers.reasons import UNDECODABLE, Refused, explained, worded

# Blocks that go straight to the general decoder after one that needed it: trying the fast one costs at most
# this fraction where it never succeeds.
GENERAL_BLOCKS = 16
# Event types learnt one by one before the decoder is made anew with all that are known: this many, or as many
# as are known, so that a file of ever new types does not spend its time on making decoders.
MIN_MISSES = 256

AnyActor = Actor[Any, Any]


class Unreadable(NamedTuple):
    """What is wrong with one record; line and column count from 1, the column in characters."""

    line: int
    column: int
    message: str


@dataclass(frozen=True, slots=True)
class Block:
    """Some records as they were read, before decoding.

    `data` are JSON values with white space between them. From JSON Lines there is one per line, the first on
    line `line`, and `records` is None; from other formats `records` has each value, and `places` the line and
    column where it begins. `unreadable` are records that could not even be cut out. `ends` is `line` and the
    newlines in the block, `taken` how many stored bytes of the input had been read by then.
    """

    data: bytes
    line: int
    ends: int
    taken: int = 0
    records: Sequence[bytes] | None = None
    places: Sequence[tuple[int, int]] = ()
    unreadable: tuple[Unreadable, ...] = ()
    # Whether `records` stand in the file as they are; those made from CSV cells do not.
    verbatim: bool = True

    def pieces(self) -> Iterator[tuple[bytes, int, int]]:
        """Each record with the line and column where it begins."""
        if self.records is not None:
            for record, (line, column) in zip(self.records, self.places, strict=True):
                yield record, line, column
            return
        for line, record in enumerate(self.data.split(b"\n"), self.line):
            if record.strip(b" \t\r"):
                yield record, line, 1


@dataclass(frozen=True, slots=True)
class Batch:
    """Actors of one block, in the order of the file.

    `ids` and `states` (raw JSON) are columns of `actors`, made once since everyone needs them; `lines` has
    each actor's line. `ordinal` counts the readable actors before this batch. In a `plain` batch each history
    item has a `type` that is a letter (`Symbols.letters`), and there are no recorded states, markers, origins
    and snapshots; in any other, items are `str` or `Item`. `ends` and `taken` are the block's.
    """

    actors: Sequence[AnyActor]
    ids: list[str | int]
    states: list[bytes]
    lines: Sequence[int]
    ordinal: int
    plain: bool
    unreadable: tuple[Unreadable, ...]
    ends: int
    taken: int
    columns: Columns | None = None  # of a plain batch whose actors are made when they are asked for


def _lines(block: Block, count: int) -> Sequence[int] | None:
    """The line of each of `count` decoded records; None if the block does not have that many."""
    if block.records is not None:
        return [line for line, _ in block.places] if count == len(block.places) else None
    if block.ends - block.line + (not block.data.endswith(b"\n")) == count:
        return range(block.line, block.line + count)
    lines = [line for _, line, _ in block.pieces()]
    return lines if count == len(lines) else None


class Plain:
    """A decoder of plain traces: event types as letters, and nothing else in them.

    `of` gives the type to decode for an Enum of letters. Anything that is not plain is a `ValidationError`.
    """

    def __init__(self, symbols: Symbols, of: Callable[[Any], Any]):
        self._symbols = symbols
        self._of = of
        self._generation = -1
        self._letter: Any = None
        self._decoder: Decoder[Any] = Decoder()

    def decoder(self) -> Decoder[Any]:
        symbols = self._symbols
        if self._generation != symbols.generation or self._letter.misses > max(MIN_MISSES, len(symbols)):
            self._letter = symbols.letters()
            self._decoder = Decoder(self._of(self._letter))
            self._generation = symbols.generation
        return self._decoder


def plain_item(letter: Any) -> Any:
    """The type of an item of a plain trace."""
    return letter | cast(Any, Event)[letter]


def plain_actor(letter: Any) -> Any:
    """The type of an actor with a plain trace, no origin and no snapshot."""
    return cast(Any, Actor)[plain_item(letter), None]


class Records:
    """Decodes blocks. With `symbols`, event types become letters wherever that is possible."""

    def __init__(self, symbols: Symbols | None = None):
        self._plain = None if symbols is None else Plain(symbols, plain_actor)
        self._general_left = 0
        self._general: Decoder[AnyActor] = Decoder(Actor[str | Item, Raw])
        self._checks = Checks()

    def batch(self, block: Block, ordinal: int = 0) -> Batch:
        """The actors of a block; what is wrong in it is in the batch, not raised."""
        actors, plain = self._whole(block.data)
        lines = _lines(block, len(actors))
        if lines is not None:
            ids = [actor.id for actor in actors]
            states = [bytes(actor.state) for actor in actors]
            if "" not in ids and self._checks.are_states(states):
                return Batch(
                    actors, ids, states, lines, ordinal, plain, block.unreadable, block.ends, block.taken
                )
        return self._one_by_one(block, ordinal)

    def _whole(self, data: bytes) -> tuple[list[AnyActor], bool]:
        """All actors of a block and whether they are plain; an empty list where a record is not an actor."""
        try:
            if not data.isascii():
                data.decode()  # the decoder does not look at the bytes of what it skips
            if self._plain is not None and not self._general_left:
                try:
                    return self._plain.decoder().decode_lines(data), True
                except ValidationError:
                    self._general_left = GENERAL_BLOCKS
            self._general_left = max(0, self._general_left - 1)
            return self._checks.all_settled(self._general.decode_lines(data)), False
        except (*UNDECODABLE, Refused):
            return [], False

    def _one_by_one(self, block: Block, ordinal: int) -> Batch:
        actors, lines, unreadable = [], [], list(block.unreadable)
        for record, line, column in block.pieces():
            try:
                found = self.actors(record)
            except (*UNDECODABLE, Refused) as error:
                unreadable.append(complaint(block, record, line, column, error))
            else:
                actors += found
                lines += [line] * len(found)
        ids = [actor.id for actor in actors]
        states = [bytes(actor.state) for actor in actors]
        unreadable.sort()
        return Batch(actors, ids, states, lines, ordinal, False, tuple(unreadable), block.ends, block.taken)

    def actors(self, record: bytes) -> list[AnyActor]:
        """The actor of a record, by the general decoder; all of them where a line has several.

        Raises what the decoder raises, and `Refused`.
        """
        record.decode()
        try:
            found = self._general.decode_lines(record)
        except ValidationError as error:
            message, path = worded(error)
            raise Refused(message, *path[1:]) from None  # the first step counts the records of the line
        return [self._checked(actor) for actor in found]

    def _checked(self, actor: AnyActor) -> AnyActor:
        actor = self._checks.settled(actor)
        if actor.id == "":
            raise Refused("is empty; every actor needs an id", "id")
        state = bytes(actor.state)
        if state in (b"", b"null"):
            raise Refused("expected a state, or a snapshot in its place")
        self._checks.state(state, "state")
        return actor


def complaint(block: Block, record: bytes, line: int, column: int, error: Exception) -> Unreadable:
    """What is wrong with a record of a block that begins at this line and column."""
    offset, message = explained(record, error)
    if not block.verbatim:
        return Unreadable(line, column, message)
    if block.records is None and record.strip() == b"{":
        hint = "write one record per line, or a JSON array"
        return Unreadable(line, column, f"not JSON Lines: the record goes on in the next line; {hint}")
    before = record[:offset].decode(errors="replace")
    breaks = before.count("\n")
    column = len(before) - before.rfind("\n") if breaks else column + len(before)
    return Unreadable(line + breaks, column, message)
