"""Every actor of an input, decided: read, route, count, in one process or several.

The one place where the reader of actors and the router meet; `preview` and everything that decides a
whole population goes through `decide_all`. What it returns does not depend on the number of processes.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from array import array
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from statekeep_cli.core.apv import Deployment
from statekeep_cli.core.configuration import configuration_of, leaves
from statekeep_cli.core.decision import Decision
from statekeep_cli.core.model import Definition
from statekeep_cli.core.report import BY_LANDING, SAMPLE, Tally, Unreadable
from statekeep_cli.core.router import Routed, Router, find_repeats, partition
from statekeep_cli.core.trace import Symbols
from statekeep_cli.readers import records, repeats
from statekeep_cli.readers.actors import (
    Complaints,
    Range,
    blocks,
    moved,
    no_actors,
    plan_ranges,
    read_range,
    size_of,
)
from statekeep_cli.readers.actors import (
    identify as actors_at,
)
from statekeep_cli.readers.history import History, Spool
from statekeep_cli.readers.records import Batch, Block, Records
from statekeep_cli.render.jsonl import Lines

# A part is handed on after so many actors, or bytes of output: what it costs to pass one between processes
# is paid for its decisions, not its actors.
PART = 1 << 17
OUTPUT = 1 << 22
# Bytes of a process' next share of a file: large enough to be worth handing out, and small enough for
# several processes to end at nearly the same time.
SMALLEST, LARGEST, SHARES = 1 << 22, 1 << 25, 12


@dataclass(frozen=True, slots=True)
class Task:
    """What is decided: definitions, and an input (`-` is standard input; "" a database) with an optional
    second file of histories. `lines`: also write every decision as JSON Lines."""

    sources: tuple[Definition, ...]
    target: Definition
    actors: str
    history: Spool | None = None
    keep_going: bool = False
    lines: bool = False


@dataclass(slots=True)
class Part:
    """The decisions about some records, in the order of the input, with ordinals and lines counted
    from the part's own start.

    `decided` numbers the decision of each actor; `decisions` has those numbers, which hold for every
    part with the same `origin` (a process, and how often its router started its numbers afresh).
    """

    tally: Tally = field(default_factory=Tally)
    actors: int = 0
    lines: int = 0
    taken: int = 0
    unreadable: list[records.Unreadable] = field(default_factory=list)
    ids: bytes = b""  # a packed hash of each id
    names: list[str | int] = field(default_factory=list)  # the ids and lines themselves, from a pipe only
    places: list[int] = field(default_factory=list)
    origin: tuple[int, int] = (0, 0)
    decided: array[int] = field(default_factory=lambda: array("I"))
    decisions: dict[int, Decision] = field(default_factory=dict)
    claims: tuple[int, bytes] = (0, b"")  # the process, and the rows of the history file it asked for
    output: bytes = b""


class Worker:
    """One process' share: a router, and a second one with `loops: erase` for what-if counts. `on_routed` sees
    every batch with its decisions."""

    def __init__(self, task: Task, on_routed: Callable[[Batch, Routed], None] = lambda batch, routed: None):
        self.on_routed = on_routed
        self.symbols = Symbols()
        self.deployment = Deployment(task.sources, task.target)
        self.router = Router(self.deployment, self.symbols)
        self.records = Records(self.symbols)
        self.history = History(task.history, self.symbols) if task.history is not None else None
        self.of_file = bool(task.actors)
        self.piped = self.of_file and size_of(task.actors) is None
        digests = [d.digest for d in (*task.sources, task.target)]
        self.lines = Lines(digests) if task.lines else None
        self.what_if = WhatIf(self.deployment, self.symbols)

    def of_range(self, part: Range) -> Iterator[Part]:
        before = 0
        for found in self._parts(read_range(part, self.records, self.history)):
            found.unreadable = moved(found.unreadable, -before)
            before += found.lines
            yield found

    def of_blocks(self, blocks: Iterable[Block]) -> Iterator[Part]:
        """Blocks of one input; their lines are the input's already."""
        for part in self._parts(map(self.batch, blocks)):
            part.lines = 0
            yield part

    def of_batches(self, batches: Iterable[Batch]) -> Iterator[Part]:
        """Batches that were made elsewhere."""
        return self._parts(batches)

    def batch(self, block: Block) -> Batch:
        """The actors of a block, with their traces."""
        batch = self.records.batch(block)
        return batch if self.history is None else self.history.join(batch)

    def route(self, batch: Batch) -> Routed:
        """Their decisions; good until the next call."""
        return self.router.route(batch.actors, batch.plain, batch.states, batch.columns)

    def _parts(self, batches: Iterable[Batch]) -> Iterator[Part]:
        """Parts of about `PART` actors; a new one where the router starts its numbers afresh."""
        part, count, lines = Part(), Counts(), 0
        for batch in batches:
            routed = self.route(batch)
            self.on_routed(batch, routed)
            origin = (os.getpid(), self.router.generation)
            full = part.actors >= PART or len(part.output) >= OUTPUT
            if part.actors and (full or part.origin != origin):
                yield self._finish(part, count)
                part, count = Part(), Counts()
            part.origin = origin
            count.add(batch, routed, part.actors)
            self.what_if.count(batch, routed, self.router, count)
            self._collect(part, batch, routed)
            part.lines += batch.ends - 1 - lines
            lines = batch.ends - 1
        yield self._finish(part, count)

    def _collect(self, part: Part, batch: Batch, routed: Routed) -> None:
        if self.of_file:  # a database sees to it itself that ids are unique
            part.ids += repeats.hashes_of(batch.ids)
            part.decided.extend(routed.ids)
        if self.piped:
            part.names.extend(batch.ids)
            part.places.extend(batch.lines)
        part.unreadable.extend(batch.unreadable)
        part.actors += len(batch.actors)
        part.taken = batch.taken
        if self.lines is not None:
            part.output += self.lines.add(batch.ids, routed)

    def _finish(self, part: Part, count: Counts) -> Part:
        for number, n in count.counts.items():
            decision = part.decisions[number] = self.router.decisions[number]
            part.tally.add(decision, n, count.samples[number])
        for (number, states), n in count.freed.items():
            part.tally.freed(self.router.decisions[number], n, states)
        if self.history is not None:
            part.claims = (os.getpid(), bytes(self.history.claims))
        return part


