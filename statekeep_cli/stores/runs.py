"""Runs, their decision classes, and the lease that lets one run at a time work on a table of actors.

The lease is a row of `populations`. On Postgres a session's advisory lock says whether its holder still
lives; behind a transaction pooler, and for holders on other hosts, its heartbeat does. A heartbeat is a
count, watched by the watcher's own clock: a clock that jumps neither frees a lease nor keeps one.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from msgspec import Raw
from msgspec.json import Decoder

from statekeep_cli.core.decision import Decision
from statekeep_cli.core.model import canonical
from statekeep_cli.core.moving import marker
from statekeep_cli.errors import RunLocked, StateKeepError
from statekeep_cli.stores.interface import Store

BEAT_SECONDS = 2.0
# A holder whose heartbeat stands still for so long is gone.
STALE_SECONDS = 10.0
# How long a server may need to notice that a client is gone, in the middle of a statement perhaps.
LINGER_SECONDS = 5.0
_several: Decoder[list[Raw]] = Decoder(list[Raw])
LOCK_SPACE = 0x5374_6B70  # "Stkp": the first half of an advisory lock's key


@dataclass(frozen=True, slots=True)
class Run:
    """One row of `runs`. `digests` has the keys sources, target, mapping and engine."""

    run: int
    population: int
    kind: str
    status: str
    control: str
    definition: str
    version: str
    digests: Mapping[str, Any]
    plan: str | None
    reverts: int | None
    why: str | None
    total: int | None
    skipped: int
    started_at: str
    stopped_at: str | None
    database_user: str
    os_user: str | None
    host: str | None
    pid: int | None
    commit: str | None
    ci_url: str | None


_COLUMNS = (
    "run, population, kind, status, control, definition, version, CAST(digests AS text), plan, reverts, why,"
    " total, skipped, CAST(started_at AS text), CAST(stopped_at AS text), database_user, os_user, host, pid,"
    ' "commit", ci_url'
)
UNFINISHED = ("running", "paused", "stopped")


def population(store: Store, name: str, *, create: bool = True) -> int | None:
    """The number of a table of actors; with `create` it gets one."""
    found = store.one("SELECT population FROM {populations} WHERE name = %s", (name,))
    if found is None and create:
        store.execute("INSERT INTO {populations} (name) VALUES (%s) ON CONFLICT (name) DO NOTHING", (name,))
        found = store.one("SELECT population FROM {populations} WHERE name = %s", (name,))
    return None if found is None else int(found[0])


# --- runs ----------------------------------------------------------------------------------------------


def begin(
    store: Store,
    population: int,
    kind: str,
    definition: str,
    version: str,
    digests: Mapping[str, Any],
    *,
    total: int | None = None,
    plan: str | None = None,
    reverts: int | None = None,
    why: str | None = None,
    status: str = "running",
) -> Run:
    """A new run, by whoever runs this process."""
    who = (_os_user(), socket.gethostname(), os.getpid(), *_where_from())
    found = store.one(
        "INSERT INTO {runs} (population, kind, status, definition, version, digests, plan, reverts, why,"
        ' total, os_user, host, pid, "commit", ci_url)'
        " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) RETURNING run",
        (population, kind, status, definition, version, canonical(digests), plan, reverts, why, total, *who),
    )
    assert found is not None
    run = load(store, int(found[0]))
    assert run is not None
    return run


def load(store: Store, run: int) -> Run | None:
    return _run(store.one(f"SELECT {_COLUMNS} FROM {{runs}} WHERE run = %s", (run,)))


def need(store: Store, run: int) -> Run:
    """A run that exists, or `StateKeepError`."""
    found = load(store, run)
    if found is None:
        raise StateKeepError(f"{store.address} has no run {run}; statekeep status lists them")
    return found


def recent(store: Store, population: int | None = None, limit: int = 20) -> list[Run]:
    """The latest runs, the newest first."""
    where, values = ("", []) if population is None else (" WHERE population = %s", [population])
    rows = store.rows(f"SELECT {_COLUMNS} FROM {{runs}}{where} ORDER BY run DESC LIMIT %s", [*values, limit])
    return [run for run in map(_run, rows) if run is not None]


def unfinished(store: Store, population: int, kind: str) -> Run | None:
    """The latest run of a kind, where it has been stopped part-way."""
    latest = _run(
        store.one(
            f"SELECT {_COLUMNS} FROM {{runs}} WHERE population = %s AND kind = %s ORDER BY run DESC LIMIT 1",
            (population, kind),
        )
    )
    return latest if latest is not None and latest.status in UNFINISHED else None


def set_status(store: Store, run: int, status: str, *, skipped: int | None = None) -> None:
    """How a run stands. A run that goes on again has its control row set to `go`."""
    now = "now()" if store.kind == "postgres" else "strftime('%%Y-%%m-%%dT%%H:%%M:%%fZ', 'now')"
    stopped = "NULL" if status == "running" else now
    control = ", control = 'go'" if status == "running" else ""
    store.execute(
        f"UPDATE {{runs}} SET status = %s, stopped_at = {stopped}{control},"
        " skipped = coalesce(%s, skipped) WHERE run = %s",
        (status, skipped, run),
    )


def abandon(store: Store, population: int, kind: str) -> None:
    """Runs of a kind that were stopped part-way are not gone on with: another one begins."""
    store.execute(
        "UPDATE {runs} SET status = 'abandoned' WHERE population = %s AND kind = %s"
        " AND status IN ('running', 'paused', 'stopped')",
        (population, kind),
    )


def set_control(store: Store, run: int, control: str) -> None:
    """`go`, `pause` or `cancel`, for the next batch to read."""
    store.execute("UPDATE {runs} SET control = %s WHERE run = %s", (control, run))


def decided(store: Store, run: int) -> int:
    """How many actors have a decision in a run."""
    found = store.one("SELECT count(*) FROM {decisions} WHERE run = %s", (run,))
    return int(found[0]) if found else 0


def counts(store: Store, run: int) -> list[tuple[int, str, str, int]]:
    """(class, outcome, the decision as JSON, actors) of a run, the largest first."""
    rows = store.rows(
        "SELECT c.class, c.outcome, CAST(c.decision AS text), n FROM {classes} c"
        " JOIN (SELECT class, count(*) AS n FROM {decisions} WHERE run = %s GROUP BY class) d"
        " ON d.class = c.class WHERE c.run = %s ORDER BY n DESC, c.class",
        (run, run),
    )
    return [(int(a), str(b), str(c), int(d)) for a, b, c, d in rows]


def _run(row: Sequence[Any] | None) -> Run | None:
    if row is None:
        return None
    named = dict(zip(Run.__slots__, row, strict=True))
    return Run(**{**named, "digests": json.loads(named["digests"])})


def _os_user() -> str:
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def _where_from(environment: Mapping[str, str] = os.environ) -> tuple[str | None, str | None]:
    """The commit and the address of the CI job that this runs in, where a CI says so."""
    get = environment.get
    commit = get("STATEKEEP_COMMIT") or get("GITHUB_SHA") or get("CI_COMMIT_SHA")
    url = get("CI_JOB_URL") or get("BUILD_URL")
    if not url and get("GITHUB_RUN_ID"):
        url = f"{get('GITHUB_SERVER_URL')}/{get('GITHUB_REPOSITORY')}/actions/runs/{get('GITHUB_RUN_ID')}"
    return commit, url


# --- classes ---------------------------------------------------------------------------------------------


def class_text(decision: Decision) -> str:
    """A decision class as it is stored; equal for equal decisions."""
    return canonical(decision.as_json())


def known_classes(store: Store, run: int) -> dict[str, int]:
    """The numbers of a run's classes, by `class_text`."""
    rows = store.rows("SELECT CAST(decision AS text), class FROM {classes} WHERE run = %s", (run,))
    return {str(text): int(number) for text, number in rows}


