"""The naive router: apv.md read aloud, one actor at a time.

It shares the statechart algorithm (`core.semantics`) with the product and nothing else. There are no
tables and no automata: a trace is walked event by event with a plain set of *readings*, an anchor is
evaluated over the whole recorded word every time, and section 7 is decided in its own order. It is
slow on purpose, and it is what the native router has to agree with (apv.md section 10, 1).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, NamedTuple

import jsonschema_rs

from statekeep_cli.core import configuration as conf
from statekeep_cli.core import outcomes as stepping
from statekeep_cli.core import semantics
from statekeep_cli.core.model import Definition, Guard, Path, StateNode, canonical, split_path
from statekeep_cli.core.outcomes import Outcome
from statekeep_cli.core.semantics import State

BOUND = 2_000  # readings followed without a history; past it nothing is claimed
SHOWS_NOTHING = ("xstate.init", "xstate.done.state.")  # part of a macrostep, no items of their own


class BoundReached(Exception):
    """A proof that would follow more readings than `BOUND`: the reference has no opinion."""


# --- values --------------------------------------------------------------------------------------


class Letter(NamedTuple):
    """One letter of the word that anchors read: an event, or the configuration it led to (section 4).

    `before` and `after` are the paths of active nodes. At the configuration letter of a step `event`
    and `handled` are the step's; the start and markers have none.
    """

    phase: str  # "event" or "configuration"
    event: str | None
    handled: bool
    before: frozenset[Path]
    after: frozenset[Path]


Word = tuple[Letter, ...]


@dataclass(frozen=True)
class Side:
    """The target side of a reading: a position, stuck at an event or free; None is unknown (origins).

    `anchor` is the anchor point the path begins at, `dropped` the retired events on the path.
    """

    state: State | None
    stuck: str | None = None
    anchor: str | None = None
    dropped: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Reading:
    """One way to read a trace: where the source is, where the target is, and what was seen on the way.

    `stack` is section 3's, and stays empty under `loops: keep`. `entered` are the source nodes of all
    stable configurations so far, as (definition label, node index).
    """

    definition: Definition
    source: State
    side: Side
    word: Word = ()
    stack: tuple[tuple[Any, Side], ...] = ()
    entered: frozenset[tuple[str, int]] = frozenset()


@dataclass
class Ruling:
    """What section 7 says before and after its checks; `rule` is only the kind of rule."""

    outcome: str
    reason: str = ""
    rule: str = ""
    placed: int | None = None  # a target configuration
    by_default: int = 0  # the nodes of it that were entered by default
    keys: tuple[tuple[Path, Any], ...] = ()  # the mapping entries that placed active leaves


class Strand(Exception):
    """A placement by name that is not possible; the reason is its only argument."""


# --- letters and patterns (section 4) ------------------------------------------------------------


def is_primitive(pattern: Mapping[str, Any]) -> bool:
    return any(k in pattern for k in ("event", "state", "transition"))


def letter_matches(pattern: Mapping[str, Any], letter: Letter) -> bool:
    """Does a primitive pattern match at this letter?"""
    entered = letter.after - letter.before
    if "event" in pattern:
        return letter.phase == "event" and letter.handled and letter.event in listed(pattern["event"])
    if letter.phase != "configuration":
        return False
    if "state" in pattern:
        return split_path(pattern["state"]) in entered
    step = pattern["transition"]
    if letter.event is None or not letter.handled:
        return False
    if "from" in step and split_path(step["from"]) not in letter.before:
        return False
    if "event" in step and letter.event not in listed(step["event"]):
        return False
    if "to" in step:
        to = split_path(step["to"])
        return to in entered or (to in letter.after and letter.before == letter.after)
    return True


def flattened(pattern: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The primitive patterns of a sequence, in order; a sequence within one is only more of it."""
    if "sequence" in pattern:
        return [p for inner in pattern["sequence"] for p in flattened(inner)]
    return [pattern]


def completions(pattern: Mapping[str, Any], word: Word, start: int = 0) -> tuple[list[int], int]:
    """Where a primitive pattern or sequence completes, from `start` on, and its progress at the end.

    A letter advances a sequence by one element at most, and a transition takes the event letter
    and the configuration letter of its step: after the event letter is spent it cannot match.
    """
    if is_primitive(pattern):
        return [i for i in range(start, len(word)) if letter_matches(pattern, word[i])], 0
    elements, found, progress = flattened(pattern), [], 0
    spent: int | None = None
    for i in range(start, len(word)):
        element = elements[progress]
        if "transition" in element and spent is not None and spent == i - 1 and word[spent].phase == "event":
            continue
        if letter_matches(element, word[i]):
            progress, spent = progress + 1, i
            if progress == len(elements):
                found.append(i)
                progress = 0
    return found, progress


def since(pattern: Mapping[str, Any], word: Word) -> tuple[bool, int, int]:
    """Does `of` hold since the last `reset`? With the progress of both, from the last reset on."""
    resets, reset_progress = completions(pattern["reset"], word)
    last = resets[-1] if resets else -1
    found, progress = completions(pattern["of"], word, last + 1)
    return bool(found), progress, reset_progress


def event_types(word: Word) -> list[str | None]:
    return [letter.event for letter in word if letter.phase == "event"]


def kleene_all(values: list[bool | None]) -> bool | None:
    return False if False in values else None if None in values else True


def kleene_not(value: bool | None) -> bool | None:
    return None if value is None else not value


def kleene_any(values: list[bool | None]) -> bool | None:
    return kleene_not(kleene_all([kleene_not(v) for v in values]))


GROWING = ("event", "state", "transition", "sequence")


