"""Two definitions as plain values to draw: boxes, arrows, what changed, and how many actors stand where."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from statekeep_cli.core.changes import Candidate, Change, Comparison, changes, comparison, paired, said
from statekeep_cli.core.configuration import configuration_of
from statekeep_cli.core.decision import Place
from statekeep_cli.core.model import Definition, Kind, StateNode, Transition
from statekeep_cli.core.replay import Lane
from statekeep_cli.core.report import Group, Report

Mark = Literal["", "added", "removed", "changed"]


@dataclass(frozen=True, slots=True)
class Arrow:
    """One transition. `targets` are indexes of boxes, empty where it leads nowhere else; `note` says what
    it was or what it becomes."""

    event: str
    guard: str
    targets: tuple[int, ...]
    mark: Mark = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Box:
    """One state node; box *i* of a chart is node *i* of its definition.

    `count` are the actors in it, those inside its children included: before the deployment in a source,
    after it in the target. `stranded` of them stay behind, `idle` more are done and are not moved.
    """

    name: str
    key: str
    kind: Kind
    parent: int
    children: tuple[int, ...]
    initial: int
    deep: bool
    arrows: tuple[Arrow, ...]
    mark: Mark = ""
    notes: tuple[str, ...] = ()
    count: int = 0
    stranded: int = 0
    idle: int = 0


@dataclass(frozen=True, slots=True)
class Chart:
    label: str
    boxes: tuple[Box, ...]


@dataclass(frozen=True, slots=True)
class Flow:
    """`count` actors go from one state to another (JSON); `target` is None where they stay or strand.
    `source` is None where their state could not be told."""

    outcome: Literal["migrate", "strand", "stay"]
    source: str | None
    target: str | None
    count: int


@dataclass(frozen=True, slots=True)
class Pair:
    """A source beside the target, and what becomes of the source's actors."""

    before: Chart
    after: Chart
    changes: tuple[Change, ...]
    flows: tuple[Flow, ...]


def pair_of(place: Place | None, sources: Sequence[Definition]) -> int:
    """Which source a place is of. What belongs to none (an unknown version) counts with the first."""
    if place is not None:
        for i, d in enumerate(sources):
            if (d.id, str(d.version)) == (place.definition, str(place.version)):
                return i
    return 0


def charts(sources: Sequence[Definition], target: Definition, report: Report) -> tuple[Pair, ...]:
    """Each source beside the target, with the report's counts."""
    found = []
    for index, source in enumerate(sources):
        groups = [g for g in report.groups if pair_of(g.source, sources) == index]
        lane = Lane(sources, index, target)
        marks = _Marks(comparison(lane), changes(lane))
        before = _Count(source, _befores(groups))
        after = _Count(target, ((g.target, g.count, 0, 0) for g in groups if g.outcome == "migrate"))
        found.append(
            Pair(
                Chart(source.label, tuple(_boxes(source, marks.before, before))),
                Chart(target.label, tuple(_boxes(target, marks.after, after))),
                marks.changes,
                _flows(groups),
            )
        )
    return tuple(found)


def _befores(groups: Iterable[Group]) -> Iterator[tuple[Place | None, int, int, int]]:
    for g in groups:
        idle = g.outcome == "skip"
        stranded = g.count if g.outcome == "strand" else 0
        yield g.source, 0 if idle else g.count, stranded, g.count if idle else 0


def _flows(groups: Iterable[Group]) -> tuple[Flow, ...]:
    found: dict[tuple[Literal["migrate", "strand", "stay"], str | None, str | None], int] = {}
    for g in groups:
        if g.outcome != "skip":
            source = None if g.source is None else g.source.state
            key = (g.outcome, source, None if g.target is None else g.target.state)
            found[key] = found.get(key, 0) + g.count
    return tuple(Flow(*key, count) for key, count in found.items())


class _Count:
    """Actors per node: all, stranded, idle."""

    def __init__(self, d: Definition, places: Iterable[tuple[Place | None, int, int, int]]):
        self.counts = [[0, 0, 0] for _ in d.nodes]
        for place, *numbers in places:
            if place is None or (place.definition, str(place.version)) != (d.id, str(d.version)):
                continue
            for node in d.nodes_in(configuration_of(d, place.value) or 0):
                for i, n in enumerate(numbers):
                    self.counts[node.index][i] += n


@dataclass(slots=True)
class _Side:
    """What is said about the nodes and the transitions of one definition."""

    nodes: dict[int, Mark] = field(default_factory=dict)
    notes: dict[int, list[str]] = field(default_factory=dict)
    arrows: dict[int, tuple[Mark, str]] = field(default_factory=dict)  # by the transition's identity

    def change(self, index: int, note: str) -> None:
        self.nodes.setdefault(index, "changed")
        self.notes.setdefault(index, []).append(note)


