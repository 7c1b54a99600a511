"""What the rescue screen asks of the database, and the one thread that asks it."""

from __future__ import annotations

import asyncio
import json
import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from statekeep_cli.core.decision import Place
from statekeep_cli.core.mapping import OWN, Mapping
from statekeep_cli.core.report import single_path
from statekeep_cli.core.resolving import destinations
from statekeep_cli.errors import ConnectionLost, DatabaseUnavailable, StateKeepError
from statekeep_cli.rescuing import Checked, Resolving, Shown, resolving_subject, show, wanted_state
from statekeep_cli.stores import installing
from statekeep_cli.stores import rescue as stored
from statekeep_cli.stores.connect import connect
from statekeep_cli.stores.interface import Store
from statekeep_cli.stores.rescue import Group, Rescued
from statekeep_cli.stores.runs import Lease, Run
from statekeep_cli.stores.scope import scope

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Offer:
    """A state that an actor may be set to: as `--to` takes it, and why it is suggested ("": it is not)."""

    name: str
    place: Place
    why: str = ""


class Desk:
    """The rescued actors of one table. Every method blocks, and is called from one thread (`Hand`).

    `database` and `mapping` are as for the subcommands; `definitions` are files, where they are not stored.
    Methods raise `StateKeepError`; a connection that is lost is opened anew by the next call, and a read
    that lost it is tried once more.
    """

    def __init__(self, database: str | None, mapping: Mapping | None, definitions: Sequence[str] = ()):
        self.database, self.mapping, self.definitions = database, mapping, tuple(definitions)
        self.read = 0  # actors that were read, for pages and one by one
        self._store: Store | None = None

    @property
    def name(self) -> str:
        return (self.mapping or OWN).name

    def groups(self) -> tuple[str, list[Group]]:
        """Where they are, and all of them by definition, version, state and reason."""
        return self._reading(
            lambda s: (f"{s.address}, {self.name}", stored.groups(scope(s, self.mapping or OWN).actors(s)))
        )

    def page(self, group: Group, after: str | None, begin: str | None, limit: int) -> list[Rescued]:
        """The next of a group by id; no more of them are read."""

        def work(store: Store) -> list[Rescued]:
            actors = scope(store, self.mapping or OWN).actors(store)
            return stored.members(actors, group, after, limit, begin)

        found = self._reading(work)
        self.read += len(found)
        return found

    def look(self, id: str) -> Shown:
        """Everything about one actor, as `rescue show` says it."""
        self.read += 1
        return self._reading(lambda store: show(store, self.mapping, id, self.definitions))

    def check(self, id: str, to: str, why: str) -> tuple[Checked, Place]:
        """Whether an actor may be set to a state; nothing is written about it.

        Raises `Findings` where it may not be placed there, `UsageMistake` where there is no such state.
        """
        with closing(connect(self.database)) as store:
            resolving = self._resolving(store, id, to, why)
            (checked,) = resolving.check([id])
            return checked, resolving.to

    def resolve(self, id: str, to: str, why: str, shown: Checked) -> Run:
        """Set it by hand, as `rescue resolve` does. Raises `StateKeepError` where it is no longer what was
        `shown` to the person who confirmed it."""
        with closing(connect(self.database)) as store:
            resolving = self._resolving(store, id, to, why)
            about = resolving.about.scope
            assert about.population is not None
            lease = Lease(store, about.population, about.mapping.name)
            lease.keep()
            try:
                run = resolving.continued()
                checked = resolving.check([id], run)
                if any(x.decision != shown.decision for x in checked):
                    raise StateKeepError(
                        f"actor '{id}' moved after it was checked, and nothing was written; look at it again"
                    )
                return resolving.write(checked, lease, run)
            finally:
                lease.rest()
                lease.release()

    def close(self) -> None:
        if self._store is not None:
            with suppress(StateKeepError):
                self._store.close()
            self._store = None

    def _resolving(self, store: Store, id: str, to: str, why: str) -> Resolving:
        about = resolving_subject(store, self.mapping, self.definitions, [id])
        return Resolving(store, about, wanted_state(to), why)

    def _reading(self, work: Callable[[Store], T]) -> T:
        fresh = self._store is None
        try:
            if self._store is None:
                self._store = connect(self.database, read_only=True)
                installing.require(self._store)
            return work(self._store)
        except ConnectionLost:
            self.close()
            if fresh:
                raise
        except DatabaseUnavailable:
            self.close()
            raise
        return self._reading(work)


def offers(known: Shown) -> list[Offer]:
    """The states that the target has for an actor, those that something speaks for first."""
    if known.about is None:
        return []
    said: dict[str, str] = {}
    if known.explanation is not None:
        decision, remedy = known.explanation.decision, known.explanation.remedy
        if decision.outcome == "migrate" and decision.target is not None:
            said[_same(decision.target.state)] = "decided now, it would migrate here"
        for landing in decision.landings:
            if not landing.stuck:
                said.setdefault(_same(landing.state), "its history lands here")
        if remedy is not None and remedy.to is not None:
            said.setdefault(_same(remedy.to.state), "the suggested mapping leads here")
    there = destinations(known.about.target)
    target = known.about.target
    for state in {*said} - {_same(place.state) for _, place in there}:
        value = json.loads(state)
        there.append((single_path(value) or state, Place(target.id, target.version, state)))
    found = [Offer(name, place, said.get(_same(place.state), "")) for name, place in there]
    return sorted(found, key=lambda x: not x.why)


def _same(state: str) -> str:
    return json.dumps(json.loads(state), sort_keys=True, ensure_ascii=False)


class Hand:
    """One thread that does one job after another. It is a daemon: a database that does not answer keeps
    nobody from leaving."""

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="statekeep-rescue", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            future, do = job
            if not future.set_running_or_notify_cancel():
                continue  # nobody waits for it any more
            try:
                future.set_result(do())
            except BaseException as error:
                future.set_exception(error)

    async def do(self, job: Callable[..., T], *arguments: Any) -> T:
        """What the job returns or raises. Giving up waiting takes a job back that has not begun."""
        future: Future[T] = Future()
        self._jobs.put((future, lambda: job(*arguments)))
        return await asyncio.wrap_future(future)

    def close(self, last: Callable[[], None], patience: float = 2.0) -> None:
        """Do one more job, and then no other; waits for it a few seconds at most."""
        self._jobs.put((Future(), last))
        self._jobs.put(None)
        self._thread.join(patience)
