"""Actors that need rescue: counted by state and reason, listed page by page, with what stranded them.

Own tables and mapped ones alike. What was decided is the latest strand in which an actor has a part; the
evidence is kept once per class of a run.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from heapq import merge
from itertools import islice
from typing import Any

from statekeep_cli.core.decision import Decision, Landing
from statekeep_cli.core.report import single_path
from statekeep_cli.stores import runs
from statekeep_cli.stores.actors import Actors
from statekeep_cli.stores.interface import Store
from statekeep_cli.stores.recording import trace_item
from statekeep_cli.stores.rows import Row
from statekeep_cli.stores.runs import Run

PAGE = 100
# Ids looked at in one query while a filter is searched for.
LOOKED_AT = 1_000


@dataclass(frozen=True, slots=True)
class Filter:
    """Which of them: by state (a path, or a state value as JSON), reason and the run that stranded them."""

    state: str | None = None
    reason: str | None = None
    run: int | None = None

    def takes(self, state: str, run: int | None) -> bool:
        return (self.state is None or same_state(self.state, state)) and self.run in (None, run)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a run decided about actors of one class; `at` is when, where it is about one actor."""

    run: Run
    decision: Decision
    at: str = ""

    @property
    def target(self) -> str:
        return f"{self.run.definition}@{self.run.version}"


@dataclass(frozen=True, slots=True)
class Group:
    """Actors in one state of one version that need rescue for one reason, with how many each decision was
    about (None: nothing is kept about them). `sample` is the first id. `state` is JSON text."""

    definition: str | None
    version: str
    state: str
    reason: str | None
    count: int
    sample: str
    evidence: tuple[tuple[Evidence | None, int], ...]

    @property
    def details(self) -> list[str]:
        return list(dict.fromkeys(e.decision.detail for e, _ in self.evidence if e and e.decision.detail))

    @property
    def landings(self) -> list[Landing]:
        return list(dict.fromkeys(x for e, _ in self.evidence if e for x in e.decision.landings))


@dataclass(frozen=True, slots=True)
class Rescued:
    """One actor that needs rescue. `state` is JSON text."""

    id: str
    definition: str | None
    version: str
    state: str
    reason: str | None
    evidence: Evidence | None


@dataclass(slots=True)
class Classes:
    """Evidence by run and class, each read once."""

    store: Store
    _runs: dict[int, Run] = field(default_factory=dict)
    _known: dict[tuple[int, int], Decision] = field(default_factory=dict)

    def evidence(self, run: int | None, number: int | None, at: str = "") -> Evidence | None:
        if run is None or number is None:
            return None
        if run not in self._runs:
            self._runs[run] = runs.need(self.store, run)
            rows = self.store.rows(
                "SELECT class, CAST(decision AS text) FROM {classes} WHERE run = %s AND outcome = 'strand'",
                (run,),
            )
            for known, text in rows:
                self._known[run, int(known)] = Decision.of_json(json.loads(text))
        return Evidence(self._runs[run], self._known[run, int(number)], at)


def groups(actors: Actors, which: Filter = Filter()) -> list[Group]:
    """All of them by definition, version, state and reason, the largest group first."""
    stranded, values = _stranded(actors, which.reason)
    rows = actors.store.rows(
        f"{stranded}SELECT x.definition, x.version, x.state, x.reason, x.run, d.class, count(*), min(x.id)"
        f" FROM x LEFT JOIN {{decisions}} d ON d.population = {_population(actors)} AND d.actor = x.id"
        " AND d.run = x.run GROUP BY 1, 2, 3, 4, 5, 6",
        values,
    )
    classes = Classes(actors.store)
    found: dict[tuple[Any, ...], list[tuple[Evidence | None, int, str]]] = {}
    for definition, version, state, reason, run, number, count, first in rows:
        if which.takes(state, run):
            key = (definition, str(version), state, reason)
            found.setdefault(key, []).append((classes.evidence(run, number), int(count), str(first)))
    made = []
    for key, parts in found.items():
        parts.sort(key=lambda part: -part[1])
        evidence = tuple((e, n) for e, n, _ in parts)
        made.append(Group(*key, sum(n for _, n, _ in parts), min(p[2] for p in parts), evidence))
    return sorted(made, key=lambda g: (-g.count, g.definition or "", g.version, g.state, g.reason or ""))


def page(
    actors: Actors, which: Filter = Filter(), after: str | None = None, limit: int = PAGE
) -> list[Rescued]:
    """The next of them by id, after an id; ids of marked actors are in the order of their text."""
    classes = Classes(actors.store)
    found: list[Rescued] = []
    filtered = which.state is not None or which.run is not None
    some = max(limit, LOOKED_AT) if filtered or not actors.mapping.own else limit
    while len(found) < limit:
        ids = _ids(actors, which.reason, after, some)
        found += _details(actors, ids, which, classes)
        if len(ids) < some:
            break
        after = ids[-1]
    return found[:limit]


