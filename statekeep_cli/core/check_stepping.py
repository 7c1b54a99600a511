"""Meaning, part two: what can be entered, and whether every step settles.

A macrostep that never settles for one choice of guard outcomes may settle for another, so all choices
are followed; not as a tree, whose branches double with every microstep, but as a graph of microsteps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from statekeep_cli.core.check_finding import Finding, Pointer, listed
from statekeep_cli.core.model import Definition, Guard
from statekeep_cli.core.semantics import (
    StepError,
    _enter,
    _explore,
    _microstep,
    _Microsteps,
    _Run,
    default_initial,
    is_legal,
    leaves,
    select_eventless_transitions,
    select_transitions,
)

# Microsteps of a small definition, fewer of a large one: some tenths of a second. What has more reachable
# states than that is checked as far as it goes.
MAX_WORK = 4_000
MAX_QUEUE = 64

GuardTest = Callable[[Guard], bool]


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


@dataclass(frozen=True, slots=True)
class Micro:
    """A point within a macrostep; `look` says whether `always` is looked at before the queue."""

    configuration: int
    history: tuple[tuple[int, int], ...] = ()
    queue: tuple[str, ...] = ()
    look: bool = True
    done: bool = False

    @property
    def stable(self) -> bool:
        return self.done or (not self.look and not self.queue)


class _OutOfBudget(Exception):
    pass


class _Explorer:
    def __init__(self, d: Definition):
        self.d = d
        self.work = 0
        self.cache: dict[Micro, tuple[Micro, ...]] = {}

    def branches(self, run: Callable[[GuardTest], Micro]) -> tuple[Micro, ...]:
        """Every result of a guarded microstep."""
        found: dict[Micro, None] = {}
        try:
            for result, asked in _explore(run, {}):
                self.work += 1 + (len(asked) + len(self.d.nodes)) // 64
                if self.work > MAX_WORK:
                    raise _OutOfBudget
                found[result] = None
        except StepError:
            raise _OutOfBudget from None
        return tuple(found)

    def first(self, stable: Micro, event: str) -> tuple[Micro, ...]:
        """The points after an external event's own transitions."""

        def run(guard: GuardTest) -> Micro:
            taken = select_transitions(self.d, stable.configuration, event, _Microsteps(guard))
            run = _Run(stable.configuration, dict(stable.history), [])
            if taken:
                _microstep(self.d, run, taken)
            return _micro(run, True)

        return self.branches(run)

    def next(self, micro: Micro) -> tuple[Micro, ...]:
        """The points one microstep on. As in `semantics`, where nothing is enabled the queue is next."""
        if micro not in self.cache:
            self.cache[micro] = self.branches(lambda guard: self.microstep(micro, guard))
        return self.cache[micro]

    def microstep(self, micro: Micro, guard: GuardTest) -> Micro:
        run = _Run(micro.configuration, dict(micro.history), list(micro.queue))
        asked = _Microsteps(guard)
        enabled = (
            select_eventless_transitions(self.d, run.configuration, run.history, asked) if micro.look else []
        )
        eventless = bool(enabled)
        if not enabled:
            if not run.queue:
                return _micro(run, False)
            asked.next()
            enabled = select_transitions(self.d, run.configuration, run.queue.pop(0), asked)
        changed = _microstep(self.d, run, enabled)
        if len(run.queue) > MAX_QUEUE:
            raise _OutOfBudget
        return _micro(run, changed or not eventless)

    def settled(self, starts: tuple[Micro, ...]) -> tuple[list[Micro], list[Micro]]:
        """The stable points that can be reached, and, where there are none, a cycle."""
        seen: dict[Micro, None] = dict.fromkeys(starts)
        pending, stable = list(starts), []
        while pending:
            micro = pending.pop()
            if micro.stable:
                stable.append(micro)
                continue
            for after in self.next(micro):
                if after not in seen:
                    seen[after] = None
                    pending.append(after)
        return stable, [] if stable else self.cycle(starts[0])

    def cycle(self, start: Micro) -> list[Micro]:
        path: dict[Micro, int] = {}
        micro = start
        while micro not in path:
            path[micro] = len(path)
            micro = self.next(micro)[0]
        return list(path)[path[micro] :]


def _micro(run: _Run, look: bool) -> Micro:
    return Micro(run.configuration, tuple(sorted(run.history.items())), tuple(run.queue), look, run.done)


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
        run = _Run(0, {}, [])
        _enter(d, run, {n.index for n in d.nodes_in(default_initial(d))})
        stable, cycle = explorer.settled((_micro(run, True),))
        if cycle:
            _report(d, pointers, cycle, "from the start", found)
        pending, seen = list(stable), set(stable)
        while pending:
            micro = pending.pop(0)
            if micro.done or not is_legal(d, micro.configuration):
                continue
            for event in _events(d, micro.configuration):
                stable, cycle = explorer.settled(explorer.first(micro, event))
                if cycle:
                    when = f"after '{event}' in '{_named(d, micro.configuration)}'"
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
    cycle: list[Micro],
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


def _causes(d: Definition, pointers: list[Pointer], cycle: list[Micro]) -> Iterator[Pointer]:
    """Where the transitions stand that a cycle is made of."""
    for micro in cycle:
        for node in d.nodes_in(micro.configuration):
            if node.always:
                yield (*pointers[node.index], "always")
        for event in micro.queue:
            index = d.by_id.get(event.removeprefix("xstate.done.state."))
            if index is not None:
                yield (*pointers[index], "onDone")