def holds(pattern: Any, word: Word, anchors: Mapping[str, Any], complete: bool) -> bool | None:
    """Does a pattern, or an anchor by its name, hold after this word? None where that is unknown."""
    if isinstance(pattern, str):
        return holds(anchors[pattern], word, anchors, complete)
    for key, fold in (("all", kleene_all), ("any", kleene_any), ("none", kleene_any)):
        if key in pattern:
            value = fold([holds(p, word, anchors, complete) for p in pattern[key]])
            return kleene_not(value) if key == "none" else value
    if "count" in pattern:
        count = pattern["count"]
        n = len(completions(count["of"], word)[0])
        value = count.get("atLeast", 0) <= n and n <= count.get("atMost", n)
        grows = "atMost" not in count
    elif "since" in pattern:
        value, grows = since(pattern["since"], word)[0], False
    elif "startsWith" in pattern:
        wanted = pattern["startsWith"]
        value, grows = event_types(word)[: len(wanted)] == wanted, False
    elif "path" in pattern:
        value, grows = event_types(word) == pattern["path"], False
    else:
        value, grows = bool(completions(pattern, word)[0]), True
    return value if complete or (grows and value) else None


def summary(pattern: Any, word: Word, anchors: Mapping[str, Any]) -> Any:
    """All that the rest of a word can still need of this one; equal summaries are never told apart."""
    if isinstance(pattern, str):
        return summary(anchors[pattern], word, anchors)
    for key in ("all", "any", "none"):
        if key in pattern:
            return tuple(summary(p, word, anchors) for p in pattern[key])
    if "count" in pattern:
        count = pattern["count"]
        found, progress = completions(count["of"], word)
        return progress, min(len(found), max(count.get("atLeast", 0), count.get("atMost", -1) + 1))
    if "since" in pattern:
        return since(pattern["since"], word)
    for key in ("startsWith", "path"):
        if key in pattern:
            types, wanted = event_types(word), pattern[key]
            n = min(len(types), len(wanted) + (key == "path"))
            return n if types[:n] == wanted[:n] else -1
    found, progress = completions(pattern, word)
    return bool(found), progress


def fires(
    pattern: Mapping[str, Any], word: Word, new: int, anchors: Mapping[str, Any], complete: bool
) -> bool:
    """Does an anchor point fire within the last `new` letters? At each completion, or on turning true."""
    first = len(word) - new
    if is_primitive(pattern) or "sequence" in pattern:
        return any(i >= first for i in completions(pattern, word)[0])
    return any(
        holds(pattern, word[: i + 1], anchors, complete) is True
        and holds(pattern, word[:i], anchors, complete) is not True
        for i in range(first, len(word))
    )


# --- small helpers -------------------------------------------------------------------------------


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def bits(nodes: Iterator[int] | list[int]) -> int:
    return sum(1 << i for i in set(nodes))


def paths(d: Definition, configuration: int) -> frozenset[Path]:
    return frozenset(n.path for n in d.nodes_in(configuration))


def is_prefix(path: Path, of: Path) -> bool:
    return of[: len(path)] == path


def alphabet(d: Definition, others: Iterable[str] = ()) -> list[str]:
    """The events a definition listens to; a wildcard stands for itself and for every name it matches."""
    own = {x for x in d.descriptors() if not x.startswith("xstate.done.state.")}
    wild = [x for x in own if x.endswith("*")]
    return sorted(own | {e for e in others if any(semantics.matches(w, e) for w in wild)})


def place(d: Definition, state: State) -> Any:
    """What `loops: erase` compares (section 3): paths and kinds, and the history values that matter."""

    def described(nodes: int) -> frozenset[tuple[Path, str]]:
        return frozenset((n.path, n.kind) for n in d.nodes_in(nodes))

    remembered = frozenset(
        (d.nodes[h].path, described(nodes))
        for h, nodes in state.history
        if entered_from(d, h, list(d.nodes_in(nodes)))
        != entered_from(d, h, [d.nodes[i] for i in d.nodes[h].default])
    )
    return described(state.configuration), remembered


def entered_from(d: Definition, history: int, nodes: list[StateNode]) -> int:
    """What is active inside a history node's parent once these nodes are entered."""
    inside = d.nodes[d.nodes[history].parent].descendants
    entered = 0
    for node in nodes:
        entered |= (semantics.default_entry(d, node) | node.ancestors) & inside
    return entered


def set_path(value: dict[str, Any], path: Path, new: Any) -> None:
    """Write into nested objects, creating what is missing. Raises Strand where a part is no object."""
    for key in path[:-1]:
        value = value.setdefault(key, {})
        if not isinstance(value, dict):
            raise Strand("context_invalid")
    value[path[-1]] = new


def get_path(value: Any, path: Path) -> tuple[bool, Any]:
    for key in path:
        if not isinstance(value, dict) or key not in value:
            return False, None
        value = value[key]
    return True, value


# --- one decision --------------------------------------------------------------------------------


