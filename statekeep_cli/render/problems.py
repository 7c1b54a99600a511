"""Problems in files as compilers show them: the line, a caret span, and the next step."""

from __future__ import annotations

from collections.abc import Iterable

from statekeep_cli.errors import Problem
from statekeep_cli.render.terminal import Paint, cells, inert, wrap

WIDEST = 120  # sentences wider than this are hard to read, however wide the terminal is
_TONES = {"error": "red", "warning": "yellow"}


def render_problem(problem: Problem, width: int = 80, color: bool = False) -> str:
    """One problem, as several lines without a final newline, at most `width` columns wide.

    Only a place and SQL may be wider, so that they stay in one piece for whoever clicks or copies them.
    """
    paint, tone = Paint(color), _TONES[problem.severity]
    title = f"{problem.severity}[{problem.code}]" if problem.code else problem.severity
    first, *more = wrap(f"{title}: {inert(problem.message)}", width, "", "  ")
    lines = [paint(title, "bold", tone) + first[len(title) :], *more]
    number = str(problem.line) if problem.line and problem.text else ""
    margin = " " * len(number)
    lines.append(f"{margin} {paint('-->', 'cyan')} {inert(problem.place)}")
    if number:
        bar = paint("|", "cyan")
        text, start, length = _excerpt(problem, width - len(number) - 3)
        lines += [f"{margin} {bar}", f"{paint(number, 'cyan')} {bar} {text}"]
        lines.append(f"{margin} {bar} {' ' * start}{paint('^' * length, 'bold', tone)}")
    if problem.hint:
        lines += wrap(inert(problem.hint), width, f"{margin} = help: ")
    # Not wrapped, and alone on its lines: it is there to be copied.
    lines += [f"{margin} = sql:", *map(inert, problem.sql.split("\n"))] if problem.sql else []
    return "\n".join(lines)


def _excerpt(problem: Problem, room: int) -> tuple[str, int, int]:
    """The line (what fits, around the span), and the span's place in it, in columns."""
    whole = problem.text.replace("\t", " ")
    start, end = problem.column - 1, max(problem.end_column - 1, problem.column)
    room = max(room, 20)
    first, last = 0, len(whole)
    if last > 4 * room or cells(inert(whole)) > room:
        inside = room - 6  # less "..." on both sides
        first = max(0, min(start - inside // 3, last - inside))
        last = min(last, first + inside)
        while last > start + 1 and cells(inert(whole[first:last])) > inside:
            last -= 1
    before = ("..." if first else "") + inert(whole[first:start])
    span = inert(whole[start : min(end, last)])
    after = inert(whole[min(end, last) : last]) + ("..." if last < len(whole) else "")
    return before + span + after, cells(before), max(1, cells(span))


def render_problems(problems: Iterable[Problem], width: int = 80, color: bool = False) -> str:
    """Problems with an empty line after each."""
    return "".join(render_problem(p, min(width, WIDEST), color) + "\n\n" for p in problems)


def problems_summary(problems: Iterable[Problem], files: int, database: bool = False) -> str:
    """The last line of a check of so many definition files, and maybe of a database."""
    severities = [p.severity for p in problems]
    said = [_counted(severities.count(noun), noun) for noun in ("error", "warning") if severities.count(noun)]
    looked_at = [_counted(files, "definition")] if files or not database else []
    looked_at += ["the database"] if database else []
    return f"{' and '.join(looked_at)} checked" + (f": {' and '.join(said)}" if said else ", nothing found")


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
