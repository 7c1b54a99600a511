"""What changed between two definitions: states, transitions, timers, invokes, events and guards.

States are the same by name, or where a mapping carries one to the other. Transitions are compared as the
target would hear them: event names renamed, derived ones translated, targets carried.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from statekeep_cli.core.alphabet import Alphabet, is_internal
from statekeep_cli.core.migration import Migration
from statekeep_cli.core.model import Definition, Guard, Invoke, Path, StateNode, Transition, canonical
from statekeep_cli.core.placement import carry, longest_key, target_nodes
from statekeep_cli.core.replay import Lane
from statekeep_cli.core.semantics import leaves

KINDS = (
    "state_added",
    "state_removed",
    "state_moved",
    "kind_changed",
    "region_added",
    "region_removed",
    "initial_changed",
    "history_changed",
    "transition_added",
    "transition_removed",
    "transition_retargeted",
    "guard_changed",
    "order_changed",
    "timer_added",
    "timer_removed",
    "timer_changed",
    "invoke_added",
    "invoke_removed",
    "invoke_changed",
    "event_new",
    "event_retired",
    "event_renamed",
    "guard_new",
    "guard_dropped",
    "guard_renamed",
    "guard_redefined",
    "context_schema_changed",
)


@dataclass(frozen=True, slots=True)
class Change:
    """One structural change. `kind` is one of `KINDS`; `state` is the state it is about (a source state's
    path, or a target's for what was added; "" for the definition as a whole), `on` the event of a transition,
    `before` and `after` what it was and what it is."""

    kind: str
    state: str = ""
    on: str = ""
    before: str = ""
    after: str = ""


def changes(lane: Lane) -> tuple[Change, ...]:
    """All structural changes from a lane's source to its target, states first, in document order."""
    compare = _Comparison(lane.source, lane.target, lane.migration, lane.alphabets[lane.index])
    return tuple(sorted(dict.fromkeys(compare.all()), key=lambda c: _ORDER[c.kind]))


_ORDER = {kind: KINDS.index(kind) for kind in KINDS}


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A transition in words: what it turns on, and where it leads under the target's names."""

    guard: str
    to: str


class _Comparison:
    def __init__(self, source: Definition, target: Definition, m: Migration, alphabet: Alphabet):
        self.source, self.target, self.m, self.alphabet = source, target, m, alphabet
        self.there = {n.index: self._counterpart(n) for n in source.nodes}

    def _counterpart(self, node: StateNode) -> StateNode | None:
        return self.target.root if not node.path else carry(self.target, self.m.mapping, node.path)

    def all(self) -> Iterator[Change]:
        yield from self.states()
        for node in self.source.nodes:
            there = self.there[node.index]
            if there is not None and (there.kind == "history") == (node.kind == "history"):
                yield from self.inside(node, there)
        yield from self.events()
        yield from self.guards()
        before, after = self.source.context_schema, self.target.context_schema
        if canonical(before) != canonical(after):
            yield Change("context_schema_changed", before=_presence(before), after=_presence(after))

    # states

    def states(self) -> Iterator[Change]:
        named: set[int] = set()  # target nodes that some source state is, by name or by mapping
        for node in self.source.nodes:
            there = self.there[node.index]
            if there is not None:
                named |= {there.index, *(n.index for n in self.target.nodes_in(there.ancestors))}
            key = longest_key(self.m.mapping, node.path)
            same = self.target.node(node.path)
            if same is not None:
                named.add(same.index)
            if key is not None and (there is None or there.path != node.path):
                if key == node.path or there is not None:
                    to = there.name if there is not None else self._value(self.m.mapping[key])
                    yield Change("state_moved", node.name, before=node.name, after=to)
                elif same is None:
                    yield Change("state_removed", node.name, before=node.kind)
            elif there is None:
                parallel = node.parent >= 0 and self.source.nodes[node.parent].kind == "parallel"
                kept = self.there[node.parent]
                region = parallel and kept is not None and kept.kind == "parallel"
                yield Change("region_removed" if region else "state_removed", node.name, before=node.kind)
            if there is not None and there.kind != node.kind:
                yield Change("kind_changed", node.name, before=node.kind, after=there.kind)
        parallel_before = {t.index for i, t in self.there.items() if t and self.source.nodes[i].kind == "parallel"}
        for node in self.target.nodes:
            if node.index not in named:
                region = node.parent in parallel_before and self.target.nodes[node.parent].kind == "parallel"
                yield Change("region_added" if region else "state_added", node.name, after=node.kind)

    def _value(self, value: object) -> str:
        nodes = target_nodes(self.target, value)[1]
        return " + ".join(n.name for n in leaves(self.target, nodes))

    # one state and its counterpart

    def inside(self, node: StateNode, there: StateNode) -> Iterator[Change]:
        if node.kind == there.kind == "compound":
            yield from self._where("initial_changed", node, self.carried((node.initial,)), there, (there.initial,))
        if node.kind == "history":
            before = f"{'deep' if node.deep else 'shallow'}, else {self.names(self.carried(node.default))}"
            after = f"{'deep' if there.deep else 'shallow'}, else {self.names(self._paths(there.default))}"
            if before != after:
                yield Change("history_changed", node.name, before=before, after=after)
            return
        yield from self.timers(node, there)
        yield from self.invokes(node, there)
        here: dict[str, tuple[str, list[_Candidate]]] = {}
        for descriptor, ts in node.transitions.items():
            heard = self.heard(node, there, descriptor)
            here[heard] = (said(node, descriptor), [self.candidate(t) for t in ts])
        after_all = {d: [_candidate(self.target, t) for t in ts] for d, ts in there.transitions.items()}
        if node.always or there.always:
            here[""] = ("always", [self.candidate(t) for t in node.always])
            after_all[""] = [_candidate(self.target, t) for t in there.always]
        for heard in dict.fromkeys((*here, *after_all)):
            on, before = here.get(heard, ("", []))
            on = on or ("always" if not heard else said(there, heard))
            yield from _candidates(node.name, on, before, after_all.get(heard, []))

    def _where(
        self, kind: str, node: StateNode, before: Sequence[Path | None], there: StateNode, after: Iterable[int]
    ) -> Iterator[Change]:
        if list(before) != self._paths(after):
            was = [self.source.nodes[node.initial].path]
            yield Change(kind, node.name, before=self.names(was), after=self.names(self._paths(after)))

    def heard(self, node: StateNode, there: StateNode, descriptor: str) -> str:
        if descriptor == f"xstate.done.state.{node.id}":
            return f"xstate.done.state.{there.id}"
        return self.alphabet.translate(descriptor)

    def carried(self, nodes: Iterable[int]) -> list[Path | None]:
        found = [self.there[i] for i in nodes]
        return [None if n is None else n.path for n in found]

    def _paths(self, nodes: Iterable[int]) -> list[Path | None]:
        return [self.target.nodes[i].path for i in nodes]

    def names(self, paths: Iterable[Path | None]) -> str:
        return " + ".join("(nowhere)" if p is None else ".".join(p) or "(the machine)" for p in paths)

    def candidate(self, t: Transition) -> _Candidate:
        to = _stays(t)
        if t.targets:
            found = [self.there[i] for i in t.targets]
            names = [self.source.nodes[i].name if n is None else n.name for i, n in zip(t.targets, found, strict=True)]
            to = " + ".join(names)
        guard = None if t.guard is None else Guard(self.m.rename_guards.get(t.guard.name, t.guard.name), t.guard.params)
        return _Candidate(_guard(guard), to + _reenters(t))

    # timers, invokes

    def timers(self, node: StateNode, there: StateNode) -> Iterator[Change]:
        kept: set[str] = set()
        for timer in node.timers:
            after = self.alphabet.translate(f"xstate.after.{timer.delay}.{node.id}")
            match = next((t.delay for t in there.timers if after == f"xstate.after.{t.delay}.{there.id}"), None)
            if match is None:
                yield Change("timer_removed", node.name, before=timer.delay)
                continue
            kept.add(match)
            if match != timer.delay:
                yield Change("timer_changed", node.name, before=timer.delay, after=match)
        for timer in there.timers:
            if timer.delay not in kept:
                yield Change("timer_added", there.name, after=timer.delay)

    def invokes(self, node: StateNode, there: StateNode) -> Iterator[Change]:
        def key(i: Invoke) -> object:
            return i.id if i.own_id else i.position

        after = {key(i): i for i in there.invokes}
        for invoke in node.invokes:
            match = after.pop(key(invoke), None)
            if match is None:
                yield Change("invoke_removed", node.name, before=_invoke(invoke))
            elif match.src != invoke.src:
                yield Change("invoke_changed", node.name, before=_invoke(invoke), after=_invoke(match))
        for invoke in after.values():
            yield Change("invoke_added", there.name, after=_invoke(invoke))

    # the definition as a whole

    def events(self) -> Iterator[Change]:
        ours = sorted(d for d in self.source.descriptors() if not d.startswith("xstate.") and not d.endswith("*"))
        heard = {self.alphabet.translate(d) for d in ours}
        for event in ours:
            there = self.alphabet.translate(event)
            if there != event:
                yield Change("event_renamed", before=event, after=there)
            if self.alphabet.is_retired(there):
                yield Change("event_retired", before=event)
        for event in sorted(self.target.descriptors()):
            derived = is_internal(event) or event.startswith("xstate.")
            if not derived and not event.endswith("*") and event not in heard:
                yield Change("event_new", after=event)

    def guards(self) -> Iterator[Change]:
        m = self.m
        ours, theirs = _guards(self.source), _guards(self.target)
        heard = {m.rename_guards.get(g, g) for g in ours}
        for guard in sorted(ours):
            there = m.rename_guards.get(guard, guard)
            if there != guard:
                yield Change("guard_renamed", before=guard, after=there)
            if guard in m.changed_guards or there in m.changed_guards:
                yield Change("guard_redefined", before=guard, after=there)
            if there not in theirs:
                yield Change("guard_dropped", before=guard)
        for guard in sorted(theirs - heard):
            yield Change("guard_new", after=guard)


def _candidates(state: str, on: str, before: list[_Candidate], after: list[_Candidate]) -> Iterator[Change]:
    """Two lists of candidates for one event: those that are alike, then by guard, then by target."""
    left, right = list(before), list(after)
    for c in before:
        if c in right:
            left.remove(c)
            right.remove(c)
    if not left and not right:
        if before != after:
            yield Change("order_changed", state, on, _list(before), _list(after))
        return
    for c in list(left):
        same = next((x for x in right if x.guard == c.guard), None)
        if same is not None:
            yield Change("transition_retargeted", state, _on(on, c), c.to, same.to)
            left.remove(c)
            right.remove(same)
    for c in list(left):
        same = next((x for x in right if x.to == c.to), None)
        if same is not None:
            yield Change("guard_changed", state, f"{on} -> {c.to}", c.guard or "(none)", same.guard or "(none)")
            left.remove(c)
            right.remove(same)
    for c in left:
        yield Change("transition_removed", state, _on(on, c), before=c.to)
    for c in right:
        yield Change("transition_added", state, _on(on, c), after=c.to)


def said(node: StateNode, descriptor: str) -> str:
    """An event as the author of this state wrote it: `after 1000`, `onDone`, `onError of payment`."""
    if descriptor == f"xstate.done.state.{node.id}":
        return "onDone"
    for timer in node.timers:
        if descriptor == f"xstate.after.{timer.delay}.{node.id}":
            return f"after {timer.delay}"
    for invoke in node.invokes:
        for prefix, word in (("done.actor", "onDone"), ("error.actor", "onError"), ("snapshot", "onSnapshot")):
            if descriptor == f"xstate.{prefix}.{invoke.id}":
                return f"{word} of {_invoke(invoke)}"
    return descriptor


def _candidate(d: Definition, t: Transition) -> _Candidate:
    to = " + ".join(d.nodes[i].name for i in t.targets) if t.targets else _stays(t)
    return _Candidate(_guard(t.guard), to + _reenters(t))


def _stays(t: Transition) -> str:
    return "(forbidden)" if t.forbidden else "(stays)"


def _reenters(t: Transition) -> str:
    return " (reenter)" if t.reenter else ""


def _guard(guard: Guard | None) -> str:
    return "" if guard is None else guard.name + (f" {guard.params}" if guard.params else "")


def _on(on: str, c: _Candidate) -> str:
    return f"{on} [{c.guard}]" if c.guard else on


def _list(candidates: list[_Candidate]) -> str:
    return ", ".join(f"[{c.guard}] {c.to}" if c.guard else c.to for c in candidates)


def _invoke(invoke: Invoke) -> str:
    return f"{invoke.id} ({invoke.src})" if invoke.own_id and invoke.id != invoke.src else invoke.src or invoke.id


def _guards(d: Definition) -> set[str]:
    ts = (t for n in d.nodes for group in (*n.transitions.values(), n.always) for t in group)
    return {t.guard.name for t in ts if t.guard is not None}


def _presence(schema: object) -> str:
    return "none" if schema is None else "a schema"
