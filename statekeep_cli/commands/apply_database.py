"""`statekeep apply --db`: migrate a live store, with rescue tagging."""

from __future__ import annotations

import json
import shlex
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from statekeep_cli.errors import (
    Findings,
    GatePassed,
    InputUnreadable,
    PlanStale,
    Problem,
    RunLocked,
    StateKeepError,
    StoppedPartWay,
    UsageMistake,
)

if TYPE_CHECKING:
    from statekeep_cli.applying import Done, Pace
    from statekeep_cli.commands.output import Outputs
    from statekeep_cli.core.gate import Gate
    from statekeep_cli.core.plan import Plan
    from statekeep_cli.core.report import Report
    from statekeep_cli.deployments import Subject
    from statekeep_cli.planning import Counted
    from statekeep_cli.stores.interface import Store
    from statekeep_cli.stores.runs import Lease, Run


@dataclass(frozen=True, slots=True)
class Wishes:
    """How an apply on a database was asked for."""

    yes: bool = False
    dry_run: bool = False
    canary: str | None = None
    jobs: int = 1
    batch_size: int | None = None
    max_rate: float | None = None
    max_lag: float | None = None
    keep_going: bool = False
    quiet: bool = False
    rescued: bool = False  # only those: `rescue retry`
    kind: str = "apply"
    again: tuple[str, ...] = ()  # the options that name the same database


def apply_database(
    given: Sequence[str],
    db: str | None,
    config: str | None,
    migration: str | None,
    where: str,
    gate: Gate,
    outputs: Outputs,
    wishes: Wishes,
) -> None:
    """Count, ask, then write; see `apply`."""
    from statekeep_cli.deployments import subject
    from statekeep_cli.planning import share
    from statekeep_cli.readers.config import read_config
    from statekeep_cli.stores.connect import connect

    if wishes.canary is not None:
        try:
            share(wishes.canary, 0)
        except (ValueError, ZeroDivisionError):
            raise UsageMistake(
                f"--canary {wishes.canary}: give a number of actors (10) or a share (1%)"
            ) from None
    plan = read_plan(given[0]) if len(given) == 1 else None
    if plan is not None:
        if migration is not None or where:
            raise UsageMistake("a plan has its own --migration and --where; leave them out")
        given, migration, where = plan.paths, plan.migration, plan.where
    mapping = read_config(config).mapping
    with closing(connect(db, read_only=wishes.dry_run)) as store, outputs:
        about = subject(
            store,
            mapping,
            given,
            migration=migration,
            where=where,
            rescued=wishes.rescued,
            writing=not wishes.dry_run,
        )
        if plan is not None:
            _agree(plan, about)
        _announce(store, about)
        if wishes.dry_run:
            _dry(store, about, gate, plan, outputs, wishes)
        else:
            _apply(store, about, gate, plan, outputs, wishes)


def read_plan(path: str) -> Plan | None:
    """The plan in a file, None where the file is something else (a definition)."""
    from statekeep_cli.core.plan import KEY, Plan

    try:
        text = Path(path).read_text(encoding="utf-8")
        value = json.loads(text) if text.lstrip().startswith("{") else None
    except (OSError, ValueError):
        return None  # who reads it as a definition says what is wrong with it
    if not isinstance(value, dict) or KEY not in value:
        return None
    try:
        return Plan.of_json(value)
    except ValueError as error:
        raise InputUnreadable.of(Problem(path, 0, 0, str(error))) from None


def _agree(plan: Plan, about: Subject) -> None:
    differing = plan.differing(json.loads(json.dumps(about.digests)))
    if differing:
        what = {"sources": "the source definitions", "target": "the target definition",
                "mapping": "the mapping of tables", "engine": "StateKeep itself",
                "schema": "StateKeep's tables", "where": "the condition"}  # fmt: skip
        said = ", ".join(what.get(key, key) for key in differing)
        raise PlanStale(
            f"the plan is stale: {said} changed since; review a new one with statekeep preview -o"
        )


