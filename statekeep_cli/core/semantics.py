"""Macrosteps, as pure functions.

The algorithm and its names are SCXML's (https://www.w3.org/TR/scxml/#AlgorithmforSCXMLInterpretation)
in the form XState v5 gives it; recorded vectors of the real library hold it there. Guards are opaque:
every function asks a `GuardTest`, and `outcomes.py` follows all answers that may be given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from statekeep_cli.core.configuration import is_descendant, is_done, is_in_final_state, is_legal, leaves
from statekeep_cli.core.model import Definition, Guard, StateNode, Transition

# A macrostep of a sane definition settles within a few microsteps; XState itself has no bound.
MAX_MICROSTEPS = 1_000
# Event types whose listeners are remembered per definition.
MAX_EVENTS = 10_000

HistoryValue = tuple[tuple[int, int], ...]
GuardTest = Callable[[Guard], bool]


class StepError(Exception):
    """A macrostep with no outcome; `nodes` names the states it went round in."""

    def __init__(self, message: str, nodes: tuple[str, ...] = ()):
        super().__init__(message)
        self.nodes = nodes


class Unsettled(StepError):
    """The macrostep never reaches a stable configuration."""


class IllegalConfiguration(StepError):
    """The macrostep leads to a set of nodes that is no legal configuration."""


@dataclass(frozen=True, slots=True)
class State:
    """Where a statechart is: a configuration (a set of nodes) and its remembered history values.

    `history` pairs each history node's index with the set of nodes it remembers, sorted.
    """

    configuration: int
    history: HistoryValue = ()


# --- event descriptors ---------------------------------------------------------------------------


def matches(descriptor: str, event: str) -> bool:
    """Does a wildcard descriptor (`*`, `a.*`) match this event type? Exact ones are looked up."""
    if descriptor == "*":
        return True
    return descriptor.endswith(".*") and (event == descriptor[:-2] or event.startswith(descriptor[:-1]))


def candidates(node: StateNode, event: str) -> Iterator[Transition]:
    """A node's transitions for an event: exact first, then wildcards, the longest first."""
    yield from node.transitions.get(event, ())
    for descriptor in node.wildcards:
        if descriptor != event and matches(descriptor, event):
            yield from node.transitions[descriptor]


def listening(d: Definition, event: str) -> int:
    """The nodes with a candidate for this event, as a set."""
    found = d.listening.get(event)
    if found is None:
        found = sum(1 << n.index for n in d.nodes if next(candidates(n, event), None) is not None)
        if len(d.listening) < MAX_EVENTS:
            d.listening[event] = found
    return found


def default_entry(d: Definition, node: StateNode) -> int:
    """The set of nodes active inside and including `node` when it is entered by default."""
    nodes, pending = 0, [node]
    while pending:
        at = pending.pop()
        nodes |= 1 << at.index
        if at.kind == "parallel":
            pending.extend(d.nodes[c] for c in at.children)
        elif at.kind == "compound":
            into: set[int] = set()
            _add_descendants(d, at.index, {}, into)
            for index in into:
                nodes |= 1 << index
    return nodes


def enter_by_default(d: Definition, node: StateNode) -> int:
    """A configuration with `node` active: its ancestors, it, and defaults elsewhere."""
    into: set[int] = {node.index}
    _add_descendants(d, node.index, {}, into)
    _add_ancestors(d, [n.index for n in _proper_ancestors(d, node.index, -1)], {}, into, -1)
    configuration = 0
    for index in into:
        configuration |= 1 << index
    return configuration


def remembered_entry(d: Definition, parent: StateNode, targets: tuple[int, ...]) -> int:
    """The nodes inside `parent` that become active when a history node of it enters `targets`."""
    into: set[int] = set()
    for target in targets:
        into.add(target)
        _add_descendants(d, target, {}, into)
    for target in targets:
        _add_ancestors(d, [n.index for n in _proper_ancestors(d, target, parent.index)], {}, into, -1)
    return sum(1 << i for i in into) & parent.descendants


# --- SCXML procedures ----------------------------------------------------------------------------


def _proper_ancestors(d: Definition, node: int, to: int) -> list[StateNode]:
    found: list[StateNode] = []
    if node == to:
        return found
    up = d.nodes[node].parent
    while up >= 0 and up != to:
        found.append(d.nodes[up])
        up = d.nodes[up].parent
    return found


