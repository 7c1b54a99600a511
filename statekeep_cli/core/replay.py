"""Replay: source and target stepped together along a trace (apv.md sections 3 to 5).

This is the general form: a set of readings is followed, each a source state, a target side and the
facts so far. The router's tables are built from the same two steps, `Lane.source_steps` and
`Lane.target_steps`; `explain` and the traces that tables cannot hold go through `Lane.replay`.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from statekeep_cli.core.alphabet import Alphabet, events_of
from statekeep_cli.core.anchors import Anchors, Facts, Letters
from statekeep_cli.core.configuration import configuration_of
from statekeep_cli.core.migration import Migration, migration_of, same_version
from statekeep_cli.core.model import Definition, Guard, Path, StateNode, Version, split_path
from statekeep_cli.core.outcomes import initial_outcomes, outcomes
from statekeep_cli.core.semantics import HistoryValue, State, StepError, enter_by_default, remembered_entry

MAX_READINGS = 10_000  # of one trace at one time
MAX_REACHABLE = 50_000  # (source, target) pairs of a proof without history
MAX_PATHS = 20_000  # loop-free paths of such a proof under `loops: erase`
MAX_MEMO = 30_000  # remembered steps of one lane

LoopKey = tuple[tuple[tuple[Path, str], ...], tuple[tuple[Path, tuple[Path, ...]], ...]]


class TooWide(Exception):
    """More readings of one trace than are followed."""


# --- trace items -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Event:
    """An event of a trace; `type` None where only states were logged, `state` the recorded state
    value after the macrostep as JSON ("" where none was recorded)."""

    type: str | None
    state: str = ""


@dataclass(frozen=True, slots=True)
class Migrated:
    """An earlier migration: the source side continues in the other version."""

    from_version: Version | None
    from_state: str
    to_version: Version | None
    to_state: str


@dataclass(frozen=True, slots=True)
class Manual:
    """A state set by hand, as a state value or a path (JSON)."""

    to: str


Item = Event | Migrated | Manual


# --- readings ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Pair:
    """The target side of a reading.

    `target` None: nowhere yet (after an `origin`, before any anchor point). `stuck` is the source
    event the target did not accept; the side stays where it was. `anchor` is the anchor point the
    path begins at, `bare` while nothing has followed it. `retired` are the events dropped.
    """

    target: State | None
    stuck: str = ""
    anchor: str = ""
    bare: bool = False
    retired: frozenset[str] = frozenset()


Stack = tuple[tuple[LoopKey, Pair], ...]


@dataclass(frozen=True, slots=True)
class Reading:
    """One way to read a trace: the source state in `sources[version]`, the facts, and a stack of
    (loop key, target side) whose top is the present (a single entry unless loops are erased)."""

    version: int
    source: State
    facts: Facts
    stack: Stack

    @property
    def pair(self) -> Pair:
        return self.stack[-1][1]


@dataclass(frozen=True, slots=True)
class SourceStep:
    """One outcome of a step of the source, consistent with what was recorded."""

    version: int
    state: State
    event: str | None
    guards: tuple[tuple[Guard, bool], ...]
    changed: bool
    letters: Letters


class Lane:
    """One source version on its way to the target, with the routing metadata that speaks for it.

    `sources` are all definitions a trace may pass through; `index` is the one the actors are on.
    """

    def __init__(
        self,
        sources: Sequence[Definition],
        index: int,
        target: Definition,
        *,
        erase_loops: bool | None = None,
        followed: tuple[Path, ...] = (),
    ):
        self.sources = tuple(sources)
        self.index = index
        self.source = sources[index]
        self.target = target
        self.migration: Migration = migration_of(target, self.source, erase_loops=erase_loops)
        self.anchors = Anchors(self.migration.anchors, self.migration.resume, followed)
        self.alphabets = [Alphabet(d, target, self.migration) for d in sources]
        names = (self.migration.rename_events, self.migration.rename_guards, self.migration.changed_guards)
        self.unchanged = [d.nodes == target.nodes and not any(names) for d in sources]
        self.target_guards = {
            t.guard for n in target.nodes for ts in (*n.transitions.values(), n.always) for t in ts if t.guard
        }
        self.resume_at = {
            name: State(enter_by_default(target, _node(target, path)))
            for name, path in self.migration.resume.items()
        }
        self._source_memo: dict[tuple[int, State, Item], tuple[SourceStep, ...]] = {}
        self._target_memo: dict[
            tuple[str, State, tuple[tuple[Guard, bool], ...], bool], tuple[tuple[str, State], ...]
        ] = {}
        self._keys: dict[tuple[int, State], LoopKey] = {}
        self._starts: dict[tuple[int, int], list[Reading]] = {}

    # --- the source side ---

    def version_index(self, version: Version | None) -> int | None:
        """The source of this version, the lane's own first."""
        order = (self.index, *range(len(self.sources)))
        return next((i for i in order if same_version(self.sources[i].version, version)), None)

    def source_steps(self, version: int, state: State, item: Item) -> tuple[SourceStep, ...]:
        """What the source may have done at this item; empty where it cannot explain it."""
        key = (version, state, item)
        found = self._source_memo.get(key)
        if found is None:
            if len(self._source_memo) >= MAX_MEMO:
                self._source_memo.clear()
            found = self._source_memo[key] = tuple(dict.fromkeys(self._source_steps(version, state, item)))
        return found

    def _source_steps(self, version: int, state: State, item: Item) -> Iterable[SourceStep]:
        d = self.sources[version]
        if isinstance(item, Manual):
            configuration = _by_hand(d, item.to)
            if configuration is not None:
                yield self._step(
                    version, state, version, replace(state, configuration=configuration), None, False, ()
                )
            return
        if isinstance(item, Migrated):
            to = self.version_index(item.to_version)
            came_from = self.version_index(item.from_version) if item.from_version is not None else version
            if to is None or came_from != version:
                return
            if item.from_state and _value(d, item.from_state) != state.configuration:
                return
            after = _value(self.sources[to], item.to_state)
            if after is not None:
                history = _same_history(d, self.sources[to], state.history)
                yield self._step(version, state, to, State(after, history), None, False, ())
            return
        recorded = _value(d, item.state) if item.state else None
        if item.state and recorded is None:
            return
        events = (item.type,) if item.type is not None else self.events(version)
        for event in events:
            for o in outcomes(d, state, event)[0]:
                if recorded is None or o.state.configuration == recorded:
                    handled = any(not t.forbidden for t in o.taken)
                    yield self._step(version, state, version, o.state, event, handled, o.guards)

    def _step(
        self,
        version: int,
        before: State,
        after_version: int,
        after: State,
        event: str | None,
        handled: bool,
        guards: tuple[tuple[Guard, bool], ...],
    ) -> SourceStep:
        here = (self.sources[version], before.configuration)
        there = (self.sources[after_version], after.configuration)
        letters = self.anchors.letters(here, event, handled, there)
        changed = before.configuration != after.configuration
        return SourceStep(after_version, after, event, self._for_target(guards), changed, letters)

    def _for_target(self, guards: tuple[tuple[Guard, bool], ...]) -> tuple[tuple[Guard, bool], ...]:
        """Observed outcomes as the target's guards: renamed, without the changed ones."""
        m = self.migration
        found: dict[Guard, set[bool]] = {}
        for guard, value in guards:
            name = m.rename_guards.get(guard.name, guard.name)
            there = Guard(name, guard.params)
            if (
                guard.name not in m.changed_guards
                and name not in m.changed_guards
                and there in self.target_guards
            ):
                found.setdefault(there, set()).add(value)
        return tuple((g, next(iter(v))) for g, v in found.items() if len(v) == 1)

    def events(self, version: int) -> tuple[str, ...]:
        """Every event this source listens to (for items without a type, and for proofs)."""
        return events_of(self.sources[version], self.target, self.migration)

    # --- the target side ---

    def target_steps(self, version: int, before: State, pair: Pair, step: SourceStep) -> tuple[Pair, ...]:
        """Where the target side may be after a step of the source from `before` (apv.md section 5)."""
        if step.event is None:  # markers leave the target side undisturbed
            return (pair,)
        if pair.target is None or pair.stuck:
            return (pair,)
        if self.unchanged[version] and pair.target == before:
            # The same machine in the same state, at the same event: guards that changed within the
            # macrostep did so on both sides (section 10, law 7).
            return (replace(pair, target=step.state, bare=False),)
        event = self.alphabets[version].translate(step.event)
        key = (event, pair.target, step.guards, step.changed)
        results = self._target_memo.get(key)
        if results is None:
            if len(self._target_memo) >= MAX_MEMO:
                self._target_memo.clear()
            results = self._target_memo[key] = tuple(dict.fromkeys(self._target_steps(version, *key)))
        found = []
        for what, state in results:
            if what == "stuck":
                found.append(replace(pair, stuck=step.event, bare=False))
            elif what == "retired":
                found.append(replace(pair, retired=pair.retired | {step.event}, bare=False))
            else:
                found.append(replace(pair, target=state, bare=False))
        return tuple(found)

    def _target_steps(
        self, version: int, event: str, before: State, guards: tuple[tuple[Guard, bool], ...], changed: bool
    ) -> Iterable[tuple[str, State]]:
        found, errors = outcomes(self.target, before, event, dict(guards))
        for o in found:
            moved = o.state.configuration != before.configuration
            accepted = moved or any(t.targets and t.descriptor != "*" for t in o.taken)
            if accepted or not changed:
                yield "moved", o.state
            elif self.alphabets[version].is_retired(event):
                yield "retired", before
            else:
                yield "stuck", before
        if errors:
            yield "stuck", before

    # --- whole traces ---

    def start(self, begin: tuple[int, int]) -> list[Reading]:
        """The readings before the first item: (version, -1) begins where that source starts,
        (version, configuration) at an `origin`."""
        if begin not in self._starts:
            version, configuration = begin
            self._starts[begin] = (
                self._start_in(version) if configuration < 0 else self._start_at(version, configuration)
            )
        return self._starts[begin]

    def _start_in(self, version: int) -> list[Reading]:
        d = self.sources[version]
        found: dict[Reading, None] = {}
        for o in initial_outcomes(d)[0]:
            source = o.state
            letters = self.anchors.letters(None, None, False, (d, source.configuration))
            facts, fired = self.anchors.step(self.anchors.start(True), letters)
            if fired:
                pairs = [self.cut(fired)]
            elif self.unchanged[version]:
                pairs = [Pair(source)]
            else:
                known = dict(self._for_target(o.guards))
                there = initial_outcomes(self.target, known)[0]
                pairs = [Pair(t.state) for t in there]
            for pair in pairs:
                found[Reading(version, source, facts, ((self.loop_key(version, source), pair),))] = None
        return list(found)

    def _start_at(self, version: int, configuration: int) -> list[Reading]:
        """After an `origin` the target side is nowhere until an anchor point."""
        source = State(configuration)
        letters = self.anchors.letters(None, None, False, (self.sources[version], configuration))
        facts, fired = self.anchors.step(self.anchors.start(False), letters)
        pair = self.cut(fired) if fired else Pair(None)
        return [Reading(version, source, facts, ((self.loop_key(version, source), pair),))]

    def cut(self, anchor: str) -> Pair:
        """The target side at an anchor point: its path, entered by default, nothing after it yet."""
        return Pair(self.resume_at[anchor], anchor=anchor, bare=True)

    def advance(self, readings: Iterable[Reading], item: Item) -> list[Reading]:
        """All readings after one more item; empty where the source cannot explain it."""
        found: dict[Reading, None] = {}
        for r in readings:
            for step in self.source_steps(r.version, r.source, item):
                facts, fired = self.anchors.step(r.facts, step.letters)
                key = self.loop_key(step.version, step.state)
                for pair in self.target_steps(r.version, r.source, r.pair, step):
                    stack = self._stacked(r.stack, key, pair, fired, pops=step.event is not None)
                    found[Reading(step.version, step.state, facts, stack)] = None
            if len(found) > MAX_READINGS:
                raise TooWide
        return list(found)

    def _stacked(self, stack: Stack, key: LoopKey, pair: Pair, fired: str, pops: bool = True) -> Stack:
        """The stack of section 3 after a step (`pops`) or a marker, which erases nothing."""
        if fired:
            return ((key, self.cut(fired)),)
        if not self.migration.erase_loops:
            return ((key, pair),)
        if key == stack[-1][0]:
            return (*stack[:-1], (key, pair))
        if pops:
            for depth in range(len(stack) - 1, -1, -1):
                if stack[depth][0] == key:
                    return stack[: depth + 1]
        return (*stack, (key, pair))

    def replay(self, start: Iterable[Reading], items: Sequence[Item]) -> tuple[list[Reading], int]:
        """Follow a whole trace. Returns the readings at its end and the number of items explained:
        fewer than `len(items)` where the source could not explain one (then the readings are those
        before it)."""
        readings = list(start)
        for i, item in enumerate(items):
            after = self.advance(readings, item)
            if not after:
                return readings, i
            readings = after
        return readings, len(items)

    def ends_in(self, readings: Iterable[Reading], configuration: int) -> tuple[tuple[Facts, Pair], ...]:
        """The distinct (facts, target side) of the readings that end in this lane's version, in this
        configuration of it: only they count (section 5, end)."""
        return tuple(
            dict.fromkeys(
                (r.facts, r.pair)
                for r in readings
                if r.version == self.index and r.source.configuration == configuration
            )
        )

    def loop_key(self, version: int, state: State) -> LoopKey:
        """What makes two source states the same for loops: paths, kinds and remembered history, so
        that they compare across versions."""
        found = self._keys.get((version, state))
        if found is None:
            if len(self._keys) >= MAX_MEMO:
                self._keys.clear()
            d = self.sources[version]
            nodes = tuple((n.path, n.kind) for n in d.nodes_in(state.configuration))
            remembered = normalised(d, state).history
            history = tuple((d.nodes[h].path, tuple(n.path for n in d.nodes_in(v))) for h, v in remembered)
            found = self._keys[(version, state)] = (nodes, history)
        return found

    # --- every path ---

    def reachable(self) -> Reach:
        """All (source, target) pairs that some history leads to (apv.md section 5, last part), breadth
        first; with `loops: erase` over the loop-free paths."""
        limit = MAX_PATHS if self.migration.erase_loops else MAX_REACHABLE
        events = self.events(self.index)
        came: dict[Reading, tuple[Reading, str] | None] = {}
        seen: set[Any] = set()
        pending: deque[Reading] = deque()

        def meet(r: Reading, origin: tuple[Reading, str] | None) -> bool:
            r = self._without_path(r)
            # Without anchor points what a loop pops back to was met before: the places suffice.
            places: Any = r.stack if self.migration.resume else frozenset(k for k, _ in r.stack)
            key = (r.source, r.facts, r.pair, places)
            if key not in seen:
                if len(came) >= limit:
                    return False
                seen.add(key)
                came[r] = origin
                pending.append(r)
            return True

        for r in self.start((self.index, -1)):
            meet(r, None)
        while pending:
            r = pending.popleft()
            for event in events:
                for after in self.advance((r,), Event(event)):
                    if not meet(after, (r, event)):
                        return Reach(came, limit)
        return Reach(came, 0)

    def _without_path(self, r: Reading) -> Reading:
        """A reading without what only a particular path could tell."""
        stack = tuple((k, replace(p, retired=frozenset(), bare=False)) for k, p in r.stack)
        return replace(r, facts=r.facts if self.migration.resume else (), stack=stack)


