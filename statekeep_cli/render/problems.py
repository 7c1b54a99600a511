"""Problems in files as compilers show them: the line, a caret span, and the next step.

User text is never read as markup here: colours are plain terminal codes around escaped text.
"""

from __future__ import annotations

import os
import shutil
import textwrap
import unicodedata
from collections.abc import Iterable
from typing import TextIO

from statekeep_cli.errors import Problem

_RED, _YELLOW, _BLUE, _BOLD, _OFF = "\x1b[31m", "\x1b[33m", "\x1b[34m", "\x1b[1m", "\x1b[0m"


def wants_color(stream: TextIO) -> bool:
    """`NO_COLOR`, `FORCE_COLOR`, `TERM=dumb`, else whether the stream is a terminal."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR", "0") not in ("", "0"):
        return True
    return os.environ.get("TERM") != "dumb" and stream.isatty()


def visible(text: str) -> str:
    """Text that cannot steer a terminal: control and direction characters as escapes."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else " " if c == "\t" else _escape(c) for c in text)


def _escape(char: str) -> str:
    code = ord(char)
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" if code < 65536 else f"\\U{code:08x}"


def _width(text: str) -> int:
    """Terminal columns."""
    if text.isascii():
        return len(text)
    wide = sum(unicodedata.east_asian_width(c) in "WF" for c in text)
    return len(text) + wide - sum(unicodedata.combining(c) > 0 for c in text)


def render_problem(problem: Problem, width: int = 80, color: bool = False) -> str:
    """One problem, as several lines without a final newline; at most `width` columns where words allow."""
    tone = (_RED if problem.severity == "error" else _YELLOW) if color else ""
    bold, blue, off = (_BOLD, _BLUE, _OFF) if color else ("", "", "")
    title = f"{problem.severity}[{problem.code}]" if problem.code else problem.severity
    message = _wrap(f"{title}: {visible(problem.message)}", width, "  ")
    lines = [f"{tone}{bold}{title}{off}{message[len(title) :]}"]
    number = str(problem.line) if problem.line and problem.text else ""
    margin = " " * len(number)
    lines.append(f"{margin} {blue}-->{off} {visible(problem.place)}")
    if number:
        text, start, length = _excerpt(problem, width - len(number) - 4)
        lines.append(f"{margin} {blue}|{off}")
        lines.append(f"{blue}{number} |{off} {text}")
        lines.append(f"{margin} {blue}|{off} {' ' * start}{tone}{bold}{'^' * length}{off}")
    if problem.hint:
        hint = _wrap(f"{margin} = help: {visible(problem.hint)}", width, margin + "         ")
        lines.append(hint)
    return "\n".join(lines)


def _wrap(text: str, width: int, indent: str) -> str:
    return "\n".join(
        textwrap.wrap(
            text,
            max(width, 40),
            subsequent_indent=indent,
            drop_whitespace=True,
            break_long_words=False,
            break_on_hyphens=False,
        )
        or [text]
    )


def _excerpt(problem: Problem, room: int) -> tuple[str, int, int]:
    """The line (cut to what fits around the span), and the span's place in it, in columns."""
    start, end = problem.column - 1, max(problem.end_column - 1, problem.column)
    room = max(room, 20)
    first, last = 0, len(problem.text)
    if last > 4 * room or _width(visible(problem.text)) > room:
        first = max(0, start - room // 4)
        last = min(last, first + room - 4)
        while last > start + 1 and _width(visible(problem.text[first:last])) > room - 4:
            last -= 1
    before = ("…" if first else "") + visible(problem.text[first:start])
    inside = visible(problem.text[start : min(end, last)])
    after = visible(problem.text[min(end, last) : last]) + ("…" if last < len(problem.text) else "")
    return before + inside + after, _width(before), max(1, _width(inside))


def render_problems(problems: Iterable[Problem], width: int | None = None, color: bool = False) -> str:
    """Problems with an empty line after each."""
    columns = min(width or shutil.get_terminal_size((80, 24)).columns, 120)
    return "".join(render_problem(p, columns, color) + "\n\n" for p in problems)


def counted(number: int, noun: str) -> str:
    """`1 error`, `2 errors`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def problems_summary(problems: Iterable[Problem], files: int) -> str:
    """The last line of a check."""
    severities = [p.severity for p in problems]
    errors, warnings = severities.count("error"), severities.count("warning")
    where = counted(files, "definition")
    if not severities:
        return f"{where} checked, nothing found"
    said = [counted(n, noun) for n, noun in ((errors, "error"), (warnings, "warning")) if n]
    return f"{where} checked: {' and '.join(said)}"