def _remembered(d: Definition, nodes: int) -> list[int]:
    return [n.index for n in d.nodes_in(nodes)]


def effective_targets(d: Definition, targets: tuple[int, ...], history: Mapping[int, int]) -> list[int]:
    """SCXML getEffectiveTargetStates: history nodes replaced by what they remember."""
    found: dict[int, None] = {}
    for target in targets:
        node = d.nodes[target]
        if node.kind != "history":
            found[target] = None
        elif target in history:
            found.update(dict.fromkeys(_remembered(d, history[target])))
        else:
            found.update(dict.fromkeys(effective_targets(d, node.default, history)))
    return list(found)


def transition_domain(d: Definition, t: Transition, history: Mapping[int, int]) -> int:
    """SCXML getTransitionDomain: the node whose inside is left; -1 when the root itself is."""
    targets = effective_targets(d, t.targets or (), history)
    if not t.reenter and all(x == t.source or is_descendant(d, x, t.source) for x in targets):
        return t.source
    head, *tail = [*targets, t.source]
    for ancestor in _proper_ancestors(d, head, -1):
        if all(is_descendant(d, x, ancestor.index) for x in tail):
            return ancestor.index
    return -1 if t.reenter else 0


def exit_set(d: Definition, t: Transition, configuration: int, history: Mapping[int, int]) -> int:
    """SCXML computeExitSet, for one transition."""
    if not t.targets:
        return 0
    domain = transition_domain(d, t, history)
    if domain < 0:
        return configuration
    left = configuration & d.nodes[domain].descendants
    return left | 1 << domain if t.reenter and t.source == domain else left


def remove_conflicting(
    d: Definition, enabled: list[Transition], configuration: int, history: Mapping[int, int]
) -> list[Transition]:
    """SCXML removeConflictingTransitions: descendants win, then document order."""
    if len(enabled) < 2:
        return enabled
    kept: list[tuple[Transition, int]] = []
    for t1 in enabled:
        left = exit_set(d, t1, configuration, history)
        beaten = []
        for other in kept:
            if left & other[1]:
                if not is_descendant(d, t1.source, other[0].source):
                    break
                beaten.append(other)
        else:
            kept = [k for k in kept if k not in beaten]
            kept.append((t1, left))
    return [t for t, _ in kept]


def _add_descendants(d: Definition, index: int, history: Mapping[int, int], into: set[int]) -> None:
    """SCXML addDescendantStatesToEnter, without the bookkeeping for initial actions."""
    node = d.nodes[index]
    if node.kind == "history":
        targets = _remembered(d, history[index]) if index in history else list(node.default)
        for target in targets:
            into.add(target)
            _add_descendants(d, target, history, into)
        for target in targets:
            ups = [n.index for n in _proper_ancestors(d, target, node.parent)]
            _add_ancestors(d, ups, history, into, -1)
    elif node.kind == "compound":
        if d.nodes[node.initial].kind != "history":
            into.add(node.initial)
        _add_descendants(d, node.initial, history, into)
        ups = [n.index for n in _proper_ancestors(d, node.initial, index)]
        _add_ancestors(d, ups, history, into, -1)
    elif node.kind == "parallel":
        _add_regions(d, node, history, into)


def _add_regions(d: Definition, node: StateNode, history: Mapping[int, int], into: set[int]) -> None:
    for child in node.children:
        inside = d.nodes[child].descendants
        if not any(inside >> s & 1 for s in into):
            into.add(child)
            _add_descendants(d, child, history, into)


def _add_ancestors(
    d: Definition, ancestors: list[int], history: Mapping[int, int], into: set[int], domain: int
) -> None:
    """SCXML addAncestorStatesToEnter; XState's reentrancy domain limits what is entered again."""
    for index in ancestors:
        if is_descendant(d, index, domain):
            into.add(index)
        if d.nodes[index].kind == "parallel":
            _add_regions(d, d.nodes[index], history, into)


