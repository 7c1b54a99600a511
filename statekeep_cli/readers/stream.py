"""Bytes of an export: a file, standard input or a pipe, gzip or not, in blocks of whole lines.

Nothing here holds more than a block; a line longer than `MAX_RECORD` is refused.
"""

from __future__ import annotations

import os
import stat
import sys
import zlib
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import BinaryIO, Self

from statekeep_cli.errors import InputUnreadable, Problem

# Bytes asked for at once: decoding a block of this size stays near the caches, and the work per block does
# not show any more (measured from 64 KiB to 1 MiB, whole previews).
BLOCK = 256 * 1024
# Bytes of the longest record: what is read before its end is found has to fit into memory.
MAX_RECORD = 64 * 1024 * 1024

GZIP = b"\x1f\x8b"
UTF8_MARK = b"\xef\xbb\xbf"
MARKS = {
    b"\xff\xfe\x00\x00": "UTF-32",
    b"\x00\x00\xfe\xff": "UTF-32",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
}
# What else people hand over; (first bytes, what it is, how to make it readable)
OTHERS = (
    (b"PK\x03\x04", "a zip archive", "unpack it first"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd", "unpack it with `zstd -d`, or use gzip"),
    (b"\xfd7zXZ\x00", "compressed with xz", "unpack it with `xz -d`, or use gzip"),
    (b"BZh", "compressed with bzip2", "unpack it with `bzip2 -d`, or use gzip"),
    (b"SQLite format 3\x00", "an SQLite database", "use `--db`"),
    (b"PAR1", "a Parquet file", "export it as JSON Lines or CSV"),
)


LONGEST_MARK = 16


def name_of(path: str) -> str:
    """What messages call an input."""
    return "<stdin>" if path == "-" else path


def unreadable(name: str, message: str, hint: str, line: int = 0, column: int = 0) -> InputUnreadable:
    """The error for one place in an input."""
    return InputUnreadable.of(Problem(name, line, column, message, hint=hint))


class Gunzip:
    """Inflates what `read` returns: any number of gzip members, padded with zeros or not."""

    def __init__(self, name: str, read: Callable[[int], bytes]):
        self._name = name
        self._read = read
        self._member = zlib.decompressobj(wbits=31)
        self._stored = b""

    def read(self, size: int) -> bytes:
        """At least one and at most `size` bytes, or none at the end. A member cut short is an error."""
        while True:
            stored = self._stored or self._read(BLOCK)
            if self._member.eof:
                while stored and not (stored := stored.lstrip(b"\x00")):
                    stored = self._read(BLOCK)
                if not stored:
                    return b""
                self._member = zlib.decompressobj(wbits=31)
            elif not stored:
                hint = "what was read so far is not the whole; copy or export it again"
                raise unreadable(self._name, "is a truncated gzip file: it ends before its last record", hint)
            try:
                data = self._member.decompress(stored, size)
            except zlib.error as error:
                reason = str(error).partition(": ")[2] or str(error)
                raise unreadable(
                    self._name, f"is a damaged gzip file ({reason})", "copy or export it again"
                ) from None
            self._stored = self._member.unused_data if self._member.eof else self._member.unconsumed_tail
            if data:
                return data


class Headed:
    """A reading function whose first bytes, `head`, can be looked at before they are read."""

    def __init__(self, read: Callable[[int], bytes]):
        self._read = read
        self.head = b""
        while len(self.head) < LONGEST_MARK and (more := read(LONGEST_MARK - len(self.head))):
            self.head += more

    def read(self, size: int) -> bytes:
        data, self.head = self.head[:size], self.head[size:]
        return data + self._read(size - len(data)) if len(data) < size else data


class Stream:
    """An open input, or the bytes from `start` to `end` of a file that is not compressed.

    `name` is for messages, `size` the stored bytes (None where nobody knows), `taken` how many of them have
    been read; `gzipped` says whether they are inflated on the way. A byte order mark is taken off.
    Raises `InputUnreadable` for what cannot be opened, read or inflated, and for what its first bytes say is
    not UTF-8 text.
    """

    def __init__(self, path: str, start: int = 0, end: int | None = None):
        self.name = name_of(path)
        self.size: int | None = None
        self.taken = 0
        self.gzipped = False
        self._left = None if end is None else end - start
        try:
            self._file: BinaryIO = sys.stdin.buffer if path == "-" else open(path, "rb", buffering=0)  # noqa: SIM115
            if path != "-":
                status = os.fstat(self._file.fileno())
                self.size = status.st_size if stat.S_ISREG(status.st_mode) else None
                if start:
                    self._file.seek(start)
        except (OSError, ValueError) as error:
            raise self._refused("opened", error) from None
        self._source: Callable[[int], bytes] = self._stored
        self._ahead = b""
        try:
            if start == 0:
                self._open_head()
        except InputUnreadable:
            self.close()
            raise

    def _open_head(self) -> None:
        text = Headed(self._stored)
        if text.head.startswith(GZIP):
            self.gzipped = True
            self._source = Gunzip(self.name, text.read).read
            text = Headed(self._source)
        for mark, encoding in MARKS.items():
            if text.head.startswith(mark):
                raise unreadable(self.name, f"is {encoding}, not UTF-8", "save it as UTF-8", 1, 1)
        for mark, what, hint in OTHERS:
            if text.head.startswith(mark):
                raise unreadable(self.name, f"is {what}", hint)
        if b"\x00" in text.head:
            what = "a NUL character; is it UTF-16 without its byte order mark, or no text at all?"
            raise unreadable(self.name, what, "save it as UTF-8", 1, text.head.index(b"\x00") + 1)
        self._ahead = text.head.removeprefix(UTF8_MARK)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        if self._file is not sys.stdin.buffer:
            self._file.close()

    def read(self, size: int) -> bytes:
        """At least one and at most `size` bytes, or none at the end."""
        if not self._ahead:
            return self._source(size)
        data, self._ahead = self._ahead[:size], self._ahead[size:]
        return data + self._source(size - len(data)) if len(data) < size else data

    def look(self, size: int = BLOCK) -> bytes:
        """What comes next, unread: up to the first bytes that are not blank, `size` bytes at most."""
        while len(self._ahead) < size and not self._ahead.strip():
            more = self._source(size - len(self._ahead))
            if not more:
                break
            self._ahead += more
        return self._ahead

    def _stored(self, size: int) -> bytes:
        if self._left is not None:
            size = min(size, self._left)
        try:
            data = self._file.read(size) or b""
        except OSError as error:
            raise self._refused("read", error) from None
        self.taken += len(data)
        if self._left is not None:
            self._left -= len(data)
        return data

    def _refused(self, what: str, error: Exception) -> InputUnreadable:
        reason = getattr(error, "strerror", None) or str(error)
        return unreadable(self.name, f"cannot be {what}: {reason}", "check the path")


def whole_lines(stream: Stream, block: int = BLOCK) -> Iterator[tuple[bytes, int]]:
    """Blocks of whole lines, each at most about `block` bytes, with the number of newlines in it.

    The last line may lack its newline. Raises `InputUnreadable` for a line longer than `MAX_RECORD`.
    """
    line = 1
    begun: list[bytes] = []  # of a line whose end has not been read yet
    length = 0
    while data := stream.read(block):
        cut = data.rfind(b"\n") + 1
        if cut:
            whole = b"".join((*begun, memoryview(data)[:cut]))
            # The same as whole.count(b"\n"), at a third of its cost in CPython 3.11.
            lines = len(whole) - len(whole.replace(b"\n", b""))
            line += lines
            begun, length = [], 0
            yield whole, lines
        if cut < len(data):
            begun.append(data[cut:])
            length += len(data) - cut
        if length > MAX_RECORD:
            message = f"the line is longer than {MAX_RECORD >> 20} MiB, the most that is read at once"
            hint = "check that it is the right file, with one record per line"
            raise unreadable(stream.name, message, hint, line, 1)
    if begun:
        yield b"".join(begun), 0
