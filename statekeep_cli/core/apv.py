"""Anchor Point Versioning: the decision about one actor (apv.md sections 6 to 8).

`Deployment` holds the definitions of one run, a `Lane` per source version. `Deployment.decide` takes
what the actor brings (`Case`) and where its trace may have ended (`Ends`), and returns a `Decision`:
a pure function, so actors of one class share it. How ends are found is replay's business (`replay.py`,
or the router's tables built from it).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

from statekeep_cli.core import hazards
from statekeep_cli.core.anchors import Facts
from statekeep_cli.core.children import carry_children, is_child
from statekeep_cli.core.configuration import configuration_of, is_done, leaves, state_value
from statekeep_cli.core.decision import Decision, Hazard, Landing, Place
from statekeep_cli.core.graph import Graph
from statekeep_cli.core.migration import Predicate, Route, same_version
from statekeep_cli.core.model import Definition, Invoke, Path, Version, canonical, join_path, value_text
from statekeep_cli.core.placement import (
    Placed,
    Refused,
    carry_history,
    covering_keys,
    identity,
    longest_key,
    mapped,
    mapping_of,
)
from statekeep_cli.core.replay import Item, Lane, Pair, Reach, Reading, TooWide
from statekeep_cli.core.semantics import HistoryValue, State

SKIPPED = ("done", "stopped", "error", "archived")
AMBIGUOUS: Literal["ambiguous"] = "ambiguous"
REDACTED: Literal["redacted"] = "redacted"  # it turns on a part of the context that was removed


class FollowMore(Exception):
    """The decision turns on the entering of source states that the facts did not follow yet."""

    def __init__(self, lane: int, paths: tuple[Path, ...]):
        super().__init__("more facts are needed")
        self.lane = lane
        self.paths = paths


@dataclass(frozen=True, slots=True)
class Case:
    """What an actor brings besides its trace; with the ends of its trace, its class.

    `schemas` are the outcomes of the deployment's context schemas, in order (None: the context was redacted,
    and `redacted` says what it would take); `context_error` says
    why the edited context is not acceptable ("" if it is). `history` and `children` come from a
    persisted snapshot: None without one; `children` are (id, src) pairs.
    """

    lane: int
    configuration: int
    trace: Literal["complete", "origin", "none"]
    schemas: tuple[bool | None, ...] = ()
    context_error: str = ""
    history: HistoryValue | None = None
    children: tuple[tuple[str, str], ...] | None = None
    lost_history: str = ""  # a remembered history value the source itself does not know
    redacted: str = ""
    unchecked: str = ""  # why it is not known whether the edited context is acceptable


@dataclass(frozen=True, slots=True)
class Ends:
    """Where the trace may have ended: (facts, target side) per reading whose source side is the
    actor's current state. Empty: the trace cannot have led there; `detail` says at which step."""

    readings: tuple[tuple[Facts, Pair], ...]
    detail: str = ""
    too_wide: bool = False