def entry_set(d: Definition, transitions: list[Transition], history: Mapping[int, int]) -> set[int]:
    """SCXML computeEntrySet."""
    into: set[int] = set()
    for t in transitions:
        domain = transition_domain(d, t, history)
        for s in t.targets or ():
            if d.nodes[s].kind != "history" and (t.source != s or t.source != domain or t.reenter):
                into.add(s)
            _add_descendants(d, s, history, into)
        reentrancy = -1 if t.source == 0 and t.reenter else domain
        for s in effective_targets(d, t.targets or (), history):
            ups = [n.index for n in _proper_ancestors(d, s, domain)]
            if domain >= 0 and d.nodes[domain].kind == "parallel":
                ups.append(domain)
            _add_ancestors(d, ups, history, into, reentrancy)
    return into


@dataclass(slots=True)
class _Run:
    """One macrostep under way: what SCXML keeps in global variables."""

    configuration: int
    history: dict[int, int]
    queue: list[str]
    done: bool = False


def _microstep(d: Definition, run: _Run, enabled: list[Transition]) -> bool:
    """SCXML microstep: exit, enter, raise done events. True when anything changed."""
    transitions = remove_conflicting(d, enabled, run.configuration, run.history)
    before, left = run.configuration, 0
    for t in transitions:
        left |= exit_set(d, t, run.configuration, run.history)
    remembered = False
    for node in d.nodes_in(left):
        for h in node.history_children:
            inside = node.descendants & before
            if d.nodes[h].deep:
                run.history[h] = sum(1 << n.index for n in d.nodes_in(inside) if n.is_leaf)
            else:
                run.history[h] = sum(1 << c for c in node.children if inside >> c & 1)
            remembered = True
    # Entered with the values just remembered: XState takes the domain from them, too.
    into = entry_set(d, transitions, run.history)
    run.configuration &= ~left
    _enter(d, run, into)
    return remembered or run.configuration != before


def _enter(d: Definition, run: _Run, into: set[int]) -> None:
    """SCXML enterStates: activate in document order, raise `xstate.done.state.*`."""
    completed: set[int] = set()
    for index in sorted(into):
        run.configuration |= 1 << index
        node = d.nodes[index]
        if node.kind != "final":
            continue
        parent = d.nodes[node.parent] if node.parent >= 0 else None
        if parent is None:
            run.done = True
            continue
        if parent.kind == "compound":
            run.queue.append(f"xstate.done.state.{parent.id}")
        marker = parent.index if parent.kind == "parallel" else parent.parent
        while (
            marker >= 0
            and d.nodes[marker].kind == "parallel"
            and marker not in completed
            and is_in_final_state(d, d.nodes[marker], run.configuration)
        ):
            completed.add(marker)
            run.queue.append(f"xstate.done.state.{d.nodes[marker].id}")
            marker = d.nodes[marker].parent
        if marker < 0:
            run.done = True


def select_transitions(d: Definition, configuration: int, event: str, guard: GuardTest) -> list[Transition]:
    """SCXML selectTransitions: the deepest enabled transition of every region, in document order."""

    heard = listening(d, event) & configuration

    def select(node: StateNode) -> list[Transition]:
        inner: list[Transition] = []
        if heard & node.descendants:
            for child in node.children:
                if configuration >> child & 1:
                    inner.extend(select(d.nodes[child]))
        if inner or not heard >> node.index & 1:
            return inner
        for t in candidates(node, event):
            if t.guard is None or guard(t.guard):
                return [t]
        return []

    return select(d.root)


def select_eventless_transitions(
    d: Definition, configuration: int, history: Mapping[int, int], guard: GuardTest
) -> list[Transition]:
    """SCXML selectEventlessTransitions: the `always` ones, from each active leaf upwards."""
    enabled: dict[int, Transition] = {}
    if not d.eventless:
        return []
    for leaf in leaves(d, configuration):
        for node in (leaf, *_proper_ancestors(d, leaf.index, -1)):
            if not node.always:
                continue
            chosen = next((t for t in node.always if t.guard is None or guard(t.guard)), None)
            if chosen is not None:
                enabled[id(chosen)] = chosen
                break
    return remove_conflicting(d, list(enabled.values()), configuration, history)


class Asked:
    """Asks for each guard at most once in a microstep, the context being fixed within one."""

    __slots__ = ("answers", "test")

    def __init__(self, test: GuardTest):
        self.test = test
        self.answers: dict[Guard, bool] = {}

    def __call__(self, guard: Guard) -> bool:
        if guard not in self.answers:
            self.answers[guard] = self.test(guard)
        return self.answers[guard]


