"""`--format FMT[=PATH]`, repeatable: which format goes where."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO, Literal, Self

from statekeep_cli.core.report import Report
from statekeep_cli.errors import Problem, StateKeepError, UsageMistake

if TYPE_CHECKING:
    from statekeep_cli.core.causes import FindingKey
    from statekeep_cli.render import View
    from statekeep_cli.render.html import Pictures

PAGES = ("text", "json", "markdown")
STDOUT = ("", "-")


def destinations(formats: Sequence[str] | None, known: Sequence[str]) -> list[tuple[str, str]]:
    """Which format goes where; an empty path (or `-`) is standard output, for one of them at most."""
    wanted = []
    for given in formats or ["text"]:
        name, _, path = given.partition("=")
        if name not in known:
            raise UsageMistake(f"--format {name} is not one of {', '.join(known)}")
        wanted.append((name, path))
    on_stdout = [name for name, path in wanted if path in STDOUT]
    if len(on_stdout) > 1:
        first, second = on_stdout[:2]
        hint = f"write --format {second}=FILE"
        raise UsageMistake(f"{first} and {second} would both go to standard output; {hint}")
    return wanted


def opened(path: str) -> BinaryIO:
    """A file to write a format to."""
    try:
        return open(path, "wb")
    except OSError as error:
        reason = error.strerror or str(error)
        raise StateKeepError(f"{path}: cannot be written ({reason}); give another path") from None


@dataclass(frozen=True, slots=True)
class Pages:
    """For commands whose output is one page per format."""

    wanted: list[tuple[str, str]]

    @classmethod
    def parse(cls, formats: Sequence[str] | None, known: Sequence[str] = PAGES) -> Self:
        return cls(destinations(formats, known))

    def write(self, pages: Mapping[str, Callable[[int, bool], str]]) -> None:
        """Draw what was asked for; each page is told its width in columns and whether it may use colour."""
        from statekeep_cli.render.terminal import wants_color, width_of

        for name, path in self.wanted:
            if path in STDOUT:
                sys.stdout.write(pages[name](width_of(sys.stdout), wants_color(sys.stdout)))
                sys.stdout.flush()
            else:
                page = pages[name](width_of(None), False)
                with opened(path) as file:
                    file.write(page.encode("utf-8", "backslashreplace"))


@dataclass(slots=True)
class Outputs:
    """For `preview`, whose JSON Lines are written while actors are decided.

    Files are opened when the context is entered, so that a path that cannot be written is said before
    the work and not after it.
    """

    wanted: list[tuple[str, str]]
    show_ids: bool = False
    _streams: list[tuple[str, BinaryIO]] = field(default_factory=list)
    _open: ExitStack = field(default_factory=ExitStack)

    @classmethod
    def parse(cls, formats: Sequence[str] | None, show_ids: bool = False) -> Self:
        from statekeep_cli.render import FORMATS, STREAMED

        return cls(destinations(formats, (*FORMATS, *STREAMED)), show_ids)

    def __enter__(self) -> Self:
        for name, path in self.wanted:
            if path in STDOUT:
                self._streams.append((name, sys.stdout.buffer))
                continue
            self._streams.append((name, self._open.enter_context(opened(path))))
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    @property
    def has_lines(self) -> bool:
        return any(name == "jsonl" for name, _ in self.wanted)

    @property
    def text_on_stdout(self) -> bool:
        return any(name == "text" and path in STDOUT for name, path in self.wanted)

    @property
    def only_text(self) -> bool:
        """Was nothing asked for but the page that a person sees?"""
        return self.wanted == [("text", "")]

    def write_lines(self, lines: bytes) -> None:
        """Decisions as JSON Lines, while they are made."""
        for name, stream in self._streams:
            if name == "jsonl":
                stream.write(lines)

    @property
    def full(self) -> str:
        """The file that has the whole report, for formats that shorten it."""
        paths = {name: path for name, path in reversed(self.wanted) if path not in STDOUT}
        return next((paths[name] for name in ("html", "json") if name in paths), "")

    def write_report(
        self,
        report: Report,
        next_command: str,
        pictures: Callable[[], Pictures] | None = None,
        *,
        locate: Callable[[], Mapping[FindingKey, Problem]] = dict,
        levels: Mapping[str, Literal["error", "warning"]] | None = None,
    ) -> None:
        """The finished report, in every format that is not written line by line.

        `pictures` is asked for what only html draws, `locate` for the places of findings where a format shows
        them; `levels` is what the gate says. With `github`, the page for people also goes to the step's
        summary, where there is one.
        """
        from statekeep_cli.render import FORMATS, LOCATED, View
        from statekeep_cli.render.terminal import wants_color, width_of

        locations = locate() if any(name in LOCATED for name, _ in self.wanted) else {}
        for name, stream in self._streams:
            if name not in FORMATS:
                continue
            terminal = stream is sys.stdout.buffer
            width = width_of(sys.stdout if terminal else None)
            drawn = pictures() if pictures is not None and name == "html" else None
            color = terminal and wants_color(sys.stdout)
            view = View(width, color, next_command, self.show_ids, drawn, locations, levels or {}, self.full)
            stream.write(FORMATS[name](report, view).encode("utf-8", "backslashreplace"))
            stream.flush()
            if name == "github":
                _summarize(report, view)


def _summarize(report: Report, view: View) -> None:
    """Append the report to the summary of a GitHub Actions step, within what GitHub takes."""
    from statekeep_cli.render.github import SUMMARY
    from statekeep_cli.render.markdown import markdown

    path = os.environ.get("GITHUB_STEP_SUMMARY", "")
    if not path:
        return
    try:
        with open(path, "ab") as file:
            room = SUMMARY - file.tell()  # earlier commands of the step may have written there
            page = markdown(
                report, view.show_ids, view.full, view.locations, limit=room, size=lambda s: len(s.encode())
            )
            if len(page.encode()) <= room:
                file.write(page.encode() + b"\n")
    except OSError as error:
        reason = error.strerror or str(error)
        raise StateKeepError(
            f"GITHUB_STEP_SUMMARY names {path}, which cannot be written ({reason})"
        ) from None
