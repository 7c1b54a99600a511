"""What changed between two definitions: states, transitions, timers, invokes, events and guards.

States are the same by name, or else where a mapping carries one to the other. Transitions are compared as the
target would hear them: event names renamed, derived ones by what they stand for, targets carried.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from statekeep_cli.core.alphabet import Alphabet
from statekeep_cli.core.configuration import leaves
from statekeep_cli.core.migration import Migration
from statekeep_cli.core.model import Definition, Guard, Invoke, StateNode, Transition, canonical
from statekeep_cli.core.placement import carry, target_nodes
from statekeep_cli.core.replay import Lane

KINDS = (
    "state_added",
    "region_added",
    "state_removed",
    "region_removed",
    "state_renamed",
    "state_moved",
    "kind_changed",
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


INVOKE_EVENTS = {"done.actor": "onDone", "error.actor": "onError", "snapshot": "onSnapshot"}


@dataclass(frozen=True, slots=True)
class Change:
    """One structural change. `kind` is one of `KINDS`; `state` is the state it is about (a source state's
    path, or a target's for what was added; "" for the definition as a whole), `on` the event of a transition,
    `before` and `after` what it was and what it is. `state_moved` is said of states whose actors a mapping
    places elsewhere, whether their name survives or not; what is inside an added or removed state goes
    without saying."""

    kind: str
    state: str = ""
    on: str = ""
    before: str = ""
    after: str = ""


def changes(lane: Lane) -> tuple[Change, ...]:
    """All structural changes from a lane's source to its target, states first, in document order."""
    return tuple(sorted(dict.fromkeys(comparison(lane).all()), key=lambda c: _ORDER[c.kind]))


def comparison(lane: Lane) -> Comparison:
    """A lane's source beside its target."""
    return Comparison(lane.source, lane.target, lane.migration, lane.alphabets[lane.index])


_ORDER = {kind: KINDS.index(kind) for kind in KINDS}


@dataclass(frozen=True, slots=True)
class Candidate:
    """A transition in words: what it turns on, and where it leads under the target's names."""

    guard: str
    to: str


Listed = list[tuple[Transition, Candidate]]


class Comparison:
    """A source beside the target. `there` is each source node's counterpart, None without one."""

    def __init__(self, source: Definition, target: Definition, m: Migration, alphabet: Alphabet):
        self.source, self.target, self.m, self.alphabet = source, target, m, alphabet
        self.there = {n.index: self._counterpart(n) for n in source.nodes}

    def _counterpart(self, node: StateNode) -> StateNode | None:
        if not node.path:
            return self.target.root
        same = self.target.node(node.path)
        if same is not None:
            return same
        there = carry(self.target, self.m.mapping, node.path)
        # What is carried into a state that was there before is gone, whatever becomes of its actors.
        return there if there is not None and self.source.node(there.path) is None else None

    def all(self) -> Iterator[Change]:
        yield from self.states()
        for node in self.source.nodes:
            there = self.there[node.index]
            if there is None:
                continue
            if node.kind == there.kind == "history":
                yield from self.history(node, there)
            elif "history" not in (node.kind, there.kind):
                yield from self.inside(node, there)
        yield from self.events()
        yield from self.guards()
        before, after = self.source.context_schema, self.target.context_schema
        if canonical(before) != canonical(after):
            yield Change("context_schema_changed", before=_presence(before), after=_presence(after))

    # states

    def states(self) -> Iterator[Change]:
        for node in self.source.nodes:
            there = self.there[node.index]
            mapped = self._value(self.m.mapping[node.path]) if node.path in self.m.mapping else None
            if mapped is not None and mapped != node.name:
                kind = "state_renamed" if there is not None and there.name == mapped else "state_moved"
                yield Change(kind, node.name, before=node.name, after=mapped)
            kept = self.there[node.parent] if node.path else None
            if there is None and kept is not None:
                region = self.source.nodes[node.parent].kind == kept.kind == "parallel"
                yield Change("region_removed" if region else "state_removed", node.name, before=node.kind)
            if there is not None and there.kind != node.kind:
                yield Change("kind_changed", node.name, before=node.kind, after=there.kind)
        named = 0
        parallel = set()
        for index, there in self.there.items():
            if there is not None:
                named |= there.ancestors | 1 << there.index
                if self.source.nodes[index].kind == there.kind == "parallel":
                    parallel.add(there.index)
        for node in self.target.nodes:
            if not named >> node.index & 1 and named >> node.parent & 1:
                kind = "region_added" if node.parent in parallel else "state_added"
                yield Change(kind, node.name, after=node.kind)

    def _value(self, value: object) -> str:
        node, nodes = target_nodes(self.target, value)
        return node.name if node is not None else " + ".join(n.name for n in leaves(self.target, nodes))

    # one state and its counterpart

    def history(self, node: StateNode, there: StateNode) -> Iterator[Change]:
        before = f"{'deep' if node.deep else 'shallow'}, else {self._carried(node.default)}"
        after = f"{'deep' if there.deep else 'shallow'}, else {_names(self.target, there.default)}"
        if before != after:
            yield Change("history_changed", node.name, before=before, after=after)

    def inside(self, node: StateNode, there: StateNode) -> Iterator[Change]:
        if node.kind == there.kind == "compound":
            before, after = self._carried((node.initial,)), _names(self.target, (there.initial,))
            if before != after:
                yield Change("initial_changed", node.name, before=before, after=after)
        heard: dict[str, str] = {}
        yield from self.timers(node, there, heard)
        yield from self.invokes(node, there, heard)
        for on, before_all, after_all in self.candidates(node, there):
            yield from _candidates(node.name, on, [c for _, c in before_all], [c for _, c in after_all])

    def candidates(self, node: StateNode, there: StateNode) -> Iterator[tuple[str, Listed, Listed]]:
        """Per event of a state and its counterpart: the event as its author wrote it, and what either lists
        for it, in order; `always` comes last."""
        heard = {f"xstate.done.state.{node.id}": f"xstate.done.state.{there.id}"}
        for _ in (*self.timers(node, there, heard), *self.invokes(node, there, heard)):
            pass  # read for what `heard` learns
        here: dict[str, tuple[str, Listed]] = {}
        for descriptor, ts in node.transitions.items():
            name = heard.get(descriptor) or self.m.rename_events.get(descriptor, descriptor)
            here[name] = (said(node, descriptor), [(t, self._candidate(t)) for t in ts])
        now: dict[str, tuple[str, Listed]] = {}
        for descriptor, ts in there.transitions.items():
            now[descriptor] = (said(there, descriptor), [(t, _candidate(self.target, t)) for t in ts])
        if node.always or there.always:
            here[""] = ("always", [(t, self._candidate(t)) for t in node.always])
            now[""] = ("always", [(t, _candidate(self.target, t)) for t in there.always])
        for name in dict.fromkeys((*here, *now)):
            on, before_all = here.get(name, ("", []))
            on_now, after_all = now.get(name, ("", []))
            yield on or on_now, before_all, after_all

    def timers(self, node: StateNode, there: StateNode, heard: dict[str, str]) -> Iterator[Change]:
        """Timers are the same by delay, the rest in order (section 5); `heard` learns their events."""
        delays = [t.delay for t in there.timers]
        same = {t.delay: t.delay for t in node.timers if t.delay in delays}
        left = [d for d in delays if d not in same]
        same.update(zip([t.delay for t in node.timers if t.delay not in same], left, strict=False))
        for timer in node.timers:
            after = same.get(timer.delay)
            if after is None:
                yield Change("timer_removed", node.name, before=timer.delay)
                continue
            heard[f"xstate.after.{timer.delay}.{node.id}"] = f"xstate.after.{after}.{there.id}"
            if after != timer.delay:
                yield Change("timer_changed", node.name, before=timer.delay, after=after)
        for delay in delays:
            if delay not in same.values():
                yield Change("timer_added", there.name, after=delay)

    def invokes(self, node: StateNode, there: StateNode, heard: dict[str, str]) -> Iterator[Change]:
        """Invokes are the same by their own id, or by position without one; `heard` learns their events."""
        left = {i.id if i.own_id else i.position: i for i in there.invokes}
        for invoke in node.invokes:
            after = left.pop(invoke.id if invoke.own_id else invoke.position, None)
            if after is None:
                yield Change("invoke_removed", node.name, before=_invoke(invoke))
                continue
            for prefix in INVOKE_EVENTS:
                heard[f"xstate.{prefix}.{invoke.id}"] = f"xstate.{prefix}.{after.id}"
            if after.src != invoke.src:
                yield Change("invoke_changed", node.name, before=_invoke(invoke), after=_invoke(after))
        for invoke in left.values():
            yield Change("invoke_added", there.name, after=_invoke(invoke))

    def _carried(self, nodes: Iterable[int]) -> str:
        """Source nodes under the target's names, where it has them."""
        return " + ".join(name_of(self.there[i] or self.source.nodes[i]) for i in nodes)

    def _candidate(self, t: Transition) -> Candidate:
        to = self._carried(t.targets) if t.targets else _stays(t)
        guard = t.guard
        if guard is not None:
            guard = Guard(self.m.rename_guards.get(guard.name, guard.name), guard.params)
        return Candidate(_guard(guard), to + _reenters(t))

    # the definition as a whole

    def events(self) -> Iterator[Change]:
        ours, theirs = _listened(self.source), _listened(self.target)
        heard = {self.alphabet.translate(event) for event in ours}
        for event in ours:
            there = self.alphabet.translate(event)
            if there != event:
                yield Change("event_renamed", before=event, after=there)
            if self.alphabet.is_retired(there):
                yield Change("event_retired", before=event)
        for event in theirs:
            if event not in heard:
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


def paired(before: Sequence[Candidate], after: Sequence[Candidate]) -> list[tuple[int | None, int | None]]:
    """Which candidate for an event became which, by index: those that are alike, then by guard, then by
    target; then what is gone, and what is new."""
    left, right = list(range(len(before))), list(range(len(after)))
    found: list[tuple[int | None, int | None]] = []
    for alike in (lambda c: c, lambda c: c.guard, lambda c: c.to):
        same: Callable[[Candidate], object] = alike
        for i in list(left):
            j = next((j for j in right if same(after[j]) == same(before[i])), None)
            if j is not None:
                left.remove(i)
                right.remove(j)
                found.append((i, j))
    return [*found, *((i, None) for i in left), *((None, j) for j in right)]


def _candidates(state: str, on: str, before: list[Candidate], after: list[Candidate]) -> Iterator[Change]:
    pairs = paired(before, after)
    if before != after and sorted(map(str, before)) == sorted(map(str, after)):
        yield Change("order_changed", state, on, _list(before), _list(after))
    for i, j in pairs:
        was = None if i is None else before[i]
        now = None if j is None else after[j]
        if was is None and now is not None:
            yield Change("transition_added", state, _on(on, now), after=now.to)
        elif now is None and was is not None:
            yield Change("transition_removed", state, _on(on, was), before=was.to)
        elif was is not None and now is not None and was != now:
            if was.guard == now.guard:
                yield Change("transition_retargeted", state, _on(on, was), was.to, now.to)
            else:
                yield Change(
                    "guard_changed", state, f"{on} -> {was.to}", was.guard or "(none)", now.guard or "(none)"
                )


def said(node: StateNode, descriptor: str) -> str:
    """An event as the author of this state wrote it: `after 1000`, `onDone`, `onError of payment`."""
    if descriptor == f"xstate.done.state.{node.id}":
        return "onDone"
    for timer in node.timers:
        if descriptor == f"xstate.after.{timer.delay}.{node.id}":
            return f"after {timer.delay}"
    for invoke in node.invokes:
        for prefix, word in INVOKE_EVENTS.items():
            if descriptor == f"xstate.{prefix}.{invoke.id}":
                return f"{word} of {_invoke(invoke)}"
    return descriptor


def _candidate(d: Definition, t: Transition) -> Candidate:
    to = _names(d, t.targets) if t.targets else _stays(t)
    return Candidate(_guard(t.guard), to + _reenters(t))


def name_of(node: StateNode) -> str:
    return node.name or "(the machine)"


def _names(d: Definition, nodes: Iterable[int]) -> str:
    return " + ".join(name_of(d.nodes[i]) for i in nodes)


def _stays(t: Transition) -> str:
    return "(forbidden)" if t.forbidden else "(stays)"


def _reenters(t: Transition) -> str:
    return " (reenter)" if t.reenter else ""


def _guard(guard: Guard | None) -> str:
    return "" if guard is None else guard.name + (f" {guard.params}" if guard.params else "")


def _on(on: str, c: Candidate) -> str:
    return f"{on} [{c.guard}]" if c.guard else on


def _list(candidates: list[Candidate]) -> str:
    return ", ".join(f"[{c.guard}] {c.to}" if c.guard else c.to for c in candidates)


def _invoke(invoke: Invoke) -> str:
    if invoke.own_id and invoke.id != invoke.src:
        return f"{invoke.id} ({invoke.src})"
    return invoke.src or invoke.id


def _listened(d: Definition) -> list[str]:
    """The events that some transition takes, by name: no wildcards, none that XState derives."""
    found = {e for n in d.nodes for e, ts in n.transitions.items() if not all(t.forbidden for t in ts)}
    return sorted(e for e in found if not e.startswith("xstate.") and not e.endswith("*"))


def _guards(d: Definition) -> set[str]:
    ts = (t for n in d.nodes for group in (*n.transitions.values(), n.always) for t in group)
    return {t.guard.name for t in ts if t.guard is not None}


def _presence(schema: object) -> str:
    return "none" if schema is None else "a schema"
