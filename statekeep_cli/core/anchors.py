"""Anchor patterns as small automata over a trace (apv.md section 4).

The word they read is configuration, event, configuration, …: each step of the source gives an event
letter and then a configuration letter. `Letters` says which atoms of the deployment's patterns are
true on the two letters of one step; it is all that the automata see of a step, and the `step` class
of the router's tables. `Facts` is the joint state of all automata, hashable; its first entry says whether the
trace is complete, since without its beginning only what grows can be known.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from statekeep_cli.core.migration import Predicate
from statekeep_cli.core.model import Definition, Path, as_list, split_path

Facts = tuple[Any, ...]
Truth = bool | None  # None: unknown
OTHER = -1  # an event type that no startsWith or path names


@dataclass(frozen=True, slots=True)
class Letters:
    """The atoms true in one step: bits of `Anchors.atoms`, and the event's type for path patterns.

    `type` is an index into `Anchors.types`, `OTHER`, or None where the step is no event.
    """

    event: int = 0
    configuration: int = 0
    type: int | None = None


# --- atoms -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Handled:
    """One of these events was handled by the source."""

    events: frozenset[str]


@dataclass(frozen=True, slots=True)
class Entered:
    """This state node became active."""

    path: Path


@dataclass(frozen=True, slots=True)
class Took:
    """A step from, by and to the given ones; None leaves a key open."""

    source: Path | None
    event: str | None
    target: Path | None


Atom = Handled | Entered | Took


# --- automata --------------------------------------------------------------------------------------
# Occurrences (`One`, `Sequence`) complete again and again; `step` returns the next state and whether
# they completed. `late` says that an element of the same sequence was already matched by this step's
# event letter, which a transition would need for itself.


@dataclass(frozen=True, slots=True)
class One:
    """A single atom, by its bit."""

    bit: int
    on_event: bool
    whole_step: bool

    start: None = None

    def on_event_letter(self, state: Any, letters: Letters) -> tuple[Any, bool]:
        return None, self.on_event and bool(letters.event >> self.bit & 1)

    def on_configuration(self, state: Any, letters: Letters, late: bool) -> tuple[Any, bool]:
        if self.on_event or (self.whole_step and late):
            return None, False
        return None, bool(letters.configuration >> self.bit & 1)


@dataclass(frozen=True, slots=True)
class Sequence:
    """Parts in this order, gaps allowed; the state is (part, its state, moved by this event)."""

    parts: tuple[One | Sequence, ...]

    @property
    def start(self) -> Any:
        return (0, self.parts[0].start, False)

    def _next(self, part: int, moved: bool) -> tuple[Any, bool]:
        if part + 1 == len(self.parts):
            return (0, self.parts[0].start, moved), True
        return (part + 1, self.parts[part + 1].start, moved), False

    def on_event_letter(self, state: Any, letters: Letters) -> tuple[Any, bool]:
        part, inner, _ = state
        inner, completed = self.parts[part].on_event_letter(inner, letters)
        return self._next(part, True) if completed else ((part, inner, False), False)

    def on_configuration(self, state: Any, letters: Letters, late: bool) -> tuple[Any, bool]:
        part, inner, moved = state
        inner, completed = self.parts[part].on_configuration(inner, letters, late or moved)
        return self._next(part, False) if completed else ((part, inner, False), False)


Occurrence = One | Sequence


# An automaton steps once per letter and says whether it completed: an occurrence at each completion, all
# others when they turn from false to true. Its state carries `late` from the event letter to the next.


@dataclass(frozen=True, slots=True)
class Seen:
    """Holds once its occurrence has completed; completes with every one. State: (inner, seen, late)."""

    of: Occurrence
    grows = True

    @property
    def start(self) -> Any:
        return (self.of.start, False, False)

    def on_event(self, state: Any, letters: Letters) -> tuple[Any, bool]:
        inner, completed = self.of.on_event_letter(state[0], letters)
        return (inner, state[1] or completed, completed), completed

    def on_configuration(self, state: Any, letters: Letters) -> tuple[Any, bool]:
        inner, completed = self.of.on_configuration(state[0], letters, state[2])
        return (inner, state[1] or completed, False), completed

    def holds(self, state: Any) -> bool:
        return bool(state[1])


@dataclass(frozen=True, slots=True)
class Count:
    """Holds while the number of completions is within bounds; the counter saturates. State: (inner,
    count, late)."""

    of: Occurrence
    least: int
    most: int | None

    @property
    def grows(self) -> bool:
        return self.most is None

    @property
    def start(self) -> Any:
        return (self.of.start, 0, False)

    def on_event(self, state: Any, letters: Letters) -> tuple[Any, bool]:
        inner, completed = self.of.on_event_letter(state[0], letters)
        return self._counted(state, inner, completed, completed)

    def on_configuration(self, state: Any, letters: Letters) -> tuple[Any, bool]:
        inner, completed = self.of.on_configuration(state[0], letters, state[2])
        return self._counted(state, inner, completed, False)

    def _counted(self, state: Any, inner: Any, completed: bool, late: bool) -> tuple[Any, bool]:
        top = self.least if self.most is None else max(self.least, self.most + 1)
        after = (inner, min(state[1] + completed, top), late)
        return after, self.holds(after) and not self.holds(state)

    def holds(self, state: Any) -> bool:
        return bool(self.least <= state[1] and (self.most is None or state[1] <= self.most))


@dataclass(frozen=True, slots=True)
class Since:
    """Holds from a completion of `of` until the next one of `reset`, which also starts `of` afresh.
    State: (inner, its reset, held, late, reset late)."""

    of: Occurrence
    reset: Occurrence
    grows = False

    @property
    def start(self) -> Any:
        return (self.of.start, self.reset.start, False, False, False)

    def on_event(self, state: Any, letters: Letters) -> tuple[Any, bool]:
        inner, matched = self.of.on_event_letter(state[0], letters)
        reset, voided = self.reset.on_event_letter(state[1], letters)
        return self._held(state, inner, reset, matched, voided, True)

    def on_configuration(self, state: Any, letters: Letters) -> tuple[Any, bool]:
        inner, matched = self.of.on_configuration(state[0], letters, state[3])
        reset, voided = self.reset.on_configuration(state[1], letters, state[4])
        return self._held(state, inner, reset, matched, voided, False)

    def _held(
        self, state: Any, inner: Any, reset: Any, matched: bool, voided: bool, on_event: bool
    ) -> tuple[Any, bool]:
        if voided:
            return (self.of.start, reset, False, False, on_event), False
        held = state[2] or matched
        return (inner, reset, held, matched and on_event, False), held and not state[2]

    def holds(self, state: Any) -> bool:
        return bool(state[2])


@dataclass(frozen=True, slots=True)
class Begins:
    """`startsWith` and `path`: the event types begin with, or are exactly, this list."""

    types: tuple[int, ...]
    exactly: bool
    grows = False

    start: int = 0

    def on_event(self, state: Any, letters: Letters) -> tuple[Any, bool]:
        if letters.type is None or state < 0 or (state == len(self.types) and not self.exactly):
            return state, False
        fits = state < len(self.types) and self.types[state] == letters.type
        after = state + 1 if fits else -1
        return after, self.holds(after) and not self.holds(state)

    def on_configuration(self, state: Any, letters: Letters) -> tuple[Any, bool]:
        return state, False

    def holds(self, state: Any) -> bool:
        return bool(state == len(self.types))


Automaton = Seen | Count | Since | Begins


@dataclass(frozen=True, slots=True)
class Combined:
    """A boolean combination of terms: automata by index, other combinations, or named anchors."""

    kind: str  # all, any, none
    terms: tuple[int | str | Combined, ...]


# --- the anchors of one deployment ------------------------------------------------------------------


class Anchors:
    """All anchors of a migration block, compiled together so that one pass follows them.

    `extra` are state paths whose entering is followed as well, for hazards (apv.md section 8).
    """

    def __init__(
        self,
        patterns: Mapping[str, Mapping[str, Any]],
        resume: Mapping[str, Path],
        extra: tuple[Path, ...] = (),
    ):
        self.atoms: list[Atom] = []
        self.types: list[str] = []
        self.automata: list[Automaton] = []
        self.resume = resume
        self.terms: dict[str, int | Combined] = {}
        for name, pattern in patterns.items():
            self.terms[name] = self._term(pattern)
        self.entered = {path: self._add(Seen(self._atom(Entered(path)))) for path in extra}

    # compiling

    def _atom(self, atom: Atom) -> One:
        if atom not in self.atoms:
            self.atoms.append(atom)
        return One(self.atoms.index(atom), isinstance(atom, Handled), isinstance(atom, Took))

    def _add(self, automaton: Automaton) -> int:
        if automaton not in self.automata:
            self.automata.append(automaton)
        return self.automata.index(automaton)

    def _occurrence(self, pattern: Mapping[str, Any]) -> Occurrence:
        if "event" in pattern:
            return self._atom(Handled(frozenset(as_list(pattern["event"]))))
        if "state" in pattern:
            return self._atom(Entered(split_path(pattern["state"])))
        if "transition" in pattern:
            t = pattern["transition"]
            return self._atom(
                Took(
                    split_path(t["from"]) if "from" in t else None,
                    t.get("event"),
                    split_path(t["to"]) if "to" in t else None,
                )
            )
        return Sequence(tuple(self._occurrence(p) for p in pattern["sequence"]))

    def _types(self, types: list[str]) -> tuple[int, ...]:
        for name in types:
            if name not in self.types:
                self.types.append(name)
        return tuple(self.types.index(name) for name in types)

    def _term(self, pattern: Mapping[str, Any]) -> int | Combined:
        if "count" in pattern:
            c = pattern["count"]
            return self._add(Count(self._occurrence(c["of"]), c.get("atLeast", 0), c.get("atMost")))
        if "since" in pattern:
            s = pattern["since"]
            return self._add(Since(self._occurrence(s["of"]), self._occurrence(s["reset"])))
        if "startsWith" in pattern:
            return self._add(Begins(self._types(as_list(pattern["startsWith"])), False))
        if "path" in pattern:
            return self._add(Begins(self._types(as_list(pattern["path"])), True))
        for kind in ("all", "any", "none"):
            if kind in pattern:
                items = as_list(pattern[kind])
                return Combined(kind, tuple(x if isinstance(x, str) else self._term(x) for x in items))
        return self._add(Seen(self._occurrence(pattern)))

    # reading a trace

    def start(self, complete: bool) -> Facts:
        """The facts before anything happened; not `complete`: at an origin."""
        return (complete, *(a.start for a in self.automata))

    def letters(
        self,
        before: tuple[Definition, int] | None,
        event: str | None,
        handled: bool,
        after: tuple[Definition, int],
    ) -> Letters:
        """One step's letters. `before` and `after` are (definition, configuration); `before` is
        None at the start. `event` is None for a marker."""
        on_event = on_configuration = 0
        for bit, atom in enumerate(self.atoms):
            if isinstance(atom, Handled):
                on_event |= (handled and event in atom.events) << bit
            elif isinstance(atom, Entered):
                on_configuration |= (_active(after, atom.path) and not _active(before, atom.path)) << bit
            elif handled and before is not None:
                on_configuration |= _took(atom, before, event, after) << bit
        kind = None
        if event is not None:
            kind = self.types.index(event) if event in self.types else OTHER
        return Letters(on_event, on_configuration, kind if self.types else None)

    def step(self, facts: Facts, letters: Letters) -> tuple[Facts, str]:
        """The facts after a step, and the anchor point that completed in it ("" for none). Empty
        facts are those of someone who does not follow any."""
        if not facts:
            return facts, ""
        fired = ""
        between, first = self._letter(facts, letters, True)
        after, second = self._letter(between, letters, False)
        for name in self.resume:
            term = self.terms[name]
            if isinstance(term, int):
                completes = bool((first | second) >> term & 1)
            else:
                truths = [self._truth(term, f) is True for f in (facts, between, after)]
                completes = (truths[1] and not truths[0]) or (truths[2] and not truths[1])
            if completes:
                fired = name
        return after, fired

    def _letter(self, facts: Facts, letters: Letters, event: bool) -> tuple[Facts, int]:
        """The facts after one letter, and which automata completed with it, as a set."""
        after: list[Any] = [facts[0]]
        completed = 0
        for i, automaton in enumerate(self.automata):
            step = automaton.on_event if event else automaton.on_configuration
            state, done = step(facts[i + 1], letters)
            after.append(state)
            completed |= (done and (facts[0] or automaton.grows)) << i
        return tuple(after), completed

    # asking

    def holds(self, name: str, facts: Facts | None) -> Truth:
        """Is the anchor known to hold? With `facts` None nothing is known."""
        return self._truth(name, facts)

    def has_entered(self, path: Path, facts: Facts) -> bool | None:
        """Was this state entered? None where its entering is not followed."""
        index = self.entered.get(path)
        return None if index is None else self.automata[index].holds(facts[index + 1])

    def _truth(self, term: int | str | Combined, facts: Facts | None) -> Truth:
        if isinstance(term, str):
            return self._truth(self.terms[term], facts)
        if isinstance(term, int):
            if facts is None:
                return None
            automaton = self.automata[term]
            held = automaton.holds(facts[term + 1])
            return held if facts[0] or (held and automaton.grows) else None
        return combine(term.kind, [self._truth(t, facts) for t in term.terms])

    def evaluate(self, predicate: Predicate, facts: Facts | None, context: Truth) -> Truth:
        """A predicate, three-valued: `context` is the outcome of its schema."""
        values: list[Truth] = [context]
        for kind, names in (("all", predicate.all), ("any", predicate.any), ("none", predicate.none)):
            if names:
                values.append(combine(kind, [self.holds(n, facts) for n in names]))
        return combine("all", values)


def combine(kind: str, values: list[Truth]) -> Truth:
    """Kleene's strong three-valued logic."""
    if kind == "all":
        return False if False in values else None if None in values else True
    some = True if True in values else None if None in values else False
    if kind == "any" or some is None:
        return some
    return not some


def _active(at: tuple[Definition, int] | None, path: Path) -> bool:
    if at is None:
        return False
    index = at[0].by_path.get(path)
    return index is not None and bool(at[1] >> index & 1)


def _took(
    atom: Took, before: tuple[Definition, int], event: str | None, after: tuple[Definition, int]
) -> bool:
    if atom.event is not None and atom.event != event:
        return False
    if atom.source is not None and not _active(before, atom.source):
        return False
    if atom.target is None:
        return True
    return _active(after, atom.target) and (before == after or not _active(before, atom.target))