def members(
    actors: Actors, group: Group, after: str | None = None, limit: int = PAGE, begin: str | None = None
) -> list[Rescued]:
    """The next of one group by id: after an id, or from `begin` on. No more rows than that are read."""
    f = actors.fragments
    same = (
        f"{f.status} = 'needs_rescue'",
        f"CAST({f.state} AS text) = %s",
        f"CAST({f.version} AS text) = %s",
    )
    conditions, values = [*same], list[Any]([group.state, group.version])
    for expression, value in ((f.definition, group.definition), (f.reason, group.reason)):
        conditions.append(f"{expression} IS NULL" if value is None else f"{expression} = %s")
        values += [] if value is None else [value]
    for sign, id in ((">", after), (">=", begin)):
        if id is not None:
            conditions.append(f"{f.id} {sign} {actors.as_id()}")
            values.append(id)
    rows = actors.store.rows(
        f"SELECT {f.id_text} FROM {f.source} WHERE {' AND '.join(conditions)} ORDER BY {f.id} LIMIT %s",
        [*values, limit],
    )
    return [*_details(actors, [str(id) for (id,) in rows], Filter(), Classes(actors.store))]


def of(actors: Actors, ids: Sequence[str]) -> dict[str, Rescued]:
    """Those of these ids that need rescue."""
    return {x.id: x for x in _details(actors, ids, Filter(), Classes(actors.store))}


def _population(actors: Actors) -> int:
    return -1 if actors.population is None else actors.population


def _stranded(
    actors: Actors, reason: str | None = None, ids: Sequence[str] | None = None
) -> tuple[str, list[Any]]:
    """A query's WITH: `x`, with the run of the latest strand that has not been undone; and its values."""
    f, population = actors.fragments, _population(actors)
    undone = ""
    reverted = actors.store.rows(
        "SELECT DISTINCT reverts FROM {runs} WHERE population = %s AND reverts IS NOT NULL", (population,)
    )
    if reverted:
        undone = (
            f" AND NOT (d.run IN ({', '.join(str(int(run)) for (run,) in reverted)}) AND EXISTS"
            " (SELECT 1 FROM {runs} r JOIN {decisions} u ON u.run = r.run AND u.population = d.population"
            " AND u.actor = d.actor WHERE r.reverts = d.run))"
        )
    run = (
        "(SELECT max(d.run) FROM {decisions} d"
        " JOIN {classes} c ON c.run = d.run AND c.class = d.class AND c.outcome = 'strand'"
        f" WHERE d.population = {population} AND d.actor = {f.id_text}{undone})"
    )
    conditions, values = [f"{f.status} = 'needs_rescue'"], list[Any]()
    if reason is not None:
        conditions.append(f"{f.reason} = %s")
        values.append(reason)
    if ids is not None:
        condition, more = actors.those(ids)
        conditions.append(condition)
        values += more
    # Materialized, since a run would be looked up twice.
    return (
        f"WITH x AS MATERIALIZED (SELECT {f.id_text} AS id, {f.definition} AS definition,"
        f" {f.version} AS version, {f.state} AS state, {f.reason} AS reason, {run} AS run"
        f" FROM {f.source} WHERE {' AND '.join(conditions)}) "
    ), values


def _details(actors: Actors, ids: Sequence[str], which: Filter, classes: Classes) -> Iterator[Rescued]:
    """The actors with these ids that a filter takes, in the order of the ids."""
    if not ids:
        return
    stranded, values = _stranded(actors, which.reason, ids)
    rows = actors.store.rows(
        f"{stranded}SELECT x.id, x.definition, x.version, x.state, x.reason, x.run, d.class,"
        f" CAST(d.at AS text) FROM x LEFT JOIN {{decisions}} d ON d.population = {_population(actors)}"
        " AND d.actor = x.id AND d.run = x.run",
        values,
    )
    by_id = {str(row[0]): row for row in rows}
    for id in ids:
        if id in by_id:
            _, definition, version, state, reason, run, number, at = by_id[id]
            if which.takes(state, run):
                evidence = classes.evidence(run, number, at or "")
                yield Rescued(id, definition, str(version), state, reason, evidence)


# --- ids, by the indexes that there are --------------------------------------------------------------------


def _ids(actors: Actors, reason: str | None, after: str | None, limit: int) -> list[str]:
    """The first ids after one, of those that need rescue."""
    m = actors.mapping
    if m.own or not m.reason:
        # The partial indexes begin with the reason: a few ids of each reason, merged.
        wanted = _reasons(actors) if reason is None else [reason]
        streams = [_stream(actors, each, after, limit) for each in wanted]
        return list(islice(merge(*streams), limit))
    f = actors.fragments
    conditions, values = [f"{f.status} = 'needs_rescue'"], list[Any]()
    if reason is not None:
        conditions.append(f"{f.reason} = %s")
        values.append(reason)
    if after is not None:
        conditions.append(f"{f.id} > {actors.as_id()}")
        values.append(after)
    rows = actors.store.rows(
        f"SELECT {f.id_text} FROM {f.source} WHERE {' AND '.join(conditions)} ORDER BY {f.id} LIMIT %s",
        [*values, limit],
    )
    return [str(id) for (id,) in rows]


