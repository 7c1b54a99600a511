"""Writing one batch on Postgres: one UPDATE for all rows, and COPY for their decisions.

What decided, on a million actors (`benchmarks/`): joining an array of ids by hash within the batch's
range of ids instead of by one index probe each, and COPY instead of INSERT for the decisions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from statekeep_cli.stores.postgres import Postgres

if TYPE_CHECKING:
    from statekeep_cli.stores.actors import Actors, Change, Kind


def write(actors: Actors, run: int, kinds: Sequence[Kind], changes: Sequence[Change]) -> None:
    """See `Actors.write`."""
    store = actors.store
    assert isinstance(store, Postgres)
    written = [c for c in changes if kinds[c.kind].writes]
    # Hashed, since a batch is a good part of its range; one index probe per row costs more.
    store.execute("SET LOCAL enable_nestloop = off")
    if actors.mapping.own:
        _update(actors, kinds, written, state=True)
    else:
        moving = [c for c in written if kinds[c.kind].state is not None]
        _update(actors, kinds, moving, state=True)
        _update(actors, kinds, [c for c in written if kinds[c.kind].state is None], state=False)
        if actors.mapping.uses_marks:
            _mark(actors, kinds, written)
    store.execute("SET LOCAL enable_nestloop = on")
    _check(actors, [c for c in changes if not kinds[c.kind].writes])
    after = _revision_after(actors, kinds)
    with store.copy_in(
        "COPY {decisions} (actor, population, run, class, events, revision, before) FROM STDIN"
    ) as copy:
        for c in changes:
            kind = kinds[c.kind]
            copy.write_row(
                (c.id, actors.population, run, kind.number, c.events, after(c), c.before),
            )


def _revision_after(actors: Actors, kinds: Sequence[Kind]) -> Any:
    """change -> the actor's revision once this transaction is committed."""
    kind_of = actors.columns.revision_kind
    if kind_of == "integer":
        return lambda c: str(int(c.revision) + 1) if kinds[c.kind].writes else str(c.revision)
    # xmin becomes this transaction's number, a timestamp its beginning; where a row is only marked
    # elsewhere, it keeps what it had.
    text = "CAST(CAST(pg_current_xact_id() AS xid) AS text)" if kind_of == "xmin" else "CAST(now() AS text)"
    found = actors.store.one(f"SELECT {text}")
    assert found is not None
    now = found[0]
    touched = [k.writes and (bool(_set_columns(actors, k.state is not None))) for k in kinds]
    return lambda c: now if touched[c.kind] else str(c.revision)


def _set_columns(actors: Actors, state: bool) -> list[str]:
    """The columns of the actors' own table that an UPDATE sets, with their values."""
    m, columns, quote = actors.mapping, actors.columns, actors.store.quote
    kind = "[u.kind]"
    sets = []
    if state:
        value = f"(CAST(%(states)s AS text[])){kind}"
        column = quote(m.state)
        sets.append(f"{column} = coalesce(CAST({value} AS {columns.state}), a.{column})")
    if m.version:
        column = quote(m.version)
        value = f"(CAST(%(versions)s AS text[])){kind}"
        sets.append(f"{column} = coalesce(CAST({value} AS {columns.version}), a.{column})")
    if m.definition:
        column = quote(m.definition)
        sets.append(f"{column} = coalesce((CAST(%(definitions)s AS text[])){kind}, a.{column})")
    if m.status:
        sets.append(f"{quote(m.status)} = (CAST(%(statuses)s AS text[])){kind}")
    if m.reason:
        sets.append(f"{quote(m.reason)} = (CAST(%(reasons)s AS text[])){kind}")
    return sets


def _update(actors: Actors, kinds: Sequence[Kind], changes: Sequence[Change], *, state: bool) -> None:
    """Compare and set; every row, or `Moved`."""
    from statekeep_cli.stores.actors import Moved

    if not changes:
        return
    store, m, columns, quote = actors.store, actors.mapping, actors.columns, actors.store.quote
    sets = _set_columns(actors, state)
    if not sets:  # everything about these actors is kept in marks
        _check(actors, changes)
        return
    values: dict[str, Any] = {
        "ids": [c.id for c in changes],
        "revisions": [c.revision for c in changes],
        "kinds": [c.kind + 1 for c in changes],
        "states": [actors.stored_state(k.state) for k in kinds],
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
    if m.revision:
        column = quote(m.revision)
        compared = f"a.{column}" if columns.revision_kind == "integer" else f"CAST(a.{column} AS text)"
        sets.append(f"{column} = " + (f"a.{column} + 1" if columns.revision_kind == "integer" else "now()"))
    else:
        compared = "CAST(a.xmin AS text)"
    if any(c.context is not None for c in changes):
        values["contexts"] = [c.context for c in changes]
        lists, names = f"{lists}, CAST(%(contexts)s AS text[])", f"{names}, context"
        if m.context:
            column = quote(m.context)
            sets.append(f"{column} = coalesce(CAST(u.context AS {columns.context}), a.{column})")
        for (key, name), kind in zip(m.context_columns, columns.context_columns, strict=True):
            column = quote(name)
            values[f"key {name}"] = key
            new = f"CAST(u.context AS jsonb) ->> %(key {name})s"
            sets.append(
                f"{column} = CASE WHEN u.context IS NULL THEN a.{column} ELSE CAST({new} AS {kind}) END"
            )
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
    if store.execute(statement, values) != len(changes):
        raise Moved


def _check(actors: Actors, changes: Sequence[Change]) -> None:
    """Are these rows, which are not written to, still as they were read? They are held until the end."""
    from statekeep_cli.stores.actors import Moved

    if not changes:
        return
    m, columns, quote = actors.mapping, actors.columns, actors.store.quote
    if m.revision:
        compared = f"CAST(a.{quote(m.revision)} AS text)"
    else:
        compared = "CAST(a.xmin AS text)"
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