def _announce(store: Store, about: Subject) -> None:
    """Which database and what is going to change, before anything is written."""
    kind = "Postgres" if store.kind == "postgres" else "SQLite"
    sources = ", ".join(d.label for d in about.sources)
    print(f"{kind} {store.address}, {about.scope.mapping.name}: {sources} to {about.target.label}",
          file=sys.stderr)  # fmt: skip


def _counted(
    store: Store,
    about: Subject,
    run: Run | None,
    outputs: Outputs,
    wishes: Wishes,
) -> Counted:
    from statekeep_cli.planning import count
    from statekeep_cli.render.terminal import Progress

    with Progress("deciding", about.scope.actors(store).count(), "actors", quiet=wishes.quiet) as progress:
        return count(
            store,
            about,
            run,
            jobs=wishes.jobs,
            keep_going=wishes.keep_going,
            lines=outputs.has_lines,
            on_part=lambda done, _: progress.update(done, ""),
            write=outputs.write_lines,
            keep=not wishes.dry_run and wishes.canary is None,
            batch=wishes.batch_size,
        )


def _dry(
    store: Store, about: Subject, gate: Gate, plan: Plan | None, outputs: Outputs, wishes: Wishes
) -> None:
    from statekeep_cli.planning import refusals

    counted = _counted(store, about, None, outputs, wishes)
    refused = refusals(counted, gate, plan)
    _report(outputs, about, counted.report, gate, refused)
    if refused:
        raise Findings(f"{'; '.join(refused)}; nothing was written")


def _report(outputs: Outputs, about: Subject, report: Report, gate: Gate, refused: Sequence[str]) -> None:
    """What would happen, in every format that was asked for."""
    from statekeep_cli.commands.locating import located
    from statekeep_cli.commands.picturing import pictures

    outputs.write_report(
        report,
        "",
        lambda: pictures(about.sources, about.target, report, refused, None),
        locate=lambda: located(report, about.sources, about.target, about.files),
        levels=gate.levels(report),
    )


def _apply(
    store: Store, about: Subject, gate: Gate, plan: Plan | None, outputs: Outputs, wishes: Wishes
) -> None:
    from statekeep_cli.applying import Pace
    from statekeep_cli.commands.confirm import confirm
    from statekeep_cli.planning import continued, nothing_to_do, refusals
    from statekeep_cli.stores.runs import Lease

    assert about.scope.population is not None
    if wishes.max_lag is not None and store.kind != "postgres":
        raise UsageMistake("--max-lag is about replicas, which SQLite does not have; leave it out")
    pace = Pace(
        wishes.jobs if store.kind == "postgres" else 1, wishes.batch_size, wishes.max_rate, wishes.max_lag
    )
    lease = Lease(store, about.scope.population, about.scope.mapping.name)
    try:
        run = continued(store, about, wishes.kind)
        # Whoever lets everything pass, and asks for no report, is not made to wait for the counts.
        open_gate = gate.strands is None and gate.allow_hazards and plan is None
        counted = None
        # Where only those are left who have their tag, counting is quick, and tells that nothing is to do.
        standing = about.scope.actors(store).standing() if open_gate else []
        open_gate = any(left for _, status, _, left in standing if status == "active")
        if not (open_gate and wishes.yes and wishes.canary is None and outputs.only_text):
            lease.keep()
            try:
                counted = _counted(store, about, run, outputs, wishes)
            finally:
                lease.rest()
            refused = refusals(counted, gate, plan)
            _report(outputs, about, counted.report, gate, refused)
            if refused:
                raise Findings(f"{'; '.join(refused)}; nothing was written")
            if run is None and nothing_to_do(store, about, counted.report):
                print("nothing to do: nobody would move, and whoever strands is tagged", file=sys.stderr)
                return
        else:
            for version, status, n, _ in standing:
                print(f"{n:>12,}  version {version}, {status}", file=sys.stderr)
        if run is not None:
            print(f"going on with run {run.run} ({run.status})", file=sys.stderr)
        confirm(f"Apply {about.target.label} to {about.scope.mapping.name} in {store.address}?", wishes.yes)
        total = sum(left for *_, left in standing)
        if counted is not None:
            report = counted.report
            total = report.would_migrate + report.would_strand + report.would_stay
        _write(store, about, gate, plan, lease, run, counted, total, pace, outputs, wishes)
    finally:
        lease.release()