def add_class(store: Store, run: int, number: int, decision: Decision) -> None:
    """Stores a class; again is no error."""
    mark = marker(decision) if decision.outcome == "migrate" else None
    add_class_row(
        store, run, number, decision.outcome, decision.reason, decision.rule, mark, class_text(decision)
    )


def add_class_row(
    store: Store,
    run: int,
    number: int,
    outcome: str,
    reason: str,
    rule: str,
    mark: str | None,
    decision: str,
) -> None:
    store.execute(
        "INSERT INTO {classes} (run, class, outcome, reason, rule, marker, decision)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT (run, class) DO NOTHING",
        (run, number, outcome, reason, rule, mark, decision),
    )


def marker_items(text: bytes) -> list[bytes]:
    """The trace items of a class' `marker` (JSON text): it holds one, or a list of them."""
    return [bytes(item) for item in _several.decode(text)] if text.startswith(b"[") else [text]


# --- the lease -------------------------------------------------------------------------------------------


class Lease:
    """One process' right to change the actors of a population, over its own connection.

    Raises `RunLocked` where a living process holds it.
    """

    def __init__(self, store: Store, population: int, name: str, stale: float = STALE_SECONDS):
        self.store, self.population, self.name, self.stale = store, population, name, stale
        self.token = uuid.uuid4().hex
        self._resting = threading.Event()
        self._keeper: threading.Thread | None = None
        self.locks = store.kind == "postgres" and not store.pooled
        self._acquire()

    def _acquire(self) -> None:
        if self.locks and not self._try_lock() and not (self._is_dead(self._holder()) and self._freed()):
            raise self._locked()
        try:
            for _ in range(3):
                holder = self._holder()
                if holder.get("token") and self._lives(holder):
                    raise self._locked(holder)
                if self._take(holder.get("token"), holder.get("beat")):
                    return
            raise self._locked()
        except BaseException:
            self._unlock()
            raise

    def _try_lock(self) -> bool:
        found = self.store.one("SELECT pg_try_advisory_lock(%s, %s)", (LOCK_SPACE, self.population))
        return bool(found and found[0])

    def _freed(self) -> bool:
        """Get the lock of a session whose client is gone, which the server is about to notice."""
        until = time.monotonic() + LINGER_SECONDS
        while time.monotonic() < until:
            time.sleep(0.05)
            if self._try_lock():
                return True
        return False

    @staticmethod
    def _is_dead(there: Mapping[str, Any]) -> bool:
        """Is it known that the holder is no more?"""
        return there.get("host") == socket.gethostname() and is_alive(there["pid"], there["boot"]) is False

    def _unlock(self) -> None:
        if self.locks:
            self.store.one("SELECT pg_advisory_unlock(%s, %s)", (LOCK_SPACE, self.population))

    def _holder(self) -> dict[str, Any]:
        return holder(self.store, self.population)

    def _lives(self, there: Mapping[str, Any]) -> bool:
        """Is the holder at work? Where nothing tells, its heartbeat is watched for a while."""
        if self.locks and there["locked"]:
            return False  # its lock would still be held
        if there["host"] == socket.gethostname():
            alive = is_alive(there["pid"], there["boot"])
            if alive is not None:
                return alive
        until = time.monotonic() + self.stale
        while time.monotonic() < until:
            time.sleep(min(BEAT_SECONDS, self.stale) / 4)
            now = self._holder()
            if now.get("token") != there["token"] or now.get("beat") != there["beat"]:
                return bool(now.get("token"))
        return False

    def _take(self, token: str | None, beat: Any) -> bool:
        now = _now(self.store)
        there = "token IS NULL" if token is None else "token = %s AND beat = %s"
        values = () if token is None else (token, beat)
        with self.store.transaction():
            # Waits for batches of the holder that are still being written: they hold the row (`KEEP`).
            if self.store.kind == "postgres":
                self.store.rows(
                    "SELECT 1 FROM {populations} WHERE population = %s FOR UPDATE", (self.population,)
                )
            return (
                self.store.execute(
                    "UPDATE {populations} SET token = %s, run = NULL, host = %s, pid = %s, boot = %s,"
                    f" locked = %s, since = {now}, beat = beat + 1, beat_at = {now}"
                    f" WHERE population = %s AND {there}",
                    (
                        self.token,
                        socket.gethostname(),
                        os.getpid(),
                        _boot(os.getpid()),
                        self.locks,
                        self.population,
                        *values,
                    ),
                )
                == 1
            )

    def _locked(self, there: Mapping[str, Any] | None = None) -> RunLocked:
        there = there or self._holder()
        who = f"process {there.get('pid')} on {there.get('host')} since {there.get('since')}"
        if not there.get("token"):
            who = "another process"
        return RunLocked(
            f"{self.name} is being worked on by {who}; wait, or stop it with statekeep pause RUN"
        )

    def hold(self, run: int) -> None:
        """Says which run this process is working on."""
        self.store.execute(
            "UPDATE {populations} SET run = %s WHERE population = %s AND token = %s",
            (run, self.population, self.token),
        )

    def beat(self) -> None:
        """Still alive. Raises `RunLocked` where another process took over."""
        if not beat(self.store, self.population, self.token):
            raise self._locked()

    def keep(self) -> None:
        """Beat from a thread of its own, over a connection of its own, until `rest`."""
        self._resting.clear()

        def beating() -> None:
            with suppress(StateKeepError):
                store = self.store.again()
                try:
                    while not self._resting.wait(BEAT_SECONDS):
                        beat(store, self.population, self.token)
                finally:
                    store.close()

        self._keeper = threading.Thread(target=beating, daemon=True)
        self._keeper.start()

    def rest(self) -> None:
        self._resting.set()
        if self._keeper is not None:
            self._keeper.join()
            self._keeper = None

    def again(self, store: Store) -> None:
        """Go on over another connection, after the first was lost."""
        self.store = store
        self.locks = store.kind == "postgres" and not store.pooled
        if self.locks and not self._try_lock() and not self._freed():
            raise self._locked()
        self.beat()

    def release(self) -> None:
        """Give it back; a connection that is gone has done so already."""
        with suppress(StateKeepError):
            self._release()

    def _release(self) -> None:
        self.store.execute(
            "UPDATE {populations} SET token = NULL, run = NULL WHERE population = %s AND token = %s",
            (self.population, self.token),
        )
        self._unlock()


