"""Writing one batch on Postgres: one UPDATE for all rows, and COPY for their decisions.

What decided, on a million actors (ARCHITECTURE.md has the numbers): merging an array of ids with the batch's
range of ids instead of one index probe each, what all or most kinds write as a constant, COPY instead of
INSERT for the decisions, and arrays and rows as one text each.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any

from statekeep_cli.stores.changes import Changes, Kind, Moved
from statekeep_cli.stores.interface import raw
from statekeep_cli.stores.postgres import Postgres, array, cell, cells

if TYPE_CHECKING:
    from statekeep_cli.stores.actors import Actors


def write(actors: Actors, run: int, kinds: Sequence[Kind], changes: Changes) -> None:
    """See `writing.write`."""
    store = actors.store
    assert isinstance(store, Postgres)
    writing = {i for i, kind in enumerate(kinds) if kind.writes}
    written = changes.among(writing)
    returned: dict[str, str] = {}
    # A batch is a good part of its range, and both have an order: one index probe per row costs more.
    store.script("SET LOCAL enable_nestloop = off; SET LOCAL enable_hashjoin = off")
    if actors.mapping.own:
        _update(actors, kinds, writing, written, state=True)
    else:
        moving = {i for i in writing if kinds[i].state is not None}
        returned |= _update(actors, kinds, moving, written.among(moving), state=True)
        tagged = writing - moving
        returned |= _update(actors, kinds, tagged, written.among(tagged), state=False)
        if actors.mapping.uses_marks:
            _mark(actors, kinds, written)
    store.script("SET LOCAL enable_nestloop = on; SET LOCAL enable_hashjoin = on")
    _check(actors, changes.among({*range(len(kinds))} - writing))
    _decisions(actors, store, run, kinds, changes, returned)


def _decisions(
    actors: Actors,
    store: Postgres,
    run: int,
    kinds: Sequence[Kind],
    changes: Changes,
    returned: dict[str, str],
) -> None:
    """A row per actor, with the revision that it has once this transaction is committed."""
    after: Sequence[Any]
    if actors.mapping.own:
        steps = [int(kind.writes) for kind in kinds]
        pairs = zip(changes.revisions, changes.kinds, strict=True)
        after = [revision + steps[kind] for revision, kind in pairs]
    else:
        # A team's table may have triggers of its own: what it says counts. Rows that were not touched,
        # since they are only marked elsewhere, keep what they had.
        known = zip(changes.ids, changes.revisions, strict=True)
        after = [returned.get(id, str(revision)) for id, revision in known]
    tails = _Tails([f"{actors.population}\t{run}\t{kind.number}" for kind in kinds])
    rest = zip(changes.kinds, changes.events, after, changes.befores, strict=True)
    # Lines made here, and sent as one: a third of the time of `write_row`.
    lines = [f"{id}\t{tails[key]}" for id, key in zip(cells(changes.ids), rest, strict=True)]
    with store.copy_in(
        "COPY {decisions} (actor, population, run, class, events, revision, before) FROM STDIN"
    ) as copy:
        copy.write("".join(lines))


class _Tails(dict[tuple[int, int, Any, str | None], str]):
    """(kind, events, revision, before) -> a decision's line behind the actor, which many have in common."""

    def __init__(self, heads: Sequence[str]):
        self._heads = heads

    def __missing__(self, key: tuple[int, int, Any, str | None]) -> str:
        kind, events, revision, before = key
        line = self[key] = f"{self._heads[kind]}\t{events}\t{revision}\t{cell(before)}\n"
        return line


def _set_columns(
    actors: Actors, kinds: Sequence[Kind], which: Collection[int], values: dict[str, Any], *, state: bool
) -> list[str]:
    """The columns of the actors' table that an UPDATE sets for these of the kinds, each with an expression
    over the row `a` and its change `u`; what the expressions take from the kinds goes to `values`."""
    m, columns = actors.mapping, actors.columns
    sets: list[str] = []

    def add(name: str, type: str, of: Callable[[Kind], str | None], *, stays: bool) -> None:
        column, key = raw(actors.store.quote(name)), f"set{len(sets)}"
        given = {i: of(kinds[i]) for i in which}
        sets.append(f"{column} = {_chosen(key, type, given, values, f'a.{column}' if stays else 'NULL')}")

    if state:
        add(m.state, columns.state, lambda k: actors.stored_state(k.state, k.exact), stays=True)
    if state and m.version:
        add(m.version, columns.version, lambda k: k.version, stays=True)
    if m.definition:
        add(m.definition, "text", lambda k: k.definition, stays=True)
    if m.status:
        add(m.status, "text", lambda k: k.status, stays=False)
    if m.reason:
        add(m.reason, columns.reason, lambda k: k.reason, stays=False)
    return sets


