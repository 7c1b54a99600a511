"""Rows of a database -> batches of actors, as the readers of exports make them.

Traces come as JSON text. Those of nothing but event types are decoded a whole batch at once, straight to
the letters that the router reads; recorded states, markers, origins and snapshots go the general way.
"""

from __future__ import annotations

import gc
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from msgspec import Raw, ValidationError
from msgspec.json import Decoder
from msgspec.structs import replace

from statekeep_cli.core.decision import Decision
from statekeep_cli.core.mapping import Mapping
from statekeep_cli.core.model import canonical
from statekeep_cli.core.router import Columns
from statekeep_cli.core.trace import Actor, Item, Symbols
from statekeep_cli.readers.checks import Checks
from statekeep_cli.readers.reasons import UNDECODABLE, Refused, worded
from statekeep_cli.readers.records import AnyActor, Batch, Plain, Unreadable, plain_item
from statekeep_cli.stores.recording import whole_snapshot
from statekeep_cli.stores.rows import Row, Rows
from statekeep_cli.stores.runs import marker_items

_pieces: Decoder[list[Raw]] = Decoder(list[Raw])
_positions: Decoder[list[tuple[int, Raw]]] = Decoder(list[tuple[int, Raw]])
_general: Decoder[list[list[str | Item]]] = Decoder(list[list[str | Item]])
_decode = Decoder().decode
_NOTHING = Raw()
SWITCH_SECONDS = 0.0005
COLLECTED = 500_000  # more objects than the batches of a few connections hold
# A recorded state that is a text, which is JSON.
_QUOTED = re.compile(rb'"state":"(?:\{|\\")')


@contextmanager
def undisturbed() -> Iterator[None]:
    """For threads that make actors of rows and wait for a server in turn.

    Rows come and go by the batch, without cycles: looking for some takes a fifth of the time. And who has
    an answer of the server should not wait long for a thread that is computing.
    """
    threshold, interval = gc.get_threshold(), sys.getswitchinterval()
    gc.set_threshold(COLLECTED, *threshold[1:])
    sys.setswitchinterval(SWITCH_SECONDS)
    try:
        yield
    finally:
        gc.set_threshold(*threshold)
        sys.setswitchinterval(interval)


class Loader:
    """Makes actors of rows. `symbols` are the router's."""

    def __init__(self, mapping: Mapping, symbols: Symbols):
        self._no_rows = "none" if mapping.history is None else mapping.history.no_rows
        self._plain = Plain(symbols, _traces)
        self._checks = Checks()
        self._states: dict[str, tuple[Raw, bytes]] = {}

    def batch(self, rows: Rows, ordinal: int = 0, *, letters: bool = True) -> Batch:
        """The actors of these rows, in their order. A row whose trace is no trace is in `unreadable`, and
        `Batch.lines` then says which rows the actors are from. Without `letters` event types are text."""
        if letters and not any(any(rows.column(part)) for part in ("snapshot", "origin", "markers")):
            items = rows.column("items")
            texts = items if all(items) else [text or "[]" for text in items]
            whole = f"[{','.join(texts)}]".encode()
            try:
                traces: list[list[Any] | None] = self._plain.decoder().decode(whole)
                by_columns = self._by_columns(rows, traces, ordinal)
                if self._checks.are_states(by_columns.states):
                    return by_columns
            except UNDECODABLE:
                pass
        return self._one_by_one(rows, ordinal)

    def _one_by_one(self, rows: Sequence[Row], ordinal: int) -> Batch:
        whole = f"[{','.join(map(spelled, rows))}]".encode()
        try:
            traces = _general.decode(whole)
            if _QUOTED.search(whole):
                traces = [list(map(_unquoted_item, trace)) for trace in traces]
            built = self._built(rows, range(len(rows)), traces, ordinal, plain=False)
            settled = self._checks.all_settled(list(built.actors))
            states = [bytes(actor.state) for actor in settled]
            if not self._checks.are_states(states):
                raise Refused("expected a state value", "state")
            return Batch(settled, built.ids, states, built.lines, ordinal, False, (), 1, 0)
        except (*UNDECODABLE, Refused):
            pass
        actors: list[Any] = []
        places, unreadable = [], []
        for place, row in enumerate(rows):
            try:
                trace = [list(map(_unquoted_item, _general.decode(f"[{spelled(row)}]".encode())[0]))]
                actor = self._built([row], range(1), trace, 0, plain=False).actors[0]
                actor = self._checks.settled(actor)
                self._checks.state(bytes(actor.state), "state")
                actors.append(actor)
                places.append(place)
            except (*UNDECODABLE, Refused) as error:
                said = worded(error)[0] if isinstance(error, ValidationError) else str(error)
                unreadable.append(Unreadable(0, 0, f"actor {row.id}: {said}"))
        ids = [actor.id for actor in actors]
        states = [bytes(actor.state) for actor in actors]
        return Batch(actors, ids, states, places, ordinal, False, tuple(unreadable), 1, 0)

    def _by_columns(self, rows: Rows, traces: list[list[Any] | None], ordinal: int) -> Batch:
        """Rows with plain traces, of which the router needs no more than a few columns."""
        items, known = rows.column("items"), rows.column("has_history")
        if self._no_rows == "none" and not all(items):
            traces = [trace if text else None for trace, text in zip(traces, items, strict=True)]
        if not all(known):  # None where everybody's history is known
            traces = [None if k is not None and not k else t for t, k in zip(traces, known, strict=True)]
        texts = rows.column("state")
        raws = {text: self._state(text)[1] for text in set(texts)}
        states = [raws[text] for text in texts]
        of_whom = map(rows.column, ("definition", "version", "status"))
        keys = list(zip(*of_whom, states, [trace is None for trace in traces], strict=True))
        actors = _Lazily(lambda i: self._actor(rows[i], traces[i]), len(rows))
        ids = list(rows.column("id"))
        return Batch(actors, ids, states, range(len(rows)), ordinal, True, (), 1, 0, Columns(traces, keys))

    def _state(self, text: str) -> tuple[Raw, bytes]:
        known = self._states
        state = known.get(text)
        if state is None:
            if len(known) > 1 << 16:
                known.clear()
            raw = unquoted(text.encode())
            state = known[text] = (Raw(raw), raw)
        return state

    def _actor(self, row: Row, trace: list[Any] | None) -> AnyActor:
        return Actor(
            row.id,
            self._state(row.state)[0],
            row.definition,
            row.version,
            row.status,  # type: ignore[arg-type]
            Raw(row.context.encode()) if row.context else _NOTHING,
            trace,
            Raw(row.origin.encode()) if row.origin else _NOTHING,
            _snapshot(row) if row.snapshot else _NOTHING,
        )

    def _built(
        self,
        rows: Sequence[Row],
        places: Sequence[int],
        traces: list[list[Any]],
        ordinal: int,
        *,
        plain: bool,
    ) -> Batch:
        unknown_without = self._no_rows == "none"
        actors: list[AnyActor] = []
        for row, trace in zip(rows, traces, strict=True):
            none = (row.items is None and unknown_without) or (
                row.has_history is not None and not row.has_history
            )
            actors.append(self._actor(row, None if none else trace))
        states = [self._state(row.state)[1] for row in rows]
        ids: list[str | int] = [row.id for row in rows]
        return Batch(actors, ids, states, places, ordinal, plain, (), 1, 0)


