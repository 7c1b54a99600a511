"""What a new definition means for every state of its sources, without any actors.

For each reachable source configuration the histories that lead there are told apart as far as the decision
can tell them apart (apv.md section 5, last part). Every class is then decided by `Deployment.decide` itself,
as an actor with that history would be, and so is an actor without one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Literal

from statekeep_cli.core.apv import Case, Deployment, Ends, FollowMore
from statekeep_cli.core.changes import Change, changes
from statekeep_cli.core.configuration import is_done, leaves
from statekeep_cli.core.decision import Decision, Hazard, Landing, Place
from statekeep_cli.core.histories import MAX_HISTORIES, Class, Histories
from statekeep_cli.core.replay import Pair
from statekeep_cli.core.semantics import enter_by_default

Verdict = Literal[
    "safe", "depends_on_history", "depends_on_context", "stranded", "undecided", "stays", "done"
]
VERDICTS: tuple[Verdict, ...] = (
    "safe", "depends_on_history", "depends_on_context", "stranded", "undecided", "stays", "done",
)  # fmt: skip
MAX_SCHEMAS = 4  # context schemas of one state whose outcomes are combined in every way

Condition = tuple[tuple[str, bool], ...]
Fate = tuple[str, Place | None, str, str, frozenset[Landing]]


@dataclass(frozen=True, slots=True)
class Ending:
    """One way in which actors of a state fare.

    `example` is a shortest history that ends like this, as event types; None where there is no need of one.
    `context` are the context schemas this turns on, each with its outcome: `("route 1", True)`.
    """

    decision: Decision
    example: tuple[str, ...] | None = None
    context: Condition = ()


@dataclass(frozen=True, slots=True)
class StateVerdict:
    """What holds for the actors in one source configuration.

    `leaves` are the paths of its active leaves. `endings` are all the ways they may fare, the shortest
    history first: one for `safe`, one or more for `stranded` and `stays` (there may be several reasons), none
    for `done`. `without_history` is what actors without a history get, None where the state is done.
    `reachable` is False for states that no history leads to. `undecided`: there are more histories than are
    followed.
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
        """Does every actor in this state keep it, by name, with a history or without?"""
        if self.verdict != "safe" or self.needs_history:
            return self.verdict == "done"
        places = [e.decision.target for e in self.endings]
        return all(p is not None and p.state == self.source.state for p in places)

    @property
    def needs_history(self) -> bool:
        """Does the verdict hold only for actors that bring a history?"""
        alone = self.without_history
        if self.verdict not in ("safe", "stays") or alone is None:
            return False
        fates = ((e.decision.outcome, e.decision.target) for e in self.endings)
        return (alone.outcome, alone.target) not in fates


@dataclass(frozen=True, slots=True)
class SourceDiff:
    """One source beside the target. `bound` is the number of classes of histories past which they were not
    told apart any more (0: all were); the verdicts are then those of actors without a history."""

    lane: int
    label: str
    changes: tuple[Change, ...]
    states: tuple[StateVerdict, ...]
    bound: int = 0

    def counts(self) -> dict[Verdict, int]:
        """How many states have each verdict, those with none left out."""
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


def diff(
    deployment: Deployment, limit: int = MAX_HISTORIES, on_class: Callable[[int], None] | None = None
) -> Diff:
    """The target beside each of its sources. The deployment may come to follow more facts than before;
    `limit` and `on_class` are those of `Histories`."""
    notes = []
    if deployment.target.context_schema is not None:
        notes.append("the target has a contextSchema; preview checks every actor's context against it")
    found = tuple(_source(deployment, i, limit, on_class) for i in range(len(deployment.lanes)))
    return Diff(deployment.target.label, found, tuple(notes))


def _source(
    deployment: Deployment, index: int, limit: int, on_class: Callable[[int], None] | None
) -> SourceDiff:
    while True:
        lane = deployment.lanes[index]
        try:
            histories = Histories(lane, limit, on_class)
            states = tuple(_Judge(deployment, histories).states())
        except FollowMore as more:
            deployment.follow(more.lane, more.paths)
        else:
            return SourceDiff(index, lane.source.label, changes(lane), states, histories.bound)


