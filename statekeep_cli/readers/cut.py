"""An input -> blocks of records: JSON Lines, a JSON array, or CSV.

One generator per format, each holding a block at a time. Cutting looks only as far into a record as it takes
to find its end; what is in it is judged when the block is decoded (`records.py`).
"""

from __future__ import annotations

import codecs
import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal

import msgspec

from statekeep_cli.errors import InputUnreadable
from statekeep_cli.readers.reasons import UNDECODABLE, Refused, did_you_mean, explained, skip_space
from statekeep_cli.readers.records import Block, Unreadable
from statekeep_cli.readers.stream import BLOCK, MAX_RECORD, Stream, unreadable, whole_lines

# An error this close to the end of what has been read may be the end of it, and no error.
LONGEST_TOKEN = 32
# Bad rows that are passed on together.
MOST_BAD = 1_000

Layout = Literal["lines", "array", "table"]

json_part = msgspec.json.Decoder(msgspec.Raw)


@dataclass(frozen=True, slots=True)
class Table:
    """How a CSV row becomes a record. `required` columns must be there, each a name or a choice of names;
    `text` columns are strings, `state` columns state values, `json` columns JSON. An empty cell is no value.
    Columns that are not listed are strings."""

    required: tuple[tuple[str, ...], ...]
    state: tuple[str, ...]
    json: tuple[str, ...]
    text: tuple[str, ...]

    @property
    def known(self) -> tuple[str, ...]:
        return (*self.text, *self.state, *self.json)


def layout_of(stream: Stream) -> Layout:
    """How the records of an input are laid out, which its first character tells.

    `{` begins JSON Lines and `[` an array; anything else is CSV, unless the name of the file says JSON.
    """
    first = stream.look().lstrip()[:1]
    name = stream.name.lower().removesuffix(".gz")
    if first == b"[":
        return "array"
    return "lines" if first in (b"", b"{") or name.endswith((".json", ".jsonl", ".ndjson")) else "table"


def cut(stream: Stream, table: Table, block: int = BLOCK) -> Iterator[Block]:
    """The blocks of an input, whatever its layout.

    Raises `InputUnreadable` where an input cannot be read any further.
    """
    layout = layout_of(stream)
    if layout == "array":
        return cut_array(stream, block)
    return cut_lines(stream, block) if layout == "lines" else cut_table(stream, table, block)


def cut_lines(stream: Stream, block: int = BLOCK) -> Iterator[Block]:
    """JSON Lines: one record per line, blank lines between them or not."""
    line = 1
    for data, lines in whole_lines(stream, block):
        yield Block(data, line, line + lines, stream.taken)
        line += lines


class _Text:
    """A window of an input's text that moves forward, and where in the input it is."""

    def __init__(self, stream: Stream, block: int):
        self.stream = stream
        self.block = block
        self.text = ""
        self.at = 0
        self.ended = False
        self._decode = codecs.getincrementaldecoder("utf-8")("surrogateescape").decode
        self._counted = 0  # up to where in the text `_line` and `_column` have been counted
        self._line = 1
        self._column = 1

    def place(self, at: int) -> tuple[int, int]:
        """Line and column of a place in the window, at or after the last one asked for."""
        breaks = self.text.count("\n", self._counted, at)
        self._line += breaks
        last = self.text.rfind("\n", self._counted, at)
        self._column = at - last if breaks else self._column + at - self._counted
        self._counted = at
        return self._line, self._column

    def more(self) -> bool:
        """Reads on, at least as much as is still unread in the window; False at the end."""
        line, column = self.place(self.at)
        data = b"" if self.ended else self.stream.read(max(self.block, len(self.text) - self.at))
        self.ended = not data
        self.text = self.text[self.at :] + self._decode(data, self.ended)
        self.at = self._counted = 0
        if len(self.text) > MAX_RECORD and not self.ended:
            message = f"the record is longer than {MAX_RECORD >> 20} MiB, the most that is read at once"
            raise unreadable(self.stream.name, message, "check that it is an array of actors", line, column)
        return not self.ended

    def next(self) -> str:
        """The next character that is not blank, not yet taken; empty at the end."""
        while True:
            self.at = skip_space(self.text, self.at)
            if self.at < len(self.text):
                return self.text[self.at]
            if not self.more():
                return ""

    def refused(self, message: str, at: int) -> InputUnreadable:
        hint = "nothing after this place was read; mend the array, or write one record per line"
        return unreadable(self.stream.name, message, hint, *self.place(max(at, self._counted)))


