"""What a revert reads: the decisions of a run that nobody has undone yet, and whose they are."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from statekeep_cli.stores.interface import Store

# Outcomes that changed an actor, so that there is something to put back.
UNDONE = "('migrate', 'strand', 'manual')"


class Undo(NamedTuple):
    """One actor's decision in the run: `number` is its class, `revision` the actor's after it, and `before`
    what the class does not say: any of status, reason, state, version, context and snapshot. `overtaken`: a
    later run decided about the actor too, and that stands."""

    actor: str
    number: int
    events: int
    revision: str
    before: dict[str, Any]
    overtaken: bool


class Class(NamedTuple):
    """A decision class of the run; `source` and `target` are places as JSON has them."""

    outcome: str
    reason: str
    rule: str
    source: dict[str, Any] | None
    target: dict[str, Any] | None


def classes(store: Store, run: int) -> dict[int, Class]:
    """The run's classes by number."""
    rows = store.rows(
        "SELECT class, outcome, reason, rule, CAST(decision AS text) FROM {classes} WHERE run = %s", (run,)
    )
    found = {}
    for number, outcome, reason, rule, text in rows:
        decision = json.loads(text)
        found[int(number)] = Class(outcome, reason, rule, decision.get("from"), decision.get("to"))
    return found


_OF_THE_RUN = (
    " FROM {decisions} d JOIN {classes} c ON c.run = d.run AND c.class = d.class"
    f" WHERE d.population = %s AND d.run = %s AND c.outcome IN {UNDONE}"
)
_UNDONE_ALREADY = (
    "EXISTS (SELECT 1 FROM {decisions} u JOIN {runs} r ON r.run = u.run"
    " WHERE r.reverts = d.run AND u.population = d.population AND u.actor = d.actor)"
)

# That a later run tagged an actor again need not show in the actor's revision.
_OVERTAKEN = (
    "EXISTS (SELECT 1 FROM {decisions} l JOIN {classes} k ON k.run = l.run AND k.class = l.class"
    f" AND k.outcome IN {UNDONE} WHERE l.population = d.population AND l.actor = d.actor AND l.run > d.run"
    " AND NOT EXISTS (SELECT 1 FROM {decisions} u JOIN {runs} r ON r.run = u.run"
    " WHERE r.reverts = l.run AND u.population = d.population AND u.actor = d.actor))"
)


def undos(store: Store, population: int, run: int, after: str | None, size: int) -> list[Undo]:
    """Decisions of the run that are not undone, by actor: so many after one."""
    beyond, values = ("", []) if after is None else (" AND d.actor > %s", [after])
    rows = store.rows(
        f"SELECT d.actor, d.class, d.events, d.revision, CAST(d.before AS text), {_OVERTAKEN}"
        f"{_OF_THE_RUN} AND NOT {_UNDONE_ALREADY}{beyond} ORDER BY d.actor LIMIT %s",
        [population, run, *values, size],
    )
    return [
        Undo(
            str(actor),
            int(number),
            int(events),
            str(revision),
            json.loads(before) if before else {},
            bool(overtaken),
        )
        for actor, number, events, revision, before, overtaken in rows
    ]


def counts(store: Store, population: int, run: int) -> tuple[int, int]:
    """(actors that the run changed, those of them that were put back by now)."""
    found = store.one(
        f"SELECT count(*), sum(CASE WHEN {_UNDONE_ALREADY} THEN 1 ELSE 0 END){_OF_THE_RUN}",
        (population, run),
    )
    return (int(found[0]), int(found[1] or 0)) if found else (0, 0)


def unfinished(store: Store, run: int) -> int | None:
    """The latest revert of a run, where it has been stopped part-way."""
    found = store.one(
        "SELECT run, status FROM {runs} WHERE reverts = %s ORDER BY run DESC LIMIT 1",
        (run,),
    )
    return int(found[0]) if found and found[1] in ("running", "paused", "stopped") else None


class Since(NamedTuple):
    """That the last decision about an actor put back what a later run had done to it: its `revision` after
    that, and of the later run its `outcome`, the `events` it had seen, and the revision it had `left`."""

    revision: str
    outcome: str
    events: int
    left: str


def put_back_since(store: Store, population: int, run: int, actors: Sequence[str]) -> dict[str, Since]:
    """Of these actors, those of which it is so."""
    if not actors:
        return {}
    places = ", ".join(["%s"] * len(actors))
    rows = store.rows(
        "SELECT d.actor, d.revision, c.outcome, o.events, o.revision FROM {decisions} d"
        " JOIN {runs} r ON r.run = d.run AND r.reverts > %s"
        " JOIN {decisions} o ON o.population = d.population AND o.actor = d.actor AND o.run = r.reverts"
        " JOIN {classes} c ON c.run = o.run AND c.class = o.class"
        f" WHERE d.population = %s AND d.actor IN ({places}) AND NOT EXISTS"
        " (SELECT 1 FROM {decisions} l WHERE l.population = d.population AND l.actor = d.actor"
        " AND l.run > d.run)",
        (run, population, *actors),
    )
    return {
        str(actor): Since(str(revision), str(outcome), int(events), str(left))
        for actor, revision, outcome, events, left in rows
    }
