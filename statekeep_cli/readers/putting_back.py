"""Records put back where they stood: an input's text, in its own layout, with some members of records edited.

What is not edited is copied byte for byte, blanks and line ends included. CSV cells are written the way
`cut` reads them.
"""

from __future__ import annotations

import csv
import io
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import msgspec

from statekeep_cli.core.splice import spliced
from statekeep_cli.errors import InputUnreadable, Problem, StateKeepError
from statekeep_cli.readers.actors import TABLE, size_of
from statekeep_cli.readers.cut import layout_of
from statekeep_cli.readers.records import Block
from statekeep_cli.readers.stream import BLOCK, Stream, name_of, whole_lines

# What changes in a JSON object: a value as JSON text by key, None for a member that goes.
Edits = Mapping[str, bytes | None]
NONE: Edits = {}

_LINE = re.compile(rb"[^\n]*\n|[^\n]+")
_BEFORE = re.compile(rb"[ \t\r\n]*[\[,][ \t\r\n]*")


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


Read = Iterator[tuple[Block, list[Piece]]]


def put_back(path: str, read: Read, columns: Sequence[str]) -> Iterator[tuple[bytes, int]]:
    """The whole input with its records as edited, piece by piece, each with the stored bytes read so far.

    `read` are its blocks with their records; CSV gets those `columns` that it lacks. The input is read
    alongside where its layout needs that, so a pipe will not do. Raises `StateKeepError` where it has changed
    since `read` was read.
    """
    with Stream(path) as stream:
        layout = layout_of(stream)
    if layout == "lines":
        yield from _lines(read)
    else:
        yield from _array(path, read) if layout == "array" else _table(path, read, columns)


def _lines(read: Read) -> Iterator[tuple[bytes, int]]:
    for block, pieces in read:
        if not any(piece.changes for piece in pieces):
            yield block.data, block.taken
            continue
        rows, each = block.data.split(b"\n"), iter(pieces)
        yield b"\n".join([next(each).edited if row.strip(b" \t\r") else row for row in rows]), block.taken


def _array(path: str, read: Read) -> Iterator[tuple[bytes, int]]:
    """What stands between the records is taken from the input, which is read alongside."""
    with Stream(path) as stream:
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
            raise changed(self._stream.name)
        self._data = self._data[gap.end() + len(piece.text) :]
        return gap[0]

    def rest(self) -> bytes:
        more = [self._data]
        while data := self._stream.read(BLOCK):
            more.append(data)
        return b"".join(more)


def _table(path: str, read: Read, columns: Sequence[str]) -> Iterator[tuple[bytes, int]]:
    """CSV. Columns that are missing are added, to every row."""
    records = ((block.taken, piece) for block, pieces in read for piece in pieces)
    upcoming = next(records, None)
    names: list[str] = []
    added: list[str] = []
    with Stream(path) as stream:
        for line, raw, row in _rows(stream):
            taken = stream.taken
            ending = raw[len(raw.rstrip(b"\r\n")) :]
            if row and not names:
                names = [cell.strip() for cell in row]
                added = [c for c in columns if c not in names]
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
        raise changed(name_of(path))


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
    decoded = msgspec.json.decode(value)
    plain = isinstance(decoded, str) and not (name in TABLE.state and decoded.lstrip()[:1] in ("{", '"', ""))
    return decoded if plain else str(decoded) if name in TABLE.text else value.decode()


def changed(name: str) -> StateKeepError:
    """The error for an input that is not what it was."""
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
