"""Writing one batch on SQLite: one prepared statement per kind of change, run for all its rows."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from itertools import repeat
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from statekeep_cli.stores.changes import Changes, Kind, Moved
from statekeep_cli.stores.sqlite import Sqlite

if TYPE_CHECKING:
    from statekeep_cli.stores.actors import Actors


def write(actors: Actors, run: int, kinds: Sequence[Kind], changes: Changes) -> None:
    """See `writing.write`."""
    store = actors.store
    assert isinstance(store, Sqlite)
    for i, kind in enumerate(kinds):
        mine = changes.among((i,))
        if kind.writes and mine:
            _update(actors, store, kind, mine)
            if actors.mapping.uses_marks and not actors.mapping.own:
                _mark(actors, store, kind, mine)
    touched = {i for i, kind in enumerate(kinds) if kind.writes and _sets(actors, kind)[0]}
    untouched = changes.among({*range(len(kinds))} - touched)
    now = _revisions(actors, store, untouched)
    if [now.get(id) for id in untouched.ids] != list(map(str, untouched.revisions)):
        raise Moved
    after = _revisions_after(actors, store, changes, touched)
    rows = zip(changes.ids, changes.kinds, changes.events, after, changes.befores, strict=True)
    store.execute_many(
        "INSERT INTO {decisions} (actor, population, run, class, events, revision, before)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s)",
        (
            (id, actors.population, run, kinds[kind].number, events, revision, before)
            for id, kind, events, revision, before in rows
        ),
    )


def _revisions_after(actors: Actors, store: Sqlite, changes: Changes, touched: set[int]) -> list[str]:
    """The actors' revisions, of which the rows of some kinds were written to."""
    if actors.mapping.own:
        pairs = zip(changes.revisions, changes.kinds, strict=True)
        return [str(int(revision) + (kind in touched)) for revision, kind in pairs]
    # A team's table may have triggers of its own: what it says counts.
    found = _revisions(actors, store, changes.among(touched))
    return [found.get(id, str(old)) for id, old in zip(changes.ids, changes.revisions, strict=True)]


def _revisions(actors: Actors, store: Sqlite, changes: Changes) -> dict[str, str]:
    """id -> the revision that a row has now."""
    if not changes:
        return {}
    quote = actors.store.quote
    column, key = _name(quote(actors.mapping.revision)), _name(quote(actors.mapping.id))
    rows = store.rows(
        f"SELECT CAST({key} AS text), CAST({actors.revision(column)} AS text) FROM {actors.table}"
        f" WHERE {key} IN (SELECT value FROM json_each(%s))",
        (json.dumps(changes.ids),),
    )
    return {str(id): str(revision) for id, revision in rows}


def _sets(actors: Actors, kind: Kind) -> tuple[list[str], list[Any]]:
    """The columns an UPDATE sets for one kind, and their values."""
    m, quote = actors.mapping, actors.store.quote
    sets: list[str] = []
    values: list[Any] = []
    for column, value in (
        (m.state, actors.stored_state(kind.state, kind.exact)),
        (m.version, kind.version),
        (m.definition, kind.definition),
    ):
        if column and value is not None:
            sets.append(f"{_name(quote(column))} = %s")
            values.append(value)
    for column, tag in ((m.status, kind.status), (m.reason, kind.reason)):
        if column:
            sets.append(f"{_name(quote(column))} = %s")
            values.append(tag)
    return sets, values


def _update(actors: Actors, store: Sqlite, its: Kind, changes: Changes) -> None:
    """Compare and set; every row, or `Moved`."""
    m, quote = actors.mapping, store.quote
    sets, values = _sets(actors, its)
    revision, key = _name(quote(m.revision)), _name(quote(m.id))
    if not sets:
        return
    compared = actors.revision(revision)
    fresh = {
        # As others have written it: with a T between date and time, or a space.
        "timestamp": "strftime(CASE WHEN {0} LIKE '%%T%%' THEN '%%Y-%%m-%%dT%%H:%%M:%%f'"
        " ELSE '%%Y-%%m-%%d %%H:%%M:%%f' END, 'now')",
        "uuid": f"'{uuid4()}'",
    }
    sets.append(f"{revision} = " + fresh.get(actors.columns.revision_kind, "{0} + 1").format(compared))
    given: list[Iterable[Any]] = [repeat(value) for value in values]
    if changes.contexts and m.context:
        there = _name(quote(m.context))
        sets.append(f"{there} = CASE %s WHEN '' THEN NULL ELSE coalesce(%s, {there}) END")
        given += [changes.contexts] * 2
    if changes.contexts:
        for (name, column), kind in zip(m.context_columns, actors.columns.context_columns, strict=True):
            there = _name(quote(column))
            # Here a context is the keys that change (`drafting.changed_columns`).
            new = "json_quote(json_extract(%s, %s))" if kind == "JSON" else "json_extract(%s, %s)"
            new = f"CASE json_type(%s, %s) WHEN 'null' THEN NULL ELSE {new} END"
            sets.append(f"{there} = CASE WHEN json_type(%s, %s) IS NULL THEN {there} ELSE {new} END")
            given += [changes.contexts, repeat(f'$."{name}"')] * 3
    if changes.snapshots and m.snapshot:
        sets.append("snapshot = coalesce(%s, snapshot)")
        given.append(changes.snapshots)
    rows = zip(*given, changes.ids, changes.revisions)  # noqa: B905 - some repeat for ever
    statement = f"UPDATE {actors.table} SET {', '.join(sets)} WHERE {key} = %s AND {compared} = %s"
    if store.execute_many(statement, rows) != len(changes):
        raise Moved


def _mark(actors: Actors, store: Sqlite, kind: Kind, changes: Changes) -> None:
    """What the actors' table has no columns for."""
    store.execute_many(
        "INSERT INTO {marks} (population, actor, version, status, reason) VALUES (%s, %s, %s, %s, %s)"
        " ON CONFLICT (population, actor) DO UPDATE SET version = coalesce(excluded.version, version),"
        " status = excluded.status, reason = excluded.reason",
        (
            (
                actors.population,
                id,
                kind.version if not actors.mapping.version else None,
                kind.status,
                kind.reason,
            )
            for id in changes.ids
        ),
    )


def _name(quoted: str) -> str:
    return quoted.replace("%", "%%").replace("{", "{{")
