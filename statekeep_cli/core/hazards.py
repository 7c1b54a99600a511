"""Hazards: placements that are legal and may still surprise (apv.md section 8)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from statekeep_cli.core.alphabet import Alphabet
from statekeep_cli.core.configuration import is_in_final_state, leaves
from statekeep_cli.core.decision import Hazard
from statekeep_cli.core.graph import Graph
from statekeep_cli.core.model import Definition, Invoke, Path, StateNode
from statekeep_cli.core.outcomes import unstable_nodes
from statekeep_cli.core.placement import Placed
from statekeep_cli.core.replay import Lane
from statekeep_cli.core.semantics import State


@dataclass(frozen=True, slots=True)
class Placement:
    """A placed actor as hazards see it: `runs` is None without a snapshot."""

    before: int
    placed: Placed
    by_rule: bool  # a mapping or a route placed it
    settled: bool  # replay left it in a stable configuration
    runs: Callable[[int, Invoke], bool] | None  # is a node's invoke among the persisted children
    retired: Iterable[str]
    waived: bool
    bare: bool


def name_of(d: Definition, node: StateNode) -> str:
    return node.name or d.id


def same_invoke(source: Invoke, target: Invoke) -> bool:
    """By the author's id, or by position where the source has none; and the same actor logic."""
    same = source.id == target.id if source.own_id else source.position == target.position
    return same and source.src == target.src


def find(
    lane: Lane,
    source_graph: Graph,
    target_graph: Graph,
    p: Placement,
    entered: Callable[[Path], bool],
) -> tuple[Hazard, ...]:
    """All hazards of one placement. `entered` says whether the actor may have entered a source state."""
    found: dict[tuple[str, str, str], None] = {}
    target, source = lane.target, lane.source
    c = p.placed.configuration

    def add(hazard: str, state: str, detail: str = "") -> None:
        found[(hazard, state, detail)] = None

    for node in target.nodes_in(c):
        origin = p.placed.counterparts.get(node.index)
        before = source.nodes[origin] if origin is not None and p.before >> origin & 1 else None
        name = name_of(target, node)
        for invoke in node.invokes:
            if p.runs is not None:
                running = p.runs(node.index, invoke)
            else:
                running = before is not None and any(same_invoke(i, invoke) for i in before.invokes)
            if invoke.targeted and not running:
                add("invoke_not_started", name, invoke.src)
        for timer in node.timers:
            armed = before is not None and any(t.delay == timer.delay for t in before.timers)
            if timer.targeted and not armed:
                add("timer_not_armed", name, timer.delay)
        complete = f"xstate.done.state.{node.id}" in node.transitions and is_in_final_state(target, node, c)
        if complete and (before is None or not is_in_final_state(source, before, p.before)):
            add("done_not_raised", name)
        if node.entry and before is None:
            add("entry_not_run", name)
    if not p.settled:
        for node in unstable_nodes(target, State(c)):
            add("target_unstable", name_of(target, node))
    active = leaves(target, c)  # what is true of the whole configuration is said of each leaf
    if source_graph.reaches_final(p.before) and target_graph.reaches_final(c) is False:
        for leaf in active:
            add("dead_end", leaf.name)
    if p.by_rule:
        for node in gates(target_graph, c):
            paths = counterpart_paths(lane, node)
            if not any(entered(path) for path in paths):
                add("gate_skipped", node.name)
    for node in target.nodes_in(p.placed.defaulted):
        add("default_entry", node.name)
    for leaf in active:
        for event in sorted(p.retired):
            add("event_retired", leaf.name, event)
        if p.waived:
            add("replay_waived", leaf.name)
        if p.bare:
            add("bare_anchor", leaf.name)
    accepted = lane.migration.accepted
    return tuple(Hazard(h, s, accepted.get((h, s)), detail) for h, s, detail in found)


def gates(graph: Graph, configuration: int) -> list[StateNode]:
    """The nodes on every way to a configuration that it has left behind (or never had)."""
    passed = graph.passed(configuration)
    return [] if passed is None else list(graph.definition.nodes_in(passed & ~configuration))


def counterpart_paths(lane: Lane, node: StateNode) -> list[Path]:
    """The source states that identity or a mapping carries to this target node."""
    alphabet: Alphabet = lane.alphabets[lane.index]
    return list(alphabet.carried_to(node.index))
