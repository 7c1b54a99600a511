"""A GitLab Code Quality report: the findings at their lines, for the merge request's widget and its diff.

Only what GitLab reads: description, check_name, fingerprint, severity, location. A fingerprint stays the
same while the finding does, so that the widget tells new findings from those that were there.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from statekeep_cli.render.results import Result
from statekeep_cli.render.terminal import inert, shown

SEVERITIES = {"error": "major", "warning": "minor"}
_SAFE = {ord(c): f"\\u{ord(c):04x}" for c in "<>&"}


def gitlab(found: Sequence[Result]) -> str:
    """The findings as a JSON array; `[]` says that there are none any more."""
    return json.dumps([_issue(r) for r in found], indent=1).translate(_SAFE) + "\n"


def _issue(r: Result) -> dict[str, Any]:
    said = shown(r.sentence, 1000)
    if r.hint:
        said += f"; {shown(r.hint, 1000)}"
    head, *entries = r.lines.split("\n")
    if head == "stateMapping:":  # a description is one line of text
        said += f"; to paste: {shown(head + ' {' + ', '.join(e.strip() for e in entries) + '}', 400)}"
    return {
        "description": said,
        "check_name": f"statekeep/{r.code}",
        "fingerprint": r.fingerprint,
        "severity": SEVERITIES[r.level],
        "location": {
            "path": inert(r.place.path) if r.place is not None else "",
            "lines": {"begin": max(r.place.line, 1) if r.place is not None else 1},
        },
    }
