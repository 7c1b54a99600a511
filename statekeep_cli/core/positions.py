"""Positions: where traces may be in both definitions, as the router's tables number them (apv.md section 9).

A position is a source state with the set of target sides that go with it, the facts being the table's
own; where the source side is open, several readings with their facts; or a trace that is lost. What
leads from one to the next is computed here, by replay's own two steps, and remembered in the tables.
"""

from __future__ import annotations

from dataclasses import dataclass

from statekeep_cli.core.anchors import Facts, Letters
from statekeep_cli.core.apv import Ends, describe_end, describe_gap
from statekeep_cli.core.replay import Event, Item, Lane, Pair, Reading, SourceStep, TooWide, normalised
from statekeep_cli.core.semantics import State


@dataclass(frozen=True, slots=True)
class Simple:
    """One source state with the target sides that go with it; the facts are the table's own."""

    lane: int
    version: int
    source: State
    pairs: frozenset[Pair]


@dataclass(frozen=True, slots=True)
class General:
    """Several readings of the source, each with its facts."""

    lane: int
    readings: frozenset[tuple[int, State, Facts, Pair]]


@dataclass(frozen=True, slots=True)
class Lost:
    """The source cannot explain the trace (or it has too many readings); nothing leads on from here."""

    lane: int
    detail: str
    too_wide: bool = False


Position = Simple | General | Lost


def starting(lane: Lane, readings: list[Reading]) -> tuple[Position, Facts | None]:
    """The position a trace begins at, and its facts; None where they are in the position."""
    sides = {(r.version, r.source, r.facts) for r in readings}
    if len(sides) == 1:
        version, source, facts = sides.pop()
        return Simple(lane.index, version, source, frozenset(r.pair for r in readings)), facts
    return _general(lane, readings), None


def follow(lane: Lane, p: Position, item: Item) -> tuple[Position, Letters] | None:
    """Where an item leads, and what the anchors see of it; None where that depends on the facts."""
    if isinstance(p, Lost):
        return p, Letters()
    if isinstance(p, General):
        return _advance(lane, readings_of(lane, p, ()), item), Letters()
    steps = lane.source_steps(p.version, p.source, item)
    if not steps:
        return Lost(p.lane, describe_gap(lane, readings_of(lane, p, ()), item)), Letters()
    first = steps[0]
    alike = all((s.version, s.state, s.letters) == (first.version, first.state, first.letters) for s in steps)
    if not alike or (lane.migration.erase_loops and not _stackable(item, lane, first)):
        return None
    pairs = frozenset(
        x for s in steps for pair in p.pairs for x in lane.target_steps(p.version, p.source, pair, s)
    )
    return Simple(p.lane, first.version, first.state, pairs), first.letters


def split(lane: Lane, p: Simple, facts: Facts, item: Item) -> Position:
    """Where an item leads once the facts are known."""
    return _advance(lane, readings_of(lane, p, facts), item)


def cut(lane: Lane, p: Simple, anchor: str) -> Simple:
    """The position at an anchor point: the path restarts there."""
    return Simple(p.lane, p.version, p.source, frozenset((lane.cut(anchor),)))


def ends(lane: Lane, p: Position, facts: Facts, configuration: int) -> Ends:
    """The readings of a finished trace whose source side is this configuration."""
    if isinstance(p, Lost):
        return Ends((), p.detail, p.too_wide)
    readings = readings_of(lane, p, facts)
    found = lane.ends_in(readings, configuration)
    return Ends(found) if found else Ends((), describe_end(lane, readings))


def readings_of(lane: Lane, p: Simple | General, facts: Facts) -> list[Reading]:
    """A position as the readings it stands for."""
    if isinstance(p, General):
        return [_reading(lane, *r) for r in p.readings]
    return [_reading(lane, p.version, p.source, facts, pair) for pair in p.pairs]


def _reading(lane: Lane, version: int, source: State, facts: Facts, pair: Pair) -> Reading:
    return Reading(version, source, facts, ((lane.loop_key(version, source), pair),))


def _advance(lane: Lane, readings: list[Reading], item: Item) -> Position:
    try:
        after = lane.advance(readings, item)
    except TooWide:
        return Lost(lane.index, "more readings of the trace than can be followed", True)
    return _general(lane, after) if after else Lost(lane.index, describe_gap(lane, readings, item))


def _general(lane: Lane, readings: list[Reading]) -> General:
    return General(lane.index, frozenset((r.version, r.source, r.facts, r.pair) for r in readings))


def _stackable(item: Item, lane: Lane, step: SourceStep) -> bool:
    """Would a loop that ends in this step come back to the very position on the stack? Markers end
    none, and a remembered value that counts as none is no less there."""
    return isinstance(item, Event) and normalised(lane.sources[step.version], step.state) == step.state