class Deployment:
    """Source definitions and the target they are replaced by, ready to decide.

    `erase_loops` overrides `policy.loops` (for what-if runs).
    """

    def __init__(self, sources: Sequence[Definition], target: Definition, *, erase_loops: bool | None = None):
        self.sources = tuple(sources)
        self.target = target
        self.erase_loops = erase_loops
        self.followed: dict[int, tuple[Path, ...]] = {}
        self.lanes = [Lane(sources, i, target, erase_loops=erase_loops) for i in range(len(sources))]
        self.source_graphs = [Graph(d) for d in sources]
        self.target_graph = Graph(target)
        self.schemas: list[str] = []
        for lane in self.lanes:
            for predicate in (lane.migration.eligible, *(r.when for r in lane.migration.routes)):
                if predicate.context and predicate.context not in self.schemas:
                    self.schemas.append(predicate.context)
        self._reach: dict[int, Reach] = {}
        self._reached: dict[int, dict[int, list[Reading]]] = {}
        self._ends_without_history: dict[tuple[int, int], Ends] = {}

    def follow(self, lane: int, paths: tuple[Path, ...]) -> None:
        """Rebuild a lane so that its facts also follow the entering of these source states."""
        self.followed[lane] = tuple(dict.fromkeys((*self.followed.get(lane, ()), *paths)))
        self.lanes[lane] = Lane(
            self.sources, lane, self.target, erase_loops=self.erase_loops, followed=self.followed[lane]
        )

    # --- which source, which state (section 7, steps 1 and 2) ---

    def admit(
        self, definition: str | None, version: Version | None, status: str, state: Any
    ) -> Decision | tuple[int, int]:
        """A final decision for actors that are not routed, else (lane, configuration)."""
        place = self._place_as_given(definition, version, state)
        if status in SKIPPED:
            return Decision("skip", "done", source=place)
        target_id = definition is None or definition == self.target.id
        only = len(self.sources) == 1
        if version is not None and target_id and same_version(version, self.target.version):
            shared = definition is None and any(same_version(s.version, version) for s in self.sources)
            if not shared:
                return Decision("skip", "on_target", source=place)
        known = {self.target.id, *(s.id for s in self.sources)}
        if definition is not None and definition not in known:
            return Decision("skip", "other_definition", source=place)
        matching = [
            i
            for i, s in enumerate(self.sources)
            if (definition is None or s.id == definition)
            and (version is None or same_version(s.version, version))
        ]
        if not matching or (len(matching) > 1 and not only):
            what = "no version" if version is None else f"version {version}"
            what += f" of {definition}" if definition is not None else ""
            given = ", ".join(s.label for s in self.sources)
            return Decision(
                "strand",
                "version_unknown",
                source=place,
                detail=f"the actor names {what}; given were {given}",
            )
        lane = matching[0]
        source = self.sources[lane]
        configuration = configuration_of(source, state)
        if configuration is None:
            return Decision(
                "strand",
                "snapshot_invalid",
                source=replace(place, definition=source.id, version=source.version) if place else None,
                detail=f"{canonical(state)} is no complete, legal state of {source.label}",
            )
        if is_done(source, configuration):
            return Decision("skip", "done", source=self.place(source, configuration))
        return lane, configuration

    def _place_as_given(self, definition: str | None, version: Version | None, state: Any) -> Place | None:
        if state is None:
            return None
        single = self.sources[0] if len(self.sources) == 1 else None
        return Place(
            definition if definition is not None else single.id if single else "",
            version if version is not None else single.version if single else "",
            value_text(state),
        )

    def place(self, d: Definition, configuration: int) -> Place:
        return Place(d.id, d.version, value_text(state_value(d, configuration)))

    # --- where traces end ---

    def reach(self, lane: int) -> Reach:
        """Every (source, target) pair some history of this lane leads to."""
        if lane not in self._reach:
            self._reach[lane] = self.lanes[lane].reachable()
        return self._reach[lane]

    def ends_without_history(self, lane: int, configuration: int) -> Ends:
        """All landings over every path of the source to this configuration."""
        key = (lane, configuration)
        if key not in self._ends_without_history:
            reach = self.reach(lane)
            if lane not in self._reached:
                self._reached[lane] = reach.by_configuration()
            pairs = dict.fromkeys(r.pair for r in self._reached[lane].get(configuration, ()))
            detail = ""
            if reach.bound:
                detail = f"the proof stopped at {reach.bound:,} paths; give histories instead"
            readings = tuple(((), p) for p in pairs)
            self._ends_without_history[key] = Ends(readings, detail, bool(reach.bound))
        return self._ends_without_history[key]

    def ends(self, case: Case, start: list[Reading], items: Sequence[Item]) -> Ends:
        """The ends of one trace by the general form, with the step that is not explained."""
        lane = self.lanes[case.lane]
        try:
            readings, explained = lane.replay(start, items)
        except TooWide:
            return Ends((), "more readings of the trace than can be followed", too_wide=True)
        if explained < len(items):
            return Ends((), describe_gap(lane, readings, items[explained]))
        found = lane.ends_in(readings, case.configuration)
        if not found:
            return Ends((), describe_end(lane, readings))
        return Ends(found)

    # --- the decision (section 7, from step 3) ---

    def decide(self, case: Case, ends: Ends) -> Decision:
        return _Decider(self, case, ends).decide()


def describe_gap(lane: Lane, readings: Sequence[Reading], item: Item) -> str:
    """The step the source cannot explain, in words that are the same for all actors that share it."""
    where = sorted({_where(lane, r) for r in readings}) or ["the start"]
    return f"the source cannot explain {describe_item(item)} in {' or '.join(where)}"


def describe_end(lane: Lane, readings: Sequence[Reading]) -> str:
    where = sorted({_where(lane, r) for r in readings})
    return f"its history leads to {' or '.join(where[:3])}"


def _where(lane: Lane, r: Reading) -> str:
    d = lane.sources[r.version]
    return show_value(d, r.source.configuration)


def show_value(d: Definition, configuration: int) -> str:
    """A state value for a sentence: `review.pending`, or several leaves joined by ` + `."""
    return " + ".join(n.name for n in leaves(d, configuration))


