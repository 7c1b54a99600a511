"""The reachable states of one definition, whatever its guards say: what lies on every way.

Bounded: past `MAX_STATES` a graph is `partial` and answers None ("unknown") instead of guessing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from statekeep_cli.core.alphabet import is_internal
from statekeep_cli.core.configuration import is_done
from statekeep_cli.core.model import Definition
from statekeep_cli.core.outcomes import initial_outcomes, outcomes
from statekeep_cli.core.semantics import State

MAX_STATES = 2_000


class Graph:
    """Stable states as nodes, macrosteps as edges."""

    def __init__(self, d: Definition):
        self.definition = d
        self.events = sorted(x for x in d.descriptors() if not is_internal(x))
        self._edges: dict[State, tuple[State, ...]] = {}
        self._finals: dict[int, bool | None] = {}
        self._starts = [o.state for o in initial_outcomes(d)[0]]
        self._passed: dict[int, int] | None = None
        self._ahead: dict[int, int | None] = {}

    def successors(self, state: State) -> tuple[State, ...]:
        found = self._edges.get(state)
        if found is None:
            d = self.definition
            after: dict[State, None] = {}
            for event in self.events:
                for o in outcomes(d, state, event)[0]:
                    after[o.state] = None
            after.pop(state, None)
            found = self._edges[state] = tuple(after)
        return found

    def explore(self, starts: Iterable[State]) -> tuple[list[State], bool]:
        """Everything reachable, breadth first, and whether the bound cut it short."""
        seen = dict.fromkeys(starts)
        pending = deque(seen)
        while pending:
            for after in self.successors(pending.popleft()):
                if after not in seen:
                    if len(seen) >= MAX_STATES:
                        return list(seen), True
                    seen[after] = None
                    pending.append(after)
        return list(seen), False

    def reaches_final(self, configuration: int) -> bool | None:
        """Can the machine still finish from here? None past the bound."""
        if not self._has_end(0):
            return False
        if configuration not in self._finals:
            self._finals[configuration] = self._finishes(State(configuration))
        return self._finals[configuration]

    def _has_end(self, index: int) -> bool:
        """Could this node ever be in a final state?"""
        node = self.definition.nodes[index]
        if node.kind == "parallel":
            return all(self._has_end(c) for c in node.children)
        return any(self.definition.nodes[c].kind == "final" for c in node.children)

    def _finishes(self, start: State) -> bool | None:
        # Depth first: a way to the end is found without looking at every interleaving of regions.
        came: dict[State, State | None] = {start: None}
        pending = [start]
        while pending:
            state = pending.pop()
            if is_done(self.definition, state.configuration) or self._finals.get(state.configuration):
                at: State | None = state
                while at is not None:
                    self._finals[at.configuration] = True
                    at = came[at]
                return True
            for after in self.successors(state):
                if after not in came:
                    if len(came) >= MAX_STATES:
                        return None
                    came[after] = state
                    pending.append(after)
        return False

    def has_loop(self) -> bool:
        """Can a configuration be left and come back to? True past the bound."""
        states, partial = self.explore(self._starts)
        if partial:
            return True
        waiting = dict.fromkeys(states, 0)
        for state in states:
            for after in self.successors(state):
                waiting[after] += 1
        free = [s for s in states if not waiting[s]]
        done = 0
        while free:
            state = free.pop()
            done += 1
            for after in self.successors(state):
                waiting[after] -= 1
                if not waiting[after]:
                    free.append(after)
        return done < len(states)

    def passed(self, configuration: int) -> int | None:
        """The nodes on every way from the start to this configuration, itself included; None past
        the bound or where no way leads there."""
        if self._passed is None:
            self._passed = self._must_pass()
        return self._passed.get(configuration)

    def _must_pass(self) -> dict[int, int]:
        states, partial = self.explore(self._starts)
        if partial:
            return {}
        everything = (1 << len(self.definition.nodes)) - 1
        must = dict.fromkeys(states, everything)
        pending = deque(self._starts)
        for start in self._starts:
            must[start] = start.configuration
        while pending:
            state = pending.popleft()
            for after in self.successors(state):
                now = after.configuration | must[state]
                if must[after] & ~now:
                    must[after] &= now
                    pending.append(after)
        found: dict[int, int] = {}
        for state, nodes in must.items():
            found[state.configuration] = found.get(state.configuration, everything) & nodes
        return found

    def ahead(self, configuration: int) -> int | None:
        """The nodes on every way from here to a final state; None past the bound or without a way."""
        if configuration not in self._ahead:
            self._ahead[configuration] = self._must_meet(configuration)
        return self._ahead[configuration]

    def _must_meet(self, configuration: int) -> int | None:
        states, partial = self.explore([State(configuration)])
        if partial:
            return None
        everything = (1 << len(self.definition.nodes)) - 1
        must = {
            s: s.configuration if is_done(self.definition, s.configuration) else everything for s in states
        }
        changed = True
        while changed:
            changed = False
            for state in reversed(states):
                if is_done(self.definition, state.configuration):
                    continue
                after = everything
                for s in self.successors(state):
                    after &= must[s]
                now = must[state] & (after | state.configuration)
                if now != must[state]:
                    must[state], changed = now, True
        found = must[State(configuration)]
        return None if found == everything else found