def _chosen(key: str, type: str, of: dict[int, str | None], values: dict[str, Any], none: str) -> str:
    """An expression for what the kind of a change `u` gives a column of this type; `none` for None.

    Mostly all that move get one value, and all that are tagged another: constants, where an array is looked
    into, and what is found cast, row by row.
    """
    by_value: dict[str | None, list[int]] = {}
    for i, value in of.items():
        by_value.setdefault(value, []).append(i)
    if len(by_value) > 2:
        values[key] = [of.get(i) for i in range(max(of) + 1)]
        return f"coalesce(CAST((CAST(%({key})s AS text[]))[u.kind + 1] AS {type}), {none})"
    (few, its), *others = sorted(by_value.items(), key=lambda item: len(item[1]))
    values[key], values[f"{key}_others"] = few, others[0][0] if others else None
    chosen = none if few is None else f"CAST(%({key})s AS {type})"
    for value, _ in others:
        other = none if value is None else f"CAST(%({key}_others)s AS {type})"
        chosen = f"CASE WHEN u.kind IN ({', '.join(map(str, its))}) THEN {chosen} ELSE {other} END"
    return chosen


def _quoting(actors: Actors) -> Callable[[str], str]:
    """A column's name, quoted, as part of a statement."""
    return lambda name: raw(actors.store.quote(name))


def _update(
    actors: Actors, kinds: Sequence[Kind], which: Collection[int], changes: Changes, *, state: bool
) -> dict[str, str]:
    """Compare and set; every row, or `Moved`. For tables that are not ours, the new revisions by id."""
    if not changes:
        return {}
    store, m, columns, quote = actors.store, actors.mapping, actors.columns, _quoting(actors)
    values: dict[str, Any] = {
        "ids": array(changes.ids),
        "revisions": array(changes.revisions),
        "kinds": array(changes.kinds),
        "low": changes.ids[0],
        "high": changes.ids[-1],
    }
    sets = _set_columns(actors, kinds, which, values, state=state)
    if not sets:  # everything about these actors is kept in marks
        _check(actors, changes)
        return {}
    lists = "CAST(%(ids)s AS text[]), CAST(%(revisions)s AS text[]), CAST(%(kinds)s AS integer[])"
    names = "id, revision, kind"
    if columns.revision_kind == "integer":
        lists = lists.replace("%(revisions)s AS text[]", "%(revisions)s AS bigint[]")
    compared = _compared(actors)
    if m.revision:
        fresh = {"timestamp": "now()", "uuid": "gen_random_uuid()"}
        fresh_value = fresh.get(columns.revision_kind, f"{compared} + 1")
        sets.append(f"{quote(m.revision)} = {fresh_value}")
    if changes.contexts:
        values["contexts"] = list(changes.contexts)
        lists, names = f"{lists}, CAST(%(contexts)s AS text[])", f"{names}, context"
        if m.context:
            column = quote(m.context)
            new = f"coalesce(CAST(u.context AS {columns.context}), a.{column})"
            sets.append(f"{column} = CASE u.context WHEN '' THEN NULL ELSE {new} END")
        # Here a context is the keys that change (`drafting.changed_columns`).
        for i, ((key, name), kind) in enumerate(zip(m.context_columns, columns.context_columns, strict=True)):
            column = quote(name)
            values[f"key{i}"] = key
            given, place = "CAST(u.context AS json)", f"CAST(%(key{i})s AS text)"
            new = f"{given} -> {place}" if kind in ("json", "jsonb") else f"{given} ->> {place}"
            new = f"CASE WHEN json_typeof({given} -> {place}) <> 'null' THEN CAST({new} AS {kind}) END"
            there = f"CAST(u.context AS jsonb) ? {place}"
            sets.append(f"{column} = CASE WHEN {there} THEN {new} ELSE a.{column} END")
    if changes.snapshots:
        values["snapshots"] = list(changes.snapshots)
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


def _check(actors: Actors, changes: Changes) -> None:
    """Are these rows, which are not written to, still as they were read? They are held until the end."""
    if not changes:
        return
    m, columns, quote = actors.mapping, actors.columns, _quoting(actors)
    compared = f"CAST({_compared(actors)} AS text)"
    found = actors.store.one(
        f"SELECT count(*) FROM (SELECT 1 FROM {actors.table} a"
        f" JOIN unnest(CAST(%s AS text[]), CAST(%s AS text[])) u(id, revision)"
        f" ON a.{quote(m.id)} = CAST(u.id AS {columns.id}) AND {compared} = u.revision"
        " FOR SHARE OF a) x",
        (array(changes.ids), array(changes.revisions)),
    )
    if found is None or found[0] != len(changes):
        raise Moved


def _mark(actors: Actors, kinds: Sequence[Kind], changes: Changes) -> None:
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
            array(changes.ids),
            [kind + 1 for kind in changes.kinds],
            actors.population,
        ),
    )
