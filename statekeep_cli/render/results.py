"""Findings as the formats for machines list them: one result per strand group, hazard or problem.

GitHub, GitLab and SARIF draw the same results, from a report or from the problems of `check`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from statekeep_cli.core.causes import TARGET, FindingKey
from statekeep_cli.core.decision import Hazard, Place
from statekeep_cli.core.report import Group, Report
from statekeep_cli.errors import Problem
from statekeep_cli.render import words
from statekeep_cli.render.rules import UNREADABLE, rule

Level = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Result:
    """One finding. All texts are raw: each format makes them inert in its own way.

    `code` is a strand reason, a hazard, an SK code or `unreadable`. `title` says what happened, `why` its
    cause, `hint` the next step and `lines` what to paste. `count` is a number of actors or records, 0 where
    nothing was counted. `fingerprint` is the same in every run that has this finding, whatever the counts and
    lines, and no two results of a run share one.
    """

    code: str
    level: Level
    title: str
    why: str
    fingerprint: str
    place: Problem | None = None
    count: int = 0
    hint: str = ""
    lines: str = ""
    state: str = ""
    properties: Mapping[str, Any] = field(default_factory=dict)

    @property
    def sentence(self) -> str:
        return f"{self.title}: {self.why}" if self.why else self.title


def of_report(
    report: Report,
    locations: Mapping[FindingKey, Problem],
    show_ids: bool,
    levels: Mapping[str, Level] | None = None,
) -> list[Result]:
    """Strand groups (larger ones first), unaccepted hazards, records that could not be read.

    `levels` says what the gate makes of `strand` and `hazard`; both are errors without it.
    """
    level: dict[str, Level] = {"strand": "error", "hazard": "error", **(levels or {})}
    top = next((d.path for d in reversed(report.definitions)), "")
    root = locations.get(TARGET) or (Problem(top, 0, 0, "") if top else None)
    target = next((d.id for d in reversed(report.definitions)), "")
    labelled = words.several_sources(report)
    found = [
        _strand(g, locations.get(g.key, root), level["strand"], target, labelled, show_ids)
        for g in words.strands(report)
    ]
    for hazard, n in report.findings():
        found.append(_hazard(hazard, n, locations.get(hazard, root), level["hazard"], target))
    if report.unreadable:
        records = "1 record" if report.unreadable == 1 else f"{report.unreadable:,} records"
        places = ", ".join(f"{u.line}:{u.column}" for u in report.unreadable_sample)
        found.append(
            Result(
                UNREADABLE,
                "error",
                f"{records} could not be read",
                f"at {places} of the input (line:column)" if places else "",
                fingerprint([UNREADABLE, target]),
                root,
                report.unreadable,
                "mend or leave out these records",
            )
        )
    return found


def _strand(
    g: Group, place: Problem | None, level: Level, target: str, labelled: bool, show_ids: bool
) -> Result:
    where = ""
    if g.source is not None:
        of = f" of {words.label(g.source)}" if labelled else ""
        where = f" in {words.place_text(g.source)}{of}"
    verb = "strands" if g.count == 1 else "strand"
    properties: dict[str, Any] = {
        "outcome": g.outcome,
        "reason": g.reason,
        "rule": g.rule,
        "from": _place(g.source),
        "count": g.count,
        "landings": [{**landing.as_json(), "count": n} for landing, n in g.landings],
        "suggestion": g.suggestion,
    }
    if show_ids:
        properties["sample"] = list(g.sample)
    return Result(
        g.reason,
        level,
        f"{words.actors(g.count)} {verb}{where}",
        words.why(g),
        fingerprint([*g.key[:2], _place(g.source), _place(g.target), *g.key[4:], target]),
        place,
        g.count,
        "" if g.suggestion.strip() else rule(g.reason).cure,
        g.suggestion.strip("\n"),
        words.place_text(g.source) if g.source is not None else "",
        properties,
    )


def _hazard(h: Hazard, n: int, place: Problem | None, level: Level, target: str) -> Result:
    said = words.HAZARD_MEANINGS.get(h.hazard, "")
    return Result(
        h.hazard,
        level,
        f"{words.actors(n)} at {h.state}" if h.state else words.actors(n),
        f"{said} ({h.detail})" if h.detail else said,
        fingerprint([h.hazard, h.state, h.detail, target]),
        place,
        n,
        rule(h.hazard).cure,
        "\n".join(words.accept_lines([h])),
        h.state,
        {"hazard": h.hazard, "state": h.state, "detail": h.detail, "count": n},
    )


def of_problems(problems: Sequence[Problem]) -> list[Result]:
    """What `check` found; two that say the same thing of the same file are told apart by their order."""
    found, seen = [], dict[str, int]()
    for p in problems:
        said = fingerprint([p.code, p.path, p.message])
        seen[said] = seen.get(said, 0) + 1
        if seen[said] > 1:
            said = fingerprint([p.code, p.path, p.message, seen[said]])
        found.append(
            Result(p.code or "problem", p.severity, p.message, "", said, p, hint=p.hint, lines=p.sql)
        )
    return found


def fingerprint(parts: Sequence[Any]) -> str:
    """32 hexadecimal digits that stand for these values."""
    text = json.dumps(parts, separators=(",", ":"), sort_keys=True)  # ASCII: lone surrogates have no UTF-8
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _place(place: Place | None) -> dict[str, Any] | None:
    return None if place is None else place.as_json()
