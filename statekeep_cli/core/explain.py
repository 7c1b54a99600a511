"""One actor's whole reasoning as values: a timeline, and what the decision about it rests on.

The router keeps no evidence; `explain` computes it again by the general form (apv.md section 9), reading by
reading, so that each step knows the ones it came from. What is shown are the readings that survive to the end.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from statekeep_cli.core.apv import Case, Deployment, Ends, FollowMore, describe_end, describe_gap
from statekeep_cli.core.decision import Decision, Landing, Place
from statekeep_cli.core.model import Definition, canonical, join_path, value_text
from statekeep_cli.core.placement import Placed, Refused, identity, longest_key, mapped
from statekeep_cli.core.record import Intake, Opened, item_of
from statekeep_cli.core.remedy import Remedy, remedy
from statekeep_cli.core.replay import MAX_READINGS, Event, Item, Lane, Manual, Migrated, Pair, Reading
from statekeep_cli.core.semantics import State, leaves, outcomes, state_value
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
    `inferred` are the events that can explain the step. `heard` is the target's name of the event where it has
    another. `recorded` is the recorded state (JSON, "" without one), the state set by hand, or the one migrated
    to; `why` is a manual move's reason. `dropped`: no transition of the source took the event. `retired`: the
    target knows it no more, so it was passed over there. `refused`: here the target got stuck. `cut`: anchor
    points that fired, the path begins anew with this step. `began` and `ended`: anchors that hold from here on,
    or no longer. `way`: whether the step is on the path, in an erased loop, or before the last anchor point.
    `explained`: False where the source cannot have done this.
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
    explained: bool = True


@dataclass(frozen=True, slots=True)
class AnchorFact:
    """Whether an anchor holds at the end (None: unknown), and the number of the step it has held since."""

    name: str
    holds: bool | None
    since: int | None = None


@dataclass(frozen=True, slots=True)
class Carried:
    """Where a leaf of the source state went, and how: `key approved`, `route 2` or `name`."""

    leaf: str
    how: str
    to: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Shown:
    """A landing; `example` is the shortest history that leads there, for actors without one of their own."""

    landing: Landing
    example: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Explanation:
    """Everything that is said about one actor. `trace` is "" where the actor was not routed at all.

    `lane` is the index of its source definition. `parted` is the number of the first step on the path at which
    the target is not where the source is by name, or is stuck. `gap` says what the source cannot explain. `notes`
    are the policies that had a say, one sentence each. `remedy` is there for strands.
    """

    actor: str
    decision: Decision
    sentence: str
    lane: int | None = None
    trace: str = ""
    timeline: tuple[Moment, ...] = ()
    gap: str = ""
    parted: int | None = None
    landings: tuple[Shown, ...] = ()
    anchors: tuple[AnchorFact, ...] = ()
    placement: tuple[Carried, ...] = ()
    notes: tuple[str, ...] = ()
    remedy: Remedy | None = None


def explain(deployment: Deployment, actor: Actor[Any, Any], record: Mapping[str, Any]) -> Explanation:
    """All about one actor. `record` is its record as a plain dict, read for what decisions do not need (`at`,
    `why`). The deployment may come to follow more facts than before."""
    intake = Intake(deployment)
    while True:
        opened = intake.open(actor)
        if isinstance(opened, Decision):
            return _unrouted(deployment, actor, record, opened)
        ends = intake.ends(opened)
        try:
            decision = deployment.decide(opened.case, ends)
        except FollowMore as more:
            deployment.follow(more.lane, more.paths)
        else:
            break
    case = opened.case
    lane = deployment.lanes[case.lane]
    walk = _Walk(lane, case)
    if opened.begin is not None:
        walk.follow(opened, _numbered(actor))
    elif case.trace != "none":
        walk.gap = opened.why
    timeline = walk.moments(_Details(actor, record))
    return Explanation(
        actor=str(actor.id),
        decision=decision,
        sentence=sentence(decision),
        lane=case.lane,
        trace=case.trace,
        timeline=timeline,
        gap=walk.gap,
        parted=walk.parted(timeline),
        landings=_landings(deployment, case, decision),
        anchors=_anchors(lane, case, ends, timeline),
        placement=_placement(deployment, case, decision),
        notes=_notes(lane, case, decision, timeline),
        remedy=remedy(deployment, actor, decision),
    )


def sentence(d: Decision) -> str:
    """The decision in one sentence, without the actor's name."""
    where = _shown(d.source) if d.source is not None else "an unknown state"
    if d.outcome == "migrate" and d.target is not None:
        return f"migrates from {where} to {_shown(d.target)}: {_because(d.rule)}"
    if d.outcome == "stay":
        label = f"{d.source.definition}@{d.source.version}" if d.source is not None else "its version"
        why = "it is not eligible" if d.reason == "not_eligible" else f"{d.rule} says so"
        return f"stays in {where} under {label}: {why}"
    if d.outcome == "skip":
        return {
            "done": "is skipped: it is done, nothing is in flight",
            "on_target": "is skipped: it is on the target version already",
            "other_definition": "is skipped: it belongs to another definition",
        }[d.reason]
    return f"strands in {where} ({d.reason}): {d.detail}"