@dataclass(frozen=True, slots=True)
class Moment:
    """A point within a macrostep, between two microsteps: SCXML's global variables as a value.

    `look` says whether eventless transitions are looked at before the internal queue.
    """

    configuration: int
    history: HistoryValue = ()
    queue: tuple[str, ...] = ()
    look: bool = True
    done: bool = False

    @property
    def stable(self) -> bool:
        return self.done or (not self.look and not self.queue)


def _moment(run: _Run, look: bool) -> Moment:
    return Moment(run.configuration, tuple(sorted(run.history.items())), tuple(run.queue), look, run.done)


def start(d: Definition) -> Moment:
    """SCXML interpret: the initial configuration, before any eventless transition."""
    run = _Run(0, {}, [])
    _enter(d, run, {n.index for n in d.nodes_in(default_initial(d))})
    return _moment(run, True)


def default_initial(d: Definition) -> int:
    """The set of nodes the machine enters first."""
    into: set[int] = {0}
    _add_descendants(d, 0, {}, into)
    return sum(1 << i for i in into)


def receive(
    d: Definition, state: State, event: str, test: GuardTest
) -> tuple[Moment, tuple[Transition, ...]]:
    """The first microstep of an external event, and the transitions it took (none, if finished)."""
    if is_done(d, state.configuration):
        return Moment(state.configuration, state.history, done=True), ()
    run = _Run(state.configuration, dict(state.history), [])
    selected = select_transitions(d, run.configuration, event, Asked(test))
    taken = remove_conflicting(d, selected, run.configuration, run.history)
    if taken:
        _microstep(d, run, taken)
    return _moment(run, True), tuple(taken)


def proceed(d: Definition, moment: Moment, test: GuardTest) -> Moment:
    """One more microstep of a macrostep: eventless transitions, else the next internal event."""
    run = _Run(moment.configuration, dict(moment.history), list(moment.queue))
    asked = Asked(test)
    enabled = select_eventless_transitions(d, run.configuration, run.history, asked) if moment.look else []
    eventless = bool(enabled)
    if not enabled:
        if not run.queue:
            return _moment(run, False)
        enabled = select_transitions(d, run.configuration, run.queue.pop(0), asked)
    changed = _microstep(d, run, enabled)
    # XState looks again unless an eventless microstep changed nothing.
    return _moment(run, changed or not eventless)


def microstep_from(d: Definition, state: State, enabled: list[Transition]) -> int:
    """The configuration after these transitions, before anything else happens."""
    run = _Run(state.configuration, dict(state.history), [])
    _microstep(d, run, enabled)
    return run.configuration


def finish(d: Definition, moment: Moment) -> State:
    """The state a settled macrostep ends in. Raises `IllegalConfiguration`."""
    if not is_legal(d, moment.configuration):
        names = _names(d, moment)
        raise IllegalConfiguration(
            f"the macrostep ends in an illegal configuration: {', '.join(names)}", names
        )
    return State(moment.configuration, moment.history)


def _names(d: Definition, moment: Moment) -> tuple[str, ...]:
    return tuple(n.name for n in leaves(d, moment.configuration))


def unsettled(d: Definition, moment: Moment) -> Unsettled:
    names = _names(d, moment)
    return Unsettled(f"the macrostep never settles; it passes through {', '.join(names)}", names)


def _settle(d: Definition, moment: Moment, test: GuardTest) -> State:
    for _ in range(MAX_MICROSTEPS):
        if moment.stable:
            return finish(d, moment)
        moment = proceed(d, moment, test)
    raise unsettled(d, moment)


def initial_state(d: Definition, guard: GuardTest) -> State:
    """The first stable state. Raises `Unsettled` or `IllegalConfiguration`."""
    return _settle(d, start(d), guard)


def macrostep(
    d: Definition, state: State, event: str, guard: GuardTest
) -> tuple[State, tuple[Transition, ...]]:
    """One external event to its stable state, and the transitions it took.

    Raises `Unsettled` or `IllegalConfiguration`.
    """
    moment, taken = receive(d, state, event, guard)
    return _settle(d, moment, guard), taken
