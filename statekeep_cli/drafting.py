"""Drafts: what an apply is going to write to the actors of a range, and where drafts wait until it does.

Everybody is decided before anything is written, for the gate. What was decided is kept, in the little room
that it takes, so that histories are read once: a write compares revisions, and decides again who has moved.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import compress
from typing import Any, NamedTuple

import msgspec

from statekeep_cli.core.decision import Decision
from statekeep_cli.core.mapping import Mapping
from statekeep_cli.core.moving import Mover
from statekeep_cli.core.router import Routed
from statekeep_cli.core.splice import members, spliced
from statekeep_cli.loading import preimage, recorded_events
from statekeep_cli.readers.records import Batch
from statekeep_cli.stores.actors import Actors, Bounds
from statekeep_cli.stores.changes import Changes
from statekeep_cli.stores.recording import kept_snapshot
from statekeep_cli.stores.rows import Row, Rows

# An actor takes its id and a few bytes more: with uuids as ids, these are 170 MB.
ROOM = 4_000_000


class Sort(NamedTuple):
    """What actors of one draft have in common: their decision, and status and reason as they are stored;
    `before` is what a revert puts back (`Change.before`)."""

    decision: Decision
    status: str
    reason: str | None
    before: str | None


@dataclass(frozen=True, slots=True)
class Draft:
    """Some actors, decided. `changes.kinds` are places in `sorts`; `skipped` actors have no part in it."""

    sorts: Sequence[Sort]
    changes: Changes
    skipped: int = 0

    def decided(self) -> Counter[Decision]:
        """How many actors get which decision."""
        found: Counter[Decision] = Counter()
        for place, count in Counter(self.changes.kinds).items():
            found[self.sorts[place].decision] += count
        return found


class Drafter:
    """Makes drafts of rows that were decided."""

    def __init__(self, mover: Mover, mapping: Mapping):
        self._mover, self._mapping = mover, mapping

    def draft(self, rows: Rows, batch: Batch, routed: Routed) -> Draft:
        """`batch` has the actors of these rows, and `routed` their decisions.

        By columns: there is one step per actor of everybody's, and no call that can be spared.
        """
        decided = {n for n in routed.counts if routed.decisions[n].outcome != "skip"}
        if not decided:
            return Draft((), Changes(), len(rows))
        if batch.unreadable:
            rows = Rows([rows[place] for place in batch.lines])
        chosen = [n in decided for n in routed.ids]

        def column(name: str) -> list[Any]:
            return list(compress(rows.column(name), chosen))

        statuses, reasons, states = map(column, ("status", "reason", "state"))
        sorts = _Sorts(routed.decisions)
        numbers = compress(routed.ids, chosen)
        kinds = [sorts[key] for key in zip(numbers, statuses, reasons, states, strict=True)]
        befores = [sorts.found[kind].before for kind in kinds]
        events = list(compress(_events(rows, batch), chosen))
        changes = Changes(column("id"), column("revision"), kinds, events, befores)
        edited = [not self._mover.is_plain(sort.decision) for sort in sorts.found]
        if any(edited) or any(rows.column("snapshot")):
            at = list(compress(range(len(chosen)), chosen))
            snapshots = column("snapshot")
            changes = changes.edited(
                [
                    (i, self._moved(rows[at[i]], batch.actors[at[i]], routed[at[i]]))
                    for i, kind in enumerate(kinds)
                    if (snapshots[i] or edited[kind])
                    and not self._mover.is_uniform(batch.actors[at[i]], routed[at[i]])
                ]
            )
        return Draft(sorts.found, changes, len(rows) - len(changes))

    def _moved(self, row: Row, actor: Any, decision: Decision) -> tuple[str, str | None, str | None]:
        """(before, context, snapshot) of an actor of which more changes than its state and version."""
        after = self._mover.after(actor, decision)
        before = preimage(decision, row.status, row.reason, row.state)
        context, snapshot = after.context, None
        if context is not None:
            before["context"] = row.context
            if self._mapping.context_columns:
                before["context"], context = changed_columns(self._mapping, row.context, context)
        if after.snapshot is not None:
            snapshot = kept_snapshot(after.snapshot.encode(), "active")
            before["snapshot"] = row.snapshot
        return _encoded(before), context, snapshot


class _Sorts(dict[tuple[int, str, str | None, str], int]):
    """(number of a decision, and an actor's status, reason and state) -> the place of its sort in `found`,
    made when it is first asked for."""

    def __init__(self, decisions: Sequence[Decision]):
        self._decisions = decisions
        self.found: list[Sort] = []

    def __missing__(self, key: tuple[int, str, str | None, str]) -> int:
        number, status, reason, state = key
        decision = self._decisions[number]
        before = preimage(decision, status, reason, state)
        place = self[key] = len(self.found)
        self.found.append(Sort(decision, status, reason, _encoded(before) if before else None))
        return place


def _events(rows: Rows, batch: Batch) -> Sequence[int]:
    """How many rows of their histories the actors were decided by."""
    traces = [actor.history for actor in batch.actors] if batch.columns is None else batch.columns.traces
    if any(rows.column("markers")):
        return [recorded_events(row, trace) for row, trace in zip(rows, traces, strict=True)]
    return [len(trace) if trace else 0 for trace in traces]


def changed_columns(mapping: Mapping, before: str | None, after: str) -> tuple[str, str]:
    """Of two contexts that are kept in columns the keys that differ, as JSON objects: what they were, and
    what they become.

    Columns of other keys are not written to, so that no value of theirs changes its spelling. A key that
    one of them lacks is null there: its column is NULL.
    """
    old = members(before.encode()) if before else {}
    new = members(after.encode())
    keys = [key for key, _ in mapping.context_columns if old.get(key) != new.get(key)]
    parts = ({key: part.get(key, b"null") for key in keys} for part in (old, new))
    one, other = (spliced(b"{}", {**part}).decode() for part in parts)
    return one, other


# --- drafts that wait ----------------------------------------------------------------------------------

_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(tuple[list[str], list[int | str], list[int], list[int]]).decode


class _Packed(NamedTuple):
    bounds: Bounds
    sorts: Sequence[Sort]
    columns: bytes | None  # None: to be read again
    skipped: int


class Drafted(NamedTuple):
    """A range of ids to write. `draft` is None where it has to be read and decided again."""

    bounds: Bounds
    draft: Draft | None


class Drafts:
    """The drafts of ranges, in the order of ids, until they are written.

    There is room for those of so many actors, of which no more than state and version changes; the ranges
    of others are read again.
    """

    def __init__(self, drafter: Drafter, room: int = ROOM):
        self.size = 0
        self._drafter, self._room = drafter, room
        self._packed: deque[_Packed] = deque()
        self._next: Drafted | None = None
        self._lock = threading.Lock()

    def add(self, bounds: Bounds, rows: Rows, batch: Batch, routed: Routed) -> None:
        """A range that was decided."""
        draft = self._drafter.draft(rows, batch, routed)
        changes, columns = draft.changes, None
        if not (batch.unreadable or changes.contexts or changes.snapshots or len(changes) > self._room):
            columns = _pack((changes.ids, changes.revisions, changes.kinds, changes.events))
            self._room -= len(changes)
        self._packed.append(_Packed(bounds, draft.sorts, columns, draft.skipped))

    def take(self, actors: Actors) -> Drafted | None:
        """The next range, of `size` actors at most where it need not be read again; None after the last."""
        with self._lock:
            found, self._next = self._next, None
            if found is None and self._packed:
                found = _unpacked(self._packed.popleft())
            if found is not None and found.draft is not None and len(found.draft.changes) > self.size:
                found, self._next = _cut(found.bounds, found.draft, self.size)
            return found


def _unpacked(packed: _Packed) -> Drafted:
    if packed.columns is None:
        return Drafted(packed.bounds, None)
    ids, revisions, kinds, events = _unpack(packed.columns)
    befores = [packed.sorts[kind].before for kind in kinds]
    changes = Changes(ids, revisions, kinds, events, befores)
    return Drafted(packed.bounds, Draft(packed.sorts, changes, packed.skipped))


def _cut(bounds: Bounds, draft: Draft, size: int) -> tuple[Drafted, Drafted]:
    """The first so many changes, and the others with all who are skipped."""
    first, rest = draft.changes.cut(size)
    middle = first.ids[-1]
    return (
        Drafted(Bounds(bounds.low, middle), Draft(draft.sorts, first)),
        Drafted(Bounds(middle, bounds.high), Draft(draft.sorts, rest, draft.skipped)),
    )


def _encoded(value: Any) -> str:
    return msgspec.json.encode(value).decode()
