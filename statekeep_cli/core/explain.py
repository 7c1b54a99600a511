"""One actor's whole reasoning as values: its timeline, and what the decision about it rests on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from statekeep_cli.core.apv import Case, Deployment, Ends, FollowMore
from statekeep_cli.core.configuration import leaves, state_value
from statekeep_cli.core.decision import Decision, Landing, Place
from statekeep_cli.core.model import join_path, value_text
from statekeep_cli.core.placement import (
    Placed,
    Refused,
    identity,
    longest_key,
    mapped,
    target_nodes,
    with_route,
)
from statekeep_cli.core.record import Intake
from statekeep_cli.core.remedy import Remedy, remedy
from statekeep_cli.core.replay import Lane
from statekeep_cli.core.timeline import Details, Moment, Walk, numbered, place
from statekeep_cli.core.trace import Actor


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
    """Everything that is said about one actor.

    `lane` is the index of its source definition, `trace` what there was to replay (as in `Case`); None and ""
    where the actor was not routed at all. `parted` is the number of the first step on the path at which the
    target is not where the source is by name, or is stuck. `gap` says what the source cannot explain. `notes`
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
    walk = Walk(lane, case)
    if opened.begin is not None:
        walk.follow(opened, numbered(actor))
    elif case.trace != "none":
        walk.gap = opened.why
    timeline = walk.moments(Details(actor, record))
    return Explanation(
        actor=str(actor.id),
        decision=decision,
        sentence=sentence(decision),
        lane=case.lane,
        trace=case.trace,
        timeline=timeline,
        gap=walk.gap,
        parted=next((m.number for m in timeline if m.apart and m.way == "kept"), None),
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
        to = _shown(d.target)
        moves = f"migrates and keeps {to}" if to == where else f"migrates from {where} to {to}"
        return f"{moves}: {_because(d.rule)}"
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


# --- what the decision rests on ------------------------------------------------------------------------


def _unrouted(
    deployment: Deployment, actor: Actor[Any, Any], record: Mapping[str, Any], decision: Decision
) -> Explanation:
    details = Details(actor, record)
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
    for r in reach.came:
        target = r.pair.target
        if r.source.configuration == case.configuration and target is not None:
            state = value_text(state_value(deployment.target, target.configuration))
            landing = Landing(state, r.pair.stuck or None)
            if landing not in examples:
                examples[landing] = tuple(reach.path_to(r))
    return tuple(Shown(x, examples.get(x)) for x in decision.landings)


def _anchors(lane: Lane, case: Case, ends: Ends, timeline: Sequence[Moment]) -> tuple[AnchorFact, ...]:
    since: dict[str, int] = {}
    for moment in timeline:
        since.update(dict.fromkeys(moment.began, moment.number))
    known = [f for f, _ in ends.readings] if case.trace != "none" else []
    found = []
    for name in lane.anchors.terms:
        values = {lane.anchors.holds(name, f) for f in known}
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
    mapping = lane.migration.mapping
    if route is not None:
        mapping = with_route(mapping, (route.source, route.to))
    placed = mapped(lane.source, lane.target, case.configuration, mapping, lane.migration)
    if isinstance(placed, Refused):
        return ()
    found = []
    for leaf in leaves(lane.source, case.configuration):
        key, how, value = longest_key(mapping, leaf.path), "name", leaf.name
        if key is not None:
            by_route = route is not None and key == route.source
            how, value = decision.rule if by_route else f"key {join_path(key)}", mapping[key]
        # What came of the leaf, or of the innermost of its ancestors down to the key that was carried.
        inside = target_nodes(lane.target, value)[1]
        for length in range(len(leaf.path), len(key or leaf.path) - 1, -1):
            index = lane.source.by_path[leaf.path[:length]]
            nodes = [lane.target.nodes[t] for t, s in placed.counterparts.items() if s == index]
            if nodes:
                inside = nodes[-1].descendants | 1 << nodes[-1].index
                break
        to = tuple(n.name for n in leaves(lane.target, placed.configuration & inside))
        found.append(Carried(leaf.name, how, to))
    return tuple(found)


def _notes(lane: Lane, case: Case, decision: Decision, timeline: Sequence[Moment]) -> tuple[str, ...]:
    """The policies that had a say in this decision, each explained (apv.md section 2), and a hint."""
    m, found = lane.migration, []
    erased = [str(x.number) for x in timeline if x.way == "erased"]
    if erased:
        found.append(f"policy.loops: erase: steps {_ranges(erased)} went round in loops and do not count")
    if decision.outcome == "migrate":
        kind = decision.rule.partition(" ")[0]
        same = identity(lane.source, lane.target, case.configuration, m)
        name = place(lane.target, same.configuration) if isinstance(same, Placed) else None
        if kind in ("replay", "proof") and m.follow_diverged and name != decision.target:
            found.append("policy.diverged: follow: it goes where its history leads, whatever name survives")
        if kind == "trust":
            found.append("policy.history: trust: some histories lead elsewhere; its name was accepted")
        if m.entry_initial and any(h.hazard == "default_entry" for h in decision.hazards):
            found.append("policy.entry: initial: what is new inside the state is entered by default")
    retired = dict.fromkeys(x.event for x in timeline if x.retired and x.event is not None)
    if decision.outcome == "strand" and retired:
        events = " or ".join(retired)
        found.append(f"{lane.target.label} listens to no {events}; a new name would be said in rename.events")
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