class Counts:
    """Decisions counted by their numbers, with the first few actors of each."""

    def __init__(self) -> None:
        self.counts: Counter[int] = Counter()
        self.samples: dict[int, list[tuple[int, str]]] = {}
        self.freed: Counter[tuple[int, tuple[str, ...]]] = Counter()

    def add(self, batch: Batch, routed: Routed, offset: int) -> None:
        for number, n in routed.counts.items():
            self.counts[number] += n
            sample = self.samples.setdefault(number, [])
            at = -1
            for _ in range(min(n, SAMPLE - len(sample))):
                at = routed.ids.index(number, at + 1)
                sample.append((offset + at, str(batch.ids[at])))


class WhatIf:
    """How many strands `loops: erase` would free, and what they would then never meet (section 3)."""

    def __init__(self, deployment: Deployment, symbols: Symbols):
        self.deployment = deployment
        self.symbols = symbols
        self.erased: Router | None = None
        self.useless = any(lane.migration.erase_loops for lane in deployment.lanes)
        self.asked = False
        self.never_met: dict[tuple[Decision, Decision], tuple[str, ...]] = {}

    def count(self, batch: Batch, routed: Routed, router: Router, count: Counts) -> None:
        """Route the batch's strands that replay decided once more, with their loops erased."""
        stranded = {n for n in routed.counts if _by_replay(routed.decisions[n])}
        if not stranded or self.useless:
            return
        if self.erased is None:
            if not any(graph.has_loop() for graph in self.deployment.source_graphs):
                self.useless = True
                return
            erased = Deployment(self.deployment.sources, self.deployment.target, erase_loops=True)
            self.erased = Router(erased, self.symbols)
        which = [i for i, n in enumerate(routed.ids) if n in stranded]
        again = [batch.actors[i] for i in which]
        freed = self.erased.route(again, batch.plain, [batch.states[i] for i in which])
        moving = {n for n in freed.counts if freed.decisions[n].outcome == "migrate"}
        if not moving:
            return
        pairs = Counter((routed.ids[i], n) for i, n in zip(which, freed.ids, strict=True) if n in moving)
        for (before, after), n in pairs.items():
            states = self._states(routed.decisions[before], freed.decisions[after])
            count.freed[(before, states)] += n

    def _states(self, kept: Decision, erased: Decision) -> tuple[str, ...]:
        """The target states that the whole trace leads to and the erased one leaves out, and whether
        they still lie ahead."""
        key = (kept, erased)
        if key not in self.never_met:
            target, graph = self.deployment.target, self.deployment.target_graph
            placed = configuration_of(target, erased.target.value) if erased.target else None
            ahead = graph.ahead(placed or 0) if placed else None
            found: dict[str, None] = {}
            for landing in kept.landings:
                configuration = configuration_of(target, landing.value) or 0
                for leaf in leaves(target, configuration & ~(placed or 0)):
                    later = ahead is not None and ahead >> leaf.index & 1
                    found[f"{leaf.name} ({'on every way ahead' if later else 'not on every way ahead'})"] = (
                        None
                    )
            self.never_met[key] = tuple(found)
        return self.never_met[key]


def _by_replay(decision: Decision) -> bool:
    """Did this actor strand for where its history lands?"""
    strands = decision.outcome == "strand" and decision.reason in BY_LANDING
    return strands and bool(decision.landings) and not decision.rule


# --- processes -----------------------------------------------------------------------------------------

