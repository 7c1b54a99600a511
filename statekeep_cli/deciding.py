"""Every actor of an input, decided: read, route, count, in one process or several.

The one place where the reader of actors and the router meet; `preview` and everything that decides a
whole population goes through `decide_all`. What it returns does not depend on the number of processes.
"""

from __future__ import annotations

import multiprocessing
import os
from array import array
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from statekeep_cli.core.apv import Deployment
from statekeep_cli.core.decision import Decision
from statekeep_cli.core.model import Definition
from statekeep_cli.core.report import BY_LANDING, SAMPLE, Tally, Unreadable
from statekeep_cli.core.router import Routed, Router, find_repeats, partition
from statekeep_cli.core.semantics import configuration_of, leaves
from statekeep_cli.core.trace import Symbols
from statekeep_cli.readers.actors import (
    Complaints,
    Range,
    blocks,
    identify as actors_at,
    moved,
    no_actors,
    plan_ranges,
    read_range,
)
from statekeep_cli.readers.history import History, Spool
from statekeep_cli.readers import records, repeats
from statekeep_cli.readers.records import Batch, Block, Records
from statekeep_cli.render.jsonl import Lines


@dataclass(frozen=True, slots=True)
class Task:
    """What is decided: definitions, and an input (`-` is standard input) with an optional second
    file of histories. `lines`: also write every decision as JSON Lines."""

    sources: tuple[Definition, ...]
    target: Definition
    actors: str
    history: Spool | None = None
    keep_going: bool = False
    lines: bool = False


@dataclass(slots=True)
class Part:
    """The decisions about some records, in the order of the input, with ordinals and lines counted
    from the part's own start."""

    tally: Tally
    actors: int = 0
    lines: int = 0
    taken: int = 0
    unreadable: list[records.Unreadable] = field(default_factory=list)
    ids: bytes = b""  # a packed hash of each id
    names: list[str | int] = field(default_factory=list)  # the ids and lines themselves, from a pipe only
    places: list[int] = field(default_factory=list)
    decided: array[int] = field(default_factory=lambda: array("I"))  # indexes into `decisions`
    decisions: list[Decision] = field(default_factory=list)
    claims: tuple[int, bytes] = (0, b"")  # the process, and the rows of the history file it asked for
    output: bytes = b""


