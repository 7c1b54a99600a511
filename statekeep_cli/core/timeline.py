"""One trace as a timeline: both definitions beside each other, step by step (apv.md sections 3 to 5).

The router keeps no evidence; it is computed again here by the general form, with every reading remembering
where it came from. What is shown are the readings that survive to the end.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from statekeep_cli.core.apv import Case, describe_end, describe_gap
from statekeep_cli.core.configuration import state_value
from statekeep_cli.core.decision import Place
from statekeep_cli.core.model import Definition, canonical, value_text
from statekeep_cli.core.outcomes import outcomes
from statekeep_cli.core.placement import Placed, identity
from statekeep_cli.core.record import Opened, item_of
from statekeep_cli.core.replay import (
    MAX_READINGS,
    Event,
    Item,
    Lane,
    Manual,
    Migrated,
    Pair,
    Reading,
    TooWide,
)
from statekeep_cli.core.semantics import State
from statekeep_cli.core.trace import Actor

Way = Literal["kept", "erased", "settled"]
# Surviving readings whose loops are looked at one by one; more than these are hardly ever told apart.
MAX_CHAINS = 8


@dataclass(frozen=True, slots=True)
class Standing:
    """Where the target side stands. `state` is JSON, None while it is nowhere (after an `origin`, before any
    anchor point); `stuck` is the event it did not accept, `anchor` the anchor point its path begins at."""

    state: str | None
    stuck: str = ""
    anchor: str = ""


@dataclass(frozen=True, slots=True)
class Beside:
    """One position of the source, and the positions of the target that go with it."""

    source: Place
    targets: tuple[Standing, ...]


@dataclass(frozen=True, slots=True)
class Moment:
    """One trace item with the positions after it; number 0 is where the trace begins.

    `number` counts the items of the record from 1. `event` is None where the log has states only; then
    `inferred` are the events that can explain the step. `heard` is the target's name of the event where it
    has another. `recorded` is the recorded state (JSON, "" without one), the state set by hand, or the one
    migrated to; `why` is a manual move's reason.

    `dropped`: no transition of the source took the event. `retired`: the target knows the event no more, so
    it was passed over there. `refused`: here the target got stuck. `cut`: anchor points that fired; the path
    begins anew with this step. `began` and `ended`: anchors that hold from here on, or no longer. `way`:
    whether the step is on the path, in an erased loop, or before the last anchor point. `apart`: on some
    reading the target is not where the source is by name, or is stuck. `explained`: False where the source
    cannot have done this.
    """

    number: int
    kind: Literal["start", "origin", "event", "migrated", "manual"]
    event: str | None = None
    at: str = ""
    recorded: str = ""
    why: str = ""
    inferred: tuple[str, ...] = ()
    heard: str = ""
    sides: tuple[Beside, ...] = ()
    dropped: bool = False
    retired: bool = False
    refused: bool = False
    cut: tuple[str, ...] = ()
    began: tuple[str, ...] = ()
    ended: tuple[str, ...] = ()
    way: Way = "kept"
    apart: bool = False
    explained: bool = True


# --- the walk along a trace ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Edge:
    """How one reading led to the next: by which of these events, past which anchor point ("" for none)."""

    before: _Point
    events: tuple[str, ...]
    fired: str


@dataclass(slots=True, eq=False)
class _Point:
    reading: Reading
    edges: list[_Edge] = field(default_factory=list)
    fired: str = ""  # at the start only


class Walk:
    """`Lane.replay`, with every reading remembering where it came from."""

    def __init__(self, lane: Lane, case: Case):
        self.lane = lane
        self.case = case
        self.items: list[tuple[int, Item]] = []
        self.begin_kind: Literal["start", "origin"] = "start"
        self.points: list[list[_Point]] = []  # before the first item, then after each explained one
        self.gap = ""
        self._taken: dict[tuple[int, State, str, State], bool] = {}

    def follow(self, opened: Opened, items: list[tuple[int, Item]]) -> None:
        assert opened.begin is not None
        self.items = items
        self.begin_kind = "start" if opened.begin[1] < 0 else "origin"
        self.points = [[_Point(r, fired=r.pair.anchor) for r in self.lane.start(opened.begin)]]
        for _, item in items:
            try:
                after = self._advance(self.points[-1], item)
            except TooWide:
                self.gap = "more readings of the trace than can be followed"
                break
            if not after:
                self.gap = describe_gap(self.lane, [p.reading for p in self.points[-1]], item)
                break
            self.points.append(after)
        self._keep_survivors()

    def _advance(self, points: list[_Point], item: Item) -> list[_Point]:
        found: dict[Reading, _Point] = {}
        for point in points:
            for after in self.lane.advance([point.reading], item):
                reached = found.setdefault(after, _Point(after))
                reached.edges.append(self._edge(point, item, after))
            if len(found) > MAX_READINGS:
                raise TooWide
        return list(found.values())

    def _edge(self, point: _Point, item: Item, after: Reading) -> _Edge:
        before, anchors = point.reading, self.lane.anchors
        events: dict[str, None] = {}
        fired = ""
        for step in self.lane.source_steps(before.version, before.source, item):
            if (step.version, step.state) != (after.version, after.source):
                continue
            facts, name = anchors.step(before.facts, step.letters)
            if facts == after.facts and (not name or after.pair == self.lane.cut(name)):
                fired = name or fired
                if step.event is not None:
                    events[step.event] = None
        return _Edge(point, tuple(events), fired)

    def _keep_survivors(self) -> None:
        """Leave only what leads to the end: readings in the actor's state, where there are any."""
        last = self.points[-1]
        if not self.gap:
            here = [p for p in last if self._is_here(p.reading)]
            if here:
                last = self.points[-1] = here
            else:
                self.gap = describe_end(self.lane, [p.reading for p in last])
        for i in range(len(self.points) - 2, -1, -1):
            alive = {id(e.before) for p in self.points[i + 1] for e in p.edges}
            self.points[i] = [p for p in self.points[i] if id(p) in alive]

    def _is_here(self, r: Reading) -> bool:
        return r.version == self.case.lane and r.source.configuration == self.case.configuration

    # moments

    def moments(self, details: Details) -> tuple[Moment, ...]:
        if not self.points:
            return tuple(details.plain(number, item) for number, item in details.items)
        ways = self._ways()
        found: list[Moment] = []
        held: set[str] = set()
        for i, points in enumerate(self.points):
            if i == 0:
                cut = tuple(dict.fromkeys(p.fired for p in points if p.fired))
                moment = Moment(0, self.begin_kind, cut=cut)
            else:
                moment = self._step(details.plain(*self.items[i - 1]), self.items[i - 1][1], points)
            holding = {n for n in self.lane.anchors.terms if self._holds(n, [p.reading for p in points])}
            found.append(
                replace(
                    moment,
                    sides=self._sides([p.reading for p in points]),
                    began=tuple(n for n in self.lane.anchors.terms if n in holding - held),
                    ended=tuple(n for n in self.lane.anchors.terms if n in held - holding),
                    way=ways[i],
                    apart=not all(self._together(p.reading) for p in points),
                )
            )
            held = holding
        for number, item in self.items[len(self.points) - 1 :]:
            found.append(replace(details.plain(number, item), explained=False))
        return tuple(found)

    def _holds(self, name: str, readings: Sequence[Reading]) -> bool:
        return all(self.lane.anchors.holds(name, r.facts) is True for r in readings)

    def _sides(self, readings: Iterable[Reading]) -> tuple[Beside, ...]:
        found: dict[tuple[int, int], dict[Standing, None]] = {}
        for r in readings:
            found.setdefault((r.version, r.source.configuration), {})[self._standing(r.pair)] = None
        return tuple(
            Beside(place(self.lane.sources[version], configuration), tuple(targets))
            for (version, configuration), targets in found.items()
        )

    def _standing(self, pair: Pair) -> Standing:
        if pair.target is None:
            return Standing(None)
        state = value_text(state_value(self.lane.target, pair.target.configuration))
        return Standing(state, pair.stuck, pair.anchor)

    def _step(self, moment: Moment, item: Item, points: list[_Point]) -> Moment:
        edges = [(e, p.reading) for p in points for e in p.edges]
        cut = tuple(dict.fromkeys(e.fired for e, _ in edges if e.fired))
        refused = any(r.pair.stuck and not e.before.reading.pair.stuck for e, r in edges)
        moment = replace(moment, cut=cut, refused=refused)
        if not isinstance(item, Event):
            return moment
        events = dict.fromkeys(x for e, _ in edges for x in e.events)
        alphabets = self.lane.alphabets
        heard = {alphabets[e.before.reading.version].translate(x) for e, _ in edges for x in e.events}
        return replace(
            moment,
            inferred=tuple(events) if item.type is None else (),
            heard=heard.pop() if len(heard) == 1 and heard.isdisjoint(events) else "",
            dropped=not any(self._handled(e, x, r) for e, r in edges for x in e.events),
            retired=any(self._passed_over(e, x, r) for e, r in edges for x in e.events),
        )

    def _handled(self, edge: _Edge, event: str, after: Reading) -> bool:
        """Did a transition of the source take the event (a forbidden one does not)?"""
        before = edge.before.reading
        key = (before.version, before.source, event, after.source)
        if key not in self._taken:
            d = self.lane.sources[before.version]
            self._taken[key] = any(
                o.state.configuration == after.source.configuration and any(not t.forbidden for t in o.taken)
                for o in outcomes(d, before.source, event)[0]
            )
        return self._taken[key]

    def _passed_over(self, edge: _Edge, event: str, after: Reading) -> bool:
        """Did the target leave a retired event out that had moved the source (apv.md section 5)?"""
        before = edge.before.reading
        alphabet = self.lane.alphabets[before.version]
        waited = before.pair.target == after.pair.target and not before.pair.stuck
        moved = before.source.configuration != after.source.configuration
        placed = before.pair.target is not None and not edge.fired
        return placed and waited and moved and alphabet.is_retired(alphabet.translate(event))

    # the path

    def _ways(self) -> list[Way]:
        """Per position: on the path, in an erased loop, or settled by a later anchor point."""
        chains = [self._chain_way(self._chain(p)) for p in self.points[-1][:MAX_CHAINS]]
        return [ways[0] if len(set(ways)) == 1 else "kept" for ways in zip(*chains, strict=True)]

    def _chain(self, last: _Point) -> list[tuple[_Point, str]]:
        chain = []
        at: _Point | None = last
        while at is not None:
            edge = at.edges[0] if at.edges else None
            chain.append((at, edge.fired if edge is not None else at.fired))
            at = edge.before if edge is not None else None
        return chain[::-1]

    def _chain_way(self, chain: list[tuple[_Point, str]]) -> list[Way]:
        ways: list[Way] = []
        stack: list[list[int]] = []
        for i, (point, fired) in enumerate(chain):
            depth = len(point.reading.stack)
            ways.append("kept")
            if fired:
                ways = ["settled" if w == "kept" else w for w in ways[:-1]] + ["kept"]
                stack = [[i]]
            elif depth > len(stack):
                stack.append([i])
            elif depth == len(stack):
                stack[-1].append(i)
            else:  # back at a configuration of the stack: what was above it is erased, this step too
                for at in (i, *(at for entry in stack[depth:] for at in entry)):
                    ways[at] = "erased"
                del stack[depth:]
        return ways

    def _together(self, r: Reading) -> bool:
        """Is the target where the source is, by name (or not anywhere yet)?"""
        if r.pair.target is None:
            return True
        source, lane = self.lane.sources[r.version], self.lane
        same = identity(source, lane.target, r.source.configuration, lane.migration)
        here = r.pair.target.configuration
        return not r.pair.stuck and isinstance(same, Placed) and same.configuration == here


