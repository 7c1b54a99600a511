"""A file that is there whole or not at all."""

from __future__ import annotations

import gzip
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO

from statekeep_cli.errors import StateKeepError


class Replacement:
    """A file under way: `write` it, then `finish`; or `abandon` it, and nothing has happened.

    Its bytes go to a hidden file beside `path`; `finish` makes them durable and moves them into place in one
    step. They are packed with gzip where the name ends in .gz. A process that is killed leaves what was at
    `path` before, and the hidden file. A link is followed, and a file keeps its permissions. Raises
    `StateKeepError` where that cannot be done.
    """

    def __init__(self, path: str):
        self.path = path
        self._final = os.path.realpath(path)
        self._folder, name = os.path.split(self._final)
        self._hidden = os.path.join(self._folder, f".{name[:200]}.{secrets.token_hex(4)}.tmp")
        try:
            descriptor = os.open(self._hidden, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        except OSError as error:
            raise self._failed(error, "give another path") from None
        self._file: BinaryIO = open(descriptor, "wb")  # noqa: SIM115
        with suppress(OSError):
            os.fchmod(descriptor, stat.S_IMODE(os.stat(self._final).st_mode))
        # No name and no time in it: the same bytes are packed the same.
        packed = path.lower().endswith(".gz")
        self._packer = gzip.GzipFile("", "wb", 6, self._file, mtime=0) if packed else None

    def write(self, data: bytes) -> None:
        """Some bytes more."""
        try:
            (self._file if self._packer is None else self._packer).write(data)
        except OSError as error:
            raise self._failed(error, "make room, or give another path") from None

    def finish(self) -> None:
        """Everything is written: put it in place."""
        try:
            if self._packer is not None:
                self._packer.close()
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            os.rename(self._hidden, self._final)
        except OSError as error:
            raise self._failed(error, "make room, or give another path") from None
        descriptor = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)  # the new name, too
        finally:
            os.close(descriptor)

    def abandon(self) -> None:
        """Leave no trace."""
        with suppress(OSError):
            os.unlink(self._hidden)
        with suppress(OSError):  # what could not be written is not wanted any more
            self._file.close()

    def _failed(self, error: OSError, hint: str) -> StateKeepError:
        reason = error.strerror or error
        return StateKeepError(f"{self.path}: cannot be written ({reason}), and is as it was; {hint}")


@contextmanager
def replacing(path: str) -> Iterator[Replacement]:
    """A `Replacement` that is finished where the context is left without an error, else abandoned."""
    replacement = Replacement(path)
    try:
        yield replacement
        replacement.finish()
    except BaseException:
        replacement.abandon()
        raise