def _write(
    store: Store,
    about: Subject,
    gate: Gate,
    plan: Plan | None,
    lease: Lease,
    run: Run | None,
    counted: Counted | None,
    total: int,
    pace: Pace,
    outputs: Outputs,
    wishes: Wishes,
) -> None:
    from statekeep_cli.applying import Application, Budget
    from statekeep_cli.planning import budget, representatives, share
    from statekeep_cli.render.terminal import Progress
    from statekeep_cli.stores import runs
    from statekeep_cli.stores.definitions import store_definition

    scope = about.scope
    assert scope.population is not None
    if run is None:
        with store.transaction():
            if scope.mapping.own:
                for file in about.files:
                    store_definition(store, file.config)
            runs.abandon(store, scope.population, wishes.kind)
            run = runs.begin(
                store,
                scope.population,
                wishes.kind,
                about.target.id,
                str(about.target.version),
                about.digests,
                total=total,
                plan=None if plan is None else plan.digest,
            )
    first: list[str] = []
    limit = None
    if wishes.canary is not None and counted is not None:
        limit = share(wishes.canary, total)
        if counted.earlier and sum(counted.earlier.values()) >= limit:
            raise StoppedPartWay(
                f"run {run.run} has its canary; look at it, and run again without --canary to go on"
            )
        first = representatives(counted.report)
        limit = max(limit, len(first))
    with Progress("writing", run.total, "actors", quiet=wishes.quiet) as progress:
        application = Application(
            store, scope, about.sources, about.target, run, lease, pace, Budget(budget(counted, gate, plan)),
            say=lambda line: print(line, file=sys.stderr),
            on_batch=lambda decided: progress.update(decided, ""),
            keep_going=wishes.keep_going, drafts=None if counted is None else counted.drafts,
        )  # fmt: skip
        try:
            done = application.go(first, limit)
        except BaseException as error:
            if not isinstance(error, RunLocked):  # then it is another process' run now
                with suppress(StateKeepError):  # a run that says `running` is gone on with as well
                    runs.set_status(application.store, run.run, "stopped")
            if isinstance(error, GatePassed):
                raise GatePassed(f"run {run.run} was stopped: {error.message}; run again to go on") from None
            raise
    status = {"": "done", "cancelled": "cancelled", "paused": "paused"}.get(done.halted, "stopped")
    if done.remaining and not done.halted:
        status = "stopped"
    application.patiently(lambda: runs.set_status(application.store, run.run, status, skipped=done.skipped))
    _finish(application.store, run.run, about, done, wishes, outputs)


def _finish(store: Store, run: int, about: Subject, done: Done, wishes: Wishes, outputs: Outputs) -> None:
    """Says what was done; raises where something is left."""
    from statekeep_cli.stores import runs

    by = done.outcomes
    if by is None:
        by = Counter()
        for _, outcome, _, count in runs.counts(store, run):
            by[outcome] += count
    said = ", ".join(
        f"{by[outcome]:,} {word}"
        for outcome, word in (("migrate", "migrated"), ("strand", "need rescue"), ("stay", "stay"))
        if by[outcome] or outcome != "stay"
    )
    skipped = f", {done.skipped:,} skipped" if done.skipped else ""
    stream = sys.stdout if outputs.text_on_stdout else sys.stderr
    print(f"run {run}: {said}{skipped}", file=stream)
    if by["strand"] and not done.halted:
        print(f"next: {shlex.join(['statekeep', 'rescue', 'list', *wishes.again])}", file=stream)
    if done.halted:
        what = {
            "paused": f"was paused; go on with statekeep resume {run}, then the same command",
            "cancelled": "was cancelled; what it has written stays, statekeep revert puts it back",
            "canary": "wrote its canary; look at it, and run again without --canary to go on",
            "stopped": "was stopped; run again to go on",
        }[done.halted]
        raise StoppedPartWay(f"run {run} {what}")
    if done.remaining:
        raise StoppedPartWay(
            f"run {run}: {done.remaining:,} actors came while it ran, up to its last look; old processes"
            " still create them, run again once they are gone"
        )
