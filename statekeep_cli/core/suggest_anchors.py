"""Routes on anchors, where the actors of one state belong in different places (apv.md section 4).

The anchors are the smallest facts about a trace that tell them apart: an event that some histories have and
others have not, a state entered, or one thing since another. Found on samples of the traces; whoever uses
them checks them against everyone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from statekeep_cli.core.alphabet import is_internal
from statekeep_cli.core.anchors import Truth
from statekeep_cli.core.apv import Deployment
from statekeep_cli.core.configuration import leaves
from statekeep_cli.core.decision import Decision
from statekeep_cli.core.model import Path, canonical, join_path
from statekeep_cli.core.placement import Placed, mapped, with_route
from statekeep_cli.core.record import Opened
from statekeep_cli.core.replay import Event, Reading
from statekeep_cli.core.suggest_places import Spot, written

MAX_EVENTS = 60  # tried as anchors
MAX_STATES = 60
MAX_SINCE = 12  # events whose pairs are tried as `since`
MAX_LITERALS = 3  # of one predicate
MAX_READINGS = 64  # of a trace; many anchors at once multiply them, and what is that open tells nobody apart

Pattern = Mapping[str, Any]
Literal = tuple[str, str]  # ("all" or "none", an anchor's name)


@dataclass(frozen=True, slots=True)
class NewRoute:
    """A route to be added behind the others; `anchors` are those it needs that the target does not have."""

    source: Path
    when: tuple[Literal, ...]
    to: Any
    anchors: tuple[tuple[str, str], ...]  # name, pattern as canonical JSON

    @property
    def predicate(self) -> str:
        """`when` as it is written, in canonical JSON."""
        when: dict[str, list[str]] = {}
        for kind, name in self.when:
            when.setdefault(kind, []).append(name)
        return canonical(when)


@dataclass(frozen=True, slots=True)
class Witness:
    """The facts of one sampled trace. `belongs` says where it should go by a route: True for the place that
    is asked for, False for another one (it must be known not to match), None where nobody knows."""

    facts: Mapping[str, Truth]
    belongs: bool | None


class RouteSearch:
    """Routes for the places that the spots' histories land on, one after another."""

    def __init__(
        self,
        deployment: Deployment,
        spots: Sequence[Spot],
        counts: Mapping[Decision, int],
        samples: Mapping[Decision, Sequence[Opened]],
        mapping: Mapping[Path, Any],
    ):
        self.deployment = deployment
        self.spots = spots
        self.counts = counts
        self.samples = samples
        self.mapping = mapping
        self.added: dict[str, Pattern] = {}

    def run(self, open_spots: Iterable[Spot]) -> list[NewRoute]:
        """One route per state and place, those that free the most actors first."""
        wanted: dict[tuple[Path, str], tuple[Any, int]] = {}
        for spot in open_spots:
            for decision, place in spot.belongs.items():
                entry = None if place is None else self.way(spot, place)
                if entry is not None:
                    key = (entry[0], canonical(entry[1]))
                    wanted[key] = (entry[1], wanted.get(key, (None, 0))[1] + self.counts[decision])
        found = []
        for (source, _), (to, _) in sorted(wanted.items(), key=lambda x: -x[1][1]):
            when = self.tell_apart(source, to)
            if when:
                mine = {name: self.added[name] for _, name in when if name in self.added}
                anchors = tuple((name, canonical(pattern)) for name, pattern in mine.items())
                found.append(NewRoute(source, when, to, anchors))
        return found

    def way(self, spot: Spot, place: int) -> tuple[Path, Any] | None:
        """`from` and `to` of a route from a state to a place: from a leaf, else from an ancestor."""
        source = self.deployment.sources[spot.lane]
        for leaf in leaves(source, spot.configuration):
            for length in range(len(leaf.path), 0, -1):
                for value in written(self.deployment, place):
                    if self.place(spot, leaf.path[:length], value) == place:
                        return leaf.path[:length], value
        return None

    def place(self, spot: Spot, source: Path, to: Any) -> int | None:
        lane = self.deployment.lanes[spot.lane]
        mapping = with_route({**lane.migration.mapping, **self.mapping}, (source, to))
        placed = mapped(lane.source, lane.target, spot.configuration, mapping, lane.migration)
        return placed.configuration if isinstance(placed, Placed) else None

    # --- telling histories apart ---

    def tell_apart(self, source: Path, to: Any) -> tuple[Literal, ...]:
        """A short predicate that holds for all who belong at `to`, and for nobody who belongs elsewhere."""
        concerned: list[tuple[Decision, bool | None]] = []
        for spot in self.spots:
            index = self.deployment.sources[spot.lane].by_path.get(source)
            if index is None or not spot.configuration >> index & 1:
                continue
            there = self.place(spot, source, to)
            concerned += [(d, None if p is None else p == there) for d, p in spot.belongs.items()]
            concerned += [(d, False) for d in spot.keeps]
        added = dict(self.added)
        for reuse, stage in (
            ({}, self.stated(source)),
            (added, self.seen(concerned)),
            (added, self.since(concerned)),
        ):
            patterns = {**reuse, **dict(stage)}
            names = list(dict.fromkeys((*self.existing(), *patterns)))
            found = _predicate(names, list(self.witnesses(concerned, patterns)))
            if found:
                used = {name for _, name in found}
                self.added.update((n, p) for n, p in patterns.items() if n in used)
                return found
        return ()

    def existing(self) -> Mapping[str, Pattern]:
        """The author's anchors."""
        return self.deployment.target.migration.get("anchors") or {}

    def named(self, name: str, pattern: Pattern) -> tuple[str, Pattern]:
        """A pattern under a name that nothing else has."""
        taken = {**self.existing(), **self.added}
        base, n = name, 2
        while name in taken and taken[name] != pattern:
            name, n = f"{base}_{n}", n + 1
        return name, pattern

    def stated(self, source: Path) -> Iterator[tuple[str, Pattern]]:
        """That the state was entered at all tells the known histories from the unknown ones."""
        path = join_path(source)
        yield self.named(f"entered_{_word(path)}", {"state": path})

    def seen(self, concerned: Sequence[tuple[Decision, bool | None]]) -> Iterator[tuple[str, Pattern]]:
        """Events and states of the sampled histories."""
        for event in self.events(concerned)[:MAX_EVENTS]:
            yield self.named(_word(event), {"event": event})
        lanes = {
            self.deployment.lanes[o.case.lane].index for d, _ in concerned for o in self.samples.get(d, ())
        }
        paths = {
            n.path
            for lane in lanes
            for n in self.deployment.sources[lane].nodes
            if n.path and n.kind != "history"
        }
        for path in sorted(paths)[:MAX_STATES]:
            name = join_path(path)
            yield self.named(f"entered_{_word(name)}", {"state": name})

    def since(self, concerned: Sequence[tuple[Decision, bool | None]]) -> Iterator[tuple[str, Pattern]]:
        """One event since another: what loops need."""
        yield from self.seen(concerned)
        events = self.events(concerned)[:MAX_SINCE]
        for of in events:
            for reset in events:
                if of != reset:
                    pattern = {"since": {"of": {"event": of}, "reset": {"event": reset}}}
                    yield self.named(f"{_word(of)}_since_{_word(reset)}", pattern)

    def events(self, concerned: Sequence[tuple[Decision, bool | None]]) -> list[str]:
        """The event types of the sampled histories, in the order of first use."""
        found: dict[str, None] = {}
        for decision, _ in sorted(concerned, key=lambda x: x[1] is not True):
            for opened in self.samples.get(decision, ()):
                for item in opened.items:
                    if isinstance(item, Event) and item.type is not None and not is_internal(item.type):
                        found[item.type] = None
        return list(found)

    def witnesses(
        self, concerned: Sequence[tuple[Decision, bool | None]], patterns: Mapping[str, Pattern]
    ) -> Iterator[Witness]:
        """The facts of all sampled traces, under the author's anchors and these."""
        target = self.deployment.target
        anchors = {**self.existing(), **patterns}
        block = {**target.migration, "anchors": anchors}
        probe = Deployment(
            self.deployment.sources, replace(target, migration=block), erase_loops=self.deployment.erase_loops
        )
        for decision, belongs in concerned:
            for opened in self.samples.get(decision, ()):
                yield Witness(_facts(probe, opened, anchors), belongs)