def _because(rule: str) -> str:
    kind, _, name = rule.partition(" ")
    return {
        "replay": "its history leads there in the target as well",
        "proof": "every history that leads here lands there",
        "trust": "policy.history: trust accepts the name without a history",
        "anchor": f"the anchor point {name} and what followed it lead there",
        "mapping": f"stateMapping {name} says so",
        "route": f"route {name} says so",
    }[kind]


def _shown(place: Place) -> str:
    """A state value for a sentence: dotted paths, regions joined by ` + `."""
    found: list[str] = []

    def add(value: Any, path: tuple[str, ...]) -> None:
        if isinstance(value, str):
            found.append(join_path((*path, value)))
        elif not value:
            found.append(join_path(path))
        else:
            for key, inner in value.items():
                add(inner, (*path, key))

    add(place.value, ())
    return " + ".join(found)


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


class _Walk:
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
            after = self._advance(self.points[-1], item)
            if not after:
                self.gap = self.gap or describe_gap(self.lane, [p.reading for p in self.points[-1]], item)
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
                self.gap = "more readings of the trace than can be followed"
                return []
        return list(found.values())

    def _edge(self, point: _Point, item: Item, after: Reading) -> _Edge:
        before, anchors = point.reading, self.lane.anchors
        events: dict[str, None] = {}
        fired = ""
        for step in self.lane.source_steps(before.version, before.source, item):
            if (step.version, step.state) != (after.version, after.source):
                continue
            facts, name = anchors.step(before.facts, step.letters)
            cut = bool(name) and after.pair == self.lane.cut(name)
            if facts == after.facts and bool(name) == cut:
                fired = name
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

    def moments(self, details: _Details) -> tuple[Moment, ...]:
        if not self.points:
            return tuple(details.plain(number, item) for number, item in details.items)
        ways = self._ways()
        found: list[Moment] = []
        held: set[str] = set()
        for i, points in enumerate(self.points):
            if i == 0:
                moment = Moment(0, self.begin_kind, cut=tuple(dict.fromkeys(p.fired for p in points if p.fired)))
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
                )
            )
            held = holding
        for number, item in self.items[len(self.points) - 1 :]:
            found.append(replace(details.plain(number, item), explained=False))
        return tuple(found)

    def _holds(self, name: str, readings: Sequence[Reading]) -> bool:
        complete = self.case.trace == "complete"
        return all(self.lane.anchors.holds(name, r.facts, complete) is True for r in readings)

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
        heard = {self.lane.alphabets[e.before.reading.version].translate(x) for e, _ in edges for x in e.events}
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
        waited = before.pair.target is not None and before.pair.target == after.pair.target and not before.pair.stuck
        moved = before.source.configuration != after.source.configuration
        return waited and moved and not edge.fired and alphabet.is_retired(alphabet.translate(event))

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

    def parted(self, timeline: Sequence[Moment]) -> int | None:
        for moment, points in zip(timeline, self.points, strict=False):
            if moment.way == "kept" and not all(self._together(p.reading) for p in points):
                return moment.number
        return None

    def _together(self, r: Reading) -> bool:
        """Is the target where the source is, by name (or not anywhere yet)?"""
        if r.pair.target is None:
            return True
        source, target, m = self.lane.sources[r.version], self.lane.target, self.lane.migration
        same = identity(source, target, r.source.configuration, m)
        return not r.pair.stuck and isinstance(same, Placed) and same.configuration == r.pair.target.configuration


@dataclass(frozen=True, slots=True)
class _Details:
    """What the record says about its items besides what decisions need."""

    actor: Actor[Any, Any]
    record: Mapping[str, Any]

    @property
    def items(self) -> list[tuple[int, Item]]:
        return _numbered(self.actor)

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


def _numbered(actor: Actor[Any, Any]) -> list[tuple[int, Item]]:
    """The items of a trace with their numbers in the record; parts of macrosteps are left out."""
    found = ((i, item_of(recorded)) for i, recorded in enumerate(actor.history or (), 1))
    return [(i, item) for i, item in found if item is not None]


def place(d: Definition, configuration: int) -> Place:
    return Place(d.id, d.version, value_text(state_value(d, configuration)))


# --- what the decision rests on ------------------------------------------------------------------------