@dataclass(frozen=True, slots=True)
class Reach:
    """The readings reachable without looking at any history, each with the step that first led there;
    `bound` is the limit the search stopped at, or 0 where it is complete."""

    came: dict[Reading, tuple[Reading, str] | None]
    bound: int

    def by_configuration(self) -> dict[int, list[Reading]]:
        """The readings found, by the source's configuration."""
        found: dict[int, list[Reading]] = {}
        for r in self.came:
            found.setdefault(r.source.configuration, []).append(r)
        return found

    def path_to(self, r: Reading) -> list[str]:
        """A shortest history that leads to a reading, as event types."""
        path: list[str] = []
        came = self.came[r]
        while came is not None:
            path.append(came[1])
            came = self.came[came[0]]
        return path[::-1]


# --- helpers -----------------------------------------------------------------------------------------


def _node(d: Definition, path: Path) -> StateNode:
    node = d.node(path)
    if node is None:
        raise StepError(f"{d.label} has no state '{'.'.join(path)}'")
    return node


def _value(d: Definition, text: str) -> int | None:
    """The configuration of a state value given as JSON."""
    return configuration_of(d, json.loads(text)) if text else None


def _by_hand(d: Definition, text: str) -> int | None:
    """A state set by hand: a complete state value, or a path that is entered by default."""
    value = json.loads(text)
    configuration = configuration_of(d, value)
    if configuration is None and isinstance(value, str):
        node = d.by_path.get((value,)) or d.by_path.get(split_path(value))
        if node is not None and d.nodes[node].kind != "history":
            configuration = enter_by_default(d, d.nodes[node])
    return configuration


def _same_history(before: Definition, after: Definition, history: HistoryValue) -> HistoryValue:
    """Remembered history carried across versions by path, where both have it."""
    found = []
    for index, remembered in history:
        there = after.by_path.get(before.nodes[index].path)
        nodes = [after.by_path.get(n.path) for n in before.nodes_in(remembered)]
        if there is not None and after.nodes[there].kind == "history" and None not in nodes:
            found.append((there, sum(1 << n for n in nodes if n is not None)))
    return tuple(sorted(found))


def normalised(d: Definition, state: State) -> State:
    """The state without remembered values equal to default entry, which count as none for loops
    (section 3). For stepping they are no substitute: XState takes a value that is recorded while its
    parent is left for the domain of the very transition that leaves it."""
    if not state.history:
        return state
    kept = tuple((h, nodes) for h, nodes in state.history if not _is_default(d, h, nodes))
    return state if len(kept) == len(state.history) else replace(state, history=kept)


def _is_default(d: Definition, history: int, remembered: int) -> bool:
    parent = d.nodes[d.nodes[history].parent]
    by_default = remembered_entry(d, parent, d.nodes[history].default)
    return by_default == remembered_entry(d, parent, tuple(n.index for n in d.nodes_in(remembered)))
