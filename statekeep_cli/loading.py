"""Rows of a database -> batches of actors, as the readers of exports make them.

Traces come as JSON text. Those of nothing but event types are decoded a whole batch at once, straight to
the letters that the router reads; recorded states, markers, origins and snapshots go the general way.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import Raw, ValidationError
from msgspec.json import Decoder, Encoder

from statekeep_cli.core.decision import Decision
from statekeep_cli.core.mapping import Mapping
from statekeep_cli.core.splice import spliced
from statekeep_cli.core.trace import Actor, Item, Symbols
from statekeep_cli.readers.checks import Checks
from statekeep_cli.readers.reasons import UNDECODABLE, Refused, worded
from statekeep_cli.readers.records import Batch, Plain, Unreadable, plain_item
from statekeep_cli.stores.actors import Row
from statekeep_cli.stores.runs import marker_items

_pieces: Decoder[list[Raw]] = Decoder(list[Raw])
_positions: Decoder[list[tuple[int, Raw]]] = Decoder(list[tuple[int, Raw]])
_general: Decoder[list[list[str | Item]]] = Decoder(list[list[str | Item]])
_encode = Encoder().encode
_NOTHING = Raw()


class Loader:
    """Makes actors of rows. `symbols` are the router's."""

    def __init__(self, mapping: Mapping, symbols: Symbols):
        self._no_rows = "none" if mapping.history is None else mapping.history.no_rows
        self._plain = Plain(symbols, _traces)
        self._checks = Checks()
        self._states: dict[str, Raw] = {}

    def batch(self, rows: Sequence[Row], ordinal: int = 0) -> Batch:
        """The actors of these rows, in their order. A row whose trace is no trace is in `unreadable`, and
        `Batch.lines` then says which rows the actors are from."""
        texts = [row.items or "" for row in rows]
        simple = not any(row.snapshot or row.origin or (row.markers and row.markers != "[]") for row in rows)
        if simple:
            whole = f"[[{'],['.join(texts)}]]".encode() if rows else b"[]"
            try:
                traces: list[list[Any]] = self._plain.decoder().decode(whole)
                return self._built(rows, range(len(rows)), traces, ordinal, plain=True)
            except ValidationError:
                pass
        return self._one_by_one(rows, ordinal)

    def _one_by_one(self, rows: Sequence[Row], ordinal: int) -> Batch:
        whole = f"[[{'],['.join(map(spelled, rows))}]]".encode() if rows else b"[]"
        try:
            traces = _general.decode(whole)
            built = self._built(rows, range(len(rows)), traces, ordinal, plain=False)
            settled = self._checks.all_settled(built.actors)
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
                trace = _general.decode(f"[[{spelled(row)}]]".encode())
                actor = self._built([row], range(1), trace, 0, plain=False).actors[0]
                actors.append(self._checks.settled(actor))
                self._checks.state(bytes(actor.state), "state")
                places.append(place)
            except (*UNDECODABLE, Refused) as error:
                said = worded(error)[0] if isinstance(error, ValidationError) else str(error)
                unreadable.append(Unreadable(0, 0, f"actor {row.id}: {said}"))
        ids = [actor.id for actor in actors]
        states = [bytes(actor.state) for actor in actors]
        return Batch(actors, ids, states, places, ordinal, False, tuple(unreadable), 1, 0)

    def _built(
        self,
        rows: Sequence[Row],
        places: Sequence[int],
        traces: list[list[Any]],
        ordinal: int,
        *,
        plain: bool,
    ) -> Batch:
        known = self._states
        actors: list[Any] = []
        states = []
        for row, trace in zip(rows, traces, strict=True):
            state = known.get(row.state)
            if state is None:
                if len(known) > 1 << 16:
                    known.clear()
                state = known[row.state] = Raw(row.state.encode())
            none = row.has_history is not None and not row.has_history
            none = none or (row.items is None and self._no_rows == "none")
            actors.append(
                Actor(
                    row.id,
                    state,
                    row.definition,
                    row.version,
                    row.status,  # type: ignore[arg-type]
                    Raw(row.context.encode()) if row.context else _NOTHING,
                    None if none else trace,
                    Raw(row.origin.encode()) if row.origin else _NOTHING,
                    Raw(whole_snapshot(row)) if row.snapshot else _NOTHING,
                )
            )
            states.append(bytes(state))
        ids: list[str | int] = [row.id for row in rows]
        return Batch(actors, ids, states, places, ordinal, plain, (), 1, 0)


def _traces(letter: Any) -> Any:
    return list[list[plain_item(letter)]]  # type: ignore[misc]


def spelled(row: Row) -> str:
    """The items of a row's trace with the markers of earlier runs in their places."""
    text = row.items or ""
    if not row.markers or row.markers == "[]":
        return text
    items = [bytes(item) for item in _pieces.decode(f"[{text}]")]
    shift = 0
    for position, marker in _positions.decode(row.markers):
        added = marker_items(bytes(marker))
        at = min(position, len(items) - shift) + shift
        items[at:at] = added
        shift += len(added)
    return b",".join(items).decode()


def recorded_events(row: Row, trace: Sequence[Any] | None) -> int:
    """How many items of a row's trace are rows of its history, and no markers of earlier runs."""
    events = len(trace) if trace else 0
    if row.markers and row.markers != "[]":
        events -= sum(len(marker_items(bytes(m))) for _, m in _positions.decode(row.markers))
    return events


def preimage(decision: Decision, row: Row) -> dict[str, str | None]:
    """What a revert puts back of an actor where the decision about it does not say it."""
    before: dict[str, str | None] = {}
    if row.status != "active":
        before = {"status": row.status, "reason": row.reason}
    if decision.source is None or row.state != decision.source.state:
        before["state"] = row.state
    return before


def whole_snapshot(row: Row) -> bytes:
    """A persisted snapshot as XState wrote it; the row holds its value and context apart."""
    assert row.snapshot is not None
    return spliced(
        row.snapshot.encode(),
        {
            "value": row.state.encode(),
            "context": row.context.encode() if row.context else None,
            "status": _encode("active" if row.status == "needs_rescue" else row.status),
        },
    )


def stored_snapshot(snapshot: str) -> str:
    """What of a persisted snapshot is kept beside a row's state, status and context."""
    return spliced(snapshot.encode(), {"value": b"null", "context": b"null", "status": b"null"}).decode()
