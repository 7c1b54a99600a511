"""Decisions -> Report: counts and groups, the one value that every format renders."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from statekeep_cli.core.decision import Decision, Hazard, Landing, OutcomeName, Place

SAMPLE = 5  # actor ids kept per group
FORMAT_VERSION = 1


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
