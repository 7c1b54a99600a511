"""The own tables' actors as records of an export, by id, with what StateKeep decided about them.

A thousand actors at a time: three queries each, whatever their number, and memory does not grow.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any

from statekeep_cli.core.mapping import OWN
from statekeep_cli.stores.interface import Store
from statekeep_cli.stores.recording import ActorRow, record_of, trace_item
from statekeep_cli.stores.runs import marker_items

ACTORS = 1_000

_ACTORS = (
    "SELECT id, definition, version, status, CAST(state AS text), CAST(context AS text),"
    " CAST(snapshot AS text), CAST(origin AS text), has_history, reason, CAST(shape AS text),"
    " CAST(extra AS text), revision FROM {actors} WHERE id > %s ORDER BY id LIMIT %s"
)
_EVENTS = (
    "SELECT actor, type, at, CAST(state AS text), CAST(item AS text) FROM {events}"
    " WHERE actor >= %s AND actor <= %s ORDER BY actor, seq"
)
# A decision is undone by a run that reverts the decision's run and has one about the same actor.
_MARKERS = (
    "SELECT d.actor, d.events, CAST(c.marker AS text) FROM {decisions} d"
    " JOIN {classes} c ON c.run = d.run AND c.class = d.class AND c.marker IS NOT NULL"
    " WHERE d.population = %s AND d.actor >= %s AND d.actor <= %s AND NOT EXISTS"
    " (SELECT 1 FROM {decisions} u JOIN {runs} r ON r.run = u.run AND r.reverts = d.run"
    " WHERE u.population = d.population AND u.actor = d.actor) ORDER BY d.actor, d.run"
)
_STRANDS = (
    "SELECT d.actor, d.run, CAST(c.decision AS text) FROM {decisions} d"
    " JOIN {classes} c ON c.run = d.run AND c.class = d.class AND c.outcome = 'strand'"
    " JOIN {actors} a ON a.id = d.actor AND a.status = 'needs_rescue'"
    " WHERE d.population = %s AND d.actor >= %s AND d.actor <= %s ORDER BY d.actor, d.run"
)


class Exported:
    """Counts of an export."""

    def __init__(self) -> None:
        self.actors = 0
        self.rescued = 0
        self.without_history = 0  # actors whose history is not complete, and events that were left out for it
        self.left_out = 0


def count(store: Store) -> int:
    """How many actors there are."""
    found = store.one("SELECT count(*) FROM {actors}")
    return int(found[0]) if found else 0


def export(store: Store, counts: Exported) -> Iterator[bytes]:
    """Every actor's record on a line of its own, by id; one view of the data throughout."""
    with store.transaction(read_only=True, snapshot=True):
        found = store.one("SELECT population FROM {populations} WHERE name = %s", (OWN.name,))
        population = None if found is None else found[0]
        last = ""
        while rows := store.rows(_ACTORS, (last, ACTORS)):
            first, last = rows[0][0], rows[-1][0]
            yield b"".join(_lines(store, rows, population, (first, last), counts))
            if len(rows) < ACTORS:
                break


def _lines(
    store: Store, rows: Sequence[Any], population: Any, span: tuple[str, str], counts: Exported
) -> Iterator[bytes]:
    traces: dict[str, list[bytes]] = {}
    for actor, events in groupby(store.rows(_EVENTS, span), itemgetter(0)):
        traces[actor] = [trace_item(*event[1:]) for event in events]
    tags: dict[str, bytes] = {}
    if population is not None:
        for actor, markers in groupby(store.rows(_MARKERS, (population, *span)), itemgetter(0)):
            trace = traces.setdefault(actor, [])
            recorded = len(trace)
            shift = 0
            # Decisions count events, without the markers of earlier ones.
            for _, before, marker in markers:
                items = marker_items(marker.encode())
                at = min(before, recorded) + shift
                trace[at:at] = items
                shift += len(items)
        if any(row[3] == "needs_rescue" for row in rows):
            for actor, run, decision in store.rows(_STRANDS, (population, *span)):
                tags[actor] = _tag(decision, run)  # the latest stays
    for *columns, revision in rows:
        row = ActorRow(*columns)
        trace = traces.get(row.id, [])
        counts.actors += 1
        counts.rescued += row.status == "needs_rescue"
        if trace and not row.has_history:
            counts.without_history += 1
            counts.left_out += len(trace)
        yield record_of(row, revision, trace, tags.get(row.id)) + b"\n"


def _tag(decision: str, run: Any) -> bytes:
    """Why an actor needs rescue, in the form that `core.moving.rescue_tag` has."""
    told = json.loads(decision)
    tag = {"reason": told.get("reason", ""), "detail": told.get("detail", "")}
    tag |= {key: told[key] for key in ("rule", "landings", "anchors") if told.get(key)}
    return json.dumps(tag | {"run": str(run)}, separators=(",", ":"), ensure_ascii=False).encode()