class _Lazily(Sequence[Any]):
    """Actors that are made when they are asked for: of most only their columns are looked at."""

    def __init__(self, make: Callable[[int], AnyActor], count: int):
        self._make, self._count = make, count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self._make(i) for i in range(*index.indices(self._count))]
        if not -self._count <= index < self._count:
            raise IndexError(index)
        return self._make(index % self._count)


def unquoted(state: bytes) -> bytes:
    """A state value whose text is JSON itself, as in a text column: that JSON; any other as it is."""
    if not state.startswith((b'"{', b'"\\"')):
        return state
    text: str = _decode(state)
    try:
        value = _decode(text)
    except UNDECODABLE:
        return state
    return text.encode() if isinstance(value, str | dict) else state


def _unquoted_item(item: str | Item) -> str | Item:
    if type(item) is str or not item.state:  # type: ignore[union-attr]
        return item
    return replace(item, state=Raw(unquoted(bytes(item.state))))  # type: ignore[type-var,union-attr]


def _snapshot(row: Row) -> Raw:
    assert row.snapshot is not None
    return Raw(whole_snapshot(row.snapshot, row.state, row.context, row.status))


def _traces(letter: Any) -> Any:
    return list[list[plain_item(letter)]]  # type: ignore[misc]


def spelled(row: Row) -> str:
    """A row's trace with the markers of earlier runs in their places, a JSON array."""
    text = row.items or "[]"
    if not row.markers or row.markers == "[]":
        return text
    items = [bytes(item) for item in _pieces.decode(text)]
    shift = 0
    for position, marker in _positions.decode(row.markers):
        added = marker_items(bytes(marker))
        at = min(position, len(items) - shift) + shift
        items[at:at] = added
        shift += len(added)
    return f"[{b','.join(items).decode()}]"


def recorded_events(row: Row, trace: Sequence[Any] | None) -> int:
    """How many items of a row's trace are rows of its history, and no markers of earlier runs."""
    if trace is None:
        return 0
    if not row.markers or row.markers == "[]":
        return len(trace)
    return len(trace) - sum(len(marker_items(bytes(m))) for _, m in _positions.decode(row.markers))


def preimage(decision: Decision, status: str, reason: str | None, state: str) -> dict[str, str | None]:
    """What a revert puts back of an actor with this status, reason and state where the decision about it
    does not say it."""
    before: dict[str, str | None] = {}
    if status != "active":
        before = {"status": status, "reason": reason}
    # As a stored class holds it, which sorts the regions of a state.
    if decision.source is None or state != canonical(decision.source.value):
        before["state"] = state
    return before