def _indexed(actors: Actors) -> tuple[str, str]:
    """(the table whose partial index lists them, its column with the id); with their condition."""
    if actors.mapping.own:
        return "{actors} WHERE status = 'needs_rescue'", "id"
    return f"{{marks}} WHERE status = 'needs_rescue' AND population = {_population(actors)}", "actor"


def _reasons(actors: Actors) -> list[str | None]:
    """The reasons there are: one look into the index for each."""
    table, id = _indexed(actors)
    found: list[str | None] = []
    # Where the index has those without a reason: at its end, or its beginning.
    order = "DESC" if actors.store.kind == "postgres" else "ASC"
    end = actors.store.one(f"SELECT reason FROM {table} ORDER BY reason {order}, {id} {order} LIMIT 1")
    if end == (None,):
        found.append(None)
    row = actors.store.one(f"SELECT min(reason) FROM {table}")
    while row is not None and row[0] is not None:
        found.append(row[0])
        row = actors.store.one(f"SELECT min(reason) FROM {table} AND reason > %s", (row[0],))
    return found


def _stream(actors: Actors, reason: str | None, after: str | None, limit: int) -> list[str]:
    table, id = _indexed(actors)
    condition, values = ("reason IS NULL", []) if reason is None else ("reason = %s", [reason])
    if after is not None:
        condition, values = f"{condition} AND {id} > %s", [*values, after]
    rows = actors.store.rows(
        f"SELECT {id} FROM {table} AND {condition} ORDER BY {id} LIMIT %s", [*values, limit]
    )
    return [str(found) for (found,) in rows]


# --- one actor ---------------------------------------------------------------------------------------------


def row_of(actors: Actors, id: str) -> Row | None:
    """An actor as it is stored, with its whole history; of own events with their times."""
    rows = actors.read([id])
    if not rows:
        return None
    row = rows[0]
    if not actors.mapping.own or row.items is None:
        return row
    events = actors.store.rows(
        "SELECT type, at, CAST(state AS text), CAST(item AS text) FROM {events}"
        " WHERE actor = %s ORDER BY seq",
        (id,),
    )
    return row._replace(items=f"[{b','.join(trace_item(*event) for event in events).decode()}]")


def alike(actors: Actors, id: str) -> str:
    """The id of an actor (rather of one that needs rescue) that is much like this one; "" without any."""
    from difflib import get_close_matches

    near = id[:-1] or None
    for ids in (
        [*_ids(actors, None, None, LOOKED_AT), *_ids(actors, None, near, LOOKED_AT)],
        _near(actors, near),
    ):
        close = get_close_matches(id, ids, 1)
        if close:
            return close[0]
    return ""


def _near(actors: Actors, after: str | None) -> list[str]:
    f = actors.fragments
    where, values = ("", []) if after is None else (f" WHERE {f.id} > {actors.as_id()}", [after])
    rows = actors.store.rows(
        f"SELECT {f.id_text} FROM {f.source}{where} ORDER BY {f.id} LIMIT %s", [*values, LOOKED_AT]
    )
    return [str(found) for (found,) in rows]


def decided(store: Store, population: int, run: int, ids: Sequence[str]) -> set[str]:
    """Those of these ids that have a decision in a run."""
    found: set[str] = set()
    for start in range(0, len(ids), 500):
        some = ids[start : start + 500]
        places = ", ".join(["%s"] * len(some))
        rows = store.rows(
            f"SELECT actor FROM {{decisions}} WHERE population = %s AND run = %s AND actor IN ({places})",
            (population, run, *some),
        )
        found.update(str(actor) for (actor,) in rows)
    return found


def stranding_targets(actors: Actors) -> list[tuple[str, str]]:
    """The (definition, version) that the runs which stranded them were about, the latest run first."""
    found: dict[tuple[str, str], int] = {}
    for group in groups(actors):
        for evidence, _ in group.evidence:
            if evidence is not None:
                key = (evidence.run.definition, evidence.run.version)
                found[key] = max(found.get(key, 0), evidence.run.run)
    return sorted(found, key=lambda key: -found[key])


def same_state(wanted: str, state: str) -> bool:
    """Is this the state (JSON text) that somebody wrote as a path, or as JSON?"""
    if wanted == state:
        return True
    value: Any = json.loads(state)
    if wanted.startswith(("{", '"')):
        try:
            return bool(json.loads(wanted) == value)
        except ValueError:
            return False
    return wanted in (value, single_path(value))
