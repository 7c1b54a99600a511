"""Every actor of a database, decided; read-only.

Ranges of ids are read ahead by a few connections while this process decides what has come. `preview`
shows what comes out, and `apply` holds it against the gate before it writes: both see the same rows
through the same functions.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from functools import partial
from itertools import pairwise
from typing import Any, TypeVar

from statekeep_cli.core.report import Tally, Unreadable
from statekeep_cli.core.router import Routed
from statekeep_cli.core.trace import Actor, Symbols
from statekeep_cli.deciding import Decided, Task, Worker
from statekeep_cli.errors import DatabaseBusy, InputUnreadable, Problem, StateKeepError
from statekeep_cli.loading import Loader, undisturbed
from statekeep_cli.readers.actors import LISTED
from statekeep_cli.readers.records import Batch
from statekeep_cli.render.jsonl import Lines
from statekeep_cli.stores.actors import Actors, Bounds
from statekeep_cli.stores.interface import Store
from statekeep_cli.stores.rows import Rows
from statekeep_cli.stores.scope import Scope

BATCH = 5_000
TRIES = 5

T = TypeVar("T")


def survey(
    store: Store,
    scope: Scope,
    task: Task,
    *,
    jobs: int = 1,
    consistent: bool = False,
    undecided: int | None = None,
    sample: int | None = None,
    batch: int = BATCH,
    on_part: Callable[[int, int], None] | None = None,
    write: Callable[[bytes], object] | None = None,
    keep: Callable[[Bounds, Rows, Batch, Routed], None] | None = None,
) -> Decided:
    """Decide every actor of a scope, as `deciding.decide_all` does for a file.

    `consistent` reads one snapshot over one connection; otherwise every range is a transaction of its
    own. `undecided`: only actors without a decision in that run. `sample`: only the first so many.
    `on_part(actors, actors)` is told how many are done; `keep` gets every range as it was decided. Raises
    `InputUnreadable` where a row is no actor, unless `task.keep_going`.
    """
    at, seen = (Bounds(), Rows()), 0

    def routed(batch: Batch, decisions: Routed) -> None:
        nonlocal seen
        seen += len(batch.actors)
        if keep is not None:
            keep(*at, batch, decisions)
        if on_part is not None:
            on_part(seen, seen)

    worker = Worker(task, routed)
    loader = Loader(scope.mapping, worker.symbols)
    lines = Lines([d.digest for d in (*task.sources, task.target)])
    tally, done, bad = Tally(), 0, 0
    first: list[Unreadable] = []

    def batches() -> Iterator[Batch]:
        nonlocal at
        ranges = (
            _consistent(store, scope, batch) if consistent else _ahead(store, scope, jobs, batch, undecided)
        )
        left = sample
        with closing(ranges):
            for bounds, some in ranges:
                if left is not None:
                    some, left = some[:left], left - len(some[:left])
                at = bounds, some
                yield loader.batch(distinct(some, scope))
                if left == 0:
                    return

    with undisturbed():
        for part in worker.of_batches(batches()):
            tally.merge(part.tally, done)
            bad += len(part.unreadable)
            first += [Unreadable(*one) for one in part.unreadable[: LISTED - len(first)]]
            if write is not None:
                write(part.output)
                for one in part.unreadable:
                    write(lines.unreadable(Unreadable(*one)))
            done += part.actors
    if bad and not task.keep_going:
        problems = tuple(Problem(store.address, 0, 0, one.message) for one in first)
        raise InputUnreadable(
            f"{store.address}: {bad:,} actors cannot be read; mend them, or go on without with --keep-going",
            problems,
        )
    return Decided(tally, done, bad, tuple(first))


def everyone(store: Store, scope: Scope, *, size: int = BATCH) -> Iterator[Sequence[Actor[Any, Any]]]:
    """All actors of a scope by id, a few at a time, with their histories.

    Each range is a statement of its own; traces have their types as text. Raises `InputUnreadable` where a
    row is no actor.
    """
    loader, ranges = Loader(scope.mapping, Symbols()), Ranges(size)
    actors = scope.actors(store)
    while (bounds := ranges.take(actors)) is not None:
        rows = patiently(partial(actors.read, bounds))
        batch = loader.batch(distinct(rows, scope), letters=False)
        if batch.unreadable:
            problems = tuple(Problem(store.address, 0, 0, one.message) for one in batch.unreadable[:LISTED])
            raise InputUnreadable(f"{store.address}: {problems[0].message}; mend it first", problems)
        yield batch.actors


def distinct(rows: Rows, scope: Scope) -> Rows:
    """The rows of a range. Raises `StateKeepError` where the mapped id is not unique, as own ids are."""
    if scope.mapping.own:
        return rows
    for before, id in pairwise(rows.column("id")):
        if before == id:
            raise StateKeepError(
                f"{scope.mapping.name} has the id {id} twice; map a column that is unique (actors.id)"
            )
    return rows


def _consistent(store: Store, scope: Scope, size: int) -> Generator[tuple[Bounds, Rows]]:
    actors = scope.actors(store)
    with store.transaction(read_only=True, snapshot=True):
        low: str | None = None
        while True:
            high = actors.next_bound(low, size)
            bounds = Bounds(low, high)
            rows = actors.read(bounds)
            if rows:
                yield bounds, rows
            if high is None:
                return
            low = high


class Ranges:
    """Ranges of ids, one after the other, for several connections to work through.

    Where a range ends is looked up by whoever takes it; `size` may change in between. With `undecided`,
    sizes count actors without a decision in that run.
    """

    def __init__(self, size: int, undecided: int | None = None):
        self.size = size
        self.undecided = undecided
        self._low: str | None = None
        self._done = False
        self._lock = threading.Lock()

    def take(self, actors: Actors) -> Bounds | None:
        """The next range; None after the last."""
        with self._lock:
            if self._done:
                return None
            high = actors.next_bound(self._low, self.size, self.undecided)
            bounds = Bounds(self._low, high)
            self._low, self._done = high, high is None
            return bounds


def _ahead(
    store: Store, scope: Scope, jobs: int, size: int, undecided: int | None
) -> Generator[tuple[Bounds, Rows]]:
    """The rows of each range, in order, read by `jobs` connections ahead of whoever uses them."""
    ranges = Ranges(size, undecided)
    own = threading.local()
    stores: list[Store] = []

    def begin() -> None:
        found = store.again()
        stores.append(found)
        own.actors = scope.actors(found)

    def read(bounds: Bounds) -> tuple[Bounds, Rows]:
        return bounds, patiently(lambda: own.actors.read(bounds, undecided))

    planner = scope.actors(store)
    with ThreadPoolExecutor(jobs, initializer=begin) as pool:
        waiting: deque[Future[tuple[Bounds, Rows]]] = deque()
        try:
            while True:
                while len(waiting) <= jobs and (bounds := ranges.take(planner)) is not None:
                    waiting.append(pool.submit(read, bounds))
                if not waiting:
                    return
                found = waiting.popleft().result()
                if found[1]:
                    yield found
        finally:
            for future in waiting:
                future.cancel()
            pool.shutdown(wait=True)
            for one in stores:
                one.close()


def patiently(do: Callable[[], T]) -> T:
    """Try again where a statement fell to a deadlock, a timeout or a replica's recovery."""
    for attempt in range(TRIES):
        try:
            return do()
        except DatabaseBusy:
            if attempt == TRIES - 1:
                raise
            time.sleep(0.1 * 2**attempt)
    raise AssertionError
