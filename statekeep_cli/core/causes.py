"""Where a finding comes from: the part of a definition that causes it.

A best guess, as candidates in order: whoever has the files takes the first that is there. The last one is
always the target's root, so that a finding is never without a place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from heapq import nlargest
from operator import itemgetter
from typing import Any, Literal

from statekeep_cli.core.decision import Hazard
from statekeep_cli.core.model import Definition, Path, StateNode, Transition, join_path, split_path
from statekeep_cli.core.report import Group, GroupKey, Report

Pointer = tuple[str | int, ...]
TARGET: Literal["target"] = "target"  # what is about the deployment as a whole
FindingKey = GroupKey | Hazard | Literal["target"]
CANDIDATES = 5  # transitions that one finding is put down to
_OUTCOMES = {"onDone": "done.actor", "onError": "error.actor", "onSnapshot": "snapshot"}
# Where a hazard's node says what the hazard is about; else the node itself.
_HAZARD_KEYS = {
    "invoke_not_started": "invoke",
    "timer_not_armed": "after",
    "done_not_raised": "onDone",
    "target_unstable": "always",
}


@dataclass(frozen=True, slots=True)
class Cause:
    """A place in the definition with this digest; `part` says whether the key or the value is meant.

    An index into what is no list (one transition, one invoke) stands for that thing itself.
    """

    digest: str
    pointer: Pointer
    part: Literal["key", "value"] = "key"


def causes(
    sources: Sequence[Definition], target: Definition, report: Report
) -> dict[FindingKey, tuple[Cause, ...]]:
    """The causes of every strand group and of every unaccepted hazard, best guess first."""
    found: dict[FindingKey, tuple[Cause, ...]] = {TARGET: (Cause(target.digest, (), "value"),)}
    finder = _Finder(sources, target)
    for group in report.groups:
        if group.outcome == "strand":
            found[group.key] = finder.of_group(group)
        for hazard, _ in group.hazards:
            if hazard.is_finding and hazard not in found:
                found[hazard] = finder.of_hazard(hazard, group)
    return found


def at(config: Any, pointer: Pointer) -> Pointer | None:
    """The pointer as this config writes it, or None where it has no such part."""
    found: list[str | int] = []
    for step in pointer:
        if isinstance(step, int) and not isinstance(config, list):
            if step:
                return None
            continue  # the only one, and not in a list
        try:
            config = config[step]
        except (KeyError, IndexError, TypeError):
            return None
        found.append(step)
    return tuple(found)


# --- what differs ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Change:
    """A transition (or an initial state) that leads elsewhere now: from `gone`, to `new`."""

    node: Path
    event: str
    gone: frozenset[Path]
    new: frozenset[Path]
    pointer: Pointer

    def weight(self, state: Sequence[Path], landings: Sequence[Path], stuck: Sequence[str]) -> int:
        """How much it explains that this state is missed, or these landings are met."""
        missed = _any_covers(self.gone, state)
        met = _any_covers(self.new, landings)
        refused = not self.new and self.event in stuck and _any_covers((self.node,), landings)
        return 2 * missed + 2 * met + 5 * refused


def _changes(source: Definition, target: Definition) -> list[_Change]:
    found = []
    renamed = ((target.migration.get("rename") or {}).get("events")) or {}
    for node in source.nodes:
        there = target.node(node.path)
        if there is None:
            continue
        at_node = pointer_of(node.path)
        old, new = _started(source, node), _started(target, there)
        if old and new and old != new:
            found.append(_Change(node.path, "", old, new, (*at_node, "initial")))
        before, after = dict(_listed(node)), dict(_listed(there))
        for where, transitions in before.items():
            event = str(where[-1]) if where[0] == "on" else ""
            now = ("on", renamed.get(event, event)) if event else where
            found += _compared(source, target, node.path, event, transitions, after.pop(now, ()), now)
        for where, transitions in after.items():
            found += _compared(source, target, node.path, "", (), transitions, where)
    return found


def _compared(
    source: Definition,
    target: Definition,
    node: Path,
    event: str,
    before: Sequence[Transition],
    after: Sequence[Transition],
    where: Pointer,
) -> Iterator[_Change]:
    def said(d: Definition, t: Transition) -> tuple[Any, ...]:
        return (tuple(d.nodes[i].path for i in t.targets or ()), t.guard)

    old, new = [said(source, t) for t in before], [said(target, t) for t in after]
    if old == new:
        return
    first = next((i for i, x in enumerate(new) if i >= len(old) or old[i] != x), 0)
    gone = frozenset(p for paths, _ in old for p in paths) - {p for paths, _ in new for p in paths}
    come = frozenset(p for paths, _ in new for p in paths) - {p for paths, _ in old for p in paths}
    pointer = (*pointer_of(node), *where, first) if new else (*pointer_of(node), *where[:1])
    yield _Change(node, event, gone, come, pointer)


def _started(d: Definition, node: StateNode) -> frozenset[Path]:
    return frozenset((d.nodes[node.initial].path,)) if node.initial >= 0 else frozenset()


def _listed(node: StateNode) -> Iterator[tuple[Pointer, tuple[Transition, ...]]]:
    """A node's transitions by where they are written; derived event names are taken apart again."""
    derived: dict[str, Pointer] = {f"xstate.done.state.{node.id}": ("onDone",)}
    derived |= {f"xstate.after.{t.delay}.{node.id}": ("after", t.delay) for t in node.timers}
    for invoke in node.invokes:
        for key, kind in _OUTCOMES.items():
            derived[f"xstate.{kind}.{invoke.id}"] = ("invoke", invoke.position, key)
    for descriptor, transitions in node.transitions.items():
        yield derived.get(descriptor, ("on", descriptor)), transitions
    if node.always:
        yield ("always",), node.always