def describe_item(item: Any) -> str:
    kind = type(item).__name__
    if kind == "Event":
        name = item.type or "a step"
        return f"{name} to {item.state}" if item.state else name
    if kind == "Manual":
        return f"the manual move to {item.to}"
    return f"the migration from version {item.from_version} to version {item.to_version} in {item.to_state}"


@dataclass(frozen=True, slots=True)
class _Verdict:
    """What one step of the decision says: a placement by a rule, or a final outcome."""

    rule: str = ""
    placed: Placed | None = None
    strand: str = ""
    detail: str = ""
    by_rule: bool = False
    waived: bool = False


class _Decider:
    """One decision in progress; reads top to bottom as section 7 does."""

    def __init__(self, deployment: Deployment, case: Case, ends: Ends):
        self.deployment = deployment
        self.case = case
        self.ends = ends
        self.lane = deployment.lanes[case.lane]
        self.source, self.target, self.m = self.lane.source, self.lane.target, self.lane.migration
        known = bool(ends.readings) and case.trace != "none"
        self.facts: list[Facts] = list(dict.fromkeys(f for f, _ in ends.readings)) if known else []
        self.pairs: list[Pair] = list(dict.fromkeys(p for _, p in ends.readings))
        found = {(p.target.configuration, p.stuck) for p in self.pairs if p.target is not None}
        self.landings = sorted(found)
        self.identity = identity(self.source, self.target, case.configuration, self.m)

    def decide(self) -> Decision:
        eligible = self.truth(self.m.eligible)
        if eligible is False:
            return self.result("stay", "not_eligible")
        if eligible is not True:
            return self.undecided(eligible, "it is not known whether the actor is eligible")
        for route in self.m.routes:
            if not self.applies(route):
                continue
            holds = self.truth(route.when)
            if holds is False:
                continue
            if holds is not True:
                return self.undecided(holds, f"it is not known whether route {route.number} applies")
            return self.routed(route)
        if covering_keys(self.source, self.case.configuration, self.m.mapping):
            return self.mapped()
        verdict = self.by_landings()
        if verdict.placed is None:
            return self.strand(verdict.strand, verdict.detail)
        return self.place(verdict)

    # steps 3 and 4

    def truth(self, predicate: Predicate) -> bool | Literal["ambiguous", "redacted"] | None:
        """True, False, None (unknown), ambiguous over all readings, or redacted."""
        context: bool | None = True
        if predicate.context:
            context = self.case.schemas[self.deployment.schemas.index(predicate.context)]
        anchors = self.lane.anchors
        values = {anchors.evaluate(predicate, f, context) for f in (self.facts or (None,))}
        if context is None and None in values:
            return REDACTED
        if len(values) == 1:
            return values.pop()
        return None if None in values else AMBIGUOUS

    def unknown(self, value: bool | Literal["ambiguous", "redacted"] | None) -> str:
        return "ambiguous" if value == AMBIGUOUS else "history_required"

    def undecided(self, value: bool | Literal["ambiguous", "redacted"] | None, detail: str) -> Decision:
        """The strand of an actor about which a predicate cannot be answered."""
        if value == REDACTED:
            return self.strand("undetermined", self.case.redacted)
        return self.strand(self.unknown(value), detail)

    def applies(self, route: Route) -> bool:
        index = self.source.by_path.get(route.source)
        return index is not None and bool(self.case.configuration >> index & 1)

    def routed(self, route: Route) -> Decision:
        rule = f"route {route.number}"
        if route.stay:
            return self.result("stay", "declared", rule)
        if route.strand is not None:
            return self.strand("declared", route.strand, rule)
        mapping = mapping_of(self.m, rule)
        placed = mapped(self.source, self.target, self.case.configuration, mapping, self.m)
        if isinstance(placed, Refused):
            return self.strand(placed.reason, self.refusal(placed), rule)
        waived = self.by_landings().placed is None
        return self.place(_Verdict(rule, placed, by_rule=True, waived=waived), mapping)

    # step 5

    def mapped(self) -> Decision:
        placed = mapped(self.source, self.target, self.case.configuration, self.m.mapping, self.m)
        used = [
            longest_key(self.m.mapping, leaf.path) for leaf in leaves(self.source, self.case.configuration)
        ]
        keys = list(dict.fromkeys(k for k in used if k is not None))
        rule = "mapping " + ", ".join(join_path(k) for k in keys)
        if isinstance(placed, Refused):
            return self.strand(placed.reason, self.refusal(placed), rule)
        same = any(self.m.mapping[k] == join_path(k) for k in keys)
        waived = same and self.by_landings().placed is None
        return self.place(_Verdict(rule, placed, by_rule=True, waived=waived))

    # step 6

    def by_landings(self) -> _Verdict:
        case, name = self.case, show_value(self.source, self.case.configuration)
        without = case.trace == "none"
        if self.ends.too_wide and not without:
            return _Verdict(strand="ambiguous", detail=self.ends.detail)
        if self.ends.too_wide:
            return self.trusted() or _Verdict(strand="history_required", detail=self.ends.detail)
        if not self.pairs:
            if without:
                return _Verdict(
                    strand="state_unreachable", detail=f"no path of {self.source.label} leads to {name}"
                )
            return _Verdict(strand="history_inconsistent", detail=self.ends.detail)
        if any(p.target is None for p in self.pairs):
            what = f"earlier history was pruned and no anchor point was passed since; {name} needs a rule"
            return _Verdict(strand="history_required", detail=what)
        free = [c for c, stuck in self.landings if not stuck]
        single = free[0] if len(self.landings) == 1 and free else None
        via = "proof" if without else "replay"
        if single is not None and all(p.anchor for p in self.pairs):
            names = sorted({p.anchor for p in self.pairs})
            return _Verdict(f"anchor {', '.join(names)}", self.landed(single))
        if single is not None and isinstance(self.identity, Placed) and single == self.identity.configuration:
            return _Verdict(via, self.identity)
        if self.m.follow_diverged and single is not None:
            return _Verdict(via, self.landed(single))
        if isinstance(self.identity, Refused):
            return _Verdict(strand=self.identity.reason, detail=self.refusal(self.identity))
        if not free:
            return _Verdict(strand="event_refused", detail=self.refused_event())
        if self.identity.configuration not in free:
            where = " or ".join(show_value(self.target, c) for c in sorted(set(free)))
            return _Verdict(
                strand="diverged",
                detail=f"in {self.target.label} the same history leads to {where}, not {name}",
            )
        if without:
            some = " or ".join(dict.fromkeys(show_value(self.target, c) for c, _ in self.landings))
            return self.trusted() or _Verdict(
                strand="history_required", detail=f"depending on its history it belongs in {some}"
            )
        some = " or ".join(dict.fromkeys(show_value(self.target, c) for c, _ in self.landings))
        return _Verdict(
            strand="ambiguous", detail=f"guards the trace says nothing about decide between {some}"
        )

    def trusted(self) -> _Verdict | None:
        if self.m.trust_history and isinstance(self.identity, Placed):
            return _Verdict("trust", self.identity)
        return None

    def landed(self, configuration: int) -> Placed:
        """A landing as a placement; what stayed active under its name is its own counterpart."""
        counterparts = {}
        for node in self.target.nodes_in(configuration):
            same = self.source.by_path.get(node.path)
            if same is not None and self.case.configuration >> same & 1:
                counterparts[node.index] = same
        return Placed(configuration, counterparts)

    def refused_event(self) -> str:
        parts = []
        for configuration, event in self.landings:
            known = self.lane.alphabets[self.case.lane].translate(event)
            homes = [n.name or self.target.id for n in self.target.nodes if _listens(n.transitions, known)]
            elsewhere = f", which the target knows in {', '.join(homes[:3])}" if homes else ""
            where = show_value(self.target, configuration)
            parts.append(f"{self.target.label} in {where} does not accept {event}{elsewhere}")
        return "; ".join(parts[:3])

    def refusal(self, refused: Refused) -> str:
        label = self.target.label
        return {
            "state_removed": f"{label} has no state {refused.state}",
            "kind_changed": f"{refused.state} is another kind of state in {label}",
            "region_added": f"{label} adds the region {refused.state}",
            "region_removed": f"{label} has no region {refused.state}",
            "substate_unmapped": f"the mapping says nothing about {refused.state}",
            "region_conflict": f"two active states claim one region of {refused.state}",
        }[refused.reason]

    # step 7

    def place(self, v: _Verdict, mapping: Mapping[Path, Any] | None = None) -> Decision:
        """The checks on a placement; `mapping` is the one it was made with, a route included."""
        assert v.placed is not None
        mapping = self.m.mapping if mapping is None else mapping
        c = v.placed.configuration
        owed = [(n, name) for n in self.target.nodes_in(c) for name in self.m.obligations.get(n.path, ())]
        holds = self.truth(Predicate(all=tuple(name for _, name in owed)))
        if holds is not True:
            node, name = next((n, x) for n, x in owed if self.truth(Predicate(all=(x,))) is not True)
            reason = "obligation_unmet" if holds is False else self.unknown(holds)
            return self.strand(reason, f"{node.name or self.target.id} requires {name}", v.rule)
        history = self.case.history or ()
        carried = carry_history(self.source, self.target, history, mapping)
        if carried is None or self.case.lost_history:
            return self.strand(
                "history_value_lost", "a remembered history value has no place in the target", v.rule
            )
        lost = self.lost_child(v.placed, mapping)
        if lost:
            return self.strand("child_lost", f"no active state of the target invokes {lost}", v.rule)
        if self.case.context_error:
            return self.strand("context_invalid", self.case.context_error, v.rule)
        if self.case.unchecked:
            return self.strand("undetermined", self.case.unchecked, v.rule)
        return self.result("migrate", "", v.rule, placed=v.placed, hazards=self.hazards(v, mapping))

    def lost_child(self, placed: Placed, mapping: Mapping[Path, Any]) -> str:
        """The first persisted child that no placed state invokes; "" if all are carried."""
        children = self.case.children or ()
        return carry_children(self.source, self.target, mapping, placed.configuration, children)[1]

    def runs(self, mapping: Mapping[Path, Any], node: int, invoke: Invoke) -> bool:
        """Is this invoke of a target node among the persisted children?"""
        at = self.target.nodes[node]
        return any(
            is_child(self.source, self.target, mapping, at, invoke, child, src)
            for child, src in self.case.children or ()
        )

    def hazards(self, v: _Verdict, mapping: Mapping[Path, Any]) -> tuple[Hazard, ...]:
        assert v.placed is not None
        deployment, lane = self.deployment, self.lane
        by_path = not v.by_rule and v.rule != "trust"
        bare = any(p.bare for p in self.pairs) and v.rule.startswith("anchor")
        placement = hazards.Placement(
            before=self.case.configuration,
            placed=v.placed,
            by_rule=v.by_rule,
            settled=v.rule in ("replay", "proof") or (v.rule.startswith("anchor") and not bare),
            runs=None if self.case.children is None else partial(self.runs, mapping),
            retired={e for p in self.pairs for e in p.retired} if by_path else (),
            waived=v.waived,
            bare=bare,
        )
        missing: list[Path] = []

        def entered(path: Path) -> bool:
            """May the actor have entered this source state?"""
            index = self.source.by_path.get(path)
            if index is None:
                return False
            if self.case.configuration >> index & 1:
                return True
            if not any(f[0] for f in self.facts):
                return True  # without a complete history nobody can say that it never did
            known = [lane.anchors.has_entered(path, f) for f in self.facts]
            if None in known:
                missing.append(path)
            return any(known)

        found = hazards.find(
            lane, deployment.source_graphs[self.case.lane], deployment.target_graph, placement, entered
        )
        if missing:
            raise FollowMore(self.case.lane, tuple(missing))
        return found

    # the decision itself

    def strand(self, reason: str, detail: str, rule: str = "") -> Decision:
        return self.result("strand", reason, rule, detail=detail)

    def result(
        self,
        outcome: Literal["migrate", "stay", "strand", "skip"],
        reason: str,
        rule: str = "",
        *,
        detail: str = "",
        placed: Placed | None = None,
        hazards: tuple[Hazard, ...] = (),
    ) -> Decision:
        anchors = self.lane.anchors
        held = [
            name
            for name in anchors.terms
            if self.facts and all(anchors.holds(name, f) is True for f in self.facts)
        ]
        return Decision(
            outcome,
            reason,
            rule,
            detail,
            self.deployment.place(self.source, self.case.configuration),
            None if placed is None else self.deployment.place(self.target, placed.configuration),
            tuple(
                Landing(value_text(state_value(self.target, c)), stuck or None) for c, stuck in self.landings
            ),
            tuple(held),
            hazards,
        )


def _listens(transitions: Any, event: str) -> bool:
    return any(not t.forbidden for t in transitions.get(event, ()))


def history_of(source: Definition, raw: Any) -> tuple[HistoryValue, str]:
    """A persisted `historyValue` (node ids) as node sets; the second value names what is unknown."""
    found = []
    for key, items in (raw or {}).items():
        index = source.by_id.get(key)
        if index is None or source.nodes[index].kind != "history":
            return (), key
        nodes = 0
        for item in items or []:
            node_id = item.get("id") if isinstance(item, dict) else item
            node = source.by_id.get(str(node_id))
            if node is None:
                return (), str(node_id)
            nodes |= 1 << node
        found.append((index, nodes))
    return tuple(sorted(found)), ""


__all__ = ["Case", "Deployment", "Ends", "FollowMore", "State", "history_of"]
