"""An export, rewritten by its decisions: migrated, tagged, and otherwise as it was (surface.md, Files).

A second pass over an input that `deciding.decide_all` has read, since the gate needs all counts before the
first byte. Records are decided again by the same `Worker`, and must come out the same. What a decision does
not touch is copied byte for byte, in the input's own layout and order.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import msgspec

from statekeep_cli.core.decision import Decision
from statekeep_cli.core.moving import Mover, marker, rescue_tag
from statekeep_cli.core.router import Routed
from statekeep_cli.core.splice import appended, members
from statekeep_cli.deciding import Decided, Task, Worker
from statekeep_cli.readers.actors import blocks
from statekeep_cli.readers.putting_back import Edits, Piece, changed, put_back
from statekeep_cli.readers.reasons import UNDECODABLE, Refused
from statekeep_cli.readers.records import AnyActor, Batch, Block
from statekeep_cli.readers.stream import name_of

_encode = msgspec.json.encode
_scan = json.JSONDecoder(parse_int=str, parse_float=str, strict=False).raw_decode


class Changes:
    """What decisions change in records, as edits of a JSON object's members."""

    def __init__(self, worker: Worker, task: Task, decided: Decided):
        self.counts: Counter[str] = Counter()
        self._worker = worker
        self._mover = Mover(worker.deployment)
        self._decided = decided
        self._joined = task.history is not None
        self._renamed = {s.id for s in task.sources} != {task.target.id}
        self._ordinal = 0
        self._texts: dict[int, bytes] = {}  # the marker or tag of each decision, by its number
        self._generation = -1

    def of(self, block: Block) -> list[Piece]:
        """The records of a block with their edits, unreadable ones included."""
        batch = self._worker.batch(block)
        routed = self._worker.route(batch)
        if self._generation != self._worker.router.generation:  # decisions are numbered afresh
            self._generation, self._texts = self._worker.router.generation, {}
        histories: dict[str, bytes] = {}
        if self._worker.history is not None:
            histories = self._worker.history.inline([str(id) for id in batch.ids])
        pieces, index = [], 0
        for text, line, spans in self._placed(block, batch):
            edits = []
            for start, end in spans:
                if not self._decided.is_repeated(self._ordinal + index):
                    actor, history = batch.actors[index], histories.get(str(batch.ids[index]))
                    edits.append((start, end, self._edits(text[start:end], actor, history, routed, index)))
                index += 1
            pieces.append(Piece(text, line, edits))
        self._ordinal += len(batch.actors)
        return pieces

    def _placed(self, block: Block, batch: Batch) -> Iterator[tuple[bytes, int, Sequence[tuple[int, int]]]]:
        """Each record with its line, and where in it the actors of the batch are."""
        pieces = [(text, line) for text, line, _ in block.pieces()]
        if not batch.unreadable and len(pieces) == len(batch.actors):
            yield from ((text, line, ((0, len(text)),)) for text, line in pieces)
            return
        for text, line in pieces:
            yield text, line, self._actors_in(text)

    def _actors_in(self, text: bytes) -> list[tuple[int, int]]:
        try:
            found = self._worker.records.actors(text)
        except (*UNDECODABLE, Refused):
            return []
        spans = [(0, len(text))] if len(found) == 1 else _values(text)
        return [x for x, a in zip(spans, found, strict=True) if not self._joined or a.history is None]

    def _edits(
        self, text: bytes, actor: AnyActor, history: bytes | None, routed: Routed, index: int
    ) -> Edits:
        number = routed.ids[index]
        decision = routed.decisions[number]
        self.counts[decision.outcome] += 1
        if decision.outcome == "migrate":
            return self._migrated(text, actor, history, decision, number)
        edits: dict[str, bytes | None] = {} if history is None else {"history": history}
        if decision.outcome == "strand":
            if number not in self._texts:
                self._texts[number] = rescue_tag(decision).encode()
            edits |= {"status": b'"needs_rescue"', "rescue": self._texts[number]}
        if decision.outcome != "skip" and actor.version is None and decision.reason != "version_unknown":
            # It could be left out while all had the same version; beside migrated actors it cannot.
            assert decision.source is not None
            edits["version"] = _encode(decision.source.version)
            if self._renamed and actor.definition is None:
                edits["definition"] = _encode(decision.source.definition)
        return edits

    def _migrated(
        self, text: bytes, actor: AnyActor, history: bytes | None, decision: Decision, number: int
    ) -> Edits:
        known = members(text)
        after = self._mover.after(actor, decision)
        edits: dict[str, bytes | None] = {}
        if self._renamed or known.get("definition", b"null") != b"null":
            edits["definition"] = _encode(after.definition)
        edits["version"] = _encode(after.version)
        if actor.status == "needs_rescue":
            edits |= {"status": b'"active"', "rescue": None}
        if after.snapshot is None or known.get("state", b"null") != b"null":
            edits["state"] = after.state.encode()
        inside = after.snapshot is not None and "context" in members(bytes(actor.snapshot))
        if after.snapshot is not None:
            edits["snapshot"] = after.snapshot.encode()
        if after.context is not None and not inside and (after.snapshot is None or "context" in known):
            edits["context"] = after.context.encode()
        history = known.get("history", b"null") if history is None else history
        if history != b"null":
            # Without a history there is none to append to: a single marker would claim to be all of it.
            if number not in self._texts:
                self._texts[number] = marker(decision).encode()
            edits["history"] = appended(history, self._texts[number])
        return edits


