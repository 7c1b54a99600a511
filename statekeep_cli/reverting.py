"""Revert: what a run did to its actors undone, for every actor that has not moved since.

A revert is a run of its own. Batch by batch, each one transaction, it reads actors that the run decided,
puts back what they were where their revision is still the one that the run left, and records a decision
each. What has no decision yet is still to do, so it can be stopped anywhere and gone on with.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from statekeep_cli.core.model import canonical
from statekeep_cli.core.report import single_path
from statekeep_cli.core.standing import Moved as Left
from statekeep_cli.errors import ConnectionLost, DatabaseBusy, StateKeepError, StoppedPartWay
from statekeep_cli.interruptions import RECONNECTS, reconnected, stopping
from statekeep_cli.stores import guards, overseeing, runs, undoing
from statekeep_cli.stores.actors import Actors
from statekeep_cli.stores.changes import Change, Changes, Kind, Moved
from statekeep_cli.stores.interface import Store
from statekeep_cli.stores.rows import Row
from statekeep_cli.stores.runs import Lease, Run
from statekeep_cli.stores.scope import Scope
from statekeep_cli.stores.undoing import Class, Since, Undo
from statekeep_cli.stores.writing import write

BATCH = 1_000
TRIES = 8


@dataclass(frozen=True, slots=True)
class Counted:
    """Actors that the run `changed`, those put back `earlier`, and of the rest those that are `unmoved`."""

    changed: int
    earlier: int
    unmoved: int

    @property
    def moved(self) -> int:
        return self.changed - self.earlier - self.unmoved


def count(
    store: Store, scope: Scope, reverted: Run, on_batch: Callable[[int], None] = lambda done: None
) -> Counted:
    """Looks at every actor that the run changed; writes nothing."""
    changed, earlier = undoing.counts(store, reverted.population, reverted.run)
    classes = undoing.classes(store, reverted.run)
    actors = scope.actors(store)
    unmoved = done = 0
    for undos in _batches(store, reverted):
        unmoved += len(_unmoved(store, actors, reverted, classes, undos))
        done += len(undos)
        on_batch(done)
    return Counted(changed, earlier, unmoved)


def left(store: Store, scope: Scope, reverted: Run, most: int | None = None) -> Iterator[Left]:
    """The actors that are not put back since they have moved, by id; the first so many, or all."""
    classes = undoing.classes(store, reverted.run)
    actors = scope.actors(store)
    found = 0
    for undos in _batches(store, reverted):
        same = {row.id for _, row in _unmoved(store, actors, reverted, classes, undos)}
        others = [undo.actor for undo in undos if undo.actor not in same]
        now = {row.id: row for row in actors.read(others)}
        for actor in others:
            if found == most:
                return
            found += 1
            yield Left(actor, _standing(now[actor]) if actor in now else None)


def _batches(store: Store, reverted: Run) -> Iterator[list[Undo]]:
    after: str | None = None
    while undos := undoing.undos(store, reverted.population, reverted.run, after, BATCH):
        yield undos
        after = undos[-1].actor


def _standing(row: Row) -> dict[str, Any]:
    state = json.loads(row.state)
    return {"definition": row.definition, "version": row.version, "state": state, "status": row.status}


# --- who has not moved -------------------------------------------------------------------------------


def _unmoved(
    store: Store, actors: Actors, reverted: Run, classes: dict[int, Class], undos: Sequence[Undo]
) -> list[tuple[Undo, Row]]:
    """The actors of these decisions that are as the run left them, in the order of their ids.

    Where later runs did something to an actor and that was reverted, it is as this run left it too, unless
    something happened in between.
    """
    by_id = {undo.actor: undo for undo in undos if not undo.overtaken}
    rows = actors.read(list(by_id))
    changed = [row.id for row in rows if str(row.revision) != by_id[row.id].revision]
    since = undoing.put_back_since(store, reverted.population, reverted.run, changed)
    found = []
    for row in rows:
        undo = by_id[row.id]
        if str(row.revision) == undo.revision:
            found.append((undo, row))
        elif row.id in since and str(row.revision) == since[row.id].revision:
            counted = actors.columns.revision_kind == "integer"
            if _undisturbed(undo, since[row.id], counted) and _stands(row, classes[undo.number]):
                found.append((undo, row))
    return found


def _undisturbed(undo: Undo, since: Since, counted: bool) -> bool:
    """Did nothing happen to an actor between its decision and that of a later run?

    It had no events; and where revisions are `counted`, the later run made the next one. Where they are
    not, a context may have been written in between, and is not overwritten.
    """
    if since.events != undo.events:
        return False
    if not counted:
        return "context" not in undo.before and "snapshot" not in undo.before
    steps = int(since.left) - int(undo.revision)
    return steps == 1 or (steps == 0 and since.outcome == "strand")  # one that had its tag already


def _stands(row: Row, its: Class) -> bool:
    """Is an actor where its decision put it?"""
    if its.outcome == "strand":
        return row.status == "needs_rescue" and row.reason == its.reason
    if its.target is None:
        return False
    state, target = json.loads(row.state), its.target["state"]
    there = state == target or (isinstance(state, str) and state == single_path(target))
    return there and row.version == str(its.target["version"]) and row.status == "active"


# --- putting back ------------------------------------------------------------------------------------


class Reversal:
    """One revert being done by this process. `run` is its own, `reverted` the one it undoes."""

    def __init__(
        self,
        store: Store,
        scope: Scope,
        run: Run,
        reverted: Run,
        lease: Lease,
        *,
        size: int | None = None,
        on_batch: Callable[[int], None] = lambda done: None,
        say: Callable[[str], None] = lambda line: None,
    ):
        self.store, self.scope, self.run, self.reverted = store, scope, run, reverted
        self.lease, self.size, self.on_batch, self.say = lease, size or BATCH, on_batch, say
        self.stop = threading.Event()
        self.classes = undoing.classes(store, reverted.run)
        self.known: set[int] = set()
        self.put_back = runs.decided(store, run.run)

    def go(self) -> str:
        """Work until nothing is left; "" then, else what ended it: paused, cancelled or stopped."""
        with stopping(self.stop):
            # In this order: what a run is told before it is held is refused, and cannot be lost here.
            runs.set_status(self.store, self.run.run, "running")
            self.lease.hold(self.run.run)
            beaten = time.monotonic()
            after: str | None = None
            while not self.stop.is_set():
                word, after = self._patiently(after)
                if word != "go":
                    return {"pause": "paused", "cancel": "cancelled"}[word]
                if after is None:
                    return ""
                self.on_batch(self.put_back)
                if time.monotonic() - beaten > runs.BEAT_SECONDS:
                    self.lease.beat()
                    beaten = time.monotonic()
        return "stopped"

    def _patiently(self, after: str | None) -> tuple[str, str | None]:
        """One batch; again where it could not be written, with its rows held where they moved."""
        held, lost = False, 0
        for attempt in range(TRIES):
            try:
                with self.store.transaction():
                    word, last, written = self._batch(after, held)
            except Moved:
                held = True
            except DatabaseBusy as error:
                if attempt == TRIES - 1:
                    raise
                self.say(f"trying again: {error.message.removesuffix('; run again to go on')}")
                time.sleep(min(2.0, 0.1 * 2**attempt))
            except ConnectionLost:
                lost += 1
                if lost == RECONNECTS:
                    raise
                self.store = reconnected(self.store)
                self.lease.again(self.store)
                self.known.clear()
            else:
                self.put_back += written
                return word, last
        raise StoppedPartWay(f"{self.store.address}: a batch could not be written; run again to go on")

    def _batch(self, after: str | None, held: bool) -> tuple[str, str | None, int]:
        """(the control row's word, the last actor looked at, how many were put back)."""
        store, run, reverted = self.store, self.run, self.reverted
        word = runs.control(store, run.population, run.run, self.lease.token)
        if word != "go":
            return word, after, 0
        undos = undoing.undos(store, reverted.population, reverted.run, after, self.size)
        if not undos:
            return word, None, 0
        actors = self.scope.actors(store)
        if held:
            actors.lock([undo.actor for undo in undos])
        same = _unmoved(store, actors, reverted, self.classes, undos)
        kinds: list[Kind] = []
        known: dict[str, int] = {}
        changes = []
        for undo, row in same:
            its = self.classes[undo.number]
            kind = _kind(undo, its)
            key = canonical([kind.number, kind.status, kind.reason, kind.state, kind.version, kind.writes])
            if key not in known:
                known[key] = len(kinds)
                kinds.append(kind)
            changes.append(_change(undo, row, known[key]))
        for number in {undo.number for undo, _ in same} - self.known:
            self._record(number)
        with guards.letting(store, "reverting"):
            write(actors, run.run, kinds, Changes.of(changes))
        return word, undos[-1].actor, len(changes)

    def _record(self, number: int) -> None:
        """The class of the undoing: it has the number of the class that it undoes, and leads back."""
        its = self.classes[number]
        decision: dict[str, Any] = {
            "outcome": "revert",
            "reason": its.reason,
            "rule": "",
            "detail": f"undoes run {self.reverted.run}",
            "from": its.target if its.outcome != "strand" else its.source,
            "to": its.source,
            "landings": [],
            "anchors": [],
            "hazards": [],
        }
        runs.add_class_row(
            self.store, self.run.run, number, "revert", its.reason, "", None, canonical(decision)
        )
        self.known.add(number)


def _kind(undo: Undo, its: Class) -> Kind:
    before = undo.before
    status, reason = before.get("status", "active"), before.get("reason")
    if its.outcome == "strand":
        # One that had its tag before was not written to.
        tagged = status == "needs_rescue" and reason == its.reason
        return Kind(undo.number, status, reason=reason, writes=not tagged)
    source = its.source or {}
    state = before.get("state")
    if state is None and "state" in source:
        state = canonical(source["state"])
    version = before.get("version", source.get("version"))
    definition = before.get("definition", source.get("definition"))
    return Kind(
        undo.number, status, state, None if version is None else str(version), definition, reason, exact=True
    )


def _change(undo: Undo, row: Row, kind: int) -> Change:
    before = undo.before
    context = None
    if "context" in before:
        context = "" if before["context"] is None else before["context"]
    return Change(row.id, row.revision, kind, undo.events, None, context, before.get("snapshot"))


# --- which run ---------------------------------------------------------------------------------------


def begun(store: Store, scope: Scope, reverted: Run, total: int) -> Run:
    """A new revert of a run, which is ended by that where it was unfinished: nobody goes on with it."""
    with store.transaction():
        if reverted.status in runs.UNFINISHED:
            runs.set_control(store, reverted.run, "cancel")
            runs.set_status(store, reverted.run, "cancelled")
        return runs.begin(
            store,
            reverted.population,
            "revert",
            reverted.definition,
            reverted.version,
            {"mapping": scope.mapping.digest},
            total=total,
            reverts=reverted.run,
        )


def continued(store: Store, reverted: Run) -> Run | None:
    """The revert of this run that was stopped part-way; None where a new one begins."""
    number = undoing.unfinished(store, reverted.run)
    return overseeing.going_on(store, None if number is None else runs.need(store, number))


def revertible(store: Store, run: Run, scope: Scope) -> None:
    """Raises `StateKeepError` where a run is not to be reverted, or not with this mapping."""
    if run.kind == "revert":
        raise StateKeepError(
            f"run {run.run} is a revert itself; to do again what it undid,"
            f" run the {_kind_of(store, run)} again"
        )
    if run.population != scope.population:
        found = store.one("SELECT name FROM {populations} WHERE population = %s", (run.population,))
        raise StateKeepError(
            f"run {run.run} is about {found[0] if found else 'another table'}, not {scope.mapping.name};"
            " give its configuration with --config"
        )
    if not scope.mapping.own and run.digests.get("mapping") != scope.mapping.digest:
        raise StateKeepError(
            f"{scope.mapping.name} is mapped otherwise than when run {run.run} wrote to it; give the"
            " configuration of then with --config"
        )


def _kind_of(store: Store, run: Run) -> str:
    found = None if run.reverts is None else runs.load(store, run.reverts)
    return "apply" if found is None else found.kind
