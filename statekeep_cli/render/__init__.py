"""Report -> text: one file per format, all of them named here.

Formats are imported when they are used, so that a run pays for its own only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from statekeep_cli.core.report import Report
from statekeep_cli.errors import Problem

if TYPE_CHECKING:
    from statekeep_cli.core.causes import FindingKey
    from statekeep_cli.render.html import Pictures
    from statekeep_cli.render.results import Result


@dataclass(frozen=True, slots=True)
class View:
    """What a format may know besides the report: columns, colour, the next command, consent to ids.

    `locations` are the places of what causes each finding, as `commands.locating` finds them; `levels` is
    how serious the gate takes a `strand` and a `hazard`; `full` names the report that leaves nothing out, if
    one is written in the same run.
    """

    width: int = 80
    color: bool = False
    next_command: str = ""
    show_ids: bool = False
    pictures: Pictures | None = None  # for html only
    locations: Mapping[FindingKey, Problem] = field(default_factory=dict)
    levels: Mapping[str, Literal["error", "warning"]] = field(default_factory=dict)
    full: str = ""


def _text(report: Report, view: View) -> str:
    from statekeep_cli.render.text import text

    return text(report, view.width, view.color, view.next_command)


def _json(report: Report, view: View) -> str:
    from statekeep_cli.render.json_ import json

    return json(report)


def _markdown(report: Report, view: View) -> str:
    from statekeep_cli.render.markdown import markdown

    return markdown(report, view.show_ids, view.full, view.locations)


def _results(report: Report, view: View) -> list[Result]:
    from statekeep_cli.render.results import of_report

    return of_report(report, view.locations, view.show_ids, view.levels)


def _github(report: Report, view: View) -> str:
    from statekeep_cli.render.github import github

    return github(_results(report, view))


def _gitlab(report: Report, view: View) -> str:
    from statekeep_cli.render.gitlab import gitlab

    return gitlab(_results(report, view))


def _junit(report: Report, view: View) -> str:
    from statekeep_cli.render.junit import of_report

    return of_report(report, _results(report, view), view.locations, view.show_ids)


def _sarif(report: Report, view: View) -> str:
    from statekeep_cli.render.sarif import of_report

    return of_report(report, _results(report, view))


def _html(report: Report, view: View) -> str:
    from statekeep_cli.render.html import Pictures, html

    return html(report, view.pictures or Pictures(), view.show_ids, view.next_command)


FORMATS: dict[str, Callable[[Report, View], str]] = {
    "text": _text,
    "json": _json,
    "markdown": _markdown,
    "github": _github,
    "gitlab": _gitlab,
    "junit": _junit,
    "sarif": _sarif,
    "html": _html,
}

# Those that say where in a file a finding comes from.
LOCATED = ("markdown", "github", "gitlab", "junit", "sarif")

# Written while actors are decided, a line each (`jsonl.Lines`), not from the finished report.
STREAMED = ("jsonl",)