class _Judge:
    """Verdicts about the states of one source."""

    def __init__(self, deployment: Deployment, histories: Histories):
        self.deployment = deployment
        self.histories = histories
        self.lane = histories.lane
        self.source = self.lane.source
        self.classes = {} if histories.bound else histories.by_configuration()
        self.proofs: dict[int, dict[Pair, None]] = {}
        self.proof_bound = histories.bound
        if not histories.bound or histories.places_repeat:
            reach = deployment.reach(self.lane.index)
            self.proof_bound = reach.bound
            for r in reach.came:
                self.proofs.setdefault(r.source.configuration, {})[r.pair] = None

    def states(self) -> Iterator[StateVerdict]:
        """Reachable configurations, shortest histories first, then leaves that none reaches."""
        seen = 0
        for configuration in self.classes or self.proofs or self.histories.by_configuration():
            seen |= configuration
            yield self.verdict(configuration, self.classes.get(configuration, ()))
        if self.proof_bound:
            return
        for node in self.source.nodes:
            if node.is_leaf and not seen >> node.index & 1:
                configuration = enter_by_default(self.source, node)
                yield replace(self.verdict(configuration, ()), reachable=False)

    def verdict(self, configuration: int, classes: Sequence[Class]) -> StateVerdict:
        place = self.deployment.place(self.source, configuration)
        names = tuple(n.name for n in leaves(self.source, configuration))
        if is_done(self.source, configuration):
            return StateVerdict(place, names, "done")
        asked = self.schemas(configuration)
        conditions = _conditions(list(asked))
        endings: dict[Fate, list[Ending]] = {}
        depends_on_history = False
        alone: Decision | None = None
        for outcomes in conditions:
            schemas = tuple(outcomes.get(i, False) for i in range(len(self.deployment.schemas)))
            context = tuple((asked[i], value) for i, value in outcomes.items())
            without = self.without_history(configuration, schemas)
            alone = alone or without
            here: dict[Fate, Ending] = {}
            if classes:
                for decision, example in self.with_history(configuration, classes, schemas):
                    _note(here, Ending(decision, example, context))
            else:
                _note(here, Ending(without, None, context))
            if len(here) == 1:  # whatever the history: no example is needed, and a proof may speak for it
                fate, only = here.popitem()
                if _fate(without) == fate:
                    _note(here, Ending(without, None, context))
                _note(here, replace(only, example=None))
            for fate, ending in here.items():
                endings.setdefault(fate, []).append(ending)
            depends_on_history |= len(here) > 1
        merged = tuple(e for found in endings.values() for e in _unconditional(found, len(conditions)))
        verdict = _judged(set(endings), depends_on_history)
        if self.histories.bound and any(e.decision.reason == "history_required" for e in merged):
            verdict = "undecided"
        return StateVerdict(place, names, verdict, merged, alone)

    def schemas(self, configuration: int) -> dict[int, str]:
        """The context schemas that a decision about this configuration may ask, named by who asks first."""
        m = self.lane.migration
        asks = [("eligible", m.eligible)]
        for route in m.routes:
            at = self.source.by_path.get(route.source)
            if at is not None and configuration >> at & 1:
                asks.append((f"route {route.number}", route.when))
        found: dict[int, str] = {}
        for name, predicate in asks:
            if predicate.context:
                found.setdefault(self.deployment.schemas.index(predicate.context), name)
        return found

    def without_history(self, configuration: int, schemas: tuple[bool, ...]) -> Decision:
        """As `Deployment.ends_without_history` has it, for all configurations at once."""
        case = Case(self.lane.index, configuration, "none", schemas)
        readings = tuple(((), p) for p in self.proofs.get(configuration, ()))
        detail = f"the proof stopped at {self.proof_bound:,} paths; give histories instead"
        return self.deployment.decide(case, Ends(readings, detail, bool(self.proof_bound)))

    def with_history(
        self, configuration: int, classes: Sequence[Class], schemas: tuple[bool, ...]
    ) -> Iterator[tuple[Decision, tuple[str, ...]]]:
        """Each class of histories with its decision; classes that no decision can tell apart once."""
        case = Case(self.lane.index, configuration, "complete", schemas)
        automata = self.lane.anchors.automata
        seen = set()
        for found in classes:
            facts = next(iter(found)).facts
            pairs = frozenset(r.pair for r in found)
            holds = tuple(a.holds(f) for a, f in zip(automata, facts[1:], strict=True))
            if (holds, pairs) not in seen:
                seen.add((holds, pairs))
                decision = self.deployment.decide(case, Ends(tuple((facts, p) for p in pairs)))
                yield decision, self.histories.path_to(found)


def _conditions(indexes: list[int]) -> list[dict[int, bool]]:
    """Outcomes of context schemas: every combination of a few, else none, each alone, and all."""
    if len(indexes) <= MAX_SCHEMAS:
        values = product((False, True), repeat=len(indexes))
        return [dict(zip(indexes, v, strict=True)) for v in values]
    alone = [{i: i == j for i in indexes} for j in indexes]
    return [dict.fromkeys(indexes, False), *alone, dict.fromkeys(indexes, True)]


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


def _unconditional(found: list[Ending], conditions: int) -> list[Ending]:
    """One ending without its condition where it is the same under all of them."""
    return [replace(found[0], context=())] if len(found) == conditions else found


def _judged(fates: set[Fate], depends_on_history: bool) -> Verdict:
    outcomes = {fate[0] for fate in fates}
    if outcomes == {"strand"}:
        return "stranded"
    if outcomes == {"stay"}:
        return "stays"
    if len(fates) == 1:
        return "safe"
    return "depends_on_history" if depends_on_history else "depends_on_context"