def beat(store: Store, population: int, token: str) -> bool:
    """One heartbeat; False where the lease is another's by now."""
    now = _now(store)
    return bool(
        store.execute(
            f"UPDATE {{populations}} SET beat = beat + 1, beat_at = {now}"
            " WHERE population = %s AND token = %s",
            (population, token),
        )
    )


def control(store: Store, population: int, run: int, token: str) -> str:
    """What the control row says, within a batch's transaction; the lease cannot be taken until it ends.

    Raises `RunLocked` where another process took over.
    """
    keep = " FOR KEY SHARE OF p" if store.kind == "postgres" else ""
    found = store.one(
        "SELECT r.control FROM {populations} p CROSS JOIN {runs} r"
        f" WHERE p.population = %s AND p.token = %s AND r.run = %s{keep}",
        (population, token, run),
    )
    if found is None:
        raise RunLocked(f"run {run} was taken over by another process; see statekeep status")
    return str(found[0])


def holder(store: Store, population: int) -> dict[str, Any]:
    """Who holds a population's lease: token, run, host, pid, boot, locked, since, beat; None where nobody."""
    names = ("token", "run", "host", "pid", "boot", "locked", "since", "beat")
    found = store.one(
        "SELECT token, run, host, pid, boot, locked, CAST(since AS text), beat FROM {populations}"
        " WHERE population = %s",
        (population,),
    )
    return dict(zip(names, found, strict=True)) if found else {}


def _now(store: Store) -> str:
    return "clock_timestamp()" if store.kind == "postgres" else "strftime('%%Y-%%m-%%dT%%H:%%M:%%fZ', 'now')"


def _boot(pid: int) -> str | None:
    """What tells a process from a later one with its number: this boot, and when the process began."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        facts = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        # One that was killed is dead, even where nobody has asked yet how it ended (Z).
        return None if facts[0] in "ZX" else f"{boot}:{facts[19]}"
    except (OSError, IndexError):
        return None


def is_alive(pid: Any, boot: str | None) -> bool | None:
    """Is this process of this host alive? None where it cannot be told."""
    if boot is None:
        return None
    return _boot(int(pid)) == boot
