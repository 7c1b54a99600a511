"""Work on actors that need rescue: what is known of one, and manual decisions about some.

`stores.rescue` lists them. A manual decision (`rescue resolve`) is a run of its own: all its actors are
checked before the first is written, each batch is one transaction, and every actor is decided again on the
row that is held while it is written.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from statekeep_cli.core.apv import Deployment
from statekeep_cli.core.decision import Decision, Place
from statekeep_cli.core.explain import Explanation, explain
from statekeep_cli.core.mapping import OWN, Mapping
from statekeep_cli.core.model import canonical
from statekeep_cli.core.resolving import RULE, Resolver, destination, markers
from statekeep_cli.core.trace import Symbols
from statekeep_cli.deployments import Subject, subject
from statekeep_cli.errors import DatabaseBusy, Findings, StateKeepError, StoppedPartWay, UsageMistake
from statekeep_cli.interruptions import stopping
from statekeep_cli.loading import Loader, preimage, recorded_events, spelled
from statekeep_cli.readers.records import Batch
from statekeep_cli.stores import rescue, runs
from statekeep_cli.stores.actors import Actors
from statekeep_cli.stores.changes import Change, Changes, Kind, Moved
from statekeep_cli.stores.guards import letting
from statekeep_cli.stores.interface import Store
from statekeep_cli.stores.recording import kept_snapshot
from statekeep_cli.stores.rescue import Rescued
from statekeep_cli.stores.rows import Row, Rows
from statekeep_cli.stores.runs import Lease, Run
from statekeep_cli.stores.scope import scope
from statekeep_cli.stores.writing import write

BATCH = 1_000
NAMED = 10  # refused actors that are named
TRIES = 5


# --- definitions -------------------------------------------------------------------------------------------


def target_name(actors: Actors, some: Sequence[Rescued] | None = None, version: str | None = None) -> str:
    """The stored definition (`ID@VERSION`) that actors are to be rescued into: the one that stranded them.

    `some`: only these actors are meant. `version`: another version of that definition. Raises
    `UsageMistake` where it is not one definition.
    """
    if some is None:
        found = rescue.stranding_targets(actors)
    else:
        known = {(x.evidence.run.definition, x.evidence.run.version) for x in some if x.evidence}
        found = sorted(known)
        if not found and version is not None:
            found = sorted({(x.definition, "") for x in some if x.definition})
    if version is not None:
        found = sorted({(definition, version) for definition, _ in found})
    if not found:
        raise UsageMistake(
            "nothing says into which definition: no recorded decision stranded these actors; name the target"
        )
    names = [f"{definition}@{number}" for definition, number in found]
    if len(names) > 1:
        raise UsageMistake(
            f"these actors were stranded by several definitions ({', '.join(names)}); take one at a time"
        )
    return names[0]


def subject_of(
    store: Store,
    mapping: Mapping | None,
    paths: Sequence[str],
    name: Callable[[], str],
    *,
    writing: bool = False,
) -> Subject:
    """Definitions for some rescued actors: those of the command line, else the stored ones.

    `name` says which stored definition is the target. The scope leaves nobody out.
    """
    mapping = mapping or OWN
    if not paths:
        if not mapping.own:
            raise UsageMistake(
                f"the definitions of {mapping.name} are not stored in the database; give their files,"
                " sources first"
            )
        paths = [name()]
    found = subject(store, mapping, paths, writing=writing)
    # An actor may be of any definition and version: whatever it is, it is looked at with its history.
    return replace(found, scope=replace(found.scope, definitions=(), target=None))


# --- one actor ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Shown:
    """What is known of one actor. `rescued` is None where it does not need rescue; `explanation` is None
    where its definitions are missing, and `missing` then says so."""

    row: Row
    rescued: Rescued | None
    about: Subject | None
    explanation: Explanation | None
    missing: str = ""


def show(store: Store, mapping: Mapping | None, id: str, paths: Sequence[str] = ()) -> Shown:
    """Everything about one actor that needs rescue, decided as of now beside what was recorded.

    Raises `StateKeepError` where there is no such actor.
    """
    actors = scope(store, mapping or OWN).actors(store)
    row = rescue.row_of(actors, id)
    if row is None:
        raise unknown(actors, [id])
    rescued = rescue.of(actors, [row.id]).get(row.id)
    if rescued is None and not paths:
        return Shown(row, None, None, None)
    try:
        about = subject_of(store, mapping, paths, lambda: target_name(actors, [rescued] if rescued else []))
        explanation = explained(about, row)
    except StateKeepError as error:
        if paths:
            raise
        return Shown(row, rescued, None, None, error.message)
    return Shown(row, rescued, about, explanation)


def explain_one(
    store: Store, mapping: Mapping | None, paths: Sequence[str], migration: str | None, id: str
) -> tuple[Subject, Explanation]:
    """Any actor's reasoning against the definitions of a command line, `[SOURCE…] TARGET`.

    Raises `StateKeepError` where there is no such actor.
    """
    about = subject(store, mapping, paths, migration=migration)
    # Whatever it is on, it is read with its history.
    actors = replace(about.scope, definitions=(), target=None).actors(store)
    row = rescue.row_of(actors, id)
    if row is None:
        raise unknown(actors, [id])
    return about, explained(about, row)


def explained(about: Subject, row: Row) -> Explanation:
    """One actor's reasoning, from its row."""
    batch = Loader(about.scope.mapping, Symbols()).batch(Rows([row]))
    if batch.unreadable:
        raise StateKeepError(f"{batch.unreadable[0].message}; mend its row")
    record = {"history": json.loads(spelled(row))}
    return explain(Deployment(about.sources, about.target), batch.actors[0], record)