class Reference:
    """One actor against one target. `speaks` says whether the migration block applies to it."""

    def __init__(self, sources: list[Definition], target: Definition, actor: Mapping[str, Any]):
        self.sources, self.target, self.actor = sources, target, actor
        self.snapshot: Mapping[str, Any] | None = actor.get("snapshot")
        self.source: Definition | None = self.find(actor.get("definition"), actor.get("version"), sources)
        block: Mapping[str, Any] = target.migration
        if self.source is not None and block.get("from") is not None:
            names = {str(x) for x in listed(block["from"])}
            if not names & {str(self.source.version), self.source.id}:
                block = {}
        self.block = block
        self.policy = {
            "diverged": "strand",
            "history": "require",
            "entry": "strand",
            "loops": "keep",
            **(block.get("policy") or {}),
        }
        self.anchors: Mapping[str, Any] = block.get("anchors") or {}
        self.mapping = {split_path(k): v for k, v in (block.get("stateMapping") or {}).items()}
        self.erase = self.policy["loops"] == "erase"
        self.complete = actor.get("origin") is None  # false too where there is no usable history
        self.track = True
        self.route: tuple[Path, Any] | None = None  # the one that placed the actor
        self.proof = actor.get("history") is None and actor.get("origin") is None
        self.current = 0
        self.survivors: list[Reading] = []
        self.usable = False  # is there a history, and does it lead to the current state?
        self.landings: set[tuple[int, str | None]] = set()

    def stored(self, key: str, snapshot_key: str, default: Any = None) -> Any:
        found = self.actor if self.snapshot is None else self.snapshot
        value = found.get(key if self.snapshot is None else snapshot_key)
        return default if value is None else value

    @staticmethod
    def find(definition: Any, version: Any, among: list[Definition]) -> Definition | None:
        if definition is None and version is None:
            return among[0] if len(among) == 1 else None
        for d in among:
            if (definition is None or str(definition) == d.id) and (
                version is None or str(version) == str(d.version)
            ):
                return d
        return None

    # --- carrying nodes, events and guards into the target ---------------------------------------

    def carry(self, d: Definition, index: int) -> int | None:
        """The target node that a source node stands for: by the longest mapping key, else by its path.

        A route that places the actor counts as a key only once it has (`self.route`).
        """
        node = d.nodes[index]
        if d is self.target or index == 0:
            return index
        key = self.key_for(node.path)
        if key is None:
            return self.target.by_path.get(node.path)
        to = self.named(key[1])
        if to is None:
            return None
        if key[0] == node.path or to.is_leaf:
            return to.index
        return self.remainder(d, node, key[0], to)

    def key_for(self, path: Path) -> tuple[Path, Any] | None:
        if self.route is not None and is_prefix(self.route[0], path):
            return self.route
        keys = [k for k in self.mapping if is_prefix(k, path)]
        return (max(keys, key=len), self.mapping[max(keys, key=len)]) if keys else None

    def named(self, value: Any) -> StateNode | None:
        """The one target node a mapping value names: a path, or a state value with a single leaf."""
        if isinstance(value, str):
            return self.target.node(value)
        configuration = conf.configuration_of(self.target, value)
        leaves = conf.leaves(self.target, configuration) if configuration else []
        return leaves[0] if len(leaves) == 1 else None

    def remainder(self, d: Definition, node: StateNode, key: Path, to: StateNode) -> int | None:
        """`node` below `key`, looked for below `to`: there with the same kinds, or None."""
        for n in range(len(key) + 1, len(node.path) + 1):
            there = self.target.by_path.get(to.path + node.path[len(key) : n])
            if there is None or self.target.nodes[there].kind != d.nodes[d.by_path[node.path[:n]]].kind:
                return None
        return self.target.by_path[to.path + node.path[len(key) :]]

    def translated(self, d: Definition, event: str) -> str:
        """The target's name for a source event (sections 2 and 5)."""
        if d is self.target:
            return event
        renamed = ((self.block.get("rename") or {}).get("events") or {}).get(event)
        if renamed is not None:
            return str(renamed)
        # A derived name without a counterpart is known to nobody; NUL keeps it from matching by accident.
        nobody = event + "\0"
        for node in d.nodes:
            for timer in node.timers:
                if event == f"xstate.after.{timer.delay}.{node.id}":
                    there = self.carry(d, node.index)
                    delay = (
                        None
                        if there is None
                        else self.timers(node, self.target.nodes[there]).get(timer.delay)
                    )
                    return (
                        nobody
                        if delay is None
                        else f"xstate.after.{delay}.{self.target.nodes[there or 0].id}"
                    )
            for invoke in node.invokes:
                for prefix in ("xstate.done.actor.", "xstate.error.actor.", "xstate.snapshot."):
                    if event == prefix + invoke.id and not invoke.own_id:
                        there = self.carry(d, node.index)
                        invokes = () if there is None else self.target.nodes[there].invokes
                        return (
                            prefix + invokes[invoke.position].id if invoke.position < len(invokes) else nobody
                        )
        return nobody if event.startswith("xstate.after.") else event

    @staticmethod
    def timers(node: StateNode, there: StateNode) -> dict[str, str]:
        """Source delay -> target delay: equal delays first, the rest in order."""
        old, new = [t.delay for t in node.timers], [t.delay for t in there.timers]
        pairs = {x: x for x in old if x in new}
        rest = [x for x in new if x not in pairs]
        return {**pairs, **dict(zip([x for x in old if x not in pairs], rest, strict=False))}

    def heard(self) -> set[str]:
        """Source names of what the target tells apart (a partial wildcard stands for itself)."""
        renames = (self.block.get("rename") or {}).get("events") or {}

        def named(pattern: Any) -> set[str]:
            if isinstance(pattern, list):
                return set().union(*map(named, pattern))
            if not isinstance(pattern, dict):
                return set()
            found: set[str] = set()
            for key, value in pattern.items():
                found |= set(listed(value)) if key in ("event", "startsWith", "path") else named(value)
            return found

        return (
            set(renames)
            | named(list(self.anchors.values()))
            | {x for x in self.target.descriptors() if x != "*" and not x.startswith("xstate.")}
        )

    def known(self, d: Definition, guards: tuple[tuple[Guard, bool], ...]) -> dict[Guard, bool]:
        """What the guards of a source step say about the target's guards in that step."""
        if d is self.target:
            return dict(guards)
        renamed = (self.block.get("rename") or {}).get("guards") or {}
        changed = (self.block.get("changed") or {}).get("guards") or []
        seen: dict[Guard, set[bool]] = {}
        for guard, value in guards:
            name = renamed.get(guard.name, guard.name)
            if guard.name not in changed and name not in changed:
                seen.setdefault(Guard(name, guard.params), set()).add(value)
        return {g: next(iter(values)) for g, values in seen.items() if len(values) == 1}

    def retired(self, event: str) -> bool:
        """Does no transition of the target listen, by name or partial wildcard? (section 5)"""
        for node in self.target.nodes:
            for descriptor, transitions in node.transitions.items():
                partial = (
                    descriptor != "*" and descriptor.endswith("*") and semantics.matches(descriptor, event)
                )
                if ((descriptor == event and event != "*") or partial) and not all(
                    t.forbidden for t in transitions
                ):
                    return False
        return True

    # --- walking (sections 3 and 5) --------------------------------------------------------------

    def is_unchanged(self, d: Definition) -> bool:
        """Is the target this very machine, with nothing renamed or changed?"""
        return d.nodes == self.target.nodes and not (self.block.get("rename") or self.block.get("changed"))

    def target_sides(
        self, side: Side, d: Definition, before: State, event: str, outcome: Outcome, changed: bool
    ) -> set[Side]:
        """Where the target side may be after one source step."""
        if side.state is None or side.stuck is not None:
            return {side}
        if before == side.state and self.is_unchanged(d):  # law 7: one machine, one state, one event
            return {replace(side, state=outcome.state)}
        name = self.translated(d, event)
        outcomes, errors = stepping.outcomes(self.target, side.state, name, self.known(d, outcome.guards))
        stuck = replace(side, stuck=event)
        found = {stuck} if errors else set()
        for there in outcomes:
            accepted = there.state.configuration != side.state.configuration or any(
                t.targets is not None and t.descriptor != "*" for t in there.taken
            )
            if accepted or not changed:
                found.add(replace(side, state=there.state))
            elif self.retired(name):
                found.add(replace(side, dropped=side.dropped | {event}))
            else:
                found.add(stuck)
        return found

    def moved(
        self, r: Reading, d: Definition, source: State, side: Side, letters: list[Letter], step: bool = True
    ) -> Reading:
        """The reading after a step or marker: word, anchor points, and the stack of erased loops.

        A marker is no step: it never pops, since the target side goes on undisturbed.
        """
        word = r.word + tuple(letters)
        anchor = None
        for name, pattern in self.anchors.items():
            if "resume" in pattern and fires(pattern, word, len(letters), self.anchors, self.complete):
                anchor = name
        here = place(d, source) if self.erase else None
        stack = list(r.stack)
        if self.erase:
            places = [p for p, _ in stack]
            if places and places[-1] == here:
                stack[-1] = (here, side)
            elif here in places and step:
                last = len(places) - 1 - places[::-1].index(here)
                side = stack[last][1]
                del stack[last + 1 :]
            else:
                stack.append((here, side))
        if anchor is not None:
            resume = self.target.node(self.anchors[anchor]["resume"])
            assert resume is not None
            side = Side(State(semantics.enter_by_default(self.target, resume)), anchor=anchor)
            stack = [(here, side)] if self.erase else []
        entered = r.entered
        if self.track:
            entered |= {(d.label, n.index) for n in d.nodes_in(source.configuration)}
        return Reading(d, source, side, word, tuple(stack), entered)

    def starts(self, d: Definition) -> list[Reading]:
        """Both definitions in their initial configurations."""
        found = []
        for first in stepping.initial_outcomes(d)[0]:
            letters = [Letter("configuration", None, False, frozenset(), paths(d, first.state.configuration))]
            theres = stepping.initial_outcomes(self.target, self.known(d, first.guards))[0]
            if self.is_unchanged(d):  # law 7: one machine starts one way
                theres = (first,)
            for there in theres:
                r = Reading(d, first.state, Side(there.state))
                found.append(self.moved(r, d, first.state, r.side, letters))
        return found

    def origin(self, origin: Mapping[str, Any]) -> list[Reading]:
        d = self.find(origin.get("definition"), origin.get("version"), [*self.near(self.source), self.target])
        configuration = None if d is None else conf.configuration_of(d, origin["state"])
        if d is None or configuration is None:
            return []
        letters = [Letter("configuration", None, False, frozenset(), paths(d, configuration))]
        r = Reading(d, State(configuration), Side(None))
        return [self.moved(r, d, r.source, r.side, letters)]

    def near(self, d: Definition | None) -> list[Definition]:
        """The sources, those with this one's id first: a bare version means the nearest."""
        return sorted(self.sources, key=lambda x: d is None or x.id != d.id)

    def step(self, r: Reading, event: str, recorded: Any = None) -> list[Reading]:
        """One event from one reading, along every source outcome that agrees with a recorded state."""
        d, found = r.definition, []
        wanted = None if recorded is None else conf.configuration_of(d, recorded)
        if recorded is not None and wanted is None:
            return []
        before = paths(d, r.source.configuration)
        for outcome in stepping.outcomes(d, r.source, event)[0]:
            after = outcome.state.configuration
            if wanted is not None and after != wanted:
                continue
            handled = any(not t.forbidden for t in outcome.taken)
            letters = [
                Letter("event", event, handled, before, before),
                Letter("configuration", event, handled, before, paths(d, after)),
            ]
            for side in self.target_sides(
                r.side, d, r.source, event, outcome, after != r.source.configuration
            ):
                found.append(self.moved(r, d, outcome.state, side, letters))
        return found

    def marker(self, r: Reading, item: Mapping[str, Any]) -> list[Reading]:
        """`migrated` and `manual`: the source side jumps, the target side goes on undisturbed."""
        d, history = r.definition, r.source.history
        if item["type"] == "migrated":
            old, new = item["from"], item["to"]
            left = self.find(old.get("definition"), old.get("version"), [*self.near(d), self.target])
            if left is not d or conf.configuration_of(d, old["state"]) != r.source.configuration:
                return []
            found = self.find(new.get("definition"), new.get("version"), [*self.near(d), self.target])
            if found is None:
                return []
            history = self.same_history(d, found, history)
            d, state = found, new["state"]
        else:
            state = item["to"]
        configuration = conf.configuration_of(d, state)
        if configuration is None:
            return []
        before = paths(r.definition, r.source.configuration)
        letters = [Letter("configuration", None, False, before, paths(d, configuration))]
        return [self.moved(r, d, State(configuration, history), r.side, letters, step=False)]

    @staticmethod
    def same_history(
        old: Definition, new: Definition, history: semantics.HistoryValue
    ) -> semantics.HistoryValue:
        """Remembered history values, carried between versions by path."""
        found = []
        for h, nodes in history:
            there = new.by_path.get(old.nodes[h].path)
            inside = [new.by_path.get(n.path) for n in old.nodes_in(nodes)]
            if there is not None and new.nodes[there].kind == "history" and None not in inside:
                found.append((there, bits([i for i in inside if i is not None])))
        return tuple(sorted(found))

    def walk(self, items: list[Any]) -> list[Reading]:
        """Every reading of the whole trace; none where it is inconsistent."""
        first = next((x for x in items if isinstance(x, dict) and x.get("type") == "migrated"), None)
        d: Definition | None = self.source
        if first is not None:
            named = first["from"]
            d = self.find(named.get("definition"), named.get("version"), [*self.near(d), self.target])
        if self.actor.get("origin") is not None:
            readings = self.origin(self.actor["origin"])
        else:
            readings = [] if d is None else self.starts(d)
        for raw in items:
            item = raw if isinstance(raw, dict) else {"type": raw}
            kind = item.get("type")
            if kind is not None and kind.startswith(SHOWS_NOTHING):
                continue
            found: dict[Any, Reading] = {}
            for r in readings:
                if kind == "migrated" or (kind == "manual" and "to" in item):
                    after = self.marker(r, item)
                elif kind is not None:
                    after = self.step(r, kind, item.get("state"))
                else:
                    after = [
                        x
                        for e in alphabet(r.definition, self.heard())
                        for x in self.step(r, e, item["state"])
                    ]
                found.update((self.identity_of(x), x) for x in after)
            readings = list(found.values())
        return readings

    def identity_of(self, r: Reading) -> Any:
        """Two readings that agree here agree on everything to come."""
        facts = tuple(summary(p, r.word, self.anchors) for p in self.anchors.values())
        return r.definition.digest, r.source, r.side, r.stack, r.entered, facts

    def every_path(self, d: Definition) -> list[Reading]:
        """All readings of all traces of the source definition (no history), breadth first."""
        self.track = False
        events = alphabet(d, self.heard())
        points = [p for p in self.anchors.values() if "resume" in p]

        def key(r: Reading) -> Any:
            # Without anchor points a popped stack was seen before, so the set of its places is enough.
            stack: Any = r.stack if points else frozenset(p for p, _ in r.stack)
            return r.source, r.side, stack, tuple(summary(p, r.word, self.anchors) for p in points)

        seen: dict[Any, Reading] = {}
        pending = self.starts(d)
        for r in pending:
            if key(r) in seen:
                continue
            if len(seen) == BOUND:
                raise BoundReached
            seen[key(r)] = r
            for event in events:
                pending.extend(self.step(r, event))
        return list(seen.values())

    # --- placement by name (section 6) -----------------------------------------------------------

    def kept(self, d: Definition, node: StateNode) -> tuple[int, int]:
        """A node and its ancestors under their own paths: (nodes, those entered by default)."""
        nodes = by_default = 0
        for at in d.nodes_in(node.ancestors | 1 << node.index):
            index = self.target.by_path.get(at.path)
            if index is None:
                above = d.nodes[at.parent].path
                counterpart = self.target.nodes[self.target.by_path[above]]
                both = d.nodes[at.parent].kind == counterpart.kind == "parallel"
                raise Strand("region_removed" if both else "state_removed")
            there = self.target.nodes[index]
            nodes |= 1 << index
            if there.kind != at.kind:
                opened = at.kind == "atomic" and there.kind in ("compound", "parallel")
                if not opened or self.policy["entry"] != "initial":
                    raise Strand("kind_changed")
                by_default |= semantics.default_entry(self.target, there) & ~(1 << index)
        return nodes | by_default, by_default

    def legal(self, nodes: int, by_default: int) -> tuple[int, int]:
        """The union of all claims as a legal configuration."""
        for node in self.target.nodes_in(nodes):
            if node.kind == "compound" and sum(nodes >> c & 1 for c in node.children) > 1:
                raise Strand("region_conflict")
        for node in self.target.nodes_in(nodes):
            missing = [c for c in node.children if node.kind == "parallel" and not nodes >> c & 1]
            if missing and self.policy["entry"] != "initial":
                raise Strand("region_added")
            for c in missing:  # what is entered by default is complete, so one look is enough
                by_default |= semantics.default_entry(self.target, self.target.nodes[c])
        nodes |= by_default
        assert conf.is_legal(self.target, nodes)
        return nodes, by_default

    def identity(self, d: Definition, c: int) -> tuple[int, int]:
        """`identity(c)` and what of it is entered by default. Raises Strand with the structural reason."""
        nodes = by_default = 0
        for node in d.nodes_in(c):  # outermost first: what fails there is the cause of the rest
            more, opened = self.kept(d, node)
            nodes, by_default = nodes | more, by_default | opened
        return self.legal(nodes, by_default)

    def mapped(self, d: Definition, c: int) -> Ruling:
        """`mapped(c)`. Raises Strand with the reason."""
        nodes = by_default = 0
        keys = []
        for leaf in conf.leaves(d, c):
            key = self.key_for(leaf.path)
            if key is None:
                more, opened = self.kept(d, leaf)
            else:
                keys.append(key)
                more, opened = self.claim(d, leaf, *key)
            nodes, by_default = nodes | more, by_default | opened
        nodes, by_default = self.legal(nodes, by_default)
        return Ruling("migrate", placed=nodes, by_default=by_default, keys=tuple(keys))

    def claim(self, d: Definition, leaf: StateNode, key: Path, value: Any) -> tuple[int, int]:
        """What one active leaf claims through a mapping key."""
        if key == leaf.path and not isinstance(value, str):
            literal = conf.configuration_of(self.target, value)
            assert literal is not None, "a mapping value that is no legal configuration"
            return literal, 0
        to = self.named(value)
        if to is None:
            raise Strand("substate_unmapped")
        if key == leaf.path or to.is_leaf:
            inside = semantics.default_entry(self.target, to)
            return to.ancestors | inside, inside & ~(1 << to.index)
        index = self.remainder(d, leaf, key, to)
        if index is None:
            raise Strand("substate_unmapped")
        return self.target.nodes[index].ancestors | 1 << index, 0

    # --- the decision (section 7) ----------------------------------------------------------------

    def judged(self, predicate: Callable[[Word, bool | None], bool | None]) -> bool:
        """A predicate over all surviving readings. Raises Strand where it is unknown or they disagree."""
        if not self.usable:
            values = {predicate((), None)}
        else:
            values = {predicate(r.word, self.complete) for r in self.survivors}
        if None in values:
            raise Strand("history_required")
        if len(values) > 1:
            raise Strand("ambiguous")
        return values == {True}

    def fact(self, name: str, word: Word, complete: bool | None) -> bool | None:
        """An anchor's value; `complete` None means that there is no word to speak of."""
        if complete is None:
            return holds(name, (), self.anchors, complete=False) if self.boolean(name) else None
        return holds(name, word, self.anchors, complete)

    def boolean(self, name: str) -> bool:
        return bool({"all", "any", "none"} & set(self.anchors[name]))

    def predicate(self, when: Mapping[str, Any]) -> bool:
        context = self.stored("context", "context", {})
        # The schema is asked first: where it says no, no anchor has to be known.
        fits = "context" not in when or jsonschema_rs.is_valid(when["context"], context)

        def value(word: Word, complete: bool | None) -> bool | None:
            parts: list[bool | None] = [fits]
            facts = {
                k: [self.fact(n, word, complete) for n in when[k]]
                for k in ("all", "any", "none")
                if k in when
            }
            parts += [kleene_all(facts["all"])] if "all" in facts else []
            parts += [kleene_any(facts["any"])] if "any" in facts else []
            parts += [kleene_not(kleene_any(facts["none"]))] if "none" in facts else []
            return kleene_all(parts)

        return self.judged(value)

    def decide(self) -> dict[str, Any]:
        ruling = self.ruling()
        hazards: set[tuple[str, str]] = set()
        state = None
        if ruling.outcome == "migrate":
            assert ruling.placed is not None
            state = conf.state_value(self.target, ruling.placed)
            hazards = self.hazards(ruling)
        return {
            "outcome": ruling.outcome,
            "reason": ruling.reason,
            "rule": ruling.rule,
            "state": state,
            "landings": {(canonical(conf.state_value(self.target, c)), e) for c, e in self.landings},
            "hazards": hazards,
            "anchors": sorted(
                n
                for n in self.anchors
                if self.usable and all(holds(n, r.word, self.anchors, self.complete) for r in self.survivors)
            ),
        }

    def ruling(self) -> Ruling:
        actor = self.actor
        if self.stored("status", "status", "active") in ("done", "stopped", "error", "archived"):
            return Ruling("skip", "done")
        definition, version = actor.get("definition"), actor.get("version")
        on_target = version is not None and str(version) == str(self.target.version)
        if definition is not None:
            on_target = on_target and str(definition) == self.target.id
        elif self.source is not None:
            on_target = self.source.id == self.target.id and str(self.source.version) == str(
                self.target.version
            )
        if on_target:
            return Ruling("skip", "on_target")
        if definition is not None and str(definition) not in {d.id for d in (*self.sources, self.target)}:
            return Ruling("skip", "other_definition")
        if self.source is None:
            return Ruling("strand", "version_unknown")
        current = conf.configuration_of(self.source, self.stored("state", "value"))
        if current is None:
            return Ruling("strand", "snapshot_invalid")
        if conf.is_done(self.source, current):
            return Ruling("skip", "done")
        self.current = current
        self.read_history()
        rule = ""
        try:
            if "eligible" in self.block and not self.predicate(self.block["eligible"]):
                return Ruling("stay", "not_eligible")
            ruling = self.explicit()
            if ruling is None:
                ruling = self.by_landings()
            rule = ruling.rule
            if ruling.outcome == "migrate":
                self.check(ruling)
            return ruling
        except Strand as strand:
            return Ruling("strand", str(strand), rule)

    def read_history(self) -> None:
        assert self.source is not None
        # An origin alone is a history too: all that was kept is where the pruned log begins.
        items = self.actor.get("history") or []
        readings = self.every_path(self.source) if self.proof else self.walk(items)
        self.survivors = [
            r
            for r in readings
            if r.definition.digest == self.source.digest and r.source.configuration == self.current
        ]
        self.usable = not self.proof and bool(self.survivors)
        self.landings = {
            (r.side.state.configuration, r.side.stuck) for r in self.survivors if r.side.state is not None
        }

    def explicit(self) -> Ruling | None:
        """Steps 4 and 5: the first matching route, then a mapping that covers an active leaf."""
        assert self.source is not None
        for route in self.block.get("routes") or []:
            at = self.source.node(route["from"])
            if at is None or not self.current >> at.index & 1:
                continue
            if "when" in route and not self.predicate(route["when"]):
                continue
            if route.get("stay"):
                return Ruling("stay", "declared", "route")
            if "strand" in route:
                return Ruling("strand", "declared", "route")
            self.route = (at.path, route["to"])
            return self.placed_by_name("route")
        if any(self.key_for(leaf.path) for leaf in conf.leaves(self.source, self.current)):
            return self.placed_by_name("mapping")
        return None

    def placed_by_name(self, rule: str) -> Ruling:
        assert self.source is not None
        try:
            return replace(self.mapped(self.source, self.current), rule=rule)
        except Strand as strand:
            return Ruling("strand", str(strand), rule)

    def by_landings(self) -> Ruling:
        """Step 6."""
        assert self.source is not None
        via = "proof" if self.proof else "replay"
        if not self.survivors:
            return Ruling("strand", "state_unreachable" if self.proof else "history_inconsistent")
        if any(r.side.state is None for r in self.survivors):
            return Ruling("strand", "history_required")  # an origin, and no anchor point since
        free = {c for c, stuck in self.landings if stuck is None}
        single = next(iter(free)) if len(self.landings) == 1 and free else None
        if single is not None and all(r.side.anchor is not None for r in self.survivors):
            return Ruling("migrate", rule="anchor", placed=single)
        structural, same, by_default = "", None, 0
        try:
            same, by_default = self.identity(self.source, self.current)
        except Strand as strand:
            structural = str(strand)
        if single is not None and single == same:
            return Ruling("migrate", rule=via, placed=same, by_default=by_default)
        if single is not None and self.policy["diverged"] == "follow":
            return Ruling("migrate", rule=via, placed=single)
        if same is None:
            return Ruling("strand", structural)
        if not free:
            return Ruling("strand", "event_refused")
        if same not in free:
            return Ruling("strand", "diverged")
        if not self.proof:
            return Ruling("strand", "ambiguous")
        if self.policy["history"] == "trust":
            return Ruling("migrate", rule="trust", placed=same, by_default=by_default)
        return Ruling("strand", "history_required")

    # --- checks on every placement (section 7, 7) ------------------------------------------------

    def check(self, ruling: Ruling) -> None:
        """Raises Strand with the first check that fails."""
        assert ruling.placed is not None
        obligations = self.block.get("obligations") or {}
        owed = [
            name
            for node in self.target.nodes_in(ruling.placed)
            for name in listed(obligations.get(node.name, []))
        ]
        if owed and not self.judged(
            lambda word, complete: kleene_all([self.fact(n, word, complete) for n in owed])
        ):
            raise Strand("obligation_unmet")
        if self.snapshot is not None:
            self.check_history_values()
            free = self.invokes(ruling.placed)
            for child, record in (self.snapshot.get("children") or {}).items():
                taken = next((x for x in free if self.is_child(*x, child, record)), None)
                if taken is None:
                    raise Strand("child_lost")
                free.remove(taken)  # one invoke cannot be two children
        context = self.edited()
        if self.target.context_schema is not None and not jsonschema_rs.is_valid(
            self.target.context_schema, context
        ):
            raise Strand("context_invalid")

    def check_history_values(self) -> None:
        assert self.source is not None
        assert self.snapshot is not None
        values: dict[int, set[int]] = {}
        for key, remembered in (self.snapshot.get("historyValue") or {}).items():
            h = self.source.by_id.get(key)
            there = None if h is None else self.carry(self.source, h)
            if there is None or self.target.nodes[there].kind != "history":
                raise Strand("history_value_lost")
            parent = self.target.nodes[self.target.nodes[there].parent]
            places: set[int] = set()
            for reference in remembered:
                name = reference["id"] if isinstance(reference, dict) else reference
                node = self.source.by_id.get(name)
                carried = None if node is None else self.carry(self.source, node)
                if node is None or carried is None or not parent.descendants >> carried & 1:
                    raise Strand("history_value_lost")
                named = self.key_for(self.source.nodes[node].path)
                same_kind = self.target.nodes[carried].kind == self.source.nodes[node].kind
                if not same_kind and (named is None or named[0] != self.source.nodes[node].path):
                    raise Strand("history_value_lost")
                if not self.target.nodes[there].deep and self.target.nodes[carried].parent != parent.index:
                    raise Strand("history_value_lost")
                places.add(carried)
            if values.setdefault(there, places) != places:  # one history node cannot remember both
                raise Strand("history_value_lost")

    def invokes(self, c: int) -> list[tuple[StateNode, Any]]:
        return [(n, i) for n in self.target.nodes_in(c) for i in n.invokes]

    def is_child(self, node: StateNode, invoke: Any, child: str, record: Any) -> bool:
        """Is this persisted child the one that `invoke` of the target node stands for?"""
        assert self.source is not None
        src = record.get("src") if isinstance(record, dict) else None
        if src is not None and (src if isinstance(src, str) else canonical(src)) != invoke.src:
            return False
        for m in self.source.nodes:
            for i in m.invokes:
                if i.id == child and not i.own_id:
                    place = m.path == node.path or self.carry(self.source, m.index) == node.index
                    return place and i.position == invoke.position
        return bool(child == invoke.id)

    def edited(self) -> Any:
        """The context after the block's edits: rename, remove, defaults."""
        context = json.loads(json.dumps(self.stored("context", "context", {})))
        edits = self.block.get("context") or {}
        for old, new in (edits.get("rename") or {}).items():
            there, value = get_path(context, split_path(old))
            if not there:
                continue
            if get_path(context, split_path(new))[0]:
                raise Strand("context_invalid")
            remove_path(context, split_path(old))
            set_path(context, split_path(new), value)
        for path in edits.get("remove") or []:
            remove_path(context, split_path(path))
        for path, value in (edits.get("defaults") or {}).items():
            if not get_path(context, split_path(path))[0]:
                set_path(context, split_path(path), value)
        return context

    # --- hazards (section 8) ---------------------------------------------------------------------

    def hazards(self, ruling: Ruling) -> set[tuple[str, str]]:
        """(hazard, path of the node that carries it); what concerns all of *c* is carried by each leaf."""
        assert self.source is not None
        assert ruling.placed is not None
        d, t, c, found = self.source, self.target, ruling.placed, set()
        counterparts: dict[int, list[StateNode]] = {}
        for m in d.nodes_in(self.current):
            there = self.carry(d, m.index)
            if there is not None:
                counterparts.setdefault(there, []).append(m)
        for n in t.nodes_in(c):
            before = counterparts.get(n.index, [])
            same = d.by_path.get(n.path)
            if same is not None and self.current >> same & 1:  # what stays under its own name stays itself
                before = [d.nodes[same]]
            if ruling.by_default >> n.index & 1:  # nobody was carried there
                before = []
            for invoke in n.invokes:
                if invoke.targeted and not self.was_started(n, invoke, before):
                    found.add(("invoke_not_started", n.name))
            for timer in n.timers:
                if timer.targeted and not any(timer.delay == x.delay for m in before for x in m.timers):
                    found.add(("timer_not_armed", n.name))
            complete = n.kind in ("compound", "parallel") and conf.is_in_final_state(t, n, c)
            was_complete = any(
                m.kind in ("compound", "parallel") and conf.is_in_final_state(d, m, self.current)
                for m in before
            )
            if complete and not was_complete and f"xstate.done.state.{n.id}" in n.transitions:
                found.add(("done_not_raised", n.name))
            if n.entry and not before:
                found.add(("entry_not_run", n.name))
            if ruling.by_default >> n.index & 1:
                found.add(("default_entry", n.name))
        if ruling.rule not in ("replay", "proof"):
            found |= {("target_unstable", t.nodes[i].name) for i in self.unstable(c)}
        if ruling.rule in ("route", "mapping"):
            found |= {("gate_skipped", t.nodes[i].name) for i in self.skipped_gates(c)}
        everywhere = [n.name for n in conf.leaves(t, c)]
        if reaches_final(d, self.current) is True and reaches_final(t, c) is False:
            found |= {("dead_end", name) for name in everywhere}
        if (
            ruling.rule in ("replay", "anchor")
            and not self.proof
            and any(r.side.dropped for r in self.survivors)
        ):
            found |= {("event_retired", name) for name in everywhere}
        waives = ruling.rule == "route" or any(
            isinstance(v, str) and split_path(v) == k for k, v in ruling.keys
        )
        if ruling.rule in ("route", "mapping") and waives and self.by_landings().outcome == "strand":
            found |= {("replay_waived", name) for name in everywhere}
        return found

    def was_started(self, node: StateNode, invoke: Any, before: list[StateNode]) -> bool:
        if self.snapshot is not None:
            children = self.snapshot.get("children") or {}
            return any(self.is_child(node, invoke, k, v) for k, v in children.items())
        for m in before:
            for i in m.invokes:
                same = i.id == invoke.id if i.own_id else i.position == invoke.position
                if same and i.src == invoke.src:
                    return True
        return False

    def unstable(self, c: int) -> list[int]:
        """The nodes whose `always` leaves *c* whatever the guards say; none where some answer stays."""
        t = self.target
        if conf.is_done(t, c):
            return []
        guards = sorted(
            {x.guard for n in t.nodes_in(c) for x in n.always if x.guard is not None},
            key=lambda g: (g.name, g.params),
        )
        nodes: list[int] = []
        for answers in product((True, False), repeat=len(guards)):  # all false comes last and is reported
            asked = dict(zip(guards, answers, strict=True))
            taken = semantics.select_eventless_transitions(t, c, {}, asked.__getitem__)
            left = 0
            for x in taken:
                left |= semantics.exit_set(t, x, c, {})
            after = (c & ~left) | bits(list(semantics.entry_set(t, taken, {})))
            if after == c:
                return []
            nodes = [x.source for x in taken if x.targets is not None]
        return nodes

    def skipped_gates(self, c: int) -> list[int]:
        """Nodes on every way from the target's start to *c* that the actor never entered."""
        t = self.target
        if not reachable_without(t, c, None):
            return []
        entered: set[int] = set()
        possible: set[int] = set()  # a counterpart exists, so an unknown history may have entered it
        labels = {x.label: x for x in (*self.sources, t)}
        for r in self.survivors if self.usable else []:
            for label, index in r.entered:
                entered |= self.counterparts_of(labels[label], index)
        assert self.source is not None
        for m in self.source.nodes:
            if not (self.usable and self.complete) or self.current >> m.index & 1:
                possible |= self.counterparts_of(self.source, m.index)
        return [
            g.index
            for g in t.nodes
            if g.kind != "history"
            and not c >> g.index & 1
            and g.index not in entered | possible
            and not reachable_without(t, c, g.index)
        ]

    def counterparts_of(self, d: Definition, index: int) -> set[int]:
        """By mapping and by name: an actor that was in `x` was there, wherever a mapping sends `x` now."""
        found = {self.carry(d, index), self.target.by_path.get(d.nodes[index].path)}
        return {x for x in found if x is not None}


