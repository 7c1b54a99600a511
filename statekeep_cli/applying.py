"""Apply: every actor of a scope moved or tagged, batch by batch, each batch one transaction.

A batch reads its actors with their histories, routes them, and writes state, version, status and one
decision each, comparing revisions; where an actor moved meanwhile, the batch is done again with its
rows held. A decision is written with what it decided or not at all, so a run can be stopped anywhere
and gone on with: what has no decision in the run is still to do.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from statekeep_cli.core.apv import Deployment
from statekeep_cli.core.decision import Decision
from statekeep_cli.core.model import Definition
from statekeep_cli.core.moving import Mover
from statekeep_cli.core.router import Router
from statekeep_cli.core.trace import Symbols
from statekeep_cli.drafting import Draft, Drafted, Drafter, Drafts, Sort
from statekeep_cli.errors import (
    ConnectionLost,
    DatabaseBusy,
    GatePassed,
    InputUnreadable,
    StateKeepError,
    StoppedPartWay,
)
from statekeep_cli.interruptions import RECONNECTS, reconnected, stopping
from statekeep_cli.loading import Loader, undisturbed
from statekeep_cli.stores import guards, runs
from statekeep_cli.stores.actors import Actors, Bounds
from statekeep_cli.stores.changes import Kind, Moved
from statekeep_cli.stores.interface import Store
from statekeep_cli.stores.rows import Rows
from statekeep_cli.stores.runs import Lease, Run
from statekeep_cli.stores.scope import Scope
from statekeep_cli.stores.writing import write
from statekeep_cli.surveying import Ranges, distinct

FIRST_BATCH, SMALLEST_BATCH, LARGEST_BATCH = 2_000, 50, 20_000
# A batch that takes longer is made smaller, one that is quicker larger: nobody waits longer than this.
LONG_SECONDS, SHORT_SECONDS = 1.0, 0.4
TRIES = 8
PASSES = 3
LAG_LOOK_SECONDS = 1.0
SAY_SECONDS = 10.0

T = TypeVar("T")
Work = Bounds | list[str] | Drafted


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast an apply may go. `batch` is None where it finds the size itself; `rate` is in actors per
    second, `lag` in seconds."""

    jobs: int = 1
    batch: int | None = None
    rate: float | None = None
    lag: float | None = None


@dataclass(frozen=True, slots=True)
class Budget:
    """What the run may write, checked before every batch: `allows(counts)` gets how many actors every
    class of the run would then have, and says what is wrong ("" if nothing)."""

    allows: Callable[[Counter[Decision]], str] = lambda counts: ""


@dataclass(slots=True)
class Done:
    """What a run has done so far, over all its processes. `outcomes` has how many actors got which, where
    this one decided all of them."""

    decided: int = 0
    skipped: int = 0
    passes: int = 0
    remaining: int = 0
    halted: str = ""  # "", "paused", "cancelled", "stopped" or "canary"
    outcomes: Counter[str] | None = None