def unknown(actors: Actors, ids: Sequence[str]) -> StateKeepError:
    """The error for ids that do not exist."""
    name = actors.mapping.name
    close = rescue.alike(actors, ids[0])
    hint = f"did you mean '{close}'?" if close else "statekeep rescue list --actors lists them"
    more = f" (nor {len(ids) - 1:,} more)" if len(ids) > 1 else ""
    return StateKeepError(f"{actors.store.address}: {name} has no actor '{ids[0]}'{more}; {hint}")


# --- a manual decision -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Checked:
    """One actor that may be placed where it is wanted."""

    id: str
    decision: Decision

    @property
    def source(self) -> Place:
        assert self.decision.source is not None
        return self.decision.source


def resolving_subject(
    store: Store,
    mapping: Mapping | None,
    paths: Sequence[str],
    ids: Sequence[str],
    version: str | None = None,
) -> Subject:
    """Definitions and scope of a manual decision about these actors; StateKeep's own tables are needed."""

    def name() -> str:
        actors = scope(store, mapping or OWN).actors(store)
        some = rescue.of(actors, ids)
        # Who is not among them is refused by name later; the others say where to.
        return target_name(actors, list(some.values()) or None, version)

    return subject_of(store, mapping, paths, name, writing=True)


def wanted_state(text: str) -> Any:
    """What `--to` names: a path, or a state value as JSON. Raises `UsageMistake` where it is no JSON."""
    if not text.startswith(("{", '"')):
        return text
    try:
        return json.loads(text)
    except ValueError:
        raise UsageMistake(f"--to {text} is no JSON; give a path, or a state value as JSON") from None


