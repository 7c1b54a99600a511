"""`statekeep watch`: follow a run until it ends."""

from __future__ import annotations

import sys

from statekeep_cli.commands.control import Run
from statekeep_cli.commands.options import Database, Quiet
from statekeep_cli.errors import StateKeepError, StoppedPartWay

LOOK_SECONDS = 1.0


def watch(run: Run, database: Database = None, quiet: Quiet = False) -> None:
    """Follow a run until it ends, and exit as the command that runs it does.

    0 when it is done, 7 when it was paused, stopped or cancelled, or its process is gone.

    Example: statekeep watch 3 --db "$DATABASE_URL"
    """
    import time
    from contextlib import closing

    from statekeep_cli.render.runs import duration
    from statekeep_cli.render.terminal import Progress
    from statekeep_cli.stores import overseeing
    from statekeep_cli.stores.connect import connect
    from statekeep_cli.stores.installing import require

    with closing(connect(database, read_only=True)) as store:
        require(store)
        found = overseeing.standing(store, run)
        with Progress(found.kind, found.total, "actors", quiet=quiet) as progress:
            while found.status == "running" and found.alive:
                left = "" if found.eta is None else f"about {duration(found.eta)} left"
                progress.update(found.decided, left)
                # Counting decisions takes longer the more there are; watching stays a small part.
                begun = time.monotonic()
                found = overseeing.standing(store, run)
                time.sleep(max(LOOK_SECONDS, 5 * (time.monotonic() - begun)))
    by: dict[str, int] = {}
    for group in found.groups:
        by[group.outcome] = by.get(group.outcome, 0) + group.count
    words = {"migrate": "migrated", "strand": "need rescue", "manual": "resolved", "revert": "put back"}
    said = ", ".join(f"{n:,} {words.get(outcome, outcome)}" for outcome, n in by.items()) or "nothing decided"
    print(f"run {run}: {said}")
    sys.stdout.flush()
    if found.status == "done":
        return
    if found.gone:
        raise StoppedPartWay(f"run {run} is running, but its process is gone; {overseeing.again(found)}")
    if found.status == "paused":
        raise StoppedPartWay(f"run {run} is paused; go on with statekeep resume {run}")
    if found.status in ("cancelled", "abandoned"):
        raise StoppedPartWay(f"run {run} was {found.status}; what it has written stays")
    if found.status == "stopped":
        raise StoppedPartWay(f"run {run} was stopped; {overseeing.again(found)} to go on")
    raise StateKeepError(f"run {run} is {found.status}; see statekeep status {run}")
