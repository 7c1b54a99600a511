"""Writing one batch on SQLite: one prepared statement per kind of change, run for all its rows."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from statekeep_cli.stores.sqlite import Sqlite

if TYPE_CHECKING:
    from statekeep_cli.stores.actors import Actors, Change, Kind


def write(actors: Actors, run: int, kinds: Sequence[Kind], changes: Sequence[Change]) -> None:
    """See `Actors.write`. Within one transaction nobody else writes, so all rows are as they were read."""
    store = actors.store
    assert isinstance(store, Sqlite)
    for i, kind in enumerate(kinds):
        mine = [c for c in changes if c.kind == i]
        if kind.writes and mine:
            _update(actors, store, kind, mine)
            if actors.mapping.uses_marks and not actors.mapping.own:
                _mark(actors, store, kind, mine)
    touched = [k.writes and bool(_sets(actors, k)[0]) for k in kinds]
    after = _revision_after(actors, store, [c for c in changes if touched[c.kind]])
    store.execute_many(
        "INSERT INTO {decisions} (actor, population, run, class, events, revision, before)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s)",
        (
            (
                c.id,
                actors.population,
                run,
                kinds[c.kind].number,
                c.events,
                after(c) if touched[c.kind] else str(c.revision),
                c.before,
            )
            for c in changes
        ),
    )


def _revision_after(actors: Actors, store: Sqlite, changes: Sequence[Change]) -> Callable[[Change], str]:
    """change -> the revision of an actor whose row was written to."""
    if actors.mapping.own:
        return lambda c: str(int(c.revision) + 1)
    # A team's table may have triggers of its own: what it says counts.
    quote = actors.store.quote
    column, key = _name(quote(actors.mapping.revision)), _name(quote(actors.mapping.id))
    rows = store.rows(
        f"SELECT CAST({key} AS text), CAST({actors.revision(column)} AS text) FROM {actors.table}"
        f" WHERE {key} IN (SELECT value FROM json_each(%s))",
        (json.dumps([c.id for c in changes]),),
    )
    found: dict[str, str] = dict(rows)
    return lambda c: str(found[c.id])


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


def _update(actors: Actors, store: Sqlite, its: Kind, changes: Sequence[Change]) -> None:
    """Compare and set; every row, or `Moved`."""
    from statekeep_cli.stores.actors import Moved

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
    rich = any(c.context is not None or c.snapshot is not None for c in changes)
    more: list[tuple[str, Any]] = []
    if rich and m.context:
        there = _name(quote(m.context))
        more.append((f"{there} = CASE %s WHEN '' THEN NULL ELSE coalesce(%s, {there}) END", None))
    if rich:
        for (name, column), kind in zip(m.context_columns, actors.columns.context_columns, strict=True):
            there = _name(quote(column))
            # Here a context is the keys that change (`Actors.changed_columns`).
            new = "json_quote(json_extract(%s, %s))" if kind == "JSON" else "json_extract(%s, %s)"
            new = f"CASE json_type(%s, %s) WHEN 'null' THEN NULL ELSE {new} END"
            more.append((f"{there} = CASE WHEN json_type(%s, %s) IS NULL THEN {there} ELSE {new} END", name))
    if rich and m.snapshot:
        more.append(("snapshot = coalesce(%s, snapshot)", None))

    def row(c: Change) -> list[Any]:
        given = list(values)
        if rich and m.context:
            given += [c.context, c.context]
        if rich:
            for name, _ in m.context_columns:
                given += [c.context, f'$."{name}"'] * 3
        if rich and m.snapshot:
            given.append(c.snapshot)
        return [*given, c.id, c.revision]

    assignments = ", ".join([*sets, *(text for text, _ in more)])
    statement = f"UPDATE {actors.table} SET {assignments} WHERE {key} = %s AND {compared} = %s"
    if store.execute_many(statement, map(row, changes)) != len(changes):
        raise Moved


def _mark(actors: Actors, store: Sqlite, kind: Kind, changes: Sequence[Change]) -> None:
    """What the actors' table has no columns for."""
    store.execute_many(
        "INSERT INTO {marks} (population, actor, version, status, reason) VALUES (%s, %s, %s, %s, %s)"
        " ON CONFLICT (population, actor) DO UPDATE SET version = coalesce(excluded.version, version),"
        " status = excluded.status, reason = excluded.reason",
        (
            (
                actors.population,
                c.id,
                kind.version if not actors.mapping.version else None,
                kind.status,
                kind.reason,
            )
            for c in changes
        ),
    )


def _name(quoted: str) -> str:
    return quoted.replace("%", "%%").replace("{", "{{")