def cut_array(stream: Stream, block: int = BLOCK) -> Iterator[Block]:
    """A JSON array of records, on one line or many. A broken array cannot be read past that place."""
    window = _Text(stream, block)
    scan = json.JSONDecoder().raw_decode
    records: list[bytes] = []
    places: list[tuple[int, int]] = []
    size = 0

    def record_end() -> int:
        while True:
            try:
                end = scan(window.text, window.at)[1]
                # Only objects show their end; a number may go on in what has not been read yet.
                if window.text[window.at] == "{" or end + LONGEST_TOKEN < len(window.text) or window.ended:
                    return end
            except RecursionError:
                raise window.refused("nested too deeply to be read", window.at) from None
            except json.JSONDecodeError as error:
                undecided = error.pos + LONGEST_TOKEN >= len(window.text) or error.msg.startswith(
                    "Unterminated"
                )
                if window.ended or not undecided:
                    message = (
                        "the array ends in the middle of a record" if undecided else f"not JSON: {error.msg}"
                    )
                    raise window.refused(message, error.pos) from None
            window.more()

    def emitted() -> Block:
        return Block(
            b"\n".join(records), places[0][0], window.place(window.at)[0], stream.taken, records, places
        )

    window.next()
    window.at += 1
    following = window.next()
    while following != "]":
        if not following:
            raise window.refused("the array ends before its `]`; is the file truncated?", window.at)
        end = record_end()
        places.append(window.place(window.at))
        records.append(window.text[window.at : end].encode("utf-8", "surrogateescape"))
        size += end - window.at
        window.at = end
        following = window.next()
        if following == ",":
            window.at += 1
            following = window.next()
            if following == "]":
                raise window.refused("expected a record after the comma", window.at)
        elif following not in ("]", ""):
            raise window.refused("expected a comma or the array's `]`", window.at)
        if size >= block:
            yield emitted()
            records, places, size = [], [], 0
    window.at += 1
    if window.next():
        raise window.refused("expected nothing after the array's `]`", window.at)
    if records:
        yield emitted()


def cut_table(stream: Stream, table: Table, block: int = BLOCK) -> Iterator[Block]:
    """CSV with a header (RFC 4180): each row becomes the JSON record it stands for."""
    csv.field_size_limit(MAX_RECORD)
    rows = csv.reader(_text_lines(stream, block), strict=True)
    names: list[str] = []
    records: list[bytes] = []
    places: list[tuple[int, int]] = []
    bad: list[Unreadable] = []
    size = 0
    begins = line = 1

    def emitted() -> Block:
        data = b"\n".join(records)
        return Block(data, begins, line, stream.taken, records, places, tuple(bad), verbatim=False)

    while True:
        line = rows.line_num + 1
        try:
            row = next(rows, None)
            if row is None:
                break
            if not row:
                continue
            if not names:
                names = _header(stream.name, row, table, line)
                continue
            record = _record(names, row, table)
        except csv.Error as error:
            bad.append(Unreadable(line, 1, f"not CSV: {error}"))
        except Refused as error:
            bad.append(Unreadable(line, 1, error.message))
        else:
            records.append(record)
            places.append((line, 1))
            size += len(record)
        if size >= block or len(bad) >= MOST_BAD:
            line = rows.line_num + 1
            yield emitted()
            records, places, bad, size, begins = [], [], [], 0, line
    if records or bad:
        yield emitted()


def _text_lines(stream: Stream, block: int) -> Iterator[str]:
    for data, _ in whole_lines(stream, block):
        # Bytes that are not UTF-8 are carried through, and refused with the row they are in.
        text = data.decode("utf-8", "surrogateescape")
        yield from (line + "\n" for line in text.removesuffix("\n").split("\n"))


def _header(name: str, row: list[str], table: Table, line: int) -> list[str]:
    names = [cell.strip() for cell in row]
    for choice in table.required:
        if not set(choice) & set(names):
            wanted = " or ".join(f"'{column}'" for column in choice)
            hint = f"the first line names the columns: {', '.join(table.known)}"
            if len(names) == 1 and (
                found := next((mark for mark in (";", "\t", "|") if mark in names[0]), "")
            ):
                hint = f"the columns are separated by {found!r}; export them separated by commas"
            near = next((mean for column in choice if (mean := did_you_mean(column, names))), "")
            raise unreadable(name, f"has no column {wanted}{near}", hint, line, 1)
    for column in names:
        if names.count(column) > 1:
            raise unreadable(name, f"has the column '{column}' twice", "remove one of them", line, 1)
    missing = [column for column in table.known if column not in names]
    for column in names:
        close = get_close_matches(column.lower(), missing, 1, 0.85) if column not in table.known else []
        if close:
            message = f"has no column '{close[0]}', but '{column}'"
            raise unreadable(name, message, f"rename it to '{close[0]}', or to something less alike", line, 1)
    return names


def _record(names: list[str], row: list[str], table: Table) -> bytes:
    """The JSON object that a row stands for; raises `Refused`."""
    if len(row) != len(names):
        raise Refused(f"expected {len(names)} cells, as in the header, got {len(row)}")
    members = []
    for name, cell in zip(names, row, strict=True):
        if not cell:
            continue
        try:
            text = cell.encode()
            if name in table.json or (name in table.state and cell.lstrip()[:1] in ("{", '"')):
                json_part.decode(text)
            else:
                text = msgspec.json.encode(cell)
        except UnicodeEncodeError:
            raise Refused(f"column '{name}': not UTF-8; save the file as UTF-8") from None
        except UNDECODABLE as error:
            raise Refused(f"column '{name}': {explained(text, error)[1]}") from None
        members.append(msgspec.json.encode(name) + b":" + text)
    return b"{" + b",".join(members) + b"}"