# --- the finder ------------------------------------------------------------------------------------------


class _Finder:
    def __init__(self, sources: Sequence[Definition], target: Definition):
        self.sources = sources
        self.target = target
        self.changes: dict[str, list[_Change]] = {}
        # What kind of cause a reason has; others have their rule, or the state itself.
        self.kinds: Mapping[str, Callable[[Group, Definition, list[Path]], Iterator[Cause]]] = {
            "state_removed": self.removed,
            "region_removed": self.removed,
            "kind_changed": self.kind_changed,
            "region_added": self.region_added,
            "event_refused": self.led_elsewhere,
            "diverged": self.led_elsewhere,
            "ambiguous": self.led_elsewhere,
            "history_required": self.led_elsewhere,
            "obligation_unmet": self.obligation,
            "context_invalid": self.context,
        }

    def of_group(self, g: Group) -> tuple[Cause, ...]:
        found = list(self.of_rule(g.rule))
        source = self.source_of(g)
        state = paths_of(g.source.value) if g.source is not None else []
        if source is not None:
            kind = self.kinds.get(g.reason)
            if kind is not None:
                found += kind(g, source, state)
            elif not g.rule:  # the record or its history is at odds with the source itself
                found += [Cause(source.digest, pointer_of(p)) for p in state[:1] if p in source.by_path]
        return tuple(dict.fromkeys((*found, *self.fallback(state))))

    def of_hazard(self, h: Hazard, g: Group) -> tuple[Cause, ...]:
        found = list(self.of_rule(g.rule)) if h.hazard == "gate_skipped" else []
        path = () if h.state == self.target.id else split_path(h.state)
        if path in self.target.by_path:
            key = _HAZARD_KEYS.get(h.hazard)
            if h.hazard == "timer_not_armed":
                found.append(Cause(self.target.digest, (*pointer_of(path), "after", h.detail)))
            if key is not None:
                found.append(Cause(self.target.digest, (*pointer_of(path), key)))
        return tuple(dict.fromkeys((*found, *self.fallback([path]))))

    def fallback(self, state: Sequence[Path]) -> Iterator[Cause]:
        """What the target has of this state, and at last its root."""
        for path in state[:1]:
            for length in range(len(path), 0, -1):
                if path[:length] in self.target.by_path:
                    yield Cause(self.target.digest, pointer_of(path[:length]))
                    break
        yield Cause(self.target.digest, (), "value")

    def source_of(self, g: Group) -> Definition | None:
        if g.source is None:
            return None
        label = (g.source.definition, str(g.source.version))
        return next((d for d in self.sources if (d.id, str(d.version)) == label), None)

    def of_rule(self, rule: str) -> Iterator[Cause]:
        """The entry that a rule of the target names: a route, a mapping, an anchor."""
        kind, _, name = rule.partition(" ")
        block = self.target.migration
        if kind == "route" and name.isdecimal():
            yield Cause(self.target.digest, ("migration", "routes", int(name) - 1), "value")
        elif kind == "mapping":
            for key in _named(block.get("stateMapping") or {}, name):
                yield Cause(self.target.digest, ("stateMapping", key))
                yield Cause(self.target.digest, ("migration", "stateMapping", key))
        elif kind == "anchor":
            for key in _named(block.get("anchors") or {}, name, str):
                yield Cause(self.target.digest, ("migration", "anchors", key))

    # --- by reason ---

    def removed(self, g: Group, source: Definition, state: list[Path]) -> Iterator[Cause]:
        for path in _with_ancestors(state):
            if path in source.by_path and path not in self.target.by_path:
                yield Cause(source.digest, pointer_of(path))
                break
        yield from self.led_elsewhere(g, source, state)

    def kind_changed(self, g: Group, source: Definition, state: list[Path]) -> Iterator[Cause]:
        for path in _with_ancestors(state):
            here, there = source.node(path), self.target.node(path)
            if here is not None and there is not None and here.kind != there.kind:
                yield Cause(self.target.digest, pointer_of(path))

    def region_added(self, g: Group, source: Definition, state: list[Path]) -> Iterator[Cause]:
        for path in ((), *_with_ancestors(state)):
            there = self.target.node(path)
            if there is None or there.kind != "parallel":
                continue
            for child in there.children:
                added = self.target.nodes[child].path
                if added not in source.by_path:
                    yield Cause(self.target.digest, pointer_of(added))

    def led_elsewhere(self, g: Group, source: Definition, state: list[Path]) -> Iterator[Cause]:
        """The transitions that most likely made the difference, then where the histories land."""
        landings = [p for landing, _ in g.landings for p in paths_of(landing.value)]
        stuck = [landing.stuck for landing, _ in g.landings if landing.stuck]
        if source.digest not in self.changes:
            self.changes[source.digest] = _changes(source, self.target)
        weighed = [(c.weight(state, landings, stuck), c) for c in self.changes[source.digest]]
        for weight, change in nlargest(CANDIDATES, weighed, key=itemgetter(0)):
            if weight:
                yield Cause(self.target.digest, change.pointer, "value")
        for path in landings:
            if path in self.target.by_path:
                yield Cause(self.target.digest, pointer_of(path))

    def obligation(self, g: Group, source: Definition, state: list[Path]) -> Iterator[Cause]:
        owed = g.detail.partition(" requires ")[0]
        for key in _named(self.target.migration.get("obligations") or {}, owed):
            yield Cause(self.target.digest, ("migration", "obligations", key))

    def context(self, g: Group, source: Definition, state: list[Path]) -> Iterator[Cause]:
        yield Cause(self.target.digest, ("contextSchema",))


