"""Repeated ids, over any number of actors in bounded memory.

A hash of each id and the decision about its record go to temporary files as they come. At the end one part of
the hashes' range after the other is read back and looked through for equal ones; equal hashes are suspects,
and the ids themselves decide. The looking is done by two functions of the native core, which the caller hands
in.
"""

from __future__ import annotations

import os
import tempfile
from array import array
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from heapq import nsmallest
from operator import attrgetter
from typing import Any, NamedTuple

import msgspec

# Records of one part: what is sorted at once, at 16 bytes each. The same for any number of records.
PART = 1 << 19
# Hashes read back at once.
PIECE = 1 << 16
# Suspects whose ids are compared. With more of them something is wrong with the file as a whole, and only
# those that are listed are compared; that two of n ids share a hash has a chance of n * n / 2**65.
COMPARED = 100_000
LISTED = 10

# (hashes, base, parts, part) -> those of the hashes (native uint64) that fall into this one of as many equal
# parts of their range, and their ordinals, counted from `base` (native uint64 too).
Partition = Callable[[bytes, int, int, int], tuple[bytes, bytes]]
# (hashes, ordinals) -> for each record whose hash an earlier one has, the ordinal of the first such and its
# own: two packed columns. Sorts both arguments in place, by hash and then ordinal.
Find = Callable[[bytearray, bytearray], tuple[bytes, bytes]]
# ordinals -> (id, line) of each
Identify = Callable[[Collection[int]], dict[int, tuple[str, int]]]


class Repeat(NamedTuple):
    """The record `again` has the hash of the record `first` (both ordinals); `decision` is about `again`."""

    first: int
    again: int
    decision: int


@dataclass(frozen=True, slots=True)
class Repeated:
    """A record whose id an earlier one has."""

    id: str
    line: int
    first_line: int

    @property
    def message(self) -> str:
        return f"the id '{self.id}' was already used at line {self.first_line}"


@dataclass(frozen=True, slots=True)
class Tally:
    """All repeated records: how many by decision, and the first few by place. `others` are the ordinals of
    suspects whose ids are their own after all."""

    decisions: dict[int, int]
    listed: tuple[Repeated, ...]
    others: tuple[int, ...] = ()

    @property
    def count(self) -> int:
        return sum(self.decisions.values())


def hashes_of(ids: Iterable[str | int]) -> bytes:
    """A 64-bit hash of each id as text, packed. The key is the process's: forked workers share it."""
    return array("q", map(hash, map(str, ids))).tobytes()


class Seen:
    """The hashes and decisions (unsigned 32-bit) of all records so far, in the order of the file."""

    def __init__(self) -> None:
        self._hashes = tempfile.TemporaryFile(prefix="statekeep-")  # noqa: SIM115
        self._decisions = tempfile.TemporaryFile(prefix="statekeep-")  # noqa: SIM115
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def close(self) -> None:
        self._hashes.close()
        self._decisions.close()

    def add(self, hashes: bytes, decisions: Any) -> None:
        """Some records: their `hashes_of`, and as many decisions packed in a buffer."""
        packed = memoryview(decisions).cast("B")
        if len(hashes) != 2 * len(packed):
            raise ValueError("one decision per hash")
        self._hashes.write(hashes)
        self._decisions.write(packed)
        self._count += len(hashes) // 8

    def repeats(self, partition: Partition, find: Find, part_size: int = PART) -> Iterator[Repeat]:
        """Every record whose hash an earlier one has, in no particular order."""
        self._hashes.flush()
        self._decisions.flush()
        parts = max(1, -(-self._count // part_size))
        for part in range(parts):
            for first, again in self._part(partition, find, parts, part, part_size):
                packed = os.pread(self._decisions.fileno(), 4, 4 * again)
                yield Repeat(first, again, array("I", packed)[0])

    def _part(
        self, partition: Partition, find: Find, parts: int, part: int, part_size: int
    ) -> Iterator[tuple[int, int]]:
        hashes, ordinals = bytearray(), bytearray()
        most = 16 * part_size
        for base in range(0, self._count, PIECE):
            piece = os.pread(self._hashes.fileno(), 8 * PIECE, 8 * base)
            some_hashes, some_ordinals = partition(piece, base, parts, part)
            hashes += some_hashes
            ordinals += some_ordinals
            if len(hashes) >= most:
                # Far more than a part of different ids can have: keep the first of each.
                yield from _pairs(*find(hashes, ordinals))
                hashes, ordinals = _firsts(hashes, ordinals)
                most = max(most, 2 * len(hashes))
        yield from _pairs(*find(hashes, ordinals))


def _pairs(firsts: bytes, agains: bytes) -> Iterator[tuple[int, int]]:
    return zip(memoryview(firsts).cast("Q"), memoryview(agains).cast("Q"), strict=True)


def _firsts(hashes: bytearray, ordinals: bytearray) -> tuple[bytearray, bytearray]:
    """Of pairs sorted by hash, the first of each hash."""
    some, places = array("Q"), array("Q")
    last = None
    for one, ordinal in zip(memoryview(hashes).cast("Q"), memoryview(ordinals).cast("Q"), strict=True):
        if one != last:
            some.append(one)
            places.append(ordinal)
            last = one
    return bytearray(some.tobytes()), bytearray(places.tobytes())


def tally(repeats: Iterable[Repeat], identify: Identify, compared: int = COMPARED) -> Tally:
    """The repeated records, after looking at the ids of the suspects."""
    decisions: Counter[int] = Counter()
    suspects: list[Repeat] = []
    for repeat in repeats:
        decisions[repeat.decision] += 1
        suspects.append(repeat)
        if len(suspects) > 2 * compared:
            suspects = nsmallest(compared, suspects, key=attrgetter("again"))
    suspects.sort(key=attrgetter("again"))
    if decisions.total() > compared:
        del suspects[LISTED:]
    if not suspects:
        return Tally({}, ())
    names = identify({ordinal for repeat in suspects for ordinal in (repeat.first, repeat.again)})
    listed: list[Repeated] = []
    others: list[int] = []
    for first, again, decision in suspects:
        (id, first_line), (other, line) = names[first], names[again]
        if id != other:
            decisions[decision] -= 1
            others.append(again)
        elif len(listed) < LISTED:
            listed.append(Repeated(id, line, first_line))
    return Tally(
        {decision: count for decision, count in decisions.items() if count}, tuple(listed), tuple(others)
    )


class Names:
    """Ids and lines of an input that cannot be read a second time, kept in a temporary file."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(prefix="statekeep-")  # noqa: SIM115
        self._encode = msgspec.json.Encoder().encode

    def close(self) -> None:
        self._file.close()

    def add(self, ordinal: int, ids: Sequence[str | int], lines: Sequence[int]) -> None:
        """Some records; `ordinal` is the first one's."""
        if ids:
            where = lines[0] if isinstance(lines, range) else list(lines)
            self._file.write(self._encode((ordinal, where, ids)) + b"\n")

    def identify(self, ordinals: Collection[int]) -> dict[int, tuple[str, int]]:
        """The id and the line of each of these records."""
        wanted = sorted(ordinals, reverse=True)
        found: dict[int, tuple[str, int]] = {}
        decode = msgspec.json.Decoder(tuple[int, int | list[int], list[str | int]]).decode
        self._file.seek(0)
        for packed in self._file:
            base, where, ids = decode(packed)
            while wanted and wanted[-1] < base + len(ids):
                ordinal = wanted.pop()
                index = ordinal - base
                line = where + index if isinstance(where, int) else where[index]
                found[ordinal] = (str(ids[index]), line)
            if not wanted:
                break
        return found
