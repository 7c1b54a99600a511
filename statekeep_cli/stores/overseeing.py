"""Runs as others see them: how far they are, whether their process lives, and what they are told to do."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from statekeep_cli.core.model import canonical
from statekeep_cli.core.standing import Entry, Group, Standing, Who
from statekeep_cli.errors import StateKeepError, StoppedPartWay
from statekeep_cli.stores import runs
from statekeep_cli.stores.interface import Store
from statekeep_cli.stores.runs import STALE_SECONDS, Run

RATE_SECONDS = 60  # a running run's rate is that of its last minute
LOOK_SECONDS = 0.1
ENDED = ("done", "cancelled", "failed", "abandoned")


# --- how runs stand ----------------------------------------------------------------------------------


def standing(store: Store, run: int) -> Standing:
    """One run, with its groups. Raises `StateKeepError` where there is no such run."""
    runs.need(store, run)
    (found,) = _standings(store, " WHERE r.run = %s", [run])
    groups: dict[str, tuple[Group, int]] = {}
    for _, outcome, text, n in runs.counts(store, run):
        decision = json.loads(text)
        group = Group(outcome, decision["reason"], decision["from"], decision["to"], n)
        key = canonical([outcome, group.reason, group.source, group.target])
        before = groups[key][1] if key in groups else 0
        groups[key] = (group, before + n)
    listed = sorted(groups.values(), key=lambda pair: -pair[1])
    whole = tuple(Group(g.outcome, g.reason, g.source, g.target, n) for g, n in listed)
    return Standing(**{**_fields(found), "groups": whole})


def standings(store: Store, limit: int) -> list[Standing]:
    """The latest runs, the newest first."""
    return _standings(store, "", [], limit)


def _fields(value: Standing) -> dict[str, Any]:
    return {name: getattr(value, name) for name in Standing.__slots__}


def _standings(store: Store, where: str, values: Sequence[Any], limit: int = 1) -> list[Standing]:
    rows = store.rows(
        "SELECT r.run, r.kind, p.name, r.definition, r.version, r.status, r.control, r.total, r.skipped,"
        " r.plan, r.reverts, (SELECT max(u.run) FROM {runs} u WHERE u.reverts = r.run), r.why,"
        ' r.database_user, r.os_user, r.host, r.pid, r."commit", r.ci_url,'
        f" {utc(store, 'r.started_at')}, {utc(store, 'r.stopped_at')}, r.population,"
        f" {_since(store, 'r.started_at', 'r.stopped_at')}, {_since(store, 'p.since')}"
        f" FROM {{runs}} r JOIN {{populations}} p ON p.population = r.population{where}"
        " ORDER BY r.run DESC LIMIT %s",
        [*values, limit],
    )
    if not rows:
        return []
    numbers = [int(row[0]) for row in rows]
    decided = _decided(store, numbers)
    found = []
    for (
        run, kind, table, definition, version, status, control, total, skipped, plan, reverts, reverted, why,
        database_user, os_user, host, pid, commit, ci_url, started, stopped, population, lasted, held,
    ) in rows:  # fmt: skip
        count, recent = decided.get(run, (0, 0))
        alive = status == "running" and working(store, population, run)
        if alive:
            seconds = min(x for x in (RATE_SECONDS, lasted, held) if x is not None)
            rate = recent / max(float(seconds), 0.001) if recent else None
        else:
            rate = count / float(lasted) if stopped and lasted and lasted > 0 and count else None
        found.append(
            Standing(
                run, kind, table, definition, version, status, control, alive, count, total, skipped, rate,
                plan, reverts, reverted, why,
                Who(database_user or None, os_user, host, pid, commit, ci_url), started, stopped,
            )
        )  # fmt: skip
    return found


def _decided(store: Store, numbers: Sequence[int]) -> dict[int, tuple[int, int]]:
    """How many actors each run has decided, and how many of them in the last minute."""
    if store.kind == "postgres":
        recent = f"clock_timestamp() - interval '{RATE_SECONDS} seconds'"
    else:
        recent = f"strftime('%%Y-%%m-%%dT%%H:%%M:%%fZ', 'now', '-{RATE_SECONDS} seconds')"
    rows = store.rows(
        f"SELECT run, count(*), sum(CASE WHEN at > {recent} THEN 1 ELSE 0 END) FROM {{decisions}}"
        f" WHERE run IN ({', '.join(map(str, numbers))}) GROUP BY run"
    )
    return {int(run): (int(n), int(m)) for run, n, m in rows}


def utc(store: Store, column: str) -> str:
    """A time as text, in UTC."""
    if store.kind == "postgres":
        return f"""to_char({column} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')"""
    return column


def _since(store: Store, begin: str, end: str = "NULL") -> str:
    """Seconds from one time to another, or until now."""
    if store.kind == "postgres":
        until = "clock_timestamp()" if end == "NULL" else f"coalesce({end}, clock_timestamp())"
        return f"CAST(extract(epoch FROM {until} - {begin}) AS double precision)"
    return f"(julianday(coalesce({end}, 'now')) - julianday({begin})) * 86400.0"


# --- whether somebody is at work ---------------------------------------------------------------------


Presence = Literal["working", "starting", "gone"]


def presence(store: Store, population: int, run: int) -> Presence:
    """Is a living process working on a run?

    A process that has the lease and does not say yet on which run it works may be `starting` with this one:
    until it has, it does not read what the run is told.
    """
    holder = runs.holder(store, population)
    if not holder.get("token") or holder["run"] not in (None, run) or not lives(store, population, holder):
        return "gone"
    return "starting" if holder["run"] is None else "working"


def working(store: Store, population: int, run: int) -> bool:
    return presence(store, population, run) != "gone"


def lives(store: Store, population: int, holder: Mapping[str, Any]) -> bool:
    """Does the holder of a lease live, as far as it can be told without waiting for a heartbeat?"""
    alive = None
    if holder["host"] == socket.gethostname():
        alive = runs.is_alive(holder["pid"], holder["boot"])
    if alive:
        return True
    if holder["locked"] and store.kind == "postgres":
        # A lock of two integers has objsubid 2.
        found = store.one(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 2 AND granted"
            " AND CAST(CAST(classid AS text) AS bigint) = %s AND CAST(CAST(objid AS text) AS bigint) = %s"
            " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
            (runs.LOCK_SPACE, population),
        )
        return bool(found and found[0])
    if alive is not None:
        return alive
    beaten = store.one(
        f"SELECT {_since(store, 'beat_at')} FROM {{populations}} WHERE population = %s", (population,)
    )
    return beaten is not None and beaten[0] is not None and abs(float(beaten[0])) < STALE_SECONDS


# --- what runs are told ------------------------------------------------------------------------------


def pause(store: Store, run: int) -> str:
    """Tells a running run to stop after its batch; how it stands then. Raises where it is not running."""
    with store.transaction():
        found = runs.need(store, run)
        if found.status == "paused":
            return "paused"
        if found.status != "running":
            raise _refused(found, "paused")
        if found.control == "cancel":
            raise StateKeepError(f"run {run} cannot be paused: it is being cancelled; see statekeep status")
        its = presence(store, found.population, run)
        if its == "starting":
            raise _starting(run, "paused")
        if its == "gone":
            raise StateKeepError(
                f"run {run} cannot be paused: its process is gone; {again(found)}, or statekeep cancel {run}"
            )
        runs.set_control(store, run, "pause")
    return "running"


def resume(store: Store, run: int) -> Run:
    """Lets a paused run go on; the run as it was. Raises where it is not paused."""
    with store.transaction():
        found = runs.need(store, run)
        if found.status not in ("running", "paused"):
            raise _refused(found, "resumed")
        if found.control == "cancel":
            raise StateKeepError(f"run {run} cannot be resumed: it is being cancelled; see statekeep status")
        runs.set_control(store, run, "go")
        if found.status == "paused":
            runs.set_status(store, run, "stopped")
    return found


def cancel(store: Store, run: int) -> str:
    """Ends a run for good; `cancelled`, or `running` where its process will do it after its batch.

    Raises where it has ended already, or somebody is about to go on with it.
    """
    with store.transaction():
        found = runs.need(store, run)
        if found.status in ENDED:
            raise _refused(found, "cancelled")
        its = presence(store, found.population, run)
        if its == "starting":
            raise _starting(run, "cancelled")
        runs.set_control(store, run, "cancel")
        if its == "working":
            return "running"
        runs.set_status(store, run, "cancelled")
    return "cancelled"


def settled(store: Store, run: int, seconds: float) -> str:
    """A run's status once it is no longer running, or after so many seconds."""
    until = time.monotonic() + seconds
    while True:
        found = runs.need(store, run)
        if found.status != "running" or time.monotonic() > until:
            return found.status
        time.sleep(LOOK_SECONDS)


def going_on(store: Store, run: Run | None) -> Run | None:
    """An unfinished run that may be gone on with; None where it was cancelled before it could stop.

    To be called with the lease held. Raises `StoppedPartWay` where the run is paused.
    """
    if run is not None and run.control == "pause":
        raise StoppedPartWay(
            f"run {run.run} is paused; let it go on with statekeep resume {run.run}, then run this again"
        )
    if run is not None and run.control == "cancel":
        runs.set_status(store, run.run, "cancelled")
        return None
    return run


def again(run: Run | Standing) -> str:
    """How somebody goes on with a run."""
    if run.kind == "revert":
        return f"run statekeep revert {run.reverts} again"
    rescue = run.kind in ("retry", "resolve")
    return f"run statekeep rescue {run.kind} again" if rescue else f"run the {run.kind} again"


def _starting(run: int, what: str) -> StateKeepError:
    return StateKeepError(
        f"run {run} cannot be {what} now: a process may be about to go on with it; try again in a while"
    )


def _refused(run: Run, what: str) -> StateKeepError:
    next_step = "statekeep status lists the others"
    if run.status == "stopped":
        next_step = f"{again(run)} to go on, or statekeep cancel {run.run}"
    return StateKeepError(f"run {run.run} cannot be {what}: it is {run.status} already; {next_step}")


# --- one actor ---------------------------------------------------------------------------------------


def entries(store: Store, population: int, actor: str) -> list[Entry]:
    """Every decision about an actor, the oldest first."""
    rows = store.rows(
        f"SELECT d.run, r.kind, {utc(store, 'd.at')}, c.outcome, c.reason, c.rule, CAST(c.decision AS text),"
        " d.events, r.why, r.reverts, r.database_user, r.os_user, r.host, r.pid,"
        ' r."commit", r.ci_url, (SELECT max(u.run) FROM {decisions} u JOIN {runs} w ON w.run = u.run'
        " WHERE w.reverts = d.run AND u.population = d.population AND u.actor = d.actor)"
        " FROM {decisions} d JOIN {runs} r ON r.run = d.run"
        " JOIN {classes} c ON c.run = d.run AND c.class = d.class"
        " WHERE d.population = %s AND d.actor = %s ORDER BY d.at, d.run",
        (population, actor),
    )
    found = []
    for (
        run, kind, at, outcome, reason, rule, text, events, why, reverts,
        database_user, os_user, host, pid, commit, ci_url, reverted_by,
    ) in rows:  # fmt: skip
        decision = json.loads(text)
        who = Who(database_user or None, os_user, host, pid, commit, ci_url)
        found.append(
            Entry(
                run, kind, at, who, outcome, reason, rule, decision.get("detail", ""),
                decision.get("from"), decision.get("to"), events, why, reverts, reverted_by,
            )
        )  # fmt: skip
    return found
