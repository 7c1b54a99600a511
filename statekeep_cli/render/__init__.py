"""Report -> text: one file per format, all of them named here.

Formats are imported when they are used, so that a run pays for its own only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from statekeep_cli.core.report import Report


@dataclass(frozen=True, slots=True)
class View:
    """What a format may know besides the report: columns, colour, the next command, consent to ids."""

    width: int = 80
    color: bool = False
    next_command: str = ""
    show_ids: bool = False


def _text(report: Report, view: View) -> str:
    from statekeep_cli.render.text import text

    return text(report, view.width, view.color, view.next_command)


def _json(report: Report, view: View) -> str:
    from statekeep_cli.render.json_ import json

    return json(report)


def _markdown(report: Report, view: View) -> str:
    from statekeep_cli.render.markdown import markdown

    return markdown(report, view.show_ids)


FORMATS: dict[str, Callable[[Report, View], str]] = {
    "text": _text,
    "json": _json,
    "markdown": _markdown,
}

# Written while actors are decided, a line each (`jsonl.Lines`), not from the finished report.
STREAMED = ("jsonl",)