@dataclass(frozen=True, slots=True)
class Details:
    """What the record says about its items besides what decisions need."""

    actor: Actor[Any, Any]
    record: Mapping[str, Any]

    @property
    def items(self) -> list[tuple[int, Item]]:
        return numbered(self.actor)

    def plain(self, number: int, item: Item) -> Moment:
        """A moment with what was recorded, and no positions."""
        history = self.record.get("history")
        raw = history[number - 1] if isinstance(history, list) and number <= len(history) else None
        raw = raw if isinstance(raw, dict) else {}
        at = raw.get("at")
        at = "" if at is None else at if isinstance(at, str) else canonical(at)
        if isinstance(item, Manual):
            why = raw.get("why")
            return Moment(number, "manual", at=at, recorded=item.to, why=why if isinstance(why, str) else "")
        if isinstance(item, Migrated):
            return Moment(number, "migrated", at=at, recorded=item.to_state)
        return Moment(number, "event", item.type, at, item.state)


def numbered(actor: Actor[Any, Any]) -> list[tuple[int, Item]]:
    """The items of a trace with their numbers in the record; parts of macrosteps are left out."""
    found = ((i, item_of(recorded)) for i, recorded in enumerate(actor.history or (), 1))
    return [(i, item) for i, item in found if item is not None]


def place(d: Definition, configuration: int) -> Place:
    return Place(d.id, d.version, value_text(state_value(d, configuration)))
