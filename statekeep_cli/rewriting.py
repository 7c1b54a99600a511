"""An export, rewritten by its decisions: migrated, tagged, and otherwise as it was (surface.md, Files).

A second pass over an input that `deciding.decide_all` has read, since the gate needs all counts before the
first byte. Records are decided again by the same `Worker`, and must come out the same. What a decision does
not touch is copied byte for byte, in the input's own layout and order.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Protocol

import msgspec

from statekeep_cli.core.decision import Decision
from statekeep_cli.core.moving import Mover, marker, rescue_tag
from statekeep_cli.core.router import Routed
from statekeep_cli.core.splice import appended, members, spliced
from statekeep_cli.deciding import Decided, Task, Worker
from statekeep_cli.errors import InputUnreadable, Problem, StateKeepError
from statekeep_cli.readers.actors import TABLE, blocks, size_of
from statekeep_cli.readers.cut import layout_of
from statekeep_cli.readers.reasons import UNDECODABLE, Refused
from statekeep_cli.readers.records import AnyActor, Batch, Block
from statekeep_cli.readers.stream import BLOCK, Stream, name_of, whole_lines

Edits = Mapping[str, bytes | None]
NONE: Edits = {}

_encode = msgspec.json.encode
_decode = msgspec.json.decode
_LINE = re.compile(rb"[^\n]*\n|[^\n]+")
_BEFORE = re.compile(rb"[ \t\r\n]*[\[,][ \t\r\n]*")
_scan = json.JSONDecoder(parse_int=str, parse_float=str, strict=False).raw_decode


@dataclass(frozen=True, slots=True)
class Piece:
    """A record as it stands in the input, its line, and what changes in it: the edits of each actor between
    two places in the text. Mostly that is the whole; a line may have several actors, and an unreadable
    record has none."""

    text: bytes
    line: int
    edits: Sequence[tuple[int, int, Edits]]

    @property
    def changes(self) -> bool:
        return any(edits for _, _, edits in self.edits)

    @property
    def edited(self) -> bytes:
        if not self.changes:
            return self.text
        done, at = [], 0
        for start, end, edits in self.edits:
            value = self.text[start:end]
            done += [self.text[at:start], spliced(value, edits) if edits else value]
            at = end
        return b"".join((*done, self.text[at:]))


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


# --- layouts -------------------------------------------------------------------------------------------


def rewritten(task: Task, decided: Decided, changes: Changes) -> Iterator[tuple[bytes, int]]:
    """The whole input as it is to be, piece by piece, each with the stored bytes read so far.

    Standard input must have been spooled: the input is read twice at once where its layout needs that.
    """
    with Stream(task.actors) as stream:
        layout = layout_of(stream)
    read = ((block, changes.of(block)) for block in blocks(task.actors))
    yield from {"lines": _lines, "array": _array, "table": _table}[layout](task, decided, read)


Read = Iterator[tuple[Block, list[Piece]]]


def _lines(task: Task, decided: Decided, read: Read) -> Iterator[tuple[bytes, int]]:
    for block, pieces in read:
        if not any(piece.changes for piece in pieces):
            yield block.data, block.taken
            continue
        rows, each = block.data.split(b"\n"), iter(pieces)
        yield b"\n".join([next(each).edited if row.strip(b" \t\r") else row for row in rows]), block.taken


def _array(task: Task, decided: Decided, read: Read) -> Iterator[tuple[bytes, int]]:
    """What stands between the records is taken from the input, which is read alongside."""
    with Stream(task.actors) as stream:
        text = _Text(stream)
        for block, pieces in read:
            yield b"".join(text.before(piece) + piece.edited for piece in pieces), block.taken
        yield text.rest(), stream.taken


class _Text:
    """The text of an array, whose records are known already."""

    def __init__(self, stream: Stream):
        self._stream = stream
        self._data = b""

    def before(self, piece: Piece) -> bytes:
        """What stands before the next record, which is `piece`."""
        gap = _BEFORE.match(self._data)
        while gap is None or len(self._data) < gap.end() + len(piece.text):
            more = self._stream.read(max(BLOCK, len(piece.text)))
            if not more:
                break
            self._data += more
            gap = _BEFORE.match(self._data)
        if gap is None or not self._data.startswith(piece.text, gap.end()):
            raise _changed(self._stream.name)
        self._data = self._data[gap.end() + len(piece.text) :]
        return gap[0]

    def rest(self) -> bytes:
        more = [self._data]
        while data := self._stream.read(BLOCK):
            more.append(data)
        return b"".join(more)


def _table(task: Task, decided: Decided, read: Read) -> Iterator[tuple[bytes, int]]:
    """CSV. Columns that are missing are added, to every row."""
    records = ((block.taken, piece) for block, pieces in read for piece in pieces)
    upcoming = next(records, None)
    names: list[str] = []
    added: list[str] = []
    with Stream(task.actors) as stream:
        for line, raw, row in _rows(stream):
            taken = stream.taken
            ending = raw[len(raw.rstrip(b"\r\n")) :]
            if row and not names:
                names = [cell.strip() for cell in row]
                added = [c for c in _columns(task, decided) if c not in names]
                yield _padded(raw, ending, "".join("," + c for c in added)), taken
                continue
            edits: Edits = NONE
            if upcoming is not None and upcoming[1].line == line:
                edits = next((e for _, _, e in upcoming[1].edits), NONE)
                upcoming = next(records, None)
            if edits and row:
                yield _row([*names, *added], row, edits, ending), taken
            else:
                yield _padded(raw, ending, "," * len(added)) if row else raw, taken
    if upcoming is not None:
        raise _changed(name_of(task.actors))


def _rows(stream: Stream) -> Iterator[tuple[int, bytes, list[str] | None]]:
    """Each row of a CSV file: its line, its bytes, and its cells, None where it is no CSV; as `cut` reads."""
    raw: list[bytes] = []

    def lines() -> Iterator[str]:
        for data, _ in whole_lines(stream):
            for line in _LINE.findall(data):
                raw.append(line)
                yield line.decode("utf-8", "surrogateescape").removesuffix("\n") + "\n"

    rows = csv.reader(lines(), strict=True)
    while True:
        line, row = rows.line_num + 1, None
        try:
            row = next(rows)
        except StopIteration:
            break
        except csv.Error:
            pass
        yield line, b"".join(raw), row
        raw.clear()
    if raw:
        yield line, b"".join(raw), None


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


def _padded(raw: bytes, ending: bytes, cells: str) -> bytes:
    return raw[: len(raw) - len(ending)] + cells.encode() + ending if cells else raw


def _row(names: Sequence[str], row: Sequence[str], edits: Edits, ending: bytes) -> bytes:
    """A row with its edits: the cells in the way `cut` reads them."""
    cells = [*row, *[""] * (len(names) - len(row))]
    for name, value in edits.items():
        if name in names:
            cells[names.index(name)] = "" if value is None else _cell(name, value)
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerow(cells)
    return text.getvalue().removesuffix("\r\n").encode("utf-8", "surrogateescape") + ending


def _cell(name: str, value: bytes) -> str:
    if name in TABLE.json or name == "rescue":
        return value.decode()
    decoded = _decode(value)
    plain = isinstance(decoded, str) and not (name in TABLE.state and decoded.lstrip()[:1] in ("{", '"', ""))
    return decoded if plain else str(decoded) if name in TABLE.text else value.decode()


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
    for data, taken in rewritten(task, decided, changes):
        out.write(data)
        if on_part is not None:
            on_part(taken)
    for outcome in ("migrate", "strand", "stay", "skip"):
        if changes.counts[outcome] != decided.tally.count(outcome):
            raise _changed(name_of(task.actors))
    counts = changes.counts
    untouched = counts["stay"] + counts["skip"]
    return Rewritten(counts["migrate"], counts["strand"], untouched, decided.unreadable)


def _changed(name: str) -> StateKeepError:
    message = f"{name} changed while it was read, so nothing was written; run again when nobody writes to it"
    return StateKeepError(message)


@contextmanager
def rereadable(path: str) -> Iterator[str]:
    """A path that can be read twice: the input's own, or that of a temporary copy where it is a pipe.

    Complaints about the copy name the input.
    """
    if path != "-" and (size_of(path) is not None or not os.path.exists(path) or os.path.isdir(path)):
        yield path
        return
    # The name may say that it is JSON.
    with tempfile.NamedTemporaryFile(prefix="statekeep-", suffix=os.path.basename(path)) as spool:
        try:
            if path == "-":
                shutil.copyfileobj(sys.stdin.buffer, spool, 1 << 20)
            else:
                with open(path, "rb") as pipe:
                    shutil.copyfileobj(pipe, spool, 1 << 20)
            spool.flush()
        except OSError as error:
            where = tempfile.gettempdir()
            message = (
                f"cannot keep {name_of(path)} in {where}: {error.strerror or error}; set TMPDIR to where"
            )
            raise StateKeepError(f"{message} there is more room") from None
        try:
            yield spool.name
        except InputUnreadable as error:
            problems = tuple(_renamed(p, spool.name, name_of(path)) for p in error.problems)
            raise InputUnreadable(error.message.replace(spool.name, name_of(path)), problems) from None


def _renamed(problem: Problem, old: str, new: str) -> Problem:
    return replace(problem, path=new) if problem.path == old else problem
