"""Workflow commands of GitHub Actions: annotations at the lines that cause findings, and the step summary.

GitHub shows ten annotations of a step at most, so findings with one cause are one annotation, and what
remains past the ninth is counted in the tenth.
"""

from __future__ import annotations

from collections.abc import Sequence

from statekeep_cli.errors import Problem
from statekeep_cli.render import words
from statekeep_cli.render.results import Result
from statekeep_cli.render.rules import UNREADABLE
from statekeep_cli.render.terminal import inert, shown

MOST = 10
STATES = 8  # named in one annotation
PASTED = 20  # lines
SUMMARY = 1024 * 1024 - 4096  # bytes; GitHub refuses a step's summary of more than 1 MiB


def github(found: Sequence[Result]) -> str:
    """One command per cause, errors and what concerns most actors first; "" where nothing was found."""
    causes: dict[tuple[object, ...], list[Result]] = {}
    for r in found:
        at = (r.place.path, r.place.line, r.place.column) if r.place is not None else ()
        # Problems of files are told apart by their words; groups of actors by their reason.
        causes.setdefault((r.level, r.code, at, "" if r.count else r.title), []).append(r)
    ordered = sorted(causes.values(), key=lambda rs: (rs[0].level != "error", -_sum(rs)))
    shown_ones = ordered if len(ordered) <= MOST else ordered[: MOST - 1]
    lines = [_annotation(rs) for rs in shown_ones]
    left = ordered[len(shown_ones) :]
    if left:
        n = _sum([r for rs in left for r in rs if r.code != UNREADABLE])
        with_actors = f" with {words.actors(n)}" if n else ""
        said = f"{len(left):,} more causes{with_actors} are in the full report"
        lines.append(_command(left[0][0].level, None, "more findings", said))
    return "".join(line + "\n" for line in lines)


def _sum(found: Sequence[Result]) -> int:
    return sum(r.count for r in found)


def _annotation(found: Sequence[Result]) -> str:
    first, n = found[0], _sum(found)
    if first.code == UNREADABLE:
        title = first.title
    else:
        title = f"{first.code}: {words.actors(n)}" if n else first.code
    if not n or len(found) == 1:
        lines = [shown(first.sentence, 1000)]
    else:
        lines = [f"{r.count:,} in {shown(r.state or '-', 200)}" for r in found[:STATES]]
        left = found[STATES:]
        if left:
            lines.append(f"{_sum(left):,} in {len(left):,} more states")
        lines += [shown(why, 1000) for why in list(dict.fromkeys(r.why for r in found if r.why))[:3]]
    if first.hint:
        lines.append(shown(first.hint, 1000))
    pasted = list(dict.fromkeys(line for r in found if r.lines for line in r.lines.split("\n")))
    if pasted:
        lines += ["To paste:", *(shown(line, 400) for line in pasted[:PASTED])]
        if pasted[PASTED:]:
            lines.append(f"and {len(pasted) - PASTED:,} more lines in the full report")
    return _command(first.level, first.place, title, "\n".join(lines))


def _command(level: str, place: Problem | None, title: str, message: str) -> str:
    given: dict[str, str] = {}
    if place is not None:
        given["file"] = place.path
        if place.line:
            given |= {"line": str(place.line), "col": str(max(place.column, 1))}
            if place.end_column > place.column:
                given |= {"endLine": str(place.line), "endColumn": str(place.end_column - 1)}
    given["title"] = shown(f"StateKeep: {title}", 200)
    options = ",".join(f"{key}={_property(inert(value))}" for key, value in given.items())
    return f"::{level} {options}::{_data(message)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
