"""SARIF 2.1.0, for code scanning: a result per finding, a rule per code.

Message texts follow the standard's section 3.11: braces are doubled and brackets escaped, so that nothing in
a state's name becomes a placeholder or a link. `<`, `>` and `&` are written as JSON escapes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from statekeep_cli.core.report import Report
from statekeep_cli.errors import Problem
from statekeep_cli.render import words
from statekeep_cli.render.results import Result
from statekeep_cli.render.rules import Rule, rules
from statekeep_cli.render.terminal import inert, shown
from statekeep_cli.version import version

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
KEYS = ("wouldMigrate", "wouldStrand", "wouldStay", "skipped", "unreadable", "total")
_SAFE = {ord(c): f"\\u{ord(c):04x}" for c in "<>&"}
_MESSAGE = str.maketrans({"{": "{{", "}": "}}", "[": "\\[", "]": "\\]", "\\": "\\\\"})


def of_report(report: Report, found: Sequence[Result]) -> str:
    """A preview; the run's properties have the counts and the definitions' digests."""
    counts = dict(zip(KEYS, (n for _, n in words.counts(report)), strict=True))
    definitions = [
        {"role": d.role, "id": d.id, "version": d.version, "digest": d.digest} for d in report.definitions
    ]
    # Code scanning replaces what an earlier upload with the same category said: one per target.
    target = next((d.id for d in reversed(report.definitions)), "")
    return _log(
        f"statekeep/preview/{quote(inert(target), safe='')}/", found, {**counts, "definitions": definitions}
    )


def of_problems(found: Sequence[Result]) -> str:
    """What `check` found."""
    levels = [r.level for r in found]
    counts = {"errors": levels.count("error"), "warnings": levels.count("warning")}
    return _log("statekeep/check/", found, counts)


def _log(category: str, found: Sequence[Result], properties: Mapping[str, Any]) -> str:
    known = rules(r.code for r in found)
    index = {r.code: i for i, r in enumerate(known)}
    run = {
        "tool": {"driver": {"name": "StateKeep", "version": version(), "rules": [_rule(r) for r in known]}},
        "automationDetails": {"id": category},
        "columnKind": "unicodeCodePoints",
        "results": [_result(r, index[r.code]) for r in found],
        "properties": _inert(properties),
    }
    log = {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}
    return json.dumps(log, indent=1).translate(_SAFE) + "\n"


def _rule(r: Rule) -> dict[str, Any]:
    return {
        "id": r.code,
        "name": r.name,
        "shortDescription": {"text": f"{r.cause[0].upper()}{r.cause[1:]}"},
        "fullDescription": {"text": f"{r.cause[0].upper()}{r.cause[1:]}."},
        "help": {
            "text": f"Cause: {r.cause}.\nCure: {r.cure}.",
            "markdown": f"**Cause**: {r.cause}.\n\n**Cure**: {r.cure}.",
        },
        "defaultConfiguration": {"level": r.level},
    }


def _result(r: Result, index: int) -> dict[str, Any]:
    text = _message(r.sentence, 1000) or r.code
    if r.hint:
        text += f"; {_message(r.hint, 1000)}"
    if r.lines:
        lines = "\n".join(_message(line, 1000) for line in r.lines.split("\n")[:50])
        text += f"\nTo paste:\n{lines}"
    found: dict[str, Any] = {
        "ruleId": r.code,
        "ruleIndex": index,
        "level": r.level,
        "message": {"text": text},
        # GitHub tells alerts apart by this key of its own alone, and would take all groups of a line for one.
        "partialFingerprints": {
            "statekeepFinding/v1": r.fingerprint,
            "primaryLocationLineHash": f"{r.fingerprint}:1",
        },
    }
    location: dict[str, Any] = {}
    if r.place is not None:
        location["physicalLocation"] = _physical(r.place)
    if r.state:
        location["logicalLocations"] = [{"fullyQualifiedName": shown(r.state, 400), "kind": "state"}]
    if location:
        found["locations"] = [location]
    if r.count:
        found["occurrenceCount"] = r.count
    if r.properties:
        found["properties"] = _inert(r.properties)
    return found


def _physical(place: Problem) -> dict[str, Any]:
    found: dict[str, Any] = {
        "artifactLocation": {"uri": quote(place.path.encode("utf-8", "backslashreplace"), safe="/")}
    }
    if place.line:
        region = {"startLine": place.line, "startColumn": max(place.column, 1)}
        if place.end_column > place.column:
            region["endColumn"] = place.end_column
        found["region"] = region
    return found


def _message(text: str, limit: int) -> str:
    return shown(text, limit).translate(_MESSAGE)


def _inert(value: Any) -> Any:
    """Plain values with inert texts: a lone surrogate is valid JSON for some readers only."""
    if isinstance(value, str):
        return inert(value)
    if isinstance(value, Mapping):
        return {inert(k): _inert(v) for k, v in value.items()}
    return [_inert(v) for v in value] if isinstance(value, list | tuple) else value
