"""A reviewed preview of a database, to be applied later: digests and counts, no actors and no contexts.

What was reviewed is a budget: an apply may strand each group's count, and `--max-strand` beyond it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from statekeep_cli.core.decision import Decision, Place
from statekeep_cli.core.gate import Gate
from statekeep_cli.core.model import canonical, digest
from statekeep_cli.core.report import Report

KEY = "statekeepPlan"
FORMAT_VERSION = 1

StrandKey = tuple[str, str]  # (from, as canonical JSON; reason)


@dataclass(frozen=True, slots=True)
class Plan:
    """`digests` are those of the definitions, the mapping, the engine and the schema (`Subject.digests`);
    `paths` the definition files, sources first; `strands` the reviewed strands per (from, reason)."""

    digests: Mapping[str, Any]
    paths: tuple[str, ...]
    migration: str | None
    where: str
    counts: Mapping[str, int]
    groups: tuple[Mapping[str, Any], ...]

    @classmethod
    def of(
        cls,
        report: Report,
        digests: Mapping[str, Any],
        paths: tuple[str, ...],
        migration: str | None,
        where: str,
    ) -> Plan:
        groups = tuple(
            {
                "outcome": g.outcome,
                "reason": g.reason,
                "rule": g.rule,
                "from": None if g.source is None else g.source.as_json(),
                "to": None if g.target is None else g.target.as_json(),
                "count": g.count,
                "hazards": sorted({h.hazard for h, _ in g.hazards}),
            }
            for g in report.groups
        )
        counts = {
            "wouldMigrate": report.would_migrate,
            "wouldStrand": report.would_strand,
            "wouldStay": report.would_stay,
            "skipped": report.skipped,
            "unreadable": report.unreadable,
        }
        return cls(digests, paths, migration, where, counts, groups)

    @classmethod
    def of_json(cls, value: Mapping[str, Any]) -> Plan:
        """What `as_json` gave. Raises `ValueError` for anything else."""
        try:
            if value[KEY] != FORMAT_VERSION:
                raise ValueError(f"is a plan of format {value[KEY]}, and this program reads {FORMAT_VERSION}")
            plan = cls(
                value["digests"],
                tuple(value["definitions"]),
                value["migration"],
                value["where"],
                value["counts"],
                tuple(value["groups"]),
            )
            if plan.digest != value["digest"]:
                raise ValueError("was changed after it was made (its digest differs)")
            for group in plan.groups:
                int(group["count"]), str(group["outcome"]), str(group["reason"])
        except (KeyError, TypeError, AttributeError):
            raise ValueError("is no plan; make one with statekeep preview --db URL -o plan.json") from None
        return plan

    @property
    def digest(self) -> str:
        return digest(self._body())

    def _body(self) -> dict[str, Any]:
        return {
            "digests": dict(self.digests),
            "definitions": list(self.paths),
            "migration": self.migration,
            "where": self.where,
            "counts": dict(self.counts),
            "groups": [dict(g) for g in self.groups],
        }

    def as_json(self) -> dict[str, Any]:
        return {KEY: FORMAT_VERSION, "digest": self.digest, **self._body()}

    def differing(self, digests: Mapping[str, Any]) -> list[str]:
        """Which digests are no longer the plan's."""
        keys = sorted({*self.digests, *digests})
        return [key for key in keys if self.digests.get(key) != digests.get(key)]

    @property
    def strands(self) -> Counter[StrandKey]:
        found: Counter[StrandKey] = Counter()
        for g in self.groups:
            if g["outcome"] == "strand":
                found[(canonical(g["from"]), g["reason"])] += g["count"]
        return found

    def refusals(self, now: Counter[StrandKey], gate: Gate) -> list[str]:
        """Why these strands are past what was reviewed and what the gate allows beyond; [] if within."""
        reviewed = self.strands
        said = [
            f"{n:,} actors strand with {reason} in {_state(place)}, which the plan does not have"
            for (place, reason), n in sorted(now.items())
            if n and (place, reason) not in reviewed
        ]
        more = sum(max(0, n - reviewed[key]) for key, n in now.items())
        allowed = gate.strands
        if isinstance(allowed, Fraction):
            routed = sum(self.counts[k] for k in ("wouldMigrate", "wouldStrand", "wouldStay"))
            allowed = int(allowed * routed)
        if allowed is not None and more > allowed:
            said.append(
                f"{more:,} actors more than were reviewed strand, and --max-strand allows {allowed:,} more"
            )
        return said


def strand_key(decision: Decision) -> StrandKey:
    return (canonical(_place(decision.source)), decision.reason)


def strands_of(report: Report) -> Counter[StrandKey]:
    found: Counter[StrandKey] = Counter()
    for g in report.groups:
        if g.outcome == "strand":
            found[(canonical(_place(g.source)), g.reason)] += g.count
    return found


def _place(place: Place | None) -> Any:
    return None if place is None else place.as_json()


def _state(place: str) -> str:
    return place if place == "null" else place.partition('"state":')[2].partition(',"version"')[0]