class Resolving:
    """One manual decision about some actors: `to` is a state of the target, as a path or a state value.

    Raises `UsageMistake` where the target has no such state.
    """

    def __init__(self, store: Store, about: Subject, to: Any, why: str):
        self.store, self.about, self.why = store, about, why
        try:
            self.to = destination(about.target, to)
        except ValueError as error:
            raise UsageMistake(f"--to: {error}") from None
        self._resolver = Resolver(about.sources, about.target, self.to)
        self._loader = Loader(about.scope.mapping, Symbols())

    @property
    def digests(self) -> dict[str, Any]:
        """What a run that was stopped part-way must agree on."""
        return {**self.about.digests, "to": self.to.as_json()}

    def continued(self) -> Run | None:
        """The same decision, stopped part-way."""
        assert self.about.scope.population is not None
        found = runs.unfinished(self.store, self.about.scope.population, "resolve")
        same = found is not None and found.why == self.why
        return (
            found if same and found and dict(found.digests) == json.loads(canonical(self.digests)) else None
        )

    def check(self, ids: Sequence[str], run: Run | None = None) -> list[Checked]:
        """Decide all of them, without writing; those that `run` has decided are left out.

        Raises `StateKeepError` for ids that do not exist, `Findings` where one may not be placed there.
        """
        actors = self.about.scope.actors(self.store)
        if run is not None:
            done = rescue.decided(self.store, run.population, run.run, ids)
            ids = [id for id in ids if id not in done]
        found: dict[str, Checked | str] = {}
        for start in range(0, len(ids), BATCH):
            for row, checked, *_ in self._decided(actors.read(ids[start : start + BATCH])):
                found[row.id] = checked
        missing = [id for id in ids if id not in found]
        if missing:
            raise unknown(actors, missing)
        refused = [(id, found[id]) for id in ids if isinstance(found[id], str)]
        if refused:
            raise _refusal(refused)
        return [x for id in ids if isinstance(x := found[id], Checked)]

    def _decided(self, rows: Rows) -> Iterator[tuple[Row, Checked | str, Any, Any]]:
        """Each row with what is decided about it (words: why not), its actor and its mover."""
        batch: Batch = self._loader.batch(rows)
        readable = dict(zip(batch.lines, batch.actors, strict=True))
        for place, row in enumerate(rows):
            if row.status != "needs_rescue":
                yield row, f"does not need rescue (its status is {row.status})", None, None
                continue
            if place not in readable:
                yield row, "has a row that cannot be read", None, None
                continue
            actor = readable[place]
            resolved = self._resolver.resolve(actor)
            d = resolved.decision
            if d.outcome == "migrate":
                yield row, Checked(row.id, d), actor, resolved.mover
            else:
                yield row, f"{d.reason}: {d.detail}" if d.detail else d.reason, None, None

    def write(
        self,
        checked: Sequence[Checked],
        lease: Lease,
        run: Run | None = None,
        on_batch: Callable[[int], None] = lambda done: None,
    ) -> Run:
        """Write what was checked, as a run of the kind `resolve`; goes on with `run` where one is given.

        Raises `StoppedPartWay` where an actor is no longer as it was checked: its batch is not written.
        """
        scope, store = self.about.scope, self.store
        assert scope.population is not None
        if run is None:
            runs.abandon(store, scope.population, "resolve")
            run = runs.begin(
                store,
                scope.population,
                "resolve",
                self.about.target.id,
                str(self.about.target.version),
                self.digests,
                total=len(checked),
                why=self.why,
            )
        lease.hold(run.run)
        runs.set_status(store, run.run, "running")
        stop, done = threading.Event(), 0
        try:
            with stopping(stop):
                for start in range(0, len(checked), BATCH):
                    if stop.is_set():
                        raise StoppedPartWay(
                            f"run {run.run} was stopped: {done:,} of {len(checked):,} are resolved; run again"
                            " to go on"
                        )
                    self._patiently(checked[start : start + BATCH], run, lease)
                    done = min(start + BATCH, len(checked))
                    on_batch(done)
        except BaseException:
            with suppress(StateKeepError):  # the connection may be gone
                runs.set_status(store, run.run, "stopped")
            raise
        runs.set_status(store, run.run, "done")
        return run

    def _patiently(self, some: Sequence[Checked], run: Run, lease: Lease) -> None:
        for attempt in range(TRIES):
            try:
                return self._batch(some, run, lease)
            except (Moved, DatabaseBusy) as error:
                if attempt == TRIES - 1:
                    raise StoppedPartWay(
                        f"run {run.run} could not write a batch ({error}); run again to go on"
                    ) from None
        raise AssertionError

    def _batch(self, some: Sequence[Checked], run: Run, lease: Lease) -> None:
        actors = self.about.scope.actors(self.store)
        expected = {x.id: x for x in some}
        with self.store.transaction():
            word = runs.control(self.store, run.population, run.run, lease.token)
            if word != "go":
                raise StoppedPartWay(f"run {run.run} was told to {word}; run again to go on")
            ids = list(expected)
            actors.lock(ids)
            rows = actors.read(ids, run.run)
            known = runs.known_classes(self.store, run.run)
            kinds: dict[int, Kind] = {}
            changes: list[Change] = []
            for row, checked, actor, mover in self._decided(rows):
                if isinstance(checked, str) or checked.decision != expected[row.id].decision:
                    raise StoppedPartWay(
                        f"actor '{row.id}' moved after it was checked, and its batch was not written; look at"
                        " it, and run again to go on"
                    )
                number = self._class(run, checked.decision, known)
                if number not in kinds:
                    kinds[number] = Kind(
                        number, "active", self.to.state, str(self.to.version), self.to.definition
                    )
                kind = list(kinds).index(number)
                changes.append(_change(row, actor, checked.decision, mover, kind))
            # An operator may take an actor to a version that it has been in.
            with letting(self.store, "reverting"):
                write(actors, run.run, list(kinds.values()), Changes.of(changes))

    def _class(self, run: Run, decision: Decision, known: dict[str, int]) -> int:
        said = {**decision.as_json(), "outcome": "manual"}
        text = canonical(said)
        if text not in known:
            known[text] = max(known.values(), default=-1) + 1
            runs.add_class_row(
                self.store, run.run, known[text], "manual", "", RULE, markers(decision, self.why), text
            )
        return known[text]


def _change(row: Row, actor: Any, decision: Decision, mover: Any, kind: int) -> Change:
    before = preimage(decision, row.status, row.reason, row.state)
    context = snapshot = None
    if not mover.is_uniform(actor, decision):
        after = mover.after(actor, decision)
        context = after.context
        if context is not None:
            before["context"] = row.context
        if after.snapshot is not None:
            snapshot = kept_snapshot(after.snapshot.encode(), "active")
            before["snapshot"] = row.snapshot
    text = json.dumps(before, ensure_ascii=False)
    return Change(row.id, row.revision, kind, recorded_events(row, actor.history), text, context, snapshot)


def _refusal(refused: Sequence[tuple[str, Any]]) -> Findings:
    said = "; ".join(f"actor '{id}' {_words(why)}" for id, why in refused[:NAMED])
    more = f"; and {len(refused) - NAMED:,} more" if len(refused) > NAMED else ""
    return Findings(f"{said}{more}; nothing was written")


def _words(why: str) -> str:
    return why if why.startswith(("does ", "has ")) else f"cannot be placed there ({why})"
