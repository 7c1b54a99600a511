"""An apply on a database, up to the moment of writing: continue or begin, count, hold against the gate."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from statekeep_cli.core.apv import Deployment
from statekeep_cli.core.decision import Decision
from statekeep_cli.core.gate import Gate
from statekeep_cli.core.moving import Mover
from statekeep_cli.core.plan import Plan, strand_key, strands_of
from statekeep_cli.core.report import Report, Tally
from statekeep_cli.deciding import Task
from statekeep_cli.deployments import Subject
from statekeep_cli.drafting import Drafter, Drafts
from statekeep_cli.stores import overseeing, runs
from statekeep_cli.stores.interface import Store
from statekeep_cli.stores.runs import Run
from statekeep_cli.surveying import BATCH, survey


@dataclass(frozen=True, slots=True)
class Counted:
    """What an apply would do. `run` is the one to go on with, and `earlier` what it has decided so far;
    `drafts` are what is left to write."""

    report: Report
    run: Run | None
    earlier: Mapping[Decision, int]
    drafts: Drafts | None = None


def continued(store: Store, subject: Subject, kind: str) -> Run | None:
    """The run that was stopped part-way and is about the same; None where a new one begins.

    Raises `StoppedPartWay` where it is paused: it goes on only after `statekeep resume`.
    """
    assert subject.scope.population is not None
    found = runs.unfinished(store, subject.scope.population, kind)
    if found is None or dict(found.digests) != json.loads(json.dumps(subject.digests)):
        return None
    return overseeing.going_on(store, found)


def earlier(store: Store, run: Run | None) -> dict[Decision, int]:
    """How many actors each class of a run has by now."""
    if run is None:
        return {}
    found: dict[Decision, int] = {}
    for _, _, text, count in runs.counts(store, run.run):
        decision = Decision.of_json(json.loads(text))
        found[decision] = found.get(decision, 0) + count
    return found


def count(
    store: Store,
    subject: Subject,
    run: Run | None,
    *,
    jobs: int,
    keep_going: bool = False,
    lines: bool = False,
    on_part: Callable[[int, int], None] | None = None,
    write: Callable[[bytes], Any] | None = None,
    keep: bool = False,
    batch: int | None = None,
) -> Counted:
    """Decide everybody, without writing: what is left to do, and what a run has done before. `keep`: to be
    written."""
    task = Task(subject.sources, subject.target, "", None, keep_going, lines)
    before = earlier(store, run)
    drafts = None
    if keep:
        mover = Mover(Deployment(subject.sources, subject.target))
        drafts = Drafts(Drafter(mover, subject.scope.mapping))
    decided = survey(
        store,
        subject.scope,
        task,
        jobs=jobs,
        undecided=None if run is None else run.run,
        batch=batch or BATCH,
        on_part=on_part,
        write=write,
        keep=None if drafts is None else drafts.add,
    )
    tally = Tally()
    tally.merge(decided.tally)
    for decision, n in before.items():
        tally.add(decision, n, [])
    report = tally.report(subject.references, decided.unreadable, decided.first_unreadable)
    return Counted(report, run, before, drafts)


def refusals(counted: Counted, gate: Gate, plan: Plan | None) -> list[str]:
    """Why nothing may be written; [] if within the gate, or within a plan and the gate beyond it."""
    if plan is None:
        return gate.refusals(counted.report)
    open_gate = Gate(None, gate.allow_hazards)
    return [*plan.refusals(strands_of(counted.report), gate), *open_gate.refusals(counted.report)]


def budget(counted: Counted | None, gate: Gate, plan: Plan | None) -> Callable[[Counter[Decision]], str]:
    """The gate while writing: actors may have come, or moved, since they were counted."""
    before = Counter(counted.earlier) if counted is not None else Counter[Decision]()
    limit = gate.strands
    if isinstance(limit, Fraction):
        report = counted.report if counted is not None else None
        routed = report.would_migrate + report.would_strand + report.would_stay if report else 0
        limit = int(limit * routed)

    def allows(counts: Counter[Decision]) -> str:
        hazard = next((h for d in counts for h in d.hazards if h.is_finding), None)
        if hazard is not None and not gate.allow_hazards:
            return f"{hazard.hazard} at {hazard.state} is not accepted in the definition"
        strands = {d: n for d, n in counts.items() if d.outcome == "strand"}
        if not strands:
            return ""
        if plan is not None:
            now: Counter[tuple[str, str]] = Counter()
            for d, n in [*strands.items(), *before.items()]:
                if d.outcome == "strand":
                    now[strand_key(d)] += n
            return "; ".join(plan.refusals(now, gate))
        total = sum(strands.values()) + sum(n for d, n in before.items() if d.outcome == "strand")
        if limit is not None and total > limit:
            return f"{total:,} actors strand by now, and --max-strand allows {limit:,}"
        return ""

    return allows


def nothing_to_do(store: Store, subject: Subject, report: Report) -> bool:
    """Would nothing change: nobody moves, and whoever strands has the tag already?"""
    if report.would_migrate:
        return False
    strands: Counter[str] = Counter()
    for group in report.groups:
        if group.outcome == "strand":
            strands[group.reason] += group.count
    return dict(strands) == subject.scope.actors(store).reasons()


def representatives(report: Report) -> list[str]:
    """One actor of every decision class that would be written."""
    return [g.sample[0] for g in report.groups if g.outcome in ("migrate", "strand") and g.sample]


def share(text: str, routed: int) -> int:
    """`N` or `N%` of the routed actors, at least 1. Raises `ValueError`."""
    value = text.strip()
    number = Fraction(value[:-1]) / 100 if value.endswith("%") else Fraction(int(value))
    if number <= 0:
        raise ValueError(text)
    return max(1, int(number * routed) if value.endswith("%") else int(number))