class Worker:
    """One process' share: a router, and a second one with `loops: erase` for what-if counts."""

    def __init__(self, task: Task):
        self.symbols = Symbols()
        self.deployment = Deployment(task.sources, task.target)
        self.router = Router(self.deployment, self.symbols)
        self.records = Records(self.symbols)
        self.history = History(task.history, self.symbols) if task.history is not None else None
        self.piped = task.actors == "-"
        digests = [d.digest for d in (*task.sources, task.target)]
        self.lines = Lines(digests) if task.lines else None
        self._erased: Router | None = None
        self._loops: bool | None = None

    def of_range(self, part: Range) -> Part:
        return self._part(read_range(part, self.records, self.history))

    def of_block(self, block: Block) -> Part:
        batch = self.records.batch(block)
        part = self._part([batch if self.history is None else self.history.join(batch)])
        part.lines = 0  # a block's lines are the input's already
        return part

    def _part(self, batches: Iterable[Batch]) -> Part:
        part = Part(Tally())
        for batch in batches:
            routed = self.router.route(batch.actors, batch.plain)
            self._count(part, batch, routed)
            part.unreadable.extend(batch.unreadable)
            part.lines, part.taken = batch.ends - 1, batch.taken
            if self.lines is not None:
                part.output += self.lines.add(batch.ids, routed)
        if self.history is not None:
            part.claims = (os.getpid(), bytes(self.history.claims))
        return part

    def _count(self, part: Part, batch: Batch, routed: Routed) -> None:
        numbers = {}
        for number, count in routed.counts.items():
            decision = routed.decisions[number]
            numbers[number] = len(part.decisions)
            part.decisions.append(decision)
            sample = _sample(batch, routed.ids, number, part.actors) if part.tally.wants_sample(decision) else []
            part.tally.add(decision, count, sample)
        self._what_if(part.tally, batch, routed)
        part.ids += repeats.hashes_of(batch.ids)
        if self.piped:
            part.names.extend(batch.ids)
            part.places.extend(batch.lines)
        part.decided.extend(map(numbers.__getitem__, routed.ids))
        part.actors += len(batch.actors)

    # --- what `loops: erase` would free (apv.md section 3) ---

    def _what_if(self, tally: Tally, batch: Batch, routed: Routed) -> None:
        """Route strands that replay decided once more, with their loops erased."""
        stranded = {
            n
            for n in routed.counts
            if routed.decisions[n].outcome == "strand"
            and routed.decisions[n].reason in BY_LANDING
            and routed.decisions[n].landings
            and not routed.decisions[n].rule
        }
        if not stranded or self.router.erase or not self.loops():
            return
        if self._erased is None:
            erased = Deployment(self.deployment.sources, self.deployment.target, erase_loops=True)
            self._erased = Router(erased, self.symbols)
        which = [i for i, n in enumerate(routed.ids) if n in stranded and batch.actors[i].history]
        freed = self._erased.route([batch.actors[i] for i in which], batch.plain)
        skipped: dict[tuple[int, int], tuple[str, ...]] = {}
        for i, n in zip(which, freed.ids, strict=True):
            if freed.decisions[n].outcome == "migrate":
                before = routed.ids[i]
                if (before, n) not in skipped:
                    skipped[(before, n)] = self._never_met(routed.decisions[before], freed.decisions[n])
                tally.freed(routed.decisions[before], skipped[(before, n)])

    def loops(self) -> bool:
        """Can any source come back to a configuration it left?"""
        if self._loops is None:
            self._loops = any(graph.has_loop() for graph in self.deployment.source_graphs)
        return self._loops

    def _never_met(self, kept: Decision, erased: Decision) -> tuple[str, ...]:
        """The target states that the whole trace leads to and the erased one leaves out, and whether
        they still lie ahead."""
        target, graph = self.deployment.target, self.deployment.target_graph
        placed = configuration_of(target, erased.target.value) if erased.target else None
        if placed is None:
            return ()
        ahead = graph.ahead(placed)
        found: dict[str, None] = {}
        for landing in kept.landings:
            configuration = configuration_of(target, landing.value) or 0
            for leaf in leaves(target, configuration & ~placed):
                later = ahead is not None and ahead >> leaf.index & 1
                found[f"{leaf.name} ({'on every way ahead' if later else 'not on every way ahead'})"] = None
        return tuple(found)


def _sample(batch: Batch, ids: array[int], number: int, offset: int) -> list[tuple[int, str]]:
    found: list[tuple[int, str]] = []
    at = -1
    try:
        while len(found) < SAMPLE:
            at = ids.index(number, at + 1)
            found.append((offset + at, str(batch.ids[at])))
    except ValueError:
        pass
    return found


# --- processes -----------------------------------------------------------------------------------------

_worker: Worker | None = None


def _begin(task: Task) -> None:
    global _worker  # a worker process has exactly one task
    _worker = Worker(task)


def _do(share: Range | Block) -> Part:
    assert _worker is not None
    return _worker.of_range(share) if isinstance(share, Range) else _worker.of_block(share)


def parts(task: Task, jobs: int) -> Iterator[Part]:
    """The whole input, decided part by part, in order."""
    if jobs <= 1:
        worker = Worker(task)
        yield from map(worker.of_block, blocks(task.actors))
        return
    shares: Iterable[Range | Block] = plan_ranges(task.actors) or blocks(task.actors)
    # Forked: the id hashes of all processes then use the same key.
    fork = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(jobs, mp_context=fork, initializer=_begin, initargs=(task,)) as pool:
        waiting: deque[Future[Part]] = deque()
        try:
            for share in shares:
                waiting.append(pool.submit(_do, share))
                if len(waiting) > 2 * jobs:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


