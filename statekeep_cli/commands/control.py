"""`statekeep pause`, `resume` and `cancel`: what a run is told to do; its next batch reads it."""

from __future__ import annotations

from typing import Annotated

import typer

from statekeep_cli.commands.options import Database

WAIT_SECONDS = 5.0

Run = Annotated[int, typer.Argument(metavar="RUN", help="The run's number, as statekeep status has it.")]


def pause(run: Run, database: Database = None) -> None:
    """Stop a run after the batch that it is writing; it goes on after statekeep resume.

    Waits a few seconds for the run, and says whether it stopped.

    Example: statekeep pause 3 --db "$DATABASE_URL"
    """
    from contextlib import closing

    from statekeep_cli.stores import overseeing
    from statekeep_cli.stores.connect import connect
    from statekeep_cli.stores.installing import require

    with closing(connect(database)) as store:
        require(store)
        before = overseeing.pause(store, run)
        now = before if before == "paused" else overseeing.settled(store, run, WAIT_SECONDS)
    if before == "paused":
        print(f"run {run} is paused already")
    elif now == "running":
        print(f"run {run} will stop after the batch that it is writing")
    elif now == "paused":
        print(f"run {run} is paused")
    else:
        print(f"run {run} ended before it could be paused: it is {now}")
        return
    print(f"next: statekeep resume {run}")


def resume(run: Run, database: Database = None) -> None:
    """Let a paused run go on; the command that it is part of has to be run again for that.

    Example: statekeep resume 3 --db "$DATABASE_URL"
    """
    from contextlib import closing

    from statekeep_cli.stores import overseeing
    from statekeep_cli.stores.connect import connect
    from statekeep_cli.stores.installing import require

    with closing(connect(database)) as store:
        require(store)
        found = overseeing.resume(store, run)
        alive = found.status == "running" and overseeing.working(store, found.population, run)
    if alive:
        print(f"run {run} had not stopped, and goes on")
        return
    print(f"run {run} may go on; nobody is working on it yet")
    command = {
        "revert": f"statekeep revert {found.reverts}",
        "retry": "statekeep rescue retry, with what it was run with",
        "resolve": "statekeep rescue resolve, with what it was run with",
        "apply": f"statekeep apply, with what it was run with (to {found.definition}@{found.version})",
    }.get(found.kind, f"statekeep {found.kind}")
    print(f"next: {command}")


def cancel(run: Run, database: Database = None) -> None:
    """End a run for good, after the batch that it is writing; what it has written stays.

    An apply after that begins a new run. statekeep revert puts back what was written.

    Example: statekeep cancel 3 --db "$DATABASE_URL"
    """
    from contextlib import closing

    from statekeep_cli.stores import overseeing, runs
    from statekeep_cli.stores.connect import connect
    from statekeep_cli.stores.installing import require

    with closing(connect(database)) as store:
        require(store)
        now = overseeing.cancel(store, run)
        if now == "running":
            now = overseeing.settled(store, run, WAIT_SECONDS)
        reverts = runs.need(store, run).kind == "revert"
    if now == "running":
        print(f"run {run} will be cancelled after the batch that it is writing")
    elif now == "cancelled":
        print(f"run {run} is cancelled; what it has written stays")
    else:
        print(f"run {run} ended before it could be cancelled: it is {now}")
    if not reverts:
        print(f"next: statekeep revert {run} puts back what it has written")
