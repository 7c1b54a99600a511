"""What a terminal needs: its width, whether it wants colour, text that cannot act on it, progress.

Colour and width follow `NO_COLOR`, `FORCE_COLOR`, `TERM=dumb`, `COLUMNS` and `CI` (surface.md, Output).
Tables are laid out by hand: rich would take a preview's start some 50 ms further; only its character widths
are used, and only for text outside ASCII.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Self, TextIO

NARROWEST = 40  # below this, lines are laid out for 40 columns and the terminal folds them
WIDE = 80  # where there is no terminal to ask


# --- the terminal ----------------------------------------------------------------------------------------


def width_of(stream: TextIO | None, env: Mapping[str, str] = os.environ) -> int:
    """Columns to lay out for: `COLUMNS`, else the terminal's own width, else 80; never below 40.

    `stream` is None for what is written to a file.
    """
    given = env.get("COLUMNS", "")
    if given.isascii() and given.isdigit() and 0 < int(given) < 10_000:
        return max(int(given), NARROWEST)
    try:
        columns = os.get_terminal_size(stream.fileno()).columns if stream else 0
    except (OSError, ValueError):  # no terminal, closed, or no file at all
        columns = 0
    return max(columns or WIDE, NARROWEST)


def is_interactive(stream: TextIO, env: Mapping[str, str] = os.environ) -> bool:
    """Is a person watching, on a terminal that can redraw a line?"""
    if env.get("TERM") == "dumb" or env.get("CI", "") not in ("", "0", "false"):
        return False
    try:
        return stream.isatty()
    except ValueError:  # closed
        return False


def wants_color(stream: TextIO, env: Mapping[str, str] = os.environ) -> bool:
    """`NO_COLOR` beats `FORCE_COLOR`, which beats what the stream is."""
    if env.get("NO_COLOR"):
        return False
    forced = env.get("FORCE_COLOR", "")
    if forced:
        return forced not in ("0", "false")
    return is_interactive(stream, env)


_CODES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}


@dataclass(frozen=True, slots=True)
class Paint:
    """Colours text, or leaves it alone; meaning never rests on it."""

    on: bool

    def __call__(self, text: str, *styles: str) -> str:
        if not self.on or not styles or not text:
            return text
        return f"\x1b[{';'.join(_CODES[s] for s in styles)}m{text}\x1b[0m"


# --- user text -------------------------------------------------------------------------------------------


def inert(text: str) -> str:
    r"""Text that no terminal acts on: control characters, escapes, line ends, direction marks and lone
    surrogates are shown as `\x1b`, `\n`, `\u202e`."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else _visible(c) for c in text)


def _visible(char: str) -> str:
    short = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}.get(char)
    if short:
        return short
    code = ord(char)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def cells(text: str) -> int:
    """Columns that inert text takes; wide characters take two."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def shown(text: str, limit: int = 200) -> str:
    """User text for a line: inert, and cut to `limit` columns where it is longer."""
    safe = inert(text[: limit + 1])
    if len(text) <= limit and cells(safe) <= limit:
        return safe
    return _head(safe, limit - 3) + "..."


def _head(text: str, width: int) -> str:
    """As much of a text as fits, and at least a character."""
    if text.isascii():
        return text[: max(width, 1)]
    end = 1
    while end < len(text) and cells(text[: end + 1]) <= width:  # whole: some characters widen the one before
        end += 1
    return text[:end]


def _folded(word: str, width: int) -> Iterator[str]:
    """A word in pieces of at most `width` columns, broken behind dots and dashes where it has some."""
    while cells(word) > width:
        piece = _head(word, width)
        joint = max(piece.rfind(c) for c in "._-/:") + 1
        if joint > len(piece) // 3:
            piece = piece[:joint]
        yield piece
        word = word[len(piece) :]
    yield word


def wrap(text: str, width: int, first: str = "", rest: str | None = None) -> list[str]:
    """Lines of at most `width` columns, broken at spaces and inside words that are longer than a line.

    `first` begins the first line and `rest` the others (default: as many spaces).
    """
    rest = " " * cells(first) if rest is None else rest
    lines: list[str] = []
    prefix, line, taken = first, "", 0
    for word in text.split(" "):
        room = width - cells(prefix)
        size = cells(word)
        if line and taken + 1 + size <= room:
            line, taken = f"{line} {word}", taken + 1 + size
            continue
        if line:
            lines.append(prefix + line)
            prefix, room = rest, width - cells(rest)
        pieces = [word] if size <= room else list(_folded(word, max(room, 2)))
        for piece in pieces[:-1]:
            lines.append(prefix + piece)
            prefix = rest
        line, taken = pieces[-1], cells(pieces[-1])
    lines.append(prefix + line)
    return lines


# --- progress --------------------------------------------------------------------------------------------

REDRAW = 0.1  # seconds between two states of the bar
REPORT = 10.0  # seconds between two lines where nobody watches


class Progress:
    """How far a long run is, on standard error: a bar on a terminal, one line per 10 s elsewhere.

    `total` is in the same unit as what `update` is given, None where it is not known. Nothing is shown
    before the first interval has passed, and nothing at all when `quiet`. A context manager: leaving it
    removes the bar.
    """

    def __init__(
        self,
        label: str,
        total: int | None = None,
        unit: str = "actors",
        *,
        quiet: bool = False,
        stream: TextIO | None = None,
        env: Mapping[str, str] = os.environ,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.label = shown(label, 40)
        self.total = total
        self.unit = unit
        self.stream = sys.stderr if stream is None else stream
        self.clock = clock
        self.env = env
        self.bar = is_interactive(self.stream, env)
        self.interval = REDRAW if self.bar else REPORT
        self.next = float("inf") if quiet else clock() + self.interval
        self.drawn = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def update(self, done: int, note: str = "") -> None:
        """Say that `done` units are done so far; `note` is a word more, such as a count of actors."""
        now = self.clock()
        if now < self.next:
            return
        self.next = now + self.interval
        if self.bar:
            line = shown(self._line(done, note, width_of(self.stream, self.env) - 1), 10_000)
            self._write(f"\r{line}\x1b[K")
            self.drawn = True
        else:
            self._write(self._line(done, note, 0) + "\n")

    def _line(self, done: int, note: str, width: int) -> str:
        note = f", {note}" if note else ""
        if not self.total:
            return f"{self.label}: {done:,} {self.unit}{note}"
        share = min(done / self.total, 1.0)
        text = f"{int(share * 100):3d}%  {done:,} of {self.total:,} {self.unit}{note}"
        size = min(30, width - cells(self.label) - cells(text) - 6)
        if size < 5:
            return f"{self.label}: {text.strip()}"
        full = int(share * size)
        return f"{self.label}  [{'#' * full}{'.' * (size - full)}] {text}"

    def close(self) -> None:
        """Remove the bar; what comes next starts on an empty line."""
        if self.drawn:
            self._write("\r\x1b[K")
            self.drawn = False

    def _write(self, text: str) -> None:
        # Progress is a courtesy: a closed or full standard error does not end the run.
        try:
            self.stream.write(text)
            self.stream.flush()
        except (OSError, ValueError):
            self.next = float("inf")
            self.drawn = False