@dataclass(frozen=True, slots=True)
class Decided:
    """A whole input, decided. `unreadable` counts the records that could not be read, those with a
    repeated id included; `first_unreadable` are the first of them."""

    tally: Tally
    actors: int
    unreadable: int
    first_unreadable: tuple[Unreadable, ...]
    notes: tuple[str, ...] = ()


def decide_all(
    task: Task,
    jobs: int = 1,
    *,
    on_part: Callable[[int, int], None] | None = None,
    write: Callable[[bytes], Any] | None = None,
) -> Decided:
    """Decide every actor of the input.

    `on_part(taken, actors)` is told how many stored bytes and actors are done; `write` gets the
    decisions as JSON Lines. Raises `InputUnreadable` for bad records (after ten, or at the end) unless
    `task.keep_going`, and for an input that is damaged as a whole or empty.
    """
    tally, complaints = Tally(), Complaints(task.actors, task.keep_going)
    lines_of = Lines([d.digest for d in (*task.sources, task.target)])
    claims: dict[int, bytes] = {}
    actors = lines = taken = 0
    with closing(_Ids(task.actors)) as ids:
        for part in parts(task, jobs):
            bad = moved(part.unreadable, lines)
            complaints.add(bad)
            tally.merge(part.tally, actors)
            claims[part.claims[0]] = part.claims[1]
            ids.add(part, actors, lines)
            if write is not None:
                write(part.output)
                for one in bad:
                    write(lines_of.unreadable(Unreadable(*one)))
            actors += part.actors
            lines += part.lines
            taken = max(taken, part.taken)
            if on_part is not None:
                on_part(taken, actors)
        complaints.settle()
        ids.settle(tally, complaints)
    if not actors and not complaints.count:
        raise no_actors(task.actors)
    notes = _unclaimed(task.history, claims.values()) if task.history is not None else ()
    first = tuple(Unreadable(*one) for one in complaints.first)
    return Decided(tally, actors, complaints.count, first, notes)


class _Ids:
    """The ids of all records: a repeated one takes its record out of the count, as unreadable."""

    def __init__(self, path: str):
        self.path = path
        self.seen = repeats.Seen()
        self.names = repeats.Names() if path == "-" else None  # what cannot be read a second time
        self.decisions: list[Decision] = []
        self.numbers: dict[Decision, int] = {}

    def close(self) -> None:
        self.seen.close()
        if self.names is not None:
            self.names.close()

    def add(self, part: Part, actors: int, lines: int) -> None:
        for decision in part.decisions:
            if decision not in self.numbers:
                self.numbers[decision] = len(self.decisions)
                self.decisions.append(decision)
        numbers = [self.numbers[d] for d in part.decisions]
        same = numbers == list(range(len(numbers)))
        decided = part.decided if same else array("I", map(numbers.__getitem__, part.decided))
        self.seen.add(part.ids, decided)
        if self.names is not None:
            self.names.add(actors, part.names, [line + lines for line in part.places])

    def settle(self, tally: Tally, complaints: Complaints) -> None:
        identify = self.names.identify if self.names is not None else partial(actors_at, self.path)
        found = repeats.tally(self.seen.repeats(partition, find_repeats), identify)
        for number, count in found.decisions.items():
            tally.remove(self.decisions[number], count)
        if found.count:
            listed = [records.Unreadable(r.line, 1, r.message) for r in found.listed]
            complaints.add([*listed, *[listed[-1]] * (found.count - len(listed))])
            complaints.settle()


def _unclaimed(spool: Spool, claims: Iterable[bytes]) -> tuple[str, ...]:
    """What the history file has about actors that the export does not."""
    rest = spool.unclaimed(claims)
    if not rest.actors:
        return ()
    sample = ", ".join(rest.sample)
    who = "1 actor" if rest.actors == 1 else f"{rest.actors:,} actors"
    what = "1 event" if rest.events == 1 else f"{rest.events:,} events"
    return (f"the history file has {what} of {who} that the export does not have: {sample}",)
