"""`--format FMT[=PATH]`, repeatable: where a report and its lines go."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import BinaryIO, Self

from statekeep_cli.core.report import Report
from statekeep_cli.errors import StateKeepError, UsageMistake


@dataclass(slots=True)
class Outputs:
    """One output per format, each to standard output or to a file of its own.

    Files are opened when the context is entered, so that a path that cannot be written is said before
    the work and not after it.
    """

    wanted: Sequence[tuple[str, str]]
    show_ids: bool = False
    _streams: list[tuple[str, BinaryIO]] = field(default_factory=list)
    _open: ExitStack = field(default_factory=ExitStack)

    @classmethod
    def parse(cls, formats: Sequence[str], show_ids: bool = False) -> Outputs:
        from statekeep_cli.render import FORMATS, STREAMED

        wanted = []
        for text in formats:
            name, _, path = text.partition("=")
            if name not in (*FORMATS, *STREAMED):
                known = ", ".join((*FORMATS, *STREAMED))
                raise UsageMistake(f"--format {name} is not one of {known}")
            wanted.append((name, path))
        on_stdout = [name for name, path in wanted if path in ("", "-")]
        if len(on_stdout) > 1:
            first, second = on_stdout[:2]
            raise UsageMistake(
                f"{first} and {second} would both go to standard output; write --format {second}=FILE"
            )
        return cls(wanted, show_ids)

    def __enter__(self) -> Self:
        for name, path in self.wanted:
            if path in ("", "-"):
                self._streams.append((name, sys.stdout.buffer))
                continue
            try:
                self._streams.append((name, self._open.enter_context(open(path, "wb"))))
            except OSError as error:
                reason = error.strerror or str(error)
                raise StateKeepError(f"{path}: cannot be written ({reason}); give another path") from None
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    @property
    def has_lines(self) -> bool:
        return any(name == "jsonl" for name, _ in self.wanted)

    def write_lines(self, lines: bytes) -> None:
        """Decisions as JSON Lines, while they are made."""
        for name, stream in self._streams:
            if name == "jsonl":
                stream.write(lines)

    def write_report(self, report: Report, next_command: str) -> None:
        """The finished report, in every format that is not written line by line."""
        from statekeep_cli.render import FORMATS, View
        from statekeep_cli.render.terminal import wants_color, width_of

        for name, stream in self._streams:
            if name not in FORMATS:
                continue
            terminal = stream is sys.stdout.buffer
            width = width_of(sys.stdout) if terminal else int(os.environ.get("COLUMNS") or 80)
            view = View(width, terminal and wants_color(sys.stdout), next_command, self.show_ids)
            stream.write(FORMATS[name](report, view).encode("utf-8", "backslashreplace"))
            stream.flush()
