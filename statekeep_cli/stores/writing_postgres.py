"""Writing one batch on Postgres: one UPDATE for all rows, and COPY for their decisions.

What decided, on a million actors (ARCHITECTURE.md has the numbers): joining an array of ids by hash within
the batch's range of ids instead of by one index probe each, COPY instead of INSERT for the decisions, and
arrays and rows as one text each.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from statekeep_cli.stores.interface import raw
from statekeep_cli.stores.postgres import Postgres, array, cell, cells

if TYPE_CHECKING:
    from statekeep_cli.stores.actors import Actors, Change, Kind


def write(actors: Actors, run: int, kinds: Sequence[Kind], changes: Sequence[Change]) -> None:
    """See `Actors.write`."""
    store = actors.store
    assert isinstance(store, Postgres)
    writing = all(kind.writes for kind in kinds)
    written = changes if writing else [c for c in changes if kinds[c.kind].writes]
    returned: dict[str, str] = {}
    # Hashed, since a batch is a good part of its range; one index probe per row costs more.
    store.execute("SET LOCAL enable_nestloop = off")
    if actors.mapping.own:
        _update(actors, kinds, written, state=True)
    else:
        moving = [c for c in written if kinds[c.kind].state is not None]
        returned |= _update(actors, kinds, moving, state=True)
        tagged = [c for c in written if kinds[c.kind].state is None]
        returned |= _update(actors, kinds, tagged, state=False)
        if actors.mapping.uses_marks:
            _mark(actors, kinds, written)
    store.execute("SET LOCAL enable_nestloop = on")
    _check(actors, [] if writing else [c for c in changes if not kinds[c.kind].writes])
    after = _revision_after(actors, kinds, returned)
    numbers = [f"{actors.population}\t{run}\t{kind.number}" for kind in kinds]
    # Lines made here, and sent as one: a third of the time of `write_row`.
    lines = [
        f"{id}\t{numbers[c.kind]}\t{c.events}\t{after(c)}\t{cell(c.before)}\n"
        for id, c in zip(cells([c.id for c in changes]), changes, strict=True)
    ]
    with store.copy_in(
        "COPY {decisions} (actor, population, run, class, events, revision, before) FROM STDIN"
    ) as copy:
        copy.write("".join(lines))


def _revision_after(actors: Actors, kinds: Sequence[Kind], returned: dict[str, str]) -> Any:
    """change -> the actor's revision once this transaction is committed."""
    if actors.mapping.own:
        steps = [int(kind.writes) for kind in kinds]
        return lambda c: c.revision + steps[c.kind]
    # A team's table may have triggers of its own: what it says counts. Rows that were not touched, since
    # they are only marked elsewhere, keep what they had.
    return lambda c: returned.get(c.id, str(c.revision))


def _set_columns(actors: Actors, state: bool) -> list[str]:
    """The columns of the actors' own table that an UPDATE sets, with their values."""
    m, columns, quote = actors.mapping, actors.columns, _quoting(actors)
    kind = "[u.kind]"
    sets = []
    if state:
        value = f"(CAST(%(states)s AS text[])){kind}"
        column = quote(m.state)
        sets.append(f"{column} = coalesce(CAST({value} AS {columns.state}), a.{column})")
    if m.version and state:
        column = quote(m.version)
        value = f"(CAST(%(versions)s AS text[])){kind}"
        sets.append(f"{column} = coalesce(CAST({value} AS {columns.version}), a.{column})")
    if m.definition:
        column = quote(m.definition)
        sets.append(f"{column} = coalesce((CAST(%(definitions)s AS text[])){kind}, a.{column})")
    if m.status:
        sets.append(f"{quote(m.status)} = (CAST(%(statuses)s AS text[])){kind}")
    if m.reason:
        value = f"(CAST(%(reasons)s AS text[])){kind}"
        sets.append(f"{quote(m.reason)} = CAST({value} AS {columns.reason})")
    return sets


def _quoting(actors: Actors) -> Callable[[str], str]:
    """A column's name, quoted, as part of a statement."""
    return lambda name: raw(actors.store.quote(name))


