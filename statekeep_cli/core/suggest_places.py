"""The smallest `stateMapping` for strands whose histories all land on one free place (apv.md section 6).

Works on decisions, not on actors: a `Spot` is everyone in one state of one source version. A mapping covers
everyone in a state, so an entry is only proposed where all of them belong where it leads.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import combinations, islice, product
from typing import Any

from statekeep_cli.core.apv import Deployment
from statekeep_cli.core.configuration import configuration_of, leaves, state_value
from statekeep_cli.core.decision import Decision, Place
from statekeep_cli.core.migration import speaks_for
from statekeep_cli.core.model import Path, StateValue
from statekeep_cli.core.placement import Placed, mapped
from statekeep_cli.core.replay import Lane
from statekeep_cli.core.survey import Survey

# Strands that are about where the actor belongs; a place for it resolves them.
RESOLVED_BY_PLACE = (
    "state_removed", "kind_changed", "region_added", "region_removed", "diverged", "substate_unmapped",
    "region_conflict",
)  # fmt: skip
MAX_COMBINATIONS = 2_000  # of entries tried for one state with several active regions

Entry = tuple[Path, Any]  # a mapping key, and its value as it is written


@dataclass(slots=True)
class Spot:
    """Everyone in one state of one source version whom a new mapping or a route at the end would reach.

    `belongs` is where each stranded decision's histories land (a target configuration), None where that is
    not one free place. `keeps` are the targets of those who migrate.
    """

    lane: int
    configuration: int
    belongs: dict[Decision, int | None] = field(default_factory=dict)
    keeps: dict[Decision, int] = field(default_factory=dict)

    @property
    def places(self) -> set[int | None]:
        return {*self.belongs.values(), *self.keeps.values()}

    @property
    def single(self) -> int | None:
        """The one place all of them belong in, if there is one and somebody strands."""
        return next(iter(self.places)) if self.belongs and len(self.places) == 1 else None


def lane_of(deployment: Deployment, place: Place | None) -> int | None:
    """The source a decision's place is of."""
    for i, source in enumerate(deployment.sources):
        if place is not None and (source.id, str(source.version)) == (place.definition, str(place.version)):
            return i
    return None


def reachable_by_rules(deployment: Deployment, decision: Decision) -> int | None:
    """The lane of an actor that a new mapping, or a route behind all others, would reach; else None."""
    lane = lane_of(deployment, decision.source)
    if lane is None or not speaks_for(deployment.target, deployment.sources[lane]):
        return None
    earlier = decision.rule.startswith("route ") or decision.reason in ("declared", "not_eligible")
    return None if earlier else lane


def landing_of(deployment: Deployment, decision: Decision) -> int | None:
    """The one free place the histories behind a strand land on."""
    if decision.reason not in RESOLVED_BY_PLACE or len(decision.landings) != 1 or decision.landings[0].stuck:
        return None
    return configuration_of(deployment.target, decision.landings[0].value)


def spots(deployment: Deployment, seen: Survey) -> list[Spot]:
    """Decisions by the state they are about."""
    by_hand = seen.by_hand()
    found: dict[tuple[int, int], Spot] = {}
    for decision in seen.counts:
        lane = reachable_by_rules(deployment, decision)
        if lane is None or decision.source is None or decision.outcome not in ("migrate", "strand"):
            continue
        here = configuration_of(deployment.sources[lane], decision.source.value)
        if here is None:
            continue
        spot = found.setdefault((lane, here), Spot(lane, here))
        if decision.outcome == "strand":
            spot.belongs[decision] = None if decision in by_hand else landing_of(deployment, decision)
        elif decision.target is not None:
            there = configuration_of(deployment.target, decision.target.value)
            assert there is not None
            spot.keeps[decision] = there
    return list(found.values())


def written(deployment: Deployment, configuration: int) -> Iterator[StateValue]:
    """How a place can be written, shortest first: a path that is entered by default, or the state value."""
    target = deployment.target
    for node in target.nodes_in(configuration & ~1):
        yield node.name
    value = state_value(target, configuration)
    if not isinstance(value, str):
        yield value