class _Marks:
    """Every structural change, at the node or transition that has it."""

    def __init__(self, compare: Comparison, found: tuple[Change, ...]):
        self.compare, self.changes = compare, found
        self.before, self.after = _Side(), _Side()
        kept = {there.index for there in compare.there.values() if there is not None}
        self.before.nodes = {i: "removed" for i, there in compare.there.items() if there is None}
        self.after.nodes = {n.index: "added" for n in compare.target.nodes if n.index not in kept}
        for node in compare.source.nodes:
            there = compare.there[node.index]
            if there is None:
                self._all(self.before, node, "removed")
            elif "history" not in (node.kind, there.kind):
                self._transitions(node, there)
        for node in compare.target.nodes:
            if self.after.nodes.get(node.index) == "added":
                self._all(self.after, node, "added")
        for change in found:
            self._note(change)

    @staticmethod
    def _all(side: _Side, node: StateNode, mark: Mark) -> None:
        for t in _transitions(node):
            side.arrows[id(t)] = (mark, "")

    def _transitions(self, node: StateNode, there: StateNode) -> None:
        for _, before, after in self.compare.candidates(node, there):
            for i, j in paired([c for _, c in before], [c for _, c in after]):
                if j is None and i is not None:
                    self.before.arrows[id(before[i][0])] = ("removed", "")
                elif i is None and j is not None:
                    self.after.arrows[id(after[j][0])] = ("added", "")
                elif i is not None and j is not None and before[i][1] != after[j][1]:
                    was, now = before[i][1], after[j][1]
                    self.before.arrows[id(before[i][0])] = ("changed", _became("becomes", now, was))
                    self.after.arrows[id(after[j][0])] = ("changed", _became("was", was, now))

    def _note(self, change: Change) -> None:
        say = {
            "state_renamed": ("renamed to {after}", "was {before}"),
            "state_moved": ("its actors go to {after}", ""),
            "kind_changed": ("becomes {after}", "was {before}"),
            "initial_changed": ("will start in {after}", "started in {before}"),
            "history_changed": ("becomes {after}", "was {before}"),
            "timer_removed": ("timer {before} removed", ""),
            "timer_changed": ("timer {before} becomes {after}", "timer {after}, was {before}"),
            "timer_added": ("", "timer {after} added"),
            "invoke_removed": ("invoke {before} removed", ""),
            "invoke_changed": ("invoke {before} becomes {after}", "invoke {after}, was {before}"),
            "invoke_added": ("", "invoke {after} added"),
        }.get(change.kind)
        if say is None:
            return
        of_target = change.kind in ("timer_added", "invoke_added")
        name = "" if change.state == "(the machine)" else change.state
        source = None if of_target else self._node(self.compare.source, name)
        there = self._node(self.compare.target, name) if of_target else None
        if source is not None:
            there = self.compare.there[source.index]
        for side, node, words in ((self.before, source, say[0]), (self.after, there, say[1])):
            if node is not None and words:
                text = words.replace("{before}", "\0").replace("{after}", change.after)
                side.change(node.index, text.replace("\0", change.before))

    @staticmethod
    def _node(d: Definition, name: str) -> StateNode | None:
        return d.root if not name else d.node(name)


def _became(word: str, other: Candidate, than: Candidate) -> str:
    parts = []
    if other.guard != than.guard:
        parts.append(f"[{other.guard or 'no guard'}]")
    if other.to != than.to:
        parts.append(other.to)
    return f"{word} {' '.join(parts)}"


def _transitions(node: StateNode) -> Iterator[Transition]:
    for ts in node.transitions.values():
        yield from ts
    yield from node.always


def _boxes(d: Definition, side: _Side, count: _Count) -> Iterator[Box]:
    for node in d.nodes:
        arrows = []
        for t in _transitions(node):
            mark, note = side.arrows.get(id(t), ("", ""))
            guard = "" if t.guard is None else t.guard.name + (f" {t.guard.params}" if t.guard.params else "")
            event = said(node, t.descriptor) if t.descriptor else "always"
            if t.targets is None:
                event += " (forbidden)" if t.forbidden else ""
            arrows.append(Arrow(event, guard, t.targets or (), mark, note))
        children = tuple(sorted((*node.children, *node.history_children)))
        yield Box(
            node.name, node.path[-1] if node.path else d.label, node.kind, node.parent, children,
            node.initial, node.deep, tuple(arrows), side.nodes.get(node.index, ""),
            tuple(side.notes.get(node.index, ())), *count.counts[node.index],
        )  # fmt: skip
