"""Decisions -> Report: counts and groups, the one value that every format renders."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from statekeep_cli.core.decision import Decision, Hazard, Landing, OutcomeName, Place
from statekeep_cli.core.model import StateValue, join_path

# YAML would read these as something else than text (a leading dot, sign or digit is never plain here).
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_RESERVED = frozenset(("true", "false", "null", "yes", "no", "on", "off", "y", "n"))
SAMPLE = 5  # actor ids kept per group
FORMAT_VERSION = 1
OUTCOMES: tuple[OutcomeName, ...] = ("migrate", "strand", "stay", "skip")
# Strands whose groups are formed by what exactly went wrong, not only by the state.
BY_DETAIL = ("history_inconsistent", "declared")
# Strands that come from where a history lands: the landing is what would resolve them.
BY_LANDING = (
    "state_removed",
    "kind_changed",
    "region_added",
    "region_removed",
    "event_refused",
    "diverged",
    "ambiguous",
)


@dataclass(frozen=True, slots=True)
class Group:
    """Actors with the same outcome, reason, rule, from and to."""

    outcome: OutcomeName
    reason: str
    source: Place | None
    target: Place | None
    rule: str
    detail: str
    count: int
    sample: tuple[str, ...]
    landings: tuple[tuple[Landing, int], ...]
    suggestion: str
    hazards: tuple[tuple[Hazard, int], ...]
    freed_by_erase: int = 0
    skipped_by_erase: tuple[str, ...] = ()

    @property
    def key(self) -> GroupKey:
        """What tells this group from all others of its report, whatever its counts."""
        detail = self.detail if self.reason in BY_DETAIL else ""
        return (self.outcome, self.reason, self.source, self.target, self.rule, detail)


GroupKey = tuple[str, str, Place | None, Place | None, str, str]


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A record that could not be read: where, and why, in one sentence."""

    line: int
    column: int
    message: str


@dataclass(frozen=True, slots=True)
class DefinitionRef:
    role: str  # "source" or "target"
    id: str
    version: Any
    digest: str
    path: str