class Application:
    """One run being applied by this process."""

    def __init__(
        self,
        store: Store,
        scope: Scope,
        sources: Sequence[Definition],
        target: Definition,
        run: Run,
        lease: Lease,
        pace: Pace,
        budget: Budget = Budget(),
        *,
        say: Callable[[str], None] = lambda line: None,
        on_batch: Callable[[int], None] = lambda decided: None,
        keep_going: bool = False,
        drafts: Drafts | None = None,
    ):
        self.store, self.scope, self.run, self.lease, self.pace = store, scope, run, lease, pace
        self.sources, self.target = tuple(sources), target
        self.budget, self.say, self.on_batch = budget, say, on_batch
        self.keep_going = keep_going  # rows that are no actors are left alone, instead of ending the run
        self.drafts = drafts  # what is to be written, where that is known by now
        self.size = pace.batch or FIRST_BATCH
        self.stop = threading.Event()
        self.progress = Done()
        self.classes = Classes(runs.known_classes(store, run.run))
        self.counts: Counter[Decision] = Counter()
        self.lock = threading.Lock()
        self.progress.decided = runs.decided(store, run.run)
        self.alone = not self.progress.decided  # have all decisions of the run been counted here?
        # Only what the run has not decided yet; a fresh one need not ask.
        self.undecided = run.run if self.progress.decided else None
        self._next_start = 0.0
        self._looked = self._said = 0.0

    # --- the whole run ---

    def go(self, first: Sequence[str] = (), limit: int | None = None) -> Done:
        """Work until nothing is left, or until halted. `first`: these actors before all others;
        `limit`: stop when so many have a decision."""
        with stopping(self.stop), undisturbed():
            # In this order: what a run is told before it is held is refused, and cannot be lost here.
            runs.set_status(self.store, self.run.run, "running")
            self.lease.hold(self.run.run)
            if limit is not None:
                self.undecided = self.run.run
                self._sweep(_Ids(first, self.size))
                # One at a time: how many of a range are skipped is known when it is done.
                self._sweep(_Limited(Ranges(self.size, self.run.run), self, limit), jobs=1)
                self.halt("canary")
            if not self.progress.halted:
                self._sweep(self.drafts or Ranges(self.size, self.undecided))
            self.undecided = self.run.run
            while not self.progress.halted and self.progress.passes < PASSES:
                before = self.progress.decided
                skipped, self.progress.skipped = self.progress.skipped, 0
                if not self._left():
                    self.progress.skipped = skipped
                    self.progress.remaining = 0
                    break
                self.progress.passes += 1
                self._sweep(Ranges(self.size, self.run.run))
                self.progress.remaining = self.progress.decided - before
                if not self.progress.remaining:
                    break
            else:
                if self.progress.remaining and not self._left():
                    self.progress.remaining = 0
        if self.alone:
            self.progress.outcomes = Counter()
            for decision, n in self.counts.items():
                self.progress.outcomes[decision.outcome] += n
        return self.progress

    def _left(self) -> int:
        return self.patiently(lambda: self.scope.actors(self.store).left(self.run.run))

    def patiently(self, do: Callable[[], T]) -> T:
        """Something over this thread's own connection, which may have been lost while workers went on."""
        for _ in range(RECONNECTS):
            try:
                return do()
            except DatabaseBusy:
                time.sleep(0.1)
            except ConnectionLost:
                self._again()
        return do()

    def halt(self, why: str) -> None:
        with self.lock:
            if not self.progress.halted:
                self.progress.halted = why

    def _sweep(self, ranges: Any, jobs: int | None = None) -> None:
        """All ranges, by `jobs` workers; this thread keeps the lease alive."""
        if self.progress.halted:
            return
        failures: list[BaseException] = []

        def work() -> None:
            worker: Worker | None = None
            try:
                worker = Worker(self)
                while not self.progress.halted and not failures:
                    if self.stop.is_set():
                        self.halt("stopped")
                        return
                    ranges.size = self.size
                    bounds = worker.taking(ranges)
                    if bounds is None:
                        return
                    worker.do(bounds)
            except BaseException as error:  # carried to the thread that waits
                failures.append(error)
            finally:
                if worker is not None:
                    worker.close()

        threads = [threading.Thread(target=work, daemon=True) for _ in range(jobs or self.pace.jobs)]
        for thread in threads:
            thread.start()
        beaten = time.monotonic()
        while any(thread.is_alive() for thread in threads):
            for thread in threads:
                thread.join(0.05)
            if time.monotonic() - beaten > runs.BEAT_SECONDS:
                try:
                    self._beat()
                except StateKeepError as error:
                    failures.append(error)
                    self.halt("stopped")
                beaten = time.monotonic()
        if failures:
            raise failures[0]

    def _beat(self) -> None:
        try:
            self.lease.beat()
        except DatabaseBusy:
            pass  # the next one
        except ConnectionLost:
            self._again()

    def _again(self) -> None:
        self.store = reconnected(self.store)
        self.lease.again(self.store)

    # --- what workers share ---

    def count(self, found: Counter[Decision]) -> None:
        """Before a batch is written: is it within the budget? Raises `GatePassed`."""
        with self.lock:
            after = self.counts + found
            wrong = self.budget.allows(after)
            if wrong:
                raise GatePassed(wrong)
            self.counts = after

    def uncount(self, found: Counter[Decision]) -> None:
        with self.lock:
            self.counts -= found

    def done(self, decided: int, skipped: int, seconds: float) -> None:
        with self.lock:
            self.progress.decided += decided
            self.progress.skipped += skipped
            if self.pace.batch is None:
                if seconds > LONG_SECONDS:
                    self.size = max(SMALLEST_BATCH, self.size // 2)
                elif decided + skipped >= self.size and seconds < SHORT_SECONDS:
                    self.size = min(LARGEST_BATCH, self.size * 2)
        self.on_batch(self.progress.decided)

    def wait_turn(self, store: Store, actors: int) -> None:
        """Keep to `--max-rate` and `--max-lag`; says why it waits."""
        if self.pace.lag is not None:
            self._wait_for_replicas(store)
        if self.pace.rate is None:
            return
        with self.lock:
            now = time.monotonic()
            start = max(now, self._next_start)
            self._next_start = start + actors / self.pace.rate
        if start - now > SAY_SECONDS:
            self._report(f"waiting {start - now:.0f} s: --max-rate {self.pace.rate:g} actors a second")
        self.stop.wait(start - now)

    def _wait_for_replicas(self, store: Store) -> None:
        assert self.pace.lag is not None
        while not self.stop.is_set():
            with self.lock:
                fresh = time.monotonic() - self._looked < LAG_LOOK_SECONDS
            if fresh:
                return
            found = store.one(
                "SELECT coalesce(max(extract(epoch FROM replay_lag)), 0) FROM pg_stat_replication"
            )
            lag = float(found[0]) if found else 0.0
            if lag <= self.pace.lag:
                with self.lock:
                    self._looked = time.monotonic()
                return
            self._report(f"waiting: a replica is {lag:.1f} s behind, --max-lag allows {self.pace.lag:g} s")
            self.stop.wait(LAG_LOOK_SECONDS)

    def _report(self, line: str) -> None:
        with self.lock:
            if time.monotonic() - self._said < SAY_SECONDS and self._said:
                return
            self._said = time.monotonic()
        self.say(line)


class _Ids:
    """Chosen actors, as ranges of their own."""

    def __init__(self, ids: Sequence[str], size: int):
        self.size = size
        self._ids = list(ids)
        self._lock = threading.Lock()

    def take(self, actors: Actors) -> list[str] | None:
        with self._lock:
            some, self._ids = self._ids[: self.size], self._ids[self.size :]
            return some or None


class _Limited:
    """Ranges that end when enough actors have a decision."""

    def __init__(self, ranges: Ranges, application: Application, limit: int):
        self.size = ranges.size
        self._ranges, self._application, self._left = ranges, application, limit
        self._lock = threading.Lock()

    def take(self, actors: Actors) -> Bounds | None:
        with self._lock:
            left = self._left - self._application.progress.decided
            if left <= 0:
                return None
            self._ranges.size = min(self.size, left)
            return self._ranges.take(actors)


class Classes:
    """The numbers of a run's decision classes, given in the order in which they turn up."""

    def __init__(self, known: dict[str, int]):
        self._numbers = known
        self._next = max(known.values(), default=-1) + 1
        self._stored = set(known.values())
        self._of: dict[Decision, int] = {}
        self._lock = threading.Lock()

    def number(self, decision: Decision) -> int:
        found = self._of.get(decision)
        if found is None:
            text = runs.class_text(decision)
            with self._lock:
                if text not in self._numbers:
                    self._numbers[text] = self._next
                    self._next += 1
                found = self._of[decision] = self._numbers[text]
        return found

    def unstored(self, decisions: Sequence[Decision]) -> list[tuple[int, Decision]]:
        """Those not known to be in the database, in the order of their numbers."""
        pairs = {self.number(d): d for d in decisions}
        return sorted((n, d) for n, d in pairs.items() if n not in self._stored)

    def stored(self, pairs: Sequence[tuple[int, Decision]]) -> None:
        self._stored.update(n for n, _ in pairs)


class Worker:
    """One connection's work, with a router of its own."""

    def __init__(self, application: Application):
        self.application = application
        self.store = application.store.again()
        self.actors = self._actors()
        symbols = Symbols()
        deployment = Deployment(application.sources, application.target)
        self.router = Router(deployment, symbols)
        self.loader = Loader(application.scope.mapping, symbols)
        self.drafter = Drafter(Mover(deployment), application.scope.mapping)

    def close(self) -> None:
        self.store.close()

    def taking(self, ranges: Any) -> Work | None:
        """The next range. A connection that is lost here is made again."""
        for _ in range(RECONNECTS):
            try:
                found: Work | None = ranges.take(self.actors)
                return found
            except DatabaseBusy:
                time.sleep(0.1)
            except ConnectionLost:
                self._reconnect()
        last: Work | None = ranges.take(self.actors)
        return last

    def do(self, work: Work) -> None:
        """One batch, in one transaction; again where it could not be written."""
        application = self.application
        bounds, draft = work if isinstance(work, Drafted) else (work, None)
        application.wait_turn(self.store, application.size if isinstance(bounds, Bounds) else len(bounds))
        held, undecided = False, application.undecided
        for attempt in range(TRIES):
            begun = time.monotonic()
            counted: Counter[Decision] = Counter()
            try:
                decided, skipped = self._batch(bounds, draft, held, undecided, counted)
            except Moved:
                application.uncount(counted)
                held, draft = True, None
                continue
            except DatabaseBusy as error:
                application.uncount(counted)
                if attempt == TRIES - 1:
                    raise
                application.say(f"trying again: {error.message.removesuffix('; run again to go on')}")
                time.sleep(min(2.0, 0.1 * 2**attempt))
                continue
            except ConnectionLost:
                # The batch may have been committed: only what has no decision is left to do.
                application.uncount(counted)
                application.alone = False
                undecided, draft = application.run.run, None
                self._reconnect()
                continue
            application.done(decided, skipped, time.monotonic() - begun)
            return
        raise StoppedPartWay(f"{self.store.address}: a batch could not be written; run again to go on")

    def _reconnect(self) -> None:
        self.store = reconnected(self.store)
        self.actors = self._actors()

    def _actors(self) -> Actors:
        found = self.application.scope.actors(self.store)
        found.current = self.application.run.run  # whoever has a decision in it is not read again
        return found

    def _batch(
        self,
        bounds: Bounds | list[str],
        draft: Draft | None,
        held: bool,
        undecided: int | None,
        counted: Counter[Decision],
    ) -> tuple[int, int]:
        """(decided, skipped). Without a draft rows are read; `held`: they are locked before; `counted` gets
        what was counted against the budget."""
        application, run = self.application, self.application.run.run
        fresh: list[tuple[int, Decision]] = []
        with self.store.transaction():
            word = runs.control(self.store, application.run.population, run, application.lease.token)
            if word != "go":
                application.halt({"pause": "paused", "cancel": "cancelled"}[word])
                return 0, 0
            if held:
                self.actors.lock(bounds)
            if draft is None:
                rows = self.actors.read(bounds, undecided)
                if held:
                    distinct(rows, application.scope)  # nobody moves now: two rows would look as if one had
                draft = self._draft(rows)
            if draft.changes:
                decided = draft.decided()
                application.count(decided)
                counted.update(decided)
                fresh = application.classes.unstored(list(decided))
                for number, decision in fresh:
                    runs.add_class(self.store, run, number, decision)
                with guards.letting(self.store, "reverting"):  # a target may be a version they have left
                    write(self.actors, run, list(map(self._kind, draft.sorts)), draft.changes)
        application.classes.stored(fresh)
        return len(draft.changes), draft.skipped

    def _draft(self, rows: Rows) -> Draft:
        batch = self.loader.batch(rows)
        if batch.unreadable and not self.application.keep_going:
            raise InputUnreadable(
                f"{self.store.address}: {batch.unreadable[0].message}; mend it, or go on without with"
                " --keep-going"
            )
        routed = self.router.route(batch.actors, batch.plain, batch.states, batch.columns)
        return self.drafter.draft(rows, batch, routed)

    def _kind(self, sort: Sort) -> Kind:
        decision, number = sort.decision, self.application.classes.number(sort.decision)
        if decision.outcome == "migrate":
            assert decision.target is not None
            place = decision.target
            return Kind(number, "active", place.state, str(place.version), place.definition)
        if decision.outcome == "strand":
            # One that has its tag already stays as it is.
            tagged = sort.status == "needs_rescue" and sort.reason == decision.reason
            return Kind(number, "needs_rescue", reason=decision.reason, writes=not tagged)
        return Kind(number, writes=False)