def remove_path(value: Any, path: Path) -> None:
    for key in path[:-1]:
        value = value.get(key) if isinstance(value, dict) else None
    if isinstance(value, dict):
        value.pop(path[-1], None)


def explored(d: Definition, starts: list[State]) -> Iterator[State]:
    """Every state a definition can come to from these, whatever events and guards say."""
    seen: set[State] = set()
    pending = list(starts)
    events = alphabet(d)
    for state in pending:
        if state in seen:
            continue
        seen.add(state)
        yield state
        for event in events:
            pending.extend(o.state for o in stepping.outcomes(d, state, event)[0])


def reaches_final(d: Definition, configuration: int) -> bool | None:
    """Can a final state of the machine be reached from here? None past the bound."""
    for n, state in enumerate(explored(d, [State(configuration)])):
        if conf.is_done(d, state.configuration):
            return True
        if n == BOUND:
            return None
    return False


def reachable_without(d: Definition, configuration: int, avoid: int | None) -> bool:
    """Is there a way from the start to a configuration on which `avoid` is never active?"""
    seen: set[State] = set()
    pending = [o.state for o in stepping.initial_outcomes(d)[0]]
    events = alphabet(d)
    for state in pending:
        if state in seen or (avoid is not None and state.configuration >> avoid & 1):
            continue
        seen.add(state)
        if state.configuration == configuration:
            return True
        for event in events:
            pending.extend(o.state for o in stepping.outcomes(d, state, event)[0])
    return False


def decide(sources: list[Definition], target: Definition, actor: Mapping[str, Any]) -> dict[str, Any]:
    """The decision about one actor.

    Returns `outcome`, `reason`, `rule` (its kind, or ""), `state` (a target state value, or None),
    `landings` (a set of (state value as canonical JSON, refused event or None)), `hazards` (a set of
    (hazard, state path)) and `anchors` (names that hold). Raises `BoundReached`.
    """
    return Reference(sources, target, actor).decide()