def _update(
    actors: Actors, kinds: Sequence[Kind], changes: Sequence[Change], *, state: bool
) -> dict[str, str]:
    """Compare and set; every row, or `Moved`. For tables that are not ours, the new revisions by id."""
    from statekeep_cli.stores.actors import Moved

    if not changes:
        return {}
    store, m, columns, quote = actors.store, actors.mapping, actors.columns, _quoting(actors)
    sets = _set_columns(actors, state)
    if not sets:  # everything about these actors is kept in marks
        _check(actors, changes)
        return {}
    values: dict[str, Any] = {
        "ids": array([c.id for c in changes]),
        "revisions": array([str(c.revision) for c in changes]),
        "kinds": array([str(c.kind + 1) for c in changes]),
        "states": [actors.stored_state(k.state, k.exact) for k in kinds],
        "versions": [k.version for k in kinds],
        "definitions": [k.definition for k in kinds],
        "statuses": [k.status for k in kinds],
        "reasons": [k.reason for k in kinds],
        "low": changes[0].id,
        "high": changes[-1].id,
    }
    lists = "CAST(%(ids)s AS text[]), CAST(%(revisions)s AS text[]), CAST(%(kinds)s AS integer[])"
    names = "id, revision, kind"
    if columns.revision_kind == "integer":
        lists = lists.replace("%(revisions)s AS text[]", "%(revisions)s AS bigint[]")
    compared = _compared(actors)
    if m.revision:
        fresh = {"timestamp": "now()", "uuid": "gen_random_uuid()"}
        fresh_value = fresh.get(columns.revision_kind, f"{compared} + 1")
        sets.append(f"{quote(m.revision)} = {fresh_value}")
    if any(c.context is not None for c in changes):
        values["contexts"] = [c.context for c in changes]
        lists, names = f"{lists}, CAST(%(contexts)s AS text[])", f"{names}, context"
        if m.context:
            column = quote(m.context)
            new = f"coalesce(CAST(u.context AS {columns.context}), a.{column})"
            sets.append(f"{column} = CASE u.context WHEN '' THEN NULL ELSE {new} END")
        # Here a context is the keys that change (`Actors.changed_columns`).
        for i, ((key, name), kind) in enumerate(zip(m.context_columns, columns.context_columns, strict=True)):
            column = quote(name)
            values[f"key{i}"] = key
            given, place = "CAST(u.context AS json)", f"CAST(%(key{i})s AS text)"
            new = f"{given} -> {place}" if kind in ("json", "jsonb") else f"{given} ->> {place}"
            new = f"CASE WHEN json_typeof({given} -> {place}) <> 'null' THEN CAST({new} AS {kind}) END"
            there = f"CAST(u.context AS jsonb) ? {place}"
            sets.append(f"{column} = CASE WHEN {there} THEN {new} ELSE a.{column} END")
    if any(c.snapshot is not None for c in changes):
        values["snapshots"] = [c.snapshot for c in changes]
        lists, names = f"{lists}, CAST(%(snapshots)s AS text[])", f"{names}, snapshot"
        sets.append("snapshot = coalesce(CAST(u.snapshot AS json), a.snapshot)")
    key = f"a.{quote(m.id)}"
    statement = (
        f"UPDATE {actors.table} a SET {', '.join(sets)} FROM unnest({lists}) u({names})"
        f" WHERE {key} = CAST(u.id AS {columns.id}) AND {compared} = u.revision"
        f" AND {key} >= CAST(%(low)s AS {columns.id}) AND {key} <= CAST(%(high)s AS {columns.id})"
    )
    if m.own:
        if store.execute(statement, values) != len(changes):
            raise Moved
        return {}
    rows = store.rows(f"{statement} RETURNING CAST({key} AS text), CAST({compared} AS text)", values)
    if len(rows) != len(changes):
        raise Moved
    return dict(rows)


def _compared(actors: Actors) -> str:
    """The revision of a row `a`, as it was read."""
    if not actors.mapping.revision:
        return "CAST(a.xmin AS text)"
    return actors.revision(f"a.{_quoting(actors)(actors.mapping.revision)}")


def _check(actors: Actors, changes: Sequence[Change]) -> None:
    """Are these rows, which are not written to, still as they were read? They are held until the end."""
    from statekeep_cli.stores.actors import Moved

    if not changes:
        return
    m, columns, quote = actors.mapping, actors.columns, _quoting(actors)
    compared = f"CAST({_compared(actors)} AS text)"
    found = actors.store.one(
        f"SELECT count(*) FROM (SELECT 1 FROM {actors.table} a"
        f" JOIN unnest(CAST(%s AS text[]), CAST(%s AS text[])) u(id, revision)"
        f" ON a.{quote(m.id)} = CAST(u.id AS {columns.id}) AND {compared} = u.revision"
        " FOR SHARE OF a) x",
        ([c.id for c in changes], [str(c.revision) for c in changes]),
    )
    if found is None or found[0] != len(changes):
        raise Moved


def _mark(actors: Actors, kinds: Sequence[Kind], changes: Sequence[Change]) -> None:
    """What the actors' table has no columns for."""
    if not changes:
        return
    m = actors.mapping
    version = "coalesce(excluded.version, {marks}.version)" if not m.version else "NULL"
    actors.store.execute(
        "INSERT INTO {marks} (population, actor, version, status, reason)"
        " SELECT %s, u.id, coalesce((CAST(%s AS text[]))[u.kind], k.version), (CAST(%s AS text[]))[u.kind],"
        " (CAST(%s AS text[]))[u.kind] FROM unnest(CAST(%s AS text[]), CAST(%s AS integer[])) u(id, kind)"
        " LEFT JOIN {marks} k ON k.population = %s AND k.actor = u.id"
        " ON CONFLICT (population, actor) DO UPDATE"
        f" SET version = {version}, status = excluded.status, reason = excluded.reason",
        (
            actors.population,
            [k.version for k in kinds],
            [k.status for k in kinds],
            [k.reason for k in kinds],
            [c.id for c in changes],
            [c.kind + 1 for c in changes],
            actors.population,
        ),
    )
