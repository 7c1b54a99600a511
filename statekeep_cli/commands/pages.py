"""`--format FMT[=PATH]`, repeatable, for commands whose output is one page per format."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from statekeep_cli.errors import StateKeepError, UsageMistake

FORMATS = ("text", "json", "markdown")
STDOUT = ("", "-")


@dataclass(frozen=True, slots=True)
class Pages:
    """Which format goes where; an empty path is standard output."""

    wanted: tuple[tuple[str, str], ...]

    @classmethod
    def parse(cls, formats: Sequence[str] | None) -> Pages:
        wanted = []
        for given in formats or ["text"]:
            name, _, path = given.partition("=")
            if name not in FORMATS:
                raise UsageMistake(f"--format {name} is not one of {', '.join(FORMATS)}")
            wanted.append((name, path))
        on_stdout = [name for name, path in wanted if path in STDOUT]
        if len(on_stdout) > 1:
            first, second = on_stdout[:2]
            hint = f"write --format {second}=FILE"
            raise UsageMistake(f"{first} and {second} would both go to standard output; {hint}")
        return cls(tuple(wanted))

    def write(self, pages: Mapping[str, Callable[[int, bool], str]]) -> None:
        """Draw what was asked for; each page is told its width in columns and whether it may use colour."""
        from statekeep_cli.render.terminal import wants_color, width_of

        for name, path in self.wanted:
            if path in STDOUT:
                page = pages[name](width_of(sys.stdout), wants_color(sys.stdout))
                sys.stdout.write(page)
                sys.stdout.flush()
                continue
            page = pages[name](width_of(None), False)
            try:
                with open(path, "w", encoding="utf-8", errors="backslashreplace") as file:
                    file.write(page)
            except OSError as error:
                reason = error.strerror or str(error)
                raise StateKeepError(f"{path}: cannot be written ({reason}); give another path") from None
