"""What a new definition means for every state of its sources, without any actors (apv.md section 5, last part).

For each reachable source configuration the histories that lead there are told apart as far as the decision can
tell them apart: by the facts they establish and by where they lead in the target. Every class is then decided
by `Deployment.decide` itself, as an actor with that history would be, and so is an actor without one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Literal

from statekeep_cli.core.anchors import Facts
from statekeep_cli.core.apv import Case, Deployment, Ends, FollowMore
from statekeep_cli.core.changes import Change, changes
from statekeep_cli.core.decision import Decision, Hazard, Landing, Place
from statekeep_cli.core.replay import Event, Lane, LoopKey, Pair
from statekeep_cli.core.semantics import State, enter_by_default, is_done, leaves

Verdict = Literal["safe", "stranded", "depends_on_history", "depends_on_context", "stays", "done"]
VERDICTS: tuple[Verdict, ...] = (
    "safe", "depends_on_history", "depends_on_context", "stranded", "stays", "done",
)  # fmt: skip
MAX_HISTORIES = 20_000  # classes of histories of one source
MAX_SCHEMAS = 4  # context schemas of one state whose outcomes are combined in every way


@dataclass(frozen=True, slots=True)
class Ending:
    """One way in which actors of a state fare.

    `example` is a shortest history that ends like this, as event types; None where there is no need of one.
    `context` are the context schemas this turns on, each with its outcome: `("route 1", True)`.
    """

    decision: Decision
    example: tuple[str, ...] | None = None
    context: tuple[tuple[str, bool], ...] = ()


@dataclass(frozen=True, slots=True)
class StateVerdict:
    """What holds for the actors in one source configuration.

    `endings` are all the ways they may fare, the shortest history first; one for `safe` and `stays`, one or
    more for `stranded` (there may be several reasons). `without_history` is what actors without a history get,
    None where the state is done. `reachable` is False for states that no history leads to. `leaves` are the
    active leaves' paths.
    """

    source: Place
    leaves: tuple[str, ...]
    verdict: Verdict
    endings: tuple[Ending, ...] = ()
    without_history: Decision | None = None
    reachable: bool = True

    @property
    def hazards(self) -> tuple[Hazard, ...]:
        """The hazards of all placements, each once."""
        return tuple(dict.fromkeys(h for e in self.endings for h in e.decision.hazards))

    @property
    def unchanged(self) -> bool:
        """Do all actors in this state stay where they are, by name, whatever their history?"""
        if self.verdict == "done":
            return True
        places = [e.decision.target for e in self.endings]
        same = all(p is not None and p.state == self.source.state for p in places)
        return self.verdict == "safe" and same and not self.needs_history

    @property
    def needs_history(self) -> bool:
        """Does the verdict hold only for actors that bring a history?"""
        alone, first = self.without_history, self.endings[0].decision if self.endings else None
        if self.verdict not in ("safe", "stays") or alone is None or first is None:
            return False
        return (alone.outcome, alone.target) != (first.outcome, first.target)


@dataclass(frozen=True, slots=True)
class SourceDiff:
    """One source beside the target. `bound` is the number of histories past which they were not told apart any
    more (0: all were); the verdicts are then those of actors without a history."""

    lane: int
    label: str
    changes: tuple[Change, ...]
    states: tuple[StateVerdict, ...]
    bound: int = 0

    def counts(self) -> dict[Verdict, int]:
        return {v: n for v in VERDICTS if (n := sum(s.verdict == v for s in self.states))}


@dataclass(frozen=True, slots=True)
class Diff:
    """Everything `statekeep diff` says. `has_changes`: something is different for someone."""

    target: str
    sources: tuple[SourceDiff, ...]
    notes: tuple[str, ...] = ()

    @property
    def has_changes(self) -> bool:
        return any(s.changes or not all(v.unchanged for v in s.states) for s in self.sources)


def diff(deployment: Deployment) -> Diff:
    """The target beside each of its sources. The deployment may come to follow more facts than before."""
    target = deployment.target
    notes = []
    if target.context_schema is not None:
        notes.append("contexts are not looked at here: preview checks each against the target's contextSchema")
    found = tuple(_source(deployment, i) for i in range(len(deployment.lanes)))
    return Diff(target.label, found, tuple(notes))


def _source(deployment: Deployment, index: int) -> SourceDiff:
    while True:
        lane = deployment.lanes[index]
        try:
            histories = Histories(lane)
            states = tuple(_states(deployment, lane, histories))
        except FollowMore as more:
            deployment.follow(more.lane, more.paths)
        else:
            return SourceDiff(index, lane.source.label, changes(lane), states, histories.bound)


# --- every history -------------------------------------------------------------------------------------


Pairs = frozenset[Pair]
Fate = tuple[str, Place | None, str, str, frozenset[Landing]]
Node = tuple[State, Facts, tuple[tuple[LoopKey, Pairs], ...]]


class Histories:
    """All histories of a lane, as far as decisions tell them apart: the source state, the facts, and the stack
    of target sides (a single entry unless loops are erased). Breadth first, so that examples are shortest."""

    def __init__(self, lane: Lane, limit: int = MAX_HISTORIES):
        self.lane = lane
        self.first: dict[Node, tuple[Node, str] | None] = {}
        self.bound = 0
        starts: dict[tuple[State, Facts, LoopKey], set[Pair]] = {}
        for r in lane.start((lane.index, -1)):
            starts.setdefault((r.source, r.facts, r.stack[0][0]), set()).add(r.pair)
        for (source, facts, key), pairs in starts.items():
            self.first[(source, facts, ((key, frozenset(pairs)),))] = None
        events = lane.events(lane.index)
        pending = deque(self.first)
        while pending and not self.bound:
            node = pending.popleft()
            for event in events:
                for after in self._successors(node, event):
                    if after not in self.first:
                        if len(self.first) >= limit:
                            self.bound = limit
                            return
                        self.first[after] = (node, event)
                        pending.append(after)

    def _successors(self, node: Node, event: str) -> Iterator[Node]:
        source, facts, stack = node
        lane = self.lane
        # What the log can tell apart is the state after the step; guards that lead to one state stay unknown.
        outcomes: dict[tuple[State, Facts, str], dict[Pair, None]] = {}
        for step in lane.source_steps(lane.index, source, Event(event)):
            after_facts, fired = lane.anchors.step(facts, step.letters)
            pairs = outcomes.setdefault((step.state, after_facts, fired), {})
            for pair in stack[-1][1]:
                for there in lane.target_steps(lane.index, pair, step):
                    # Which events were dropped would tell too many histories apart; the changes list them.
                    pairs[replace(there, retired=frozenset())] = None
        for (state, after_facts, fired), pairs in outcomes.items():
            key = lane.loop_key(lane.index, state)
            yield (state, after_facts, self._stacked(stack, key, frozenset(pairs), fired))

    def _stacked(
        self, stack: tuple[tuple[LoopKey, Pairs], ...], key: LoopKey, pairs: Pairs, fired: str
    ) -> tuple[tuple[LoopKey, Pairs], ...]:
        """The stack of section 3, as `Lane.advance` keeps it per reading."""
        if fired:
            return ((key, frozenset((self.lane.cut(fired),))),)
        if not self.lane.migration.erase_loops:
            return ((key, pairs),)
        for depth, (seen, _) in enumerate(stack[:-1]):
            if seen == key:
                return stack[: depth + 1]
        return (*stack[:-1], (key, pairs)) if key == stack[-1][0] else (*stack, (key, pairs))

    def by_configuration(self) -> dict[int, list[Node]]:
        found: dict[int, list[Node]] = {}
        for node in self.first:
            found.setdefault(node[0].configuration, []).append(node)
        return found

    def path_to(self, node: Node) -> tuple[str, ...]:
        """A shortest history that leads to a node, as event types."""
        path: list[str] = []
        came = self.first[node]
        while came is not None:
            path.append(came[1])
            came = self.first[came[0]]
        return tuple(path[::-1])


# --- verdicts ------------------------------------------------------------------------------------------


def _states(deployment: Deployment, lane: Lane, histories: Histories) -> Iterator[StateVerdict]:
    found = histories.by_configuration()
    seen = 0
    for configuration, nodes in found.items():
        seen |= configuration
        yield _verdict(deployment, lane, histories, configuration, nodes)
    if histories.bound:
        return
    for node in lane.source.nodes:
        if node.is_leaf and not seen >> node.index & 1:
            configuration = enter_by_default(lane.source, node)
            yield replace(_verdict(deployment, lane, histories, configuration, ()), reachable=False)


def _verdict(
    deployment: Deployment, lane: Lane, histories: Histories, configuration: int, nodes: Sequence[Node]
) -> StateVerdict:
    source = deployment.place(lane.source, configuration)
    names = tuple(n.name for n in leaves(lane.source, configuration))
    if is_done(lane.source, configuration):
        return StateVerdict(source, names, "done")
    asked = _schemas(deployment, lane, configuration)
    endings: dict[Fate, list[Ending]] = {}
    depends = False
    alone: Decision | None = None
    contexts = list(_contexts(list(asked)))
    for outcomes in contexts:
        schemas = tuple(outcomes.get(i, False) for i in range(len(deployment.schemas)))
        context = tuple((asked[i], value) for i, value in outcomes.items())
        without = _without_history(deployment, lane, histories, configuration, schemas)
        alone = alone or without
        here: dict[Fate, Ending] = {}
        if nodes and not histories.bound:
            for decision, example in _with_history(deployment, lane, histories, configuration, nodes, schemas):
                _note(here, Ending(decision, example, context))
        else:
            here[_fate(without)] = Ending(without, None, context)
        if len(here) == 1:  # whatever the history: no example is needed, and a proof may speak for it
            fate, only = here.popitem()
            if _fate(without) == fate:
                _note(here, Ending(without, None, context))
            _note(here, replace(only, example=None))
        for fate, ending in here.items():
            endings.setdefault(fate, []).append(ending)
        depends |= len(here) > 1
    merged = tuple(e for found in endings.values() for e in _unconditional(found, len(contexts)))
    return StateVerdict(source, names, _judge(set(endings), depends), merged, alone)


def _schemas(deployment: Deployment, lane: Lane, configuration: int) -> dict[int, str]:
    """The context schemas that a decision about this configuration may ask, each named by who asks first."""
    m = lane.migration
    found: dict[int, str] = {}
    asks = [("eligible", m.eligible)]
    for route in m.routes:
        at = lane.source.by_path.get(route.source)
        if at is not None and configuration >> at & 1:
            asks.append((f"route {route.number}", route.when))
    for name, predicate in asks:
        if predicate.context:
            found.setdefault(deployment.schemas.index(predicate.context), name)
    return found


def _contexts(indexes: list[int]) -> Iterable[dict[int, bool]]:
    """Outcomes of the schemas: every combination of a few, else all, none, and each alone."""
    if len(indexes) <= MAX_SCHEMAS:
        return (dict(zip(indexes, values, strict=True)) for values in product((False, True), repeat=len(indexes)))
    alone = [{i: i == j for i in indexes} for j in indexes]
    return [dict.fromkeys(indexes, False), *alone, dict.fromkeys(indexes, True)]


def _without_history(
    deployment: Deployment, lane: Lane, histories: Histories, configuration: int, schemas: tuple[bool, ...]
) -> Decision:
    case = Case(lane.index, configuration, "none", schemas)
    if histories.bound:
        detail = f"more than {histories.bound:,} kinds of histories lead through this definition; give them"
        return deployment.decide(case, Ends((), detail, too_wide=True))
    return deployment.decide(case, deployment.ends_without_history(lane.index, configuration))


def _with_history(
    deployment: Deployment,
    lane: Lane,
    histories: Histories,
    configuration: int,
    nodes: Sequence[Node],
    schemas: tuple[bool, ...],
) -> Iterator[tuple[Decision, tuple[str, ...]]]:
    """Each class of histories with its decision; classes that no decision can tell apart once."""
    case = Case(lane.index, configuration, "complete", schemas)
    seen = set()
    for node in nodes:
        _, facts, stack = node
        pairs = stack[-1][1]
        holds = tuple(a.holds(f) for a, f in zip(lane.anchors.automata, facts, strict=True))
        if (holds, pairs) not in seen:
            seen.add((holds, pairs))
            yield deployment.decide(case, Ends(tuple((facts, p) for p in pairs))), histories.path_to(node)


def _fate(d: Decision) -> Fate:
    """What tells endings apart: where an actor goes, or why it strands and where its history lands."""
    landings = frozenset(d.landings) if d.outcome == "strand" and not d.rule else frozenset()
    return (d.outcome, d.target, d.reason, d.rule if d.outcome == "strand" else "", landings)


def _note(here: dict[Fate, Ending], ending: Ending) -> None:
    """Enter an ending; where there is one like it, that one keeps its example and gains the hazards."""
    fate = _fate(ending.decision)
    known = here.get(fate)
    if known is None:
        here[fate] = ending
    elif set(ending.decision.hazards) - set(known.decision.hazards):
        hazards = tuple(dict.fromkeys((*known.decision.hazards, *ending.decision.hazards)))
        here[fate] = replace(known, decision=replace(known.decision, hazards=hazards))


def _unconditional(found: list[Ending], contexts: int) -> list[Ending]:
    """One ending without its context where it is the same under all of them."""
    return [replace(found[0], context=())] if len(found) == contexts else found


def _judge(fates: set[Fate], depends_on_history: bool) -> Verdict:
    outcomes = {fate[0] for fate in fates}
    if outcomes == {"strand"}:
        return "stranded"
    if outcomes == {"stay"}:
        return "stays"
    if len(fates) == 1:
        return "safe"
    return "depends_on_history" if depends_on_history else "depends_on_context"
