"""Meaning, part two: what can be entered, and whether every step settles.

A macrostep that never settles for one choice of guard outcomes may settle for another, so all choices
are followed; not as a tree, whose branches double with every microstep, but as a graph of microsteps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from statekeep_cli.core.check_finding import Finding, Pointer, listed
from statekeep_cli.core.configuration import is_legal, leaves
from statekeep_cli.core.model import Definition
from statekeep_cli.core.outcomes import explore
from statekeep_cli.core.semantics import (
    GuardTest,
    Moment,
    State,
    StepError,
    default_initial,
    proceed,
    receive,
    start,
)

# Microsteps of a small definition, fewer of a large one: some tenths of a second. What has more reachable
# states than that is checked as far as it goes.
MAX_WORK = 4_000
MAX_QUEUE = 64

# --- what is never entered ---------------------------------------------------------------------------


def entered(d: Definition, also: int) -> int:
    """The nodes that some sequence of events may enter, whatever the guards say, as a set.

    It errs on the side of entered. `also` are nodes that migration may place an actor in.
    """
    found, pending = 0, [0, *(n.index for n in d.nodes_in(also))]
    while pending:
        index = pending.pop()
        if found >> index & 1:
            continue
        found |= 1 << index
        node = d.nodes[index]
        pending.extend(n.index for n in d.nodes_in(node.ancestors))
        if node.kind == "parallel":
            pending.extend(node.children)
        elif node.kind == "compound":
            pending.append(node.initial)
        pending.extend(node.default)
        for candidates in (*node.transitions.values(), node.always):
            for t in candidates:
                pending.extend(t.targets or ())
    return found


def check_entered(d: Definition, pointers: list[Pointer], also: int) -> Iterator[Finding]:
    """A warning for each state that nothing leads to; what is inside it goes without saying."""
    found = entered(d, also)
    for node in d.nodes[1:]:
        if not found >> node.index & 1 and found >> node.parent & 1 and node.kind != "history":
            yield Finding(
                "SK029",
                pointers[node.index],
                f"'{node.name}' is never entered",
                "let a transition lead to it, or remove it",
                "key",
            )


# --- what never settles ------------------------------------------------------------------------------


class _OutOfBudget(Exception):
    pass


class _Explorer:
    def __init__(self, d: Definition):
        self.d = d
        self.work = 0
        self.cache: dict[Moment, tuple[Moment, ...]] = {}

    def branches(self, run: Callable[[GuardTest], Moment]) -> tuple[Moment, ...]:
        """Every result of a guarded microstep."""
        found: dict[Moment, None] = {}
        try:
            for result, asked in explore(run, {}):
                self.work += 1 + (len(asked) + len(self.d.nodes)) // 64
                if self.work > MAX_WORK:
                    raise _OutOfBudget
                found[result] = None
        except StepError:
            raise _OutOfBudget from None
        return tuple(found)

    def first(self, stable: Moment, event: str) -> tuple[Moment, ...]:
        """The points after an external event's own transitions."""
        state = State(stable.configuration, stable.history)
        return self.branches(lambda test: receive(self.d, state, event, test)[0])

    def next(self, moment: Moment) -> tuple[Moment, ...]:
        """The points one microstep on."""
        if moment not in self.cache:
            self.cache[moment] = self.branches(lambda test: self.step(moment, test))
        return self.cache[moment]

    def step(self, moment: Moment, test: GuardTest) -> Moment:
        after = proceed(self.d, moment, test)
        if len(after.queue) > MAX_QUEUE:
            raise _OutOfBudget
        return after

    def settled(self, starts: tuple[Moment, ...]) -> tuple[list[Moment], list[Moment]]:
        """The stable points that can be reached, and, where there are none, a cycle."""
        seen: dict[Moment, None] = dict.fromkeys(starts)
        pending, stable = list(starts), []
        while pending:
            moment = pending.pop()
            if moment.stable:
                stable.append(moment)
                continue
            for after in self.next(moment):
                if after not in seen:
                    seen[after] = None
                    pending.append(after)
        return stable, [] if stable else self.cycle(starts[0])

    def cycle(self, first: Moment) -> list[Moment]:
        path: dict[Moment, int] = {}
        moment = first
        while moment not in path:
            path[moment] = len(path)
            moment = self.next(moment)[0]
        return list(path)[path[moment] :]


def check_settles(d: Definition, pointers: list[Pointer]) -> list[Finding]:
    """The steps of which every outcome fails to settle (apv.md section 1), each cycle once."""
    if not is_legal(d, default_initial(d)):
        return [
            Finding(
                "SK042", ("initial",), "the machine starts in no legal configuration", "check every 'initial'"
            )
        ]
    if not any(n.always or f"xstate.done.state.{n.id}" in n.transitions for n in d.nodes):
        return []
    explorer = _Explorer(d)
    found: dict[frozenset[int], Finding] = {}
    try:
        stable, cycle = explorer.settled((start(d),))
        if cycle:
            _report(d, pointers, cycle, "from the start", found)
        pending, seen = list(stable), set(stable)
        while pending:
            moment = pending.pop(0)
            if moment.done or not is_legal(d, moment.configuration):
                continue
            for event in _events(d, moment.configuration):
                stable, cycle = explorer.settled(explorer.first(moment, event))
                if cycle:
                    when = f"after '{event}' in '{_named(d, moment.configuration)}'"
                    _report(d, pointers, cycle, when, found)
                for after in stable:
                    if after not in seen:
                        seen.add(after)
                        pending.append(after)
    except _OutOfBudget:
        pass  # the rest is met when an actor gets there, and then it is no outcome
    return list(found.values())


def _events(d: Definition, configuration: int) -> list[str]:
    """One event for each descriptor of the active nodes; a wildcard stands for an event of its own."""
    found: dict[str, None] = {}
    for node in d.nodes_in(configuration):
        for descriptor in node.transitions:
            if not descriptor.startswith("xstate.done.state."):
                found[descriptor] = None
    return list(found)


def _named(d: Definition, configuration: int) -> str:
    return listed((n.name for n in leaves(d, configuration)), "and", 4)


def _report(
    d: Definition,
    pointers: list[Pointer],
    cycle: list[Moment],
    when: str,
    found: dict[frozenset[int], Finding],
) -> None:
    key = frozenset(m.configuration for m in cycle)
    if key in found:
        return
    steps = list(dict.fromkeys(_named(d, m.configuration) for m in cycle))
    around = " -> ".join([*steps[:8], "..." if len(steps) > 8 else steps[0]])
    pointer = next(_causes(d, pointers, cycle), ())
    found[key] = Finding(
        "SK031",
        pointer,
        f"{when} the step never settles: {around}",
        "guard one of these transitions, or let it lead somewhere else",
        "key",
    )


def _causes(d: Definition, pointers: list[Pointer], cycle: list[Moment]) -> Iterator[Pointer]:
    """Where the transitions stand that a cycle is made of."""
    for moment in cycle:
        for node in d.nodes_in(moment.configuration):
            if node.always:
                yield (*pointers[node.index], "always")
        for event in moment.queue:
            index = d.by_id.get(event.removeprefix("xstate.done.state."))
            if index is not None:
                yield (*pointers[index], "onDone")