def _facts(probe: Deployment, opened: Opened, names: Iterable[str]) -> dict[str, Truth]:
    """What is known of one trace: None where it is not known, or its readings disagree."""
    lane = probe.lanes[opened.case.lane]
    readings: list[Reading] = [] if opened.begin is None else lane.start(opened.begin)
    for item in opened.items:
        readings = lane.advance(readings, item)
        if len(readings) > MAX_READINGS:
            return dict.fromkeys(names)
    ends = lane.ends_in(readings, opened.case.configuration)
    found: dict[str, Truth] = dict.fromkeys(names)
    for name in found if ends else ():
        values = {lane.anchors.holds(name, facts) for facts, _ in ends}
        found[name] = values.pop() if len(values) == 1 else None
    return found


def _predicate(names: Sequence[str], witnesses: Sequence[Witness]) -> tuple[Literal, ...]:
    """Up to `MAX_LITERALS` literals, all of which hold for those who belong and not for the others; () if
    none do.

    Who belongs elsewhere must be known not to match: on an unknown anchor a route strands.
    """
    # Of those without a known history nothing can be asked; they are left.
    mine = [w.facts for w in witnesses if w.belongs and any(held is not None for held in w.facts.values())]
    if not mine:
        return ()
    others = [w for w in witnesses if not w.belongs]
    possible = [(kind, name) for kind in ("all", "none") for name in names]
    literals = [x for x in possible if all(_holds(x, facts) is True for facts in mine)]

    def left(literal: Literal, among: list[Witness]) -> list[Witness]:
        return [w for w in among if not _excludes(literal, w)]

    chosen: list[Literal] = []
    while len(chosen) < MAX_LITERALS and literals:
        best = min(literals, key=lambda x: len(left(x, others)))  # the first of equals
        rest = left(best, others)
        chosen.append(best)
        if not rest:
            return tuple(chosen)
        if len(rest) == len(others):
            break
        others = rest
    return ()


def _holds(literal: Literal, facts: Mapping[str, Truth]) -> Truth:
    held = facts[literal[1]]
    return held if literal[0] == "all" or held is None else not held


def _excludes(literal: Literal, w: Witness) -> bool:
    held = _holds(literal, w.facts)
    return held is False or (held is None and w.belongs is None)


def _word(text: str) -> str:
    """A name for an anchor: lower case, what is no letter or digit as an underscore."""
    return "_".join("".join(c if c.isalnum() else " " for c in text.lower()).split()) or "it"
