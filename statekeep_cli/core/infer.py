"""Observed histories -> counted transitions, the material of a first definition (`statekeep infer`).

`Observations` takes one actor at a time and keeps what is distinct: states, transitions, and the stretches of
a history that lack recorded states. Where a stretch passed through is worked out at the end, from what other
histories record. `infer_machine.py` makes a machine of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec

from statekeep_cli.core.alphabet import is_internal
from statekeep_cli.core.check import MAX_STATES
from statekeep_cli.core.infer_stretches import Known, Triple
from statekeep_cli.core.infer_trees import NotInferable, Tree, is_flat, tree_of
from statekeep_cli.core.model import split_path
from statekeep_cli.core.trace import MARKERS, Actor, Item, origin_of

# What one log may hold of anything distinct; past it the columns are probably not what they seem.
MAX_TRANSITIONS = 200_000
# Distinct stretches without recorded states; events of further ones are only counted.
MAX_STRETCHES = 50_000
# Spellings of states that are remembered (spaces, order of keys); only a matter of speed.
MAX_SPELLINGS = 50_000
# How often stretches are looked at again because others taught something.
MAX_ROUNDS = 50

# The place before the first item of a complete history.
START = -1

# (state before, events, state after), states by number.
StretchKey = tuple[int, tuple[str | None, ...], int]
# One item of a history: its type (None where the log has states only), and the state after it as JSON (None
# where it was not recorded). `("manual", state)` and `("migrated", state)` are jumps, and no events.
Step = tuple[str | None, bytes | None]


@dataclass(slots=True)
class Count:
    """How often a transition was seen, by how many actors; `last` is the last of them, by number. With `most`
    the actors are at most as many: some may have been counted twice, where recorded states were missing."""

    times: int = 0
    actors: int = 0
    last: int = 0
    most: bool = False

    def add(self, other: Count) -> None:
        """Adds another count, of other actors."""
        self.times += other.times
        self.actors += other.actors
        self.most |= other.most


@dataclass(slots=True)
class Stretch:
    """How many actors have a stretch of events without recorded states; `beside`: of them, those of whom
    other steps are counted as well."""

    times: int = 0
    beside: int = 0


@dataclass(slots=True)
class Here:
    """Actors in a state: all of them, and those whose own status says `done`."""

    actors: int = 0
    done: int = 0


@dataclass(slots=True)
class Totals:
    """What was read. `unplaced` are events whose place in the machine stays unknown, of `adrift` stretches;
    `worked_out` are those that lacked a recorded state and were placed; `elsewhere` are actors that are not
    in the last state their history records; `jumps` are markers (`manual`, `migrated`)."""

    actors: int = 0
    events: int = 0
    without_history: int = 0
    jumps: int = 0
    elsewhere: int = 0
    worked_out: int = 0
    unplaced: int = 0
    adrift: int = 0


@dataclass(slots=True)
class Observations:
    """Everything seen so far; feed it with `add`, or with `add_actor`.

    Memory grows with distinct states, transitions and stretches, all bounded, not with actors or events.
    """

    totals: Totals = field(default_factory=Totals)
    trees: list[Tree] = field(default_factory=list)
    counts: dict[Triple, Count] = field(default_factory=dict)
    here: dict[int, Here] = field(default_factory=dict)
    untouched: dict[int, int] = field(default_factory=dict)  # actors with an empty history, by state
    stretches: dict[StretchKey, Stretch] = field(default_factory=dict)
    # Actors whose first item did to a state what they also did from another: they are one there, not two.
    twice: dict[Triple, int] = field(default_factory=dict)
    _numbers: dict[str, int] = field(default_factory=dict)
    _spellings: dict[bytes, int] = field(default_factory=dict)

    def add_actor(self, actor: Actor[Any, Any]) -> None:
        """One record of an export, or of a database, its history within."""
        state = bytes(actor.state) if actor.state else None
        origin = bytes(origin_of.decode(bytes(actor.origin)).state) if actor.origin else None
        steps = None if actor.history is None else steps_of(actor.history)
        self.add(steps, state, done=actor.status == "done", origin=origin)

    def add(
        self,
        steps: Iterable[Step] | None,
        state: bytes | None = None,
        *,
        done: bool = False,
        origin: bytes | None = None,
    ) -> None:
        """One actor: its history in order (None: it has none), the state it is in if that is known, whether
        it is done, and where its history begins if earlier items were pruned. States are JSON."""
        totals, counts = self.totals, self.counts
        totals.actors += 1
        number = totals.actors
        current = None if state is None else self._number(state)
        if steps is None:
            totals.without_history += 1
            if current is not None:
                self._place(current, done)
            return
        before = START if origin is None else self._number(origin)
        spellings = self._spellings
        stretch: list[str | None] = []
        stretches: list[StretchKey] = []
        first: Triple | None = None
        items = 0
        for type, recorded in steps:
            items += 1
            if type in MARKERS:
                totals.jumps += 1
                totals.unplaced += len(stretch)
                stretch = []
                if recorded is not None:
                    before = self._number(recorded)
                continue
            totals.events += 1
            if recorded is None:
                stretch.append(type)
                continue
            after = spellings.get(recorded)
            if after is None:
                after = self._number(recorded)
            if stretch:
                stretches.append((before, (*stretch, type), after))
                stretch = []
            else:
                key = (before, type, after)
                count = counts.get(key)
                if count is None:
                    count = self._count(key)
                count.times += 1
                if count.last != number:
                    count.last = number
                    count.actors += 1
                    if first is None:
                        first = key
                    elif type == first[1] and after == first[2] and first[0] == START:
                        self.twice[key] = self.twice.get(key, 0) + 1
            before = after
        if stretch and current is not None:
            stretches.append((before, tuple(stretch), current))
        elif stretch:
            totals.unplaced += len(stretch)
        elif current is not None and before not in (START, current):
            totals.elsewhere += 1
        for each in stretches:
            self._stretch(each, alone=first is None and len(stretches) == 1)
        if not items and origin is None and current is not None:
            self.untouched[current] = self.untouched.get(current, 0) + 1
        last = before if current is None and not stretch else current
        if last is not None and last != START:
            self._place(last, done)

    def _place(self, state: int, done: bool) -> None:
        here = self.here.setdefault(state, Here())
        here.actors += 1
        here.done += done

    def _count(self, key: Triple) -> Count:
        if len(self.counts) >= MAX_TRANSITIONS:
            raise NotInferable(
                f"more than {MAX_TRANSITIONS:,} distinct transitions; check that 'type' names a kind of "
                "event and 'state' a status, not something of each actor's own"
            )
        found = self.counts[key] = Count()
        return found

    def _stretch(self, key: StretchKey, alone: bool) -> None:
        if key not in self.stretches and len(self.stretches) >= MAX_STRETCHES:
            self.totals.unplaced += len(key[1])
            self.totals.adrift += 1
            return
        stretch = self.stretches.setdefault(key, Stretch())
        stretch.times += 1
        stretch.beside += not alone

    def _number(self, raw: bytes) -> int:
        found = self._spellings.get(raw)
        if found is None:
            value = msgspec.json.decode(raw)
            found = self.number(tree_of(value))
            if len(self._spellings) >= MAX_SPELLINGS:
                self._spellings.clear()
            self._spellings[raw] = found
        return found

    def number(self, tree: Tree) -> int:
        """The number of a state, given now if it has none."""
        text = json.dumps(tree, sort_keys=True, ensure_ascii=False)
        found = self._numbers.get(text)
        if found is None:
            if len(self.trees) >= MAX_STATES:
                raise NotInferable(
                    f"more than {MAX_STATES:,} distinct states; check that 'state' is a status, "
                    "not something of each actor's own"
                )
            found = self._numbers[text] = len(self.trees)
            self.trees.append(tree)
        return found

    # --- the end -------------------------------------------------------------------------------------

    def merge_dotted(self) -> dict[int, int]:
        """A state recorded as `a.b` and as `{"a": "b"}` becomes one, the nested one. Returns which became
        which."""
        nested = {self._numbers[text] for text in self._numbers} - {
            i for i, tree in enumerate(self.trees) if is_flat(tree)
        }
        if not nested:
            return {}
        same: dict[int, int] = {}
        for i, tree in enumerate(self.trees):
            if not is_flat(tree):
                continue
            path = split_path(next(iter(tree)))
            chain: Tree = {}
            for key in reversed(path):
                chain = {key: chain}
            other = self._numbers.get(json.dumps(chain, sort_keys=True, ensure_ascii=False))
            if len(path) > 1 and other is not None:
                same[i] = other
        if same:
            self.rename(same)
        return same

    def rename(self, to: dict[int, int]) -> None:
        """Takes some states (or `START`) for others; their counts add up."""
        counts, stretches, here = self.counts, self.stretches, self.here
        self.counts, self.stretches, self.here = {}, {}, {}
        for (a, event, b), count in counts.items():
            self.counts.setdefault((to.get(a, a), event, to.get(b, b)), Count()).add(count)
        if START in to:
            for triple, actors in self.twice.items():
                if triple[0] == to[START] and triple in self.counts:
                    self.counts[triple].actors -= actors
        self.twice = {(to.get(a, a), e, to.get(b, b)): n for (a, e, b), n in self.twice.items()}
        for (a, events, b), stretch in stretches.items():
            mine = self.stretches.setdefault((to.get(a, a), events, to.get(b, b)), Stretch())
            mine.times += stretch.times
            mine.beside += stretch.beside
        for state, placed in here.items():
            there = self.here.setdefault(to.get(state, state), Here())
            there.actors += placed.actors
            there.done += placed.done
        untouched, self.untouched = self.untouched, {}
        for state, n in untouched.items():
            self.untouched[to.get(state, state)] = self.untouched.get(to.get(state, state), 0) + n

    def settle_single(self) -> None:
        """A stretch of one event has its two ends recorded: it is a transition like any other."""
        for (before, events, after), stretch in list(self.stretches.items()):
            if len(events) == 1:
                count = self.counts.setdefault((before, events[0], after), Count())
                count.add(Count(stretch.times, stretch.times, most=stretch.beside > 0))
                del self.stretches[before, events, after]

    def firsts(self) -> dict[int, int]:
        """The state after the first item, where it is known: how many actors have which."""
        found: dict[int, int] = {}
        for (before, _, after), count in self.counts.items():
            if before == START:
                found[after] = found.get(after, 0) + count.actors
        return found

    def work_out(self) -> None:
        """Places the events of stretches by the transitions that are known, learning new ones where exactly
        one would explain a stretch; first only for events not yet known in a state, then as alternatives.
        `START` must have been renamed."""
        known = Known(self.counts)
        stretches = self.stretches
        waiting = sorted(stretches, key=lambda s: (len(s[1]), -stretches[s].times, s[0], repr(s[1]), s[2]))
        for alternatives in (False, True):
            for _ in range(MAX_ROUNDS):
                learnt = False
                waiting = [key for key in waiting if not known.explains(*key)]
                for before, events, after in waiting:
                    new = known.missing(before, events, after, alternatives)
                    if new is not None:
                        known.learn(new)
                        learnt = True
                if not learnt:
                    break
        for key, stretch in stretches.items():
            path = known.path(*key, self._times)
            if path is None:
                self.totals.unplaced += stretch.times * len(key[1])
                self.totals.adrift += stretch.times
                continue
            self.totals.worked_out += stretch.times * (len(key[1]) - 1)
            for triple in path:
                self.counts.setdefault(triple, Count()).times += stretch.times
            for triple in dict.fromkeys(path):
                self.counts[triple].add(Count(0, stretch.times, most=stretch.beside > 0))
        self.stretches = {}

    def _times(self, triple: Triple) -> int:
        count = self.counts.get(triple)
        return 0 if count is None else count.times


def steps_of(history: Iterable[Any]) -> Iterator[Step]:
    """A history as readers decode it (`str` or `Item`), without what is part of a macrostep."""
    for item in history:
        if type(item) is str:
            if not is_internal(item):
                yield item, None
            continue
        assert isinstance(item, Item)
        kind = item.type
        if kind == "manual":
            yield kind, bytes(item.to)
        elif kind == "migrated":
            yield kind, bytes(origin_of.decode(bytes(item.to)).state)
        elif kind is None or not is_internal(kind):
            yield kind, bytes(item.state) if item.state else None