def _values(text: bytes) -> list[tuple[int, int]]:
    """Where each of several JSON objects in a line begins and ends."""
    whole, found, at = text.decode(), [], text.find(b"{")
    while at >= 0:
        end = _scan(whole, at)[1]
        found.append((at, end))
        at = whole.find("{", end)
    return [(len(whole[:start].encode()), len(whole[:end].encode())) for start, end in found]


def _columns(task: Task, decided: Decided) -> list[str]:
    """The columns that migrated and tagged rows need."""
    migrating, stranding = decided.tally.count("migrate"), decided.tally.count("strand")
    routed = migrating + stranding + decided.tally.count("stay")
    wanted = ["version"] if routed else []
    if routed and {s.id for s in task.sources} != {task.target.id}:
        wanted.append("definition")
    if migrating and ((task.target.migration.get("context") or {}).get("defaults")):
        wanted.append("context")
    if task.history is not None:
        wanted.append("history")
    return [*wanted, *(("status", "rescue") if stranding else ())]


# --- the whole -----------------------------------------------------------------------------------------


class Sink(Protocol):
    """What the export is written to."""

    def write(self, data: bytes, /) -> object: ...


@dataclass(frozen=True, slots=True)
class Rewritten:
    """How many records were written, by what happened to them; `unreadable` ones were copied as they are."""

    migrated: int
    tagged: int
    untouched: int
    unreadable: int

    @property
    def sentence(self) -> str:
        parts = [
            f"{self.migrated:,} migrated",
            f"{self.tagged:,} tagged needs_rescue",
            f"{self.untouched:,} untouched",
        ]
        if self.unreadable:
            parts.append(f"{self.unreadable:,} unreadable, copied as they are")
        return ", ".join(parts)


def rewrite(
    task: Task, decided: Decided, out: Sink, *, on_part: Callable[[int], None] | None = None
) -> Rewritten:
    """Write the whole input, as its decisions leave it, to `out`.

    `decided` is what `decide_all` said of the same task; `on_part` is told how many stored bytes are done.
    Raises `StateKeepError` where the input has changed since.
    """
    changes = Changes(Worker(replace(task, lines=False)), task, decided)
    read = ((block, changes.of(block)) for block in blocks(task.actors))
    for data, taken in put_back(task.actors, read, _columns(task, decided)):
        out.write(data)
        if on_part is not None:
            on_part(taken)
    for outcome in ("migrate", "strand", "stay", "skip"):
        if changes.counts[outcome] != decided.tally.count(outcome):
            raise changed(name_of(task.actors))
    counts = changes.counts
    untouched = counts["stay"] + counts["skip"]
    return Rewritten(counts["migrate"], counts["strand"], untouched, decided.unreadable)
