"""Everything a macrostep may lead to, whatever its guards say.

Guards are opaque: all answers that may be given are followed, and what was answered is kept as an
observation. A guard may answer differently in each microstep of one macrostep, as in XState.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

from statekeep_cli.core.configuration import is_done
from statekeep_cli.core.model import Definition, Guard, StateNode, Transition
from statekeep_cli.core.semantics import (
    Asked,
    GuardTest,
    Moment,
    State,
    StepError,
    finish,
    listening,
    microstep_from,
    proceed,
    receive,
    select_eventless_transitions,
    start,
    unsettled,
)

# Ways followed through one macrostep, and guard answers in one microstep, before it is called too wide.
MAX_BRANCHES = 4_096


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one macrostep did, under one choice of guard outcomes.

    `taken` are the transitions selected for the event itself (not the `always` and done events
    after it); `guards` pairs each guard asked with its outcome, guards seen both ways left out.
    """

    state: State
    taken: tuple[Transition, ...] = ()
    guards: tuple[tuple[Guard, bool], ...] = ()


class _Script:
    """Answers guards from a script, False once it is exhausted, and writes down what was asked."""

    __slots__ = ("asked", "known", "script", "used")

    def __init__(self, script: list[bool], known: Mapping[Guard, bool]):
        self.script, self.known = script, known
        self.asked: list[tuple[Guard, bool]] = []
        self.used = 0

    def __call__(self, guard: Guard) -> bool:
        if guard in self.known:
            answer = self.known[guard]
        else:
            if self.used == len(self.script):
                self.script.append(False)
            answer = self.script[self.used]
            self.used += 1
        self.asked.append((guard, answer))
        return answer


T = TypeVar("T")


def explore(
    run: Callable[[GuardTest], T], known: Mapping[Guard, bool]
) -> Iterator[tuple[T, list[tuple[Guard, bool]]]]:
    """Run one guarded microstep for every combination of answers to its unknown guards, with what was
    asked and answered. Raises `StepError` past `MAX_BRANCHES`."""
    script: list[bool] = []
    for _ in range(MAX_BRANCHES):
        answers = _Script(script, known)
        result = run(answers)
        del script[answers.used :]
        yield result, answers.asked
        while script and script[-1]:
            script.pop()
        if not script:
            return
        script[-1] = True
    raise StepError(f"more than {MAX_BRANCHES} combinations of guard outcomes in one microstep")


# What was seen of each guard so far: 1 true, 2 false, 3 both.
_Seen = tuple[tuple[Guard, int], ...]


_Point = tuple[Moment, tuple[Transition, ...], _Seen]


def _with(seen: _Seen, asked: list[tuple[Guard, bool]]) -> _Seen:
    if not asked:
        return seen
    found = dict(seen)
    for guard, answer in asked:
        found[guard] = found.get(guard, 0) | (1 if answer else 2)
    return tuple(sorted(found.items(), key=lambda x: (x[0].name, x[0].params)))


def _all_ends(
    d: Definition, starts: list[_Point], known: Mapping[Guard, bool]
) -> tuple[tuple[Outcome, ...], tuple[StepError, ...]]:
    """Everything a macrostep may lead to. The microsteps are a graph, not a tree: what differs in
    nothing that matters is followed once, and a way back into the path is one that never settles."""
    found: dict[Outcome, None] = {}
    errors: dict[str, StepError] = {}
    closed: dict[_Point, bool] = {}
    path: list[tuple[_Point, Iterator[_Point]]] = []

    def after(point: _Point) -> Iterator[_Point]:
        moment, taken, seen = point
        for result, asked in explore(lambda test: proceed(d, moment, test), known):
            yield result, taken, _with(seen, asked)

    for begin in starts:
        pending: list[_Point] = [begin]
        while pending or path:
            if pending:
                point = pending.pop()
                if point in closed:
                    if not closed[point]:
                        error = unsettled(d, point[0])
                        errors[str(error)] = error
                elif point[0].stable:
                    closed[point] = True
                    try:
                        guards = tuple((g, mask == 1) for g, mask in point[2] if mask != 3)
                        found[Outcome(finish(d, point[0]), point[1], guards)] = None
                    except StepError as illegal:
                        errors[str(illegal)] = illegal
                elif len(closed) >= MAX_BRANCHES:
                    wide = StepError(f"more than {MAX_BRANCHES} ways through one macrostep")
                    return (), (wide,)
                else:
                    closed[point] = False  # open: on the path
                    path.append((point, after(point)))
            if path:
                following = next(path[-1][1], None)
                if following is None:
                    closed[path.pop()[0]] = True
                else:
                    pending.append(following)
    return tuple(found), tuple(errors.values())


def outcomes(
    d: Definition, state: State, event: str, known: Mapping[Guard, bool] | None = None
) -> tuple[tuple[Outcome, ...], tuple[StepError, ...]]:
    """Every distinct outcome of a macrostep, and the ways in which it has none.

    Guards in `known` have that outcome throughout; the others may change between microsteps.
    """
    known = known or {}
    if not d.eventless and not listening(d, event) & state.configuration:
        return (Outcome(state),), ()  # nobody listens, and nothing else is looked at
    try:
        starts = [
            (moment, taken, _with((), asked))
            for (moment, taken), asked in explore(lambda test: receive(d, state, event, test), known)
        ]
        return _all_ends(d, starts, known)
    except StepError as error:
        return (), (error,)


def initial_outcomes(
    d: Definition, known: Mapping[Guard, bool] | None = None
) -> tuple[tuple[Outcome, ...], tuple[StepError, ...]]:
    """Every stable state the definition may start in; `known` as for `outcomes`."""
    try:
        return _all_ends(d, [(start(d), (), ())], known or {})
    except StepError as error:
        return (), (error,)


def unstable_nodes(d: Definition, state: State) -> list[StateNode]:
    """The nodes whose `always` leaves this configuration whatever the guards say; [] if it may rest."""
    leaving: dict[int, StateNode] = {}
    for result, _ in explore(lambda test: _eventless(d, state, test), {}):
        if not result:
            return []
        for t in result:
            leaving[t.source] = d.nodes[t.source]
    return list(leaving.values())


def _eventless(d: Definition, state: State, guard: GuardTest) -> list[Transition]:
    """The targeted `always` transitions that fire from here and leave the configuration."""
    enabled = select_eventless_transitions(d, state.configuration, dict(state.history), Asked(guard))
    if not enabled or is_done(d, state.configuration):
        return []
    after = microstep_from(d, state, enabled)
    return [t for t in enabled if t.targets] if after != state.configuration else []