@dataclass(frozen=True, slots=True)
class Report:
    """What a preview says, whole: the text report and every machine format are drawn from it."""

    definitions: tuple[DefinitionRef, ...]
    would_migrate: int
    would_strand: int
    would_stay: int
    skipped: int
    unreadable: int
    groups: tuple[Group, ...]
    unreadable_sample: tuple[Unreadable, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def total(self) -> int:
        return self.would_migrate + self.would_strand + self.would_stay + self.skipped + self.unreadable

    def findings(self) -> list[tuple[Hazard, int]]:
        """Hazards of the first group that nobody accepted, with the number of actors."""
        found: dict[Hazard, int] = {}
        for group in self.groups:
            for hazard, count in group.hazards:
                if hazard.is_finding:
                    found[hazard] = found.get(hazard, 0) + count
        return sorted(found.items(), key=lambda x: (-x[1], x[0].hazard, x[0].state))


# --- counting ----------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Sum:
    """A group under construction. `sample` holds (ordinal, id), the earliest records first."""

    detail: tuple[int, str]
    count: int = 0
    sample: list[tuple[int, str]] = field(default_factory=list)
    landings: dict[Landing, int] = field(default_factory=dict)
    hazards: dict[Hazard, int] = field(default_factory=dict)
    freed: int = 0
    skipped_states: dict[str, None] = field(default_factory=dict)


class Tally:
    """Counts decisions into groups, batch by batch; tallies of several processes can be merged.

    The outcome depends neither on the batches nor on their order: samples and sentences are those of
    the records with the lowest ordinals.
    """

    def __init__(self) -> None:
        self.groups: dict[GroupKey, _Sum] = {}

    def add(self, decision: Decision, count: int, sample: Sequence[tuple[int, str]]) -> None:
        """`count` actors got this decision; `sample` names the first of them, by ordinal."""
        group = self._group(decision, sample[0][0] if sample else 0)
        group.count += count
        group.sample = sorted([*group.sample, *sample])[:SAMPLE]
        for landing in decision.landings:
            group.landings[landing] = group.landings.get(landing, 0) + count
        for hazard in decision.hazards:
            group.hazards[hazard] = group.hazards.get(hazard, 0) + count

    def _group(self, decision: Decision, ordinal: int) -> _Sum:
        key = group_key(decision)
        group = self.groups.get(key)
        if group is None:
            group = self.groups[key] = _Sum((ordinal, decision.detail))
        group.detail = min(group.detail, (ordinal, decision.detail))
        return group

    def freed(self, decision: Decision, count: int, states: Sequence[str]) -> None:
        """Some of the actors with this decision would migrate under `loops: erase`, without having
        passed these target states."""
        group = self.groups[group_key(decision)]
        group.freed += count
        group.skipped_states.update(dict.fromkeys(states))

    def remove(self, decision: Decision, count: int) -> None:
        """Take actors out again: their ids had been used before."""
        group = self.groups[group_key(decision)]
        group.count -= count
        for landing in decision.landings:
            group.landings[landing] -= count
        for hazard in decision.hazards:
            group.hazards[hazard] -= count

    def merge(self, other: Tally, offset: int = 0) -> None:
        """Add another tally, whose ordinals count from `offset` in this one's."""
        for key, theirs in other.groups.items():
            theirs.detail = (theirs.detail[0] + offset, theirs.detail[1])
            theirs.sample = [(ordinal + offset, actor) for ordinal, actor in theirs.sample]
            ours = self.groups.get(key)
            if ours is None:
                self.groups[key] = theirs
                continue
            ours.count += theirs.count
            ours.detail = min(ours.detail, theirs.detail)
            ours.sample = sorted([*ours.sample, *theirs.sample])[:SAMPLE]
            for landing, n in theirs.landings.items():
                ours.landings[landing] = ours.landings.get(landing, 0) + n
            for hazard, n in theirs.hazards.items():
                ours.hazards[hazard] = ours.hazards.get(hazard, 0) + n
            ours.freed += theirs.freed
            ours.skipped_states.update(theirs.skipped_states)

    def count(self, outcome: str) -> int:
        return sum(g.count for key, g in self.groups.items() if key[0] == outcome)

    def report(
        self,
        definitions: Sequence[DefinitionRef],
        unreadable: int = 0,
        unreadable_sample: Sequence[Unreadable] = (),
        notes: Sequence[str] = (),
    ) -> Report:
        """Everything counted so far, in a stable order: by outcome, then the largest groups first."""
        groups = [_finished(key, g) for key, g in self.groups.items() if g.count]
        groups.sort(
            key=lambda g: (
                OUTCOMES.index(g.outcome),
                -g.count,
                str(g.source),
                str(g.target),
                g.rule,
                g.detail,
            )
        )
        return Report(
            tuple(definitions),
            self.count("migrate"),
            self.count("strand"),
            self.count("stay"),
            self.count("skip"),
            unreadable,
            tuple(groups),
            tuple(unreadable_sample),
            tuple(notes),
        )


def group_key(d: Decision) -> GroupKey:
    detail = d.detail if d.reason in BY_DETAIL else ""
    return (d.outcome, d.reason, d.source, d.target, d.rule, detail)


def _finished(key: GroupKey, g: _Sum) -> Group:
    outcome, reason, source, target, rule, _ = key
    landings = tuple(sorted(((x, n) for x, n in g.landings.items() if n), key=lambda p: (-p[1], p[0].state)))
    hazards = tuple(
        sorted(((h, n) for h, n in g.hazards.items() if n), key=lambda p: (p[0].hazard, p[0].state))
    )
    return Group(
        outcome=outcome,  # type: ignore[arg-type]
        reason=reason,
        source=source,
        target=target,
        rule=rule,
        detail=g.detail[1],
        count=g.count,
        sample=tuple(actor for _, actor in g.sample),
        landings=landings,
        suggestion=suggestion(reason, source, [x for x, _ in landings]) if outcome == "strand" else "",
        hazards=hazards,
        freed_by_erase=g.freed,
        skipped_by_erase=tuple(g.skipped_states),
    )


def suggestion(reason: str, source: Place | None, landings: Sequence[Landing]) -> str:
    """The lines that would resolve a group whose histories all land on one free place, or ""."""
    if reason not in BY_LANDING or source is None or len(landings) != 1 or landings[0].stuck:
        return ""
    key = single_path(source.value)
    if key is None:
        return ""
    return f"stateMapping:\n  {yaml_scalar(key)}: {yaml_value(landings[0].value)}"


def single_path(value: StateValue) -> str | None:
    """The dotted path of a state value with a single leaf; None where several regions are active."""
    path: list[str] = []
    inner: Any = value
    while isinstance(inner, dict):
        if len(inner) != 1:
            return None if inner or not path else join_path(tuple(path))
        key, inner = next(iter(inner.items()))
        path.append(key)
    return join_path((*path, inner))


def yaml_scalar(text: str) -> str:
    """A string as a YAML plain scalar where it is safe as one, else quoted as JSON."""
    if _PLAIN.fullmatch(text) and text.lower() not in _RESERVED:
        return text
    return json.dumps(text, ensure_ascii=False)


def yaml_value(value: StateValue) -> str:
    """A state value as YAML flow text, a single path as a path."""
    path = single_path(value)
    if path is not None:
        return yaml_scalar(path)
    assert isinstance(value, dict)
    return (
        "{" + ", ".join(f"{yaml_scalar(k)}: {yaml_value(v) if v else '{}'}" for k, v in value.items()) + "}"
    )
