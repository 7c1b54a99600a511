"""Thinning old runs: decisions nobody needs any more, and the evidence that only they had.

Of a finished run that ended before a given time, these decisions stay: those that are part of an actor's
history (they have a marker, and no revert has undone it), and the latest strand of an actor that still
needs rescue. An undone decision goes together with the one that undid it, when both are old enough. Rows
of `runs` always stay: what was done, when and by whom.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from statekeep_cli.core.mapping import OWN
from statekeep_cli.stores.guards import letting
from statekeep_cli.stores.interface import Store

FINISHED = "('done', 'cancelled', 'failed')"


@dataclass(frozen=True, slots=True)
class Old:
    """One run with decisions that may go: how many, and how many stay."""

    run: int
    kind: str
    label: str
    decisions: int
    kept: int


def old_decisions(store: Store, before: datetime) -> list[Old]:
    """What `prune` would delete, run by run; runs of which nothing goes are left out."""
    old, values = _old(store, before)
    found = store.rows(
        "SELECT r.run, r.kind, r.definition, r.version, sum(CASE WHEN x.goes THEN 1 ELSE 0 END), count(*)"
        f" FROM {{runs}} r JOIN (SELECT d.run, {_goes(old)} AS goes FROM {{decisions}} d"
        " JOIN {classes} c ON c.run = d.run AND c.class = d.class"
        f" WHERE d.run IN ({old})) x ON x.run = r.run"
        " GROUP BY r.run, r.kind, r.definition, r.version ORDER BY r.run",
        values * 3,
    )
    return [
        Old(int(run), kind, f"{id}@{version}", int(goes), int(all) - int(goes))
        for run, kind, id, version, goes, all in found
        if goes
    ]


def prune(store: Store, before: datetime) -> int:
    """Deletes them, in one transaction; how many decisions went."""
    old, values = _old(store, before)
    with store.transaction():
        if store.kind == "postgres":
            store.execute("SET LOCAL statement_timeout = 0")
        with letting(store, "pruning"):
            gone = store.execute(
                "DELETE FROM {decisions} WHERE (population, actor, run) IN"
                " (SELECT d.population, d.actor, d.run FROM {decisions} d"
                " JOIN {classes} c ON c.run = d.run AND c.class = d.class"
                f" WHERE d.run IN ({old}) AND {_goes(old)})",
                values * 3,
            )
            store.execute(
                f"DELETE FROM {{classes}} WHERE run IN ({old}) AND (run, class) NOT IN"
                f" (SELECT run, class FROM {{decisions}} WHERE run IN ({old}))",
                values * 2,
            )
    return gone


def _old(store: Store, before: datetime) -> tuple[str, list[Any]]:
    """A query for the runs that may be thinned, and its values."""
    at = before.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:23] + "Z"
    value = "CAST(%s AS timestamptz)" if store.kind == "postgres" else "%s"
    query = (
        f"SELECT run FROM {{runs}} WHERE status IN {FINISHED} AND coalesce(stopped_at, started_at) < {value}"
    )
    return query, [at]


def _goes(old: str) -> str:
    """May the decision `d` of the class `c` go? `old` is the query for old runs."""
    undone = (
        "EXISTS (SELECT 1 FROM {decisions} u JOIN {runs} w ON w.run = u.run AND w.reverts = d.run"
        f" WHERE u.population = d.population AND u.actor = d.actor AND w.run IN ({old}))"
    )
    # What it undid is kept where that run may not be thinned yet.
    undoes_kept = (
        "EXISTS (SELECT 1 FROM {runs} w JOIN {decisions} o ON o.run = w.reverts"
        " WHERE w.run = d.run AND o.population = d.population AND o.actor = d.actor"
        f" AND o.run NOT IN ({old}))"
    )
    still_rescued = (
        "(c.outcome = 'strand'"
        " AND NOT EXISTS (SELECT 1 FROM {decisions} l JOIN {classes} k ON k.run = l.run AND k.class = l.class"
        " AND k.outcome = 'strand'"
        " WHERE l.population = d.population AND l.actor = d.actor AND l.run > d.run)"
        # Of a team's table nobody says here who has been rescued; the latest decision is taken for it.
        f" AND CASE WHEN d.population = (SELECT population FROM {{populations}} WHERE name = '{OWN.name}')"
        " THEN EXISTS (SELECT 1 FROM {actors} a WHERE a.id = d.actor AND a.status = 'needs_rescue')"
        " ELSE NOT EXISTS (SELECT 1 FROM {decisions} l WHERE l.population = d.population"
        " AND l.actor = d.actor AND l.run > d.run) END)"
    )
    return f"((c.marker IS NULL OR {undone}) AND NOT {undoes_kept} AND NOT {still_rescued})"