class MappingSearch:
    """The fewest entries that put every spot with a single place there, and move nobody else."""

    def __init__(self, deployment: Deployment, spots: list[Spot], counts: Mapping[Decision, int]):
        self.deployment = deployment
        self.spots = spots
        self.counts = counts
        self.chosen: dict[Path, Any] = {}

    def run(self) -> dict[Path, Any]:
        open_spots = [s for s in self.spots if s.single is not None]
        candidates = {
            (key, str(value)): (key, value) for s in open_spots for key, value in self.single_entries(s)
        }
        while open_spots and candidates:
            gains = {c: self.gain(dict([e]), open_spots) for c, e in candidates.items()}
            # the most actors first, then the more specific key, then the shorter value
            best = max(gains, key=lambda c: (gains[c], len(c[0]), -len(c[1])))
            if gains[best] == 0:
                break
            key, value = candidates.pop(best)
            self.chosen[key] = value
            open_spots = [s for s in open_spots if self.place_of(s) != s.single]
        for spot in open_spots:
            several = next((e for e in self.several_entries(spot) if self.gain(e, [spot])), None)
            if several is not None:
                self.chosen.update(several)
        return self.chosen

    # trying entries

    def place_of(self, spot: Spot) -> int | None:
        """Where the chosen mapping puts a spot; None where it does not reach it, or finds no place."""
        if not self.covers(spot, self.chosen):
            return None
        return self.place(self.deployment.lanes[spot.lane], spot.configuration, {})

    def place(self, lane: Lane, configuration: int, more: Mapping[Path, Any]) -> int | None:
        """Where the chosen mapping and some more entries put a state."""
        mapping = {**lane.migration.mapping, **self.chosen, **more}
        placed = mapped(lane.source, lane.target, configuration, mapping, lane.migration)
        return placed.configuration if isinstance(placed, Placed) else None

    def covers(self, spot: Spot, keys: Mapping[Path, Any]) -> bool:
        source = self.deployment.sources[spot.lane]
        return any(i is not None and spot.configuration >> i & 1 for i in map(source.by_path.get, keys))

    def gain(self, more: Mapping[Path, Any], open_spots: list[Spot]) -> int:
        """The actors that these entries would free; 0 where they would move anyone wrongly."""
        freed = 0
        for spot in self.spots:
            if not self.covers(spot, more):
                continue
            there = self.place(self.deployment.lanes[spot.lane], spot.configuration, more)
            if spot.places == {there} and there is not None:
                freed += sum(self.counts[d] for d in spot.belongs) if spot in open_spots else 0
            elif there is not None or spot.keeps:
                return 0
        return freed

    # candidates

    def single_entries(self, spot: Spot) -> Iterator[Entry]:
        """Single entries that put this spot where it belongs: of its leaves first, then of their ancestors,
        each with its shortest value."""
        lane = self.deployment.lanes[spot.lane]
        assert spot.single is not None
        keys = [
            leaf.path[:n]
            for leaf in leaves(lane.source, spot.configuration)
            for n in range(len(leaf.path), 0, -1)
        ]
        for key in dict.fromkeys(keys):
            if key in lane.migration.mapping:
                continue  # the author has spoken
            for value in written(self.deployment, spot.single):
                if self.place(lane, spot.configuration, {key: value}) == spot.single:
                    yield key, value
                    break

    def several_entries(self, spot: Spot) -> Iterator[Mapping[Path, Any]]:
        """Entries for several leaves of parallel regions, the fewest first."""
        lane = self.deployment.lanes[spot.lane]
        assert spot.single is not None
        target = self.deployment.target
        places = [node.name for node in leaves(target, spot.single)]
        active = [
            n.path for n in leaves(lane.source, spot.configuration) if n.path not in lane.migration.mapping
        ]
        found = (
            dict(zip(keys, values, strict=True))
            for size in range(1, len(active) + 1)
            for keys in combinations(active, size)
            for values in product(places, repeat=size)
        )
        for entries in islice(found, MAX_COMBINATIONS):
            if self.place(lane, spot.configuration, entries) == spot.single:
                yield entries