def _unrouted(
    deployment: Deployment, actor: Actor[Any, Any], record: Mapping[str, Any], decision: Decision
) -> Explanation:
    details = _Details(actor, record)
    return Explanation(
        actor=str(actor.id),
        decision=decision,
        sentence=sentence(decision),
        timeline=tuple(details.plain(number, item) for number, item in details.items),
        remedy=remedy(deployment, actor, decision),
    )


def _landings(deployment: Deployment, case: Case, decision: Decision) -> tuple[Shown, ...]:
    if case.trace != "none":
        return tuple(Shown(x) for x in decision.landings)
    reach = deployment.reach(case.lane)
    examples: dict[Landing, tuple[str, ...]] = {}
    for node in reach.first:
        source, _, pair, _ = node
        if source.configuration == case.configuration and pair.target is not None:
            state = value_text(state_value(deployment.target, pair.target.configuration))
            landing = Landing(state, pair.stuck or None)
            if landing not in examples:
                examples[landing] = tuple(reach.path_to(node))
    return tuple(Shown(x, examples.get(x)) for x in decision.landings)


def _anchors(lane: Lane, case: Case, ends: Ends, timeline: Sequence[Moment]) -> tuple[AnchorFact, ...]:
    since: dict[str, int] = {}
    for moment in timeline:
        since.update(dict.fromkeys(moment.began, moment.number))
    known = [f for f, _ in ends.readings] if case.trace != "none" else []
    found = []
    for name in lane.anchors.terms:
        values = {lane.anchors.holds(name, f, case.trace == "complete") for f in known or [None]}
        holds = values.pop() if len(values) == 1 else None
        found.append(AnchorFact(name, holds, since.get(name) if holds else None))
    return tuple(found)


def _placement(deployment: Deployment, case: Case, decision: Decision) -> tuple[Carried, ...]:
    """Which leaf went where by which key; empty where replay placed the whole."""
    lane = deployment.lanes[case.lane]
    kind, _, name = decision.rule.partition(" ")
    if decision.outcome != "migrate" or kind not in ("mapping", "route"):
        return ()
    route = next((r for r in lane.migration.routes if kind == "route" and str(r.number) == name), None)
    by_route = (route.source, route.to) if route is not None else None
    placed = mapped(lane.source, lane.target, case.configuration, lane.migration, by_route)
    if isinstance(placed, Refused):
        return ()
    found = []
    for leaf in leaves(lane.source, case.configuration):
        key = longest_key(lane.migration.mapping, leaf.path)
        if route is not None and leaf.path[: len(route.source)] == route.source:
            how, origins = f"route {route.number}", leaf.path[len(route.source) - 1 :]
            key = route.source
        elif key is not None:
            how, origins = f"key {join_path(key)}", leaf.path[len(key) - 1 :]
        else:
            how, origins, key = "name", leaf.path[-1:], leaf.path
        # The innermost node on the leaf's way that something in the target comes from, down to its key.
        to: tuple[str, ...] = ()
        for cut in range(len(origins), 0, -1):
            index = lane.source.by_path[leaf.path[: len(key) + cut - 1]]
            nodes = [lane.target.nodes[t] for t, s in placed.counterparts.items() if s == index]
            if nodes:
                inside = nodes[-1].descendants | 1 << nodes[-1].index
                to = tuple(n.name for n in leaves(lane.target, placed.configuration & inside))
                break
        found.append(Carried(leaf.name, how, to))
    return tuple(found)


def _notes(lane: Lane, case: Case, decision: Decision, timeline: Sequence[Moment]) -> tuple[str, ...]:
    """The policies that had a say in this decision, each explained (apv.md section 2)."""
    m, found = lane.migration, []
    erased = [str(x.number) for x in timeline if x.way == "erased"]
    if erased:
        found.append(f"policy.loops: erase: steps {_ranges(erased)} went round in loops and do not count")
    if decision.outcome == "migrate":
        kind = decision.rule.partition(" ")[0]
        same = identity(lane.source, lane.target, case.configuration, m)
        name = place(lane.target, same.configuration) if isinstance(same, Placed) else None
        if kind in ("replay", "proof") and m.follow_diverged and name != decision.target:
            found.append("policy.diverged: follow: the actor goes where its history leads, not where its name survives")
        if kind == "trust":
            found.append("policy.history: trust: some histories lead elsewhere; the name was accepted without one")
        if m.entry_initial and any(h.hazard == "default_entry" for h in decision.hazards):
            found.append("policy.entry: initial: what is new inside the state is entered by default")
    return tuple(found)


def _ranges(numbers: Sequence[str]) -> str:
    """`3, 4, 5, 9` as `3 to 5, 9`."""
    found: list[list[int]] = []
    for number in map(int, numbers):
        if found and number == found[-1][-1] + 1:
            found[-1].append(number)
        else:
            found.append([number])
    return ", ".join(str(r[0]) if len(r) == 1 else f"{r[0]} to {r[-1]}" for r in found)
