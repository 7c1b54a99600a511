"""Reading an export for `suggest`: who gets which decision, and samples of the traces behind them.

Memory is bounded: decisions are counted, and of each decision a limited number of distinct records is kept.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from statekeep_cli.core.apv import Deployment, FollowMore
from statekeep_cli.core.decision import Decision
from statekeep_cli.core.record import Intake, Opened
from statekeep_cli.core.replay import Manual
from statekeep_cli.core.report import BY_LANDING
from statekeep_cli.core.router import Router
from statekeep_cli.core.trace import Actor, Symbols

# Distinct records kept per decision, and trace items kept in all.
PER_DECISION = 200
ITEMS = 200_000


class Batch(Protocol):
    """Some actors as a reader yields them; `plain` as in `Router.route`."""

    @property
    def actors(self) -> Sequence[Actor[Any, Any]]: ...

    @property
    def plain(self) -> bool: ...


# Reads the whole export from its start; called once per read.
Batches = Callable[[], Iterable[Batch]]


@dataclass(slots=True)
class Survey:
    """What one read found. `samples` has distinct records of those who migrate or strand."""

    counts: Counter[Decision] = field(default_factory=Counter)
    samples: dict[Decision, list[Opened]] = field(default_factory=dict)

    def by_hand(self) -> set[Decision]:
        """Strands of which every sampled trace has a manual move. Where their histories land says what was
        before that move, and nothing about where they belong."""
        return {
            decision
            for decision, samples in self.samples.items()
            if decision.outcome == "strand"
            and all(any(isinstance(i, Manual) for i in o.items) for o in samples)
        }


def survey(deployment: Deployment, batches: Batches, symbols: Symbols) -> Survey:
    """Decide everyone, and keep samples."""
    router = Router(deployment, symbols)
    found = Survey()
    sampler = _Sampler(deployment, router, found)
    for batch in batches():
        routed = router.route(batch.actors, batch.plain)
        wanted = {}
        for number, count in routed.counts.items():
            decision = routed.decisions[number]
            found.counts[decision] += count
            if decision.outcome in ("migrate", "strand"):
                wanted[number] = decision
        for actor, number in zip(batch.actors, routed.ids, strict=True):
            if number in wanted and not sampler.take(wanted[number], actor, batch.plain):
                del wanted[number]
    return found


class _Sampler:
    def __init__(self, deployment: Deployment, router: Router, found: Survey):
        self.router = router
        self.intake = Intake(deployment)
        self.samples = found.samples
        self.traces: dict[Decision, set[tuple[bytes, ...]]] = {}
        self.room = ITEMS

    def take(self, decision: Decision, actor: Actor[Any, Any], plain: bool) -> bool:
        """Keep the record if its trace is a new one. False where no more are wanted."""
        traces = self.traces.setdefault(decision, set())
        length = len(actor.history or ())
        if len(traces) >= PER_DECISION or length > self.room:
            return False
        if actor.history is None:
            key: tuple[bytes, ...] = ()
        else:
            key = (self.router.trace(actor.history, plain), bytes(actor.origin or b""))
        if key not in traces:
            traces.add(key)
            self.room -= length
            opened = self.intake.open(actor)
            if isinstance(opened, Opened):
                self.samples.setdefault(decision, []).append(opened)
        return True


def decide(deployment: Deployment, opened: Opened) -> Decision:
    """The decision about a kept record, by the general form."""
    intake = Intake(deployment)
    while True:
        try:
            return deployment.decide(opened.case, intake.ends(opened))
        except FollowMore as more:
            deployment.follow(more.lane, more.paths)


def _by_replay(decision: Decision) -> bool:
    """Is it a strand of the path, on which erasing loops has a bearing?"""
    return decision.reason in BY_LANDING and bool(decision.landings) and not decision.rule


# --- deployments compared ------------------------------------------------------------------------


@dataclass(slots=True)
class Compared:
    """How often each combination of decisions was made, one decision per deployment. `without_history` counts
    those stranded by the first deployment who have no history; `erasable` those stranded by the last one
    who would migrate with their loops erased."""

    counts: Counter[tuple[Decision, ...]] = field(default_factory=Counter)
    without_history: Counter[tuple[Decision, ...]] = field(default_factory=Counter)
    erasable: Counter[tuple[Decision, ...]] = field(default_factory=Counter)


def compare(deployments: Sequence[Deployment], batches: Batches, symbols: Symbols) -> Compared:
    """Decide everyone under each deployment, in one read."""
    routers = {id(d): Router(d, symbols) for d in deployments}  # some may be the same one
    last = deployments[-1]
    eraser = None
    if not routers[id(last)].erase and any(graph.has_loop() for graph in last.source_graphs):
        eraser = Router(Deployment(last.sources, last.target, erase_loops=True), symbols)
    found = Compared()
    for batch in batches():
        each = {key: router.route(batch.actors, batch.plain) for key, router in routers.items()}
        routed = [each[id(d)] for d in deployments]
        rows = list(zip(*(r.ids for r in routed), strict=True))
        names = {row: tuple(r.decisions[n] for r, n in zip(routed, row, strict=True)) for row in set(rows)}
        for row, count in Counter(rows).items():
            found.counts[names[row]] += count
        stranded = {r for r, d in names.items() if d[0].outcome == "strand"}
        stuck = {r for r, d in names.items() if _by_replay(d[-1])} if eraser else set()
        again = []
        for actor, row in zip(batch.actors, rows, strict=True):
            if row in stranded and actor.history is None:
                found.without_history[names[row]] += 1
            if row in stuck and actor.history:
                again.append((actor, row))
        if eraser and again:
            erased = eraser.route([actor for actor, _ in again], batch.plain)
            for i, (_, row) in enumerate(again):
                if erased[i].outcome == "migrate":
                    found.erasable[names[row]] += 1
    return found