# --- paths -----------------------------------------------------------------------------------------------


def pointer_of(path: Path) -> Pointer:
    """Where a state node is written."""
    return tuple(step for key in path for step in ("states", key))


def paths_of(value: Any) -> list[Path]:
    """The paths of a state value's leaves; nothing for what is no state value."""
    if isinstance(value, str):
        return [split_path(value)]
    found: list[Path] = []
    todo: list[tuple[Path, Any]] = [((), value)]
    while todo:
        path, inner = todo.pop()
        if isinstance(inner, dict) and (inner or not path):
            todo.extend(((*path, key), inside) for key, inside in reversed(inner.items()))
        elif isinstance(inner, str):
            found.append((*path, inner))
        elif isinstance(inner, dict):
            found.append(path)
    return found


def _with_ancestors(state: Sequence[Path]) -> list[Path]:
    """The paths and everything above them but the root, outermost first."""
    return list(dict.fromkeys(path[:n] for path in state for n in range(1, len(path) + 1)))


def _any_covers(places: Sequence[Path] | frozenset[Path], states: Sequence[Path]) -> bool:
    """Is one of the states inside one of the places, or around it?"""
    return any(p[: len(s)] == s[: len(p)] for p in places for s in states)


def _named(
    entries: Mapping[str, Any], names: str, spell: Callable[[str], str] = lambda k: join_path(split_path(k))
) -> Iterator[str]:
    """The entries that a list of names (`a, b`) begins with or is; keys may hold commas themselves."""
    for key in entries:
        name = spell(key)
        if names == name or names.startswith(name + ", "):
            yield key