_worker: Worker | None = None


def _begin(task: Task) -> None:
    global _worker  # a worker process has exactly one task
    # Ctrl-C reaches the whole process group; the parent answers it, and ends its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _worker = Worker(task)


def _do(share: Range | list[Block]) -> list[Part]:
    assert _worker is not None
    return list(_worker.of_range(share) if isinstance(share, Range) else _worker.of_blocks(share))


def _shares(path: str, jobs: int) -> Iterator[Range | list[Block]]:
    """The input in shares: ranges of a file that can be read from the middle, else blocks as they come."""
    size = min(max((size_of(path) or 0) // (SHARES * jobs), SMALLEST), LARGEST)
    ranges = plan_ranges(path, size)
    if ranges:
        yield from ranges
        return
    some: list[Block] = []
    for block in blocks(path):
        some.append(block)
        if sum(len(b.data) for b in some) >= SMALLEST:
            yield some
            some = []
    if some:
        yield some


def parts(task: Task, jobs: int) -> Iterator[Part]:
    """The whole input, decided part by part, in order."""
    if jobs <= 1:
        yield from Worker(task).of_blocks(blocks(task.actors))
        return
    # Forked: the id hashes of all processes then use the same key.
    fork = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(jobs, mp_context=fork, initializer=_begin, initargs=(task,)) as pool:
        waiting: deque[Future[list[Part]]] = deque()
        try:
            for share in _shares(task.actors, jobs):
                waiting.append(pool.submit(_do, share))
                if len(waiting) > 2 * jobs:
                    yield from waiting.popleft().result()
            while waiting:
                yield from waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


@dataclass(frozen=True, slots=True)
class Decided:
    """A whole input, decided. `unreadable` counts the records that could not be read, those with a
    repeated id included; `first_unreadable` are the first of them. `repeated` has a bit for each actor."""

    tally: Tally
    actors: int
    unreadable: int
    first_unreadable: tuple[Unreadable, ...]
    notes: tuple[str, ...] = ()
    repeated: bytes = b""

    def is_repeated(self, ordinal: int) -> bool:
        """Had an earlier record the id of this readable one?"""
        at = ordinal >> 3
        return at < len(self.repeated) and bool(self.repeated[at] >> (ordinal & 7) & 1)


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
    with closing(_Ids(task)) as ids:
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
    return Decided(tally, actors, complaints.count, first, notes, bytes(ids.repeated))


class _Ids:
    """The ids of all records: a repeated one takes its record out of the count, as unreadable."""

    def __init__(self, task: Task):
        self.task = task
        self.seen = repeats.Seen()
        # What cannot be read a second time is kept.
        self.names = repeats.Names() if size_of(task.actors) is None else None
        self.decisions: dict[int, Decision] = {}
        self.origins: dict[tuple[int, int], int] = {}
        self.repeated = bytearray()

    def close(self) -> None:
        self.seen.close()
        if self.names is not None:
            self.names.close()

    def add(self, part: Part, actors: int, lines: int) -> None:
        base = self.origins.setdefault(part.origin, len(self.origins)) << 16
        self.decisions.update((base + number, d) for number, d in part.decisions.items())
        self.seen.add(part.ids, part.decided if not base else array("I", [base + n for n in part.decided]))
        if self.names is not None:
            self.names.add(actors, part.names, [line + lines for line in part.places])

    def settle(self, tally: Tally, complaints: Complaints) -> None:
        again = partial(actors_at, self.task.actors, joined=self.task.history is not None)
        identify = self.names.identify if self.names is not None else again
        found = repeats.tally(self._marked(self.seen.repeats(partition, find_repeats)), identify)
        for ordinal in found.others:
            self.repeated[ordinal >> 3] &= ~(1 << (ordinal & 7))
        for number, count in found.decisions.items():
            tally.remove(self.decisions[number], count)
        if found.count:
            listed = [records.Unreadable(r.line, 1, r.message) for r in found.listed]
            complaints.add([*listed, *[listed[-1]] * (found.count - len(listed))])
            complaints.settle()

    def _marked(self, suspects: Iterable[repeats.Repeat]) -> Iterator[repeats.Repeat]:
        for one in suspects:
            if not self.repeated:
                self.repeated = bytearray(len(self.seen) // 8 + 1)
            self.repeated[one.again >> 3] |= 1 << (one.again & 7)
            yield one


def _unclaimed(spool: Spool, claims: Iterable[bytes]) -> tuple[str, ...]:
    """What the history file has about actors that the export does not."""
    rest = spool.unclaimed(claims)
    if not rest.actors:
        return ()
    sample = ", ".join(rest.sample)
    who = "1 actor" if rest.actors == 1 else f"{rest.actors:,} actors"
    what = "1 event" if rest.events == 1 else f"{rest.events:,} events"
    return (f"the history file has {what} of {who} that the export does not have: {sample}",)
