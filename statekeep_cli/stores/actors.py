"""Reading and writing the actors of one population, set by set.

A `Mapping` says where things are; from it the statements are made once. A row's actor and its history
are read in one statement, so that they belong together; a write compares the revision it has read. Ids
travel as text whatever their type is, and are cast back by the database.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from statekeep_cli.core.mapping import Mapping
from statekeep_cli.core.report import single_path
from statekeep_cli.stores.catalogue import Columns, describe, query_type, relation
from statekeep_cli.stores.interface import Store, raw


class Moved(Exception):
    """Actors of a batch have changed since they were read; nothing was written."""


class Row(NamedTuple):
    """One actor as it is stored. JSON columns are text; `items` are trace items joined by commas, or
    None where there is no row of history; `markers` is a JSON array of [position, item]."""

    id: str
    revision: Any
    definition: str | None
    version: str
    status: str
    reason: str | None
    state: str
    context: str | None
    snapshot: str | None
    origin: str | None
    has_history: bool | None
    items: str | None
    markers: str | None


@dataclass(frozen=True, slots=True)
class Kind:
    """What a batch writes to all actors of one class. `state` and `version` are None where they stay.

    `number` is the class' number in its run. `writes` is False where the actor's row stays as it is
    and only the decision is recorded.
    """

    number: int
    status: str = "active"
    state: str | None = None
    version: str | None = None
    definition: str | None = None
    reason: str | None = None
    writes: bool = True


class Change(NamedTuple):
    """One actor's part of a batch: `kind` is an index into the batch's kinds. `context` and `snapshot` are
    None where they stay, `before` is what a revert puts back besides what the class says (JSON)."""

    id: str
    revision: Any
    kind: int
    events: int
    before: str | None = None
    context: str | None = None
    snapshot: str | None = None


@dataclass(frozen=True, slots=True)
class Bounds:
    """A range of ids: after `low`, up to `high`; None is open."""

    low: str | None = None
    high: str | None = None


LIVE = "('active', 'needs_rescue')"


class Actors:
    """The actors of one table, over one connection.

    `population` is None where StateKeep has no tables of its own yet: nothing was ever decided there.
    `definitions` are the definition ids a run is about (own tables only), `target` the (definition,
    version) that is left alone: the histories of its actors are not even read.
    """

    def __init__(
        self,
        store: Store,
        mapping: Mapping,
        columns: Columns,
        population: int | None,
        definitions: Sequence[str] = (),
        target: tuple[str, str] | None = None,
        where: str = "",
        rescued: bool = False,
    ):
        self.store = store
        self.mapping = mapping
        self.columns = columns
        self.population = population
        self.definitions = tuple(definitions)
        self.target = target
        self.where = where
        self.rescued = rescued
        self.markers = population is not None
        self._marks = population is not None and mapping.uses_marks and not mapping.own
        self._postgres = store.kind == "postgres"
        self.table = raw(relation(store, mapping.table))
        self.recorded_json = _recorded_json(store, mapping)

    # --- fragments ---

    def _column(self, name: str, table: str = "a") -> str:
        return f"{table}.{raw(self.store.quote(name))}"

    @property
    def _id(self) -> str:
        return self._column(self.mapping.id)

    def _as_id(self, place: str = "%s") -> str:
        return f"CAST({place} AS {self.columns.id})" if self._postgres else place

    @property
    def _id_text(self) -> str:
        return f"CAST({self._id} AS text)" if self.columns.id != "text" else self._id

    @property
    def _revision(self) -> str:
        if not self.mapping.revision:
            return 'a."statekeep xmin"'
        column = self._column(self.mapping.revision)
        return column if self.columns.revision_kind == "integer" else f"CAST({column} AS text)"

    @property
    def _version(self) -> str:
        if self.mapping.version:
            return f"CAST({self._column(self.mapping.version)} AS text)"
        first = _quoted(self.mapping.first_version)
        return f"coalesce(k.version, {first})" if self._marks else first

    @property
    def _status(self) -> str:
        if self.mapping.status:
            return self._column(self.mapping.status)
        if self.mapping.reason:
            return (
                f"CASE WHEN {self._column(self.mapping.reason)} IS NULL THEN 'active' ELSE 'needs_rescue' END"
            )
        return "coalesce(k.status, 'active')" if self._marks else "'active'"

    @property
    def _reason(self) -> str:
        if self.mapping.reason:
            return self._column(self.mapping.reason)
        return "k.reason" if self._marks else "NULL"

    def _state(self, column: str, is_json: bool) -> str:
        """A state column as JSON text: a name becomes a JSON string."""
        if is_json:
            return f"CAST({column} AS text)"
        text = f"CAST({column} AS text)"
        quoted = f"CAST(to_json({text}) AS text)" if self._postgres else f"json_quote({text})"
        return f"CASE WHEN {text} LIKE '{{{{%%' THEN {text} ELSE {quoted} END"

    @property
    def _context(self) -> str:
        m = self.mapping
        if m.context:
            return f"CAST({self._column(m.context)} AS text)"
        if m.context_columns:
            build = "json_build_object" if self._postgres else "json_object"
            pairs = ", ".join(f"{_quoted(key)}, {self._column(name)}" for key, name in m.context_columns)
            return f"CAST({build}({pairs}) AS text)"
        return "NULL"

    def _own(self, name: str) -> str:
        return f"CAST({self._column(name)} AS text)" if name else "NULL"

    @property
    def _source(self) -> str:
        """The table's rows that are actors."""
        conditions = [f"({raw(c)})" for c in (self.mapping.where, self.where) if c]
        if self.mapping.own and self.definitions:
            conditions.append(f"definition IN ({', '.join(map(_quoted, self.definitions))})")
        hidden = ', CAST(xmin AS text) AS "statekeep xmin"' if self._xmin else ""
        where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
        source = f"(SELECT *{hidden} FROM {self.table}{where}) a"
        if self._marks:
            source += (
                f" LEFT JOIN {{marks}} k ON k.population = {self.population} AND k.actor = {self._id_text}"
            )
        return source

    @property
    def _xmin(self) -> bool:
        return self._postgres and not self.mapping.revision

    @property
    def _off_target(self) -> str:
        if self.target is None:
            return "TRUE"
        definition, version = self.target
        there = f"{self._version} = {_quoted(version)}"
        if self.mapping.definition:
            there = f"({there} AND {self._column(self.mapping.definition)} = {_quoted(definition)})"
        return f"NOT {there}"

    # --- the trace ---

    @property
    def _item(self) -> str:
        """One trace item as JSON text, from a row `e` of the history."""
        h = self.mapping.history
        assert h is not None
        kind = "'null'"
        if h.event:
            event = f"CAST({self._column(h.event, 'e')} AS text)"
            quoted = f"CAST(to_json({event}) AS text)" if self._postgres else f"json_quote({event})"
            kind = f"coalesce({quoted}, 'null')"
        if not h.state:
            return kind
        column = self._column(h.state, "e")
        state = self._state(column, self.recorded_json)
        both = f"""'{{{{"type":' || {kind} || ',"state":' || {state} || '}}'"""
        found = f"CASE WHEN {column} IS NOT NULL THEN {both} ELSE {kind} END"
        if h.item:
            item = self._column(h.item, "e")
            found = f"coalesce(CAST({item} AS text), {found})"
        return found

    @property
    def _items(self) -> str:
        """All items of the actor `a`, joined by commas; NULL where there are none."""
        h = self.mapping.history
        if h is None:
            return "NULL"
        if h.query:
            rows = f"({raw(h.query)})"
        else:
            rows = raw(relation(self.store, h.table))
        if h.where:
            rows = f"(SELECT * FROM {rows} h WHERE {raw(h.where)})"
        actor = self._column(h.actor, "e")
        its = self._id
        if self._postgres and self.columns.actor != self.columns.id:
            its = f"CAST({its} AS {self.columns.actor})"
        needed = f"{self._status} IN {LIVE} AND {self._off_target}"
        order = ", ".join(self._column(name, "e") for name in h.order)
        if self._postgres:
            return (
                f"(SELECT string_agg({self._item}, ',' ORDER BY {order}) FROM {rows} e"
                f" WHERE {actor} = {its} AND {needed})"
            )
        return (
            f"(SELECT group_concat(item, ',') FROM (SELECT {self._item} AS item FROM {rows} e"
            f" WHERE {actor} = {its} AND {needed} ORDER BY {order}))"
        )

    @property
    def _marked(self) -> str:
        """The markers of earlier runs, with how many items came before each; without those undone."""
        if not self.markers:
            return "NULL"
        if self._postgres:
            pair, gather = "json_build_array(d.events, c.marker)", "CAST(json_agg(x ORDER BY run) AS text)"
        else:
            pair, gather = "json_array(d.events, json(c.marker))", "json_group_array(json(x))"
        return (
            f"(SELECT {gather} FROM (SELECT {pair} AS x, d.run FROM {{decisions}} d"
            " JOIN {classes} c ON c.run = d.run AND c.class = d.class AND c.marker IS NOT NULL"
            f" WHERE d.population = {self.population} AND d.actor = {self._id_text} AND NOT EXISTS"
            " (SELECT 1 FROM {decisions} u JOIN {runs} r ON r.run = u.run AND r.reverts = d.run"
            f" WHERE u.population = {self.population} AND u.actor = d.actor) ORDER BY d.run) m)"
        )

    # --- reading ---

    @property
    def _select(self) -> str:
        m = self.mapping
        history = self._column(m.has_history) if m.has_history else "NULL"
        definition = self._column(m.definition) if m.definition else "NULL"
        is_json = self.columns.state_kind == "json"
        return (
            f"SELECT {self._id_text}, {self._revision}, {definition}, {self._version}, {self._status},"
            f" {self._reason}, {self._state(self._column(m.state), is_json)}, {self._context},"
            f" {self._own(m.snapshot)}, {self._own(m.origin)}, {history}, {self._items}, {self._marked}"
            f" FROM {self._source}"
        )

    def _those(self, which: Bounds | Sequence[str]) -> tuple[list[str], list[Any]]:
        """Conditions and values for a range or a list of ids."""
        conditions: list[str] = []
        values: list[Any] = []
        if isinstance(which, Bounds):
            for operator, bound in ((">", which.low), ("<=", which.high)):
                if bound is not None:
                    conditions.append(f"{self._id} {operator} {self._as_id()}")
                    values.append(bound)
        elif self._postgres:
            conditions.append(f"{self._id} = ANY(CAST(%s AS {self.columns.id}[]))")
            values.append(list(which))
        else:
            conditions.append(f"{self._id} IN (SELECT value FROM json_each(%s))")
            values.append(json.dumps(list(which)))
        return conditions, values

    def _where(self, which: Bounds | Sequence[str], undecided: int | None = None) -> tuple[str, list[Any]]:
        """A WHERE clause for the source, and its values."""
        conditions, values = self._those(which)
        if undecided is not None:
            conditions.append(
                "NOT EXISTS (SELECT 1 FROM {decisions} d WHERE d.population = %s AND d.run = %s"
                f" AND d.actor = {self._id_text})"
            )
            values += [self.population, undecided]
        if self.rescued:
            conditions.append(f"{self._status} = 'needs_rescue'")
        return _all(conditions), values

    def read(self, which: Bounds | Sequence[str] = Bounds(), undecided: int | None = None) -> list[Row]:
        """The actors of a range or with these ids, by id; with `undecided` only those without a decision in
        that run."""
        where, values = self._where(which, undecided)
        return [Row(*r) for r in self.store.rows(f"{self._select}{where} ORDER BY {self._id}", values)]

    def next_bound(self, after: str | None, size: int, undecided: int | None = None) -> str | None:
        """The id that ends a range of `size` actors after `after`; None where fewer are left."""
        where, values = self._where(Bounds(after), undecided)
        found = self.store.one(
            f"SELECT {self._id_text} FROM {self._source}{where} ORDER BY {self._id} LIMIT 1 OFFSET %s",
            [*values, size - 1],
        )
        return None if found is None else str(found[0])

    def left(self, undecided: int | None = None) -> int:
        """How many live actors are not on the target, and have no decision in a run, where one is given."""
        where, values = self._where(Bounds(), undecided)
        condition = f"{self._status} IN {LIVE} AND {self._off_target}"
        where = f"{where} AND {condition}" if where else f" WHERE {condition}"
        found = self.store.one(f"SELECT count(*) FROM {self._source}{where}", values)
        return int(found[0]) if found else 0

    def count(self) -> int:
        where, values = self._where(Bounds())
        found = self.store.one(f"SELECT count(*) FROM {self._source}{where}", values)
        return int(found[0]) if found else 0

    def reasons(self) -> dict[str, int]:
        """How many actors need rescue, by reason."""
        rows = self.store.rows(
            f"SELECT {self._reason}, count(*) FROM {self._source} WHERE {self._status} = 'needs_rescue'"
            f" AND {self._off_target} GROUP BY 1"
        )
        return {str(reason): int(n) for reason, n in rows}

    def standing(self) -> list[tuple[str, str, int]]:
        """(version, status, actors), as they are now."""
        rows = self.store.rows(
            f"SELECT {self._version}, {self._status}, count(*) FROM {self._source}"
            " GROUP BY 1, 2 ORDER BY 1, 2"
        )
        return [(str(a), str(b), int(c)) for a, b, c in rows]

    def lock(self, which: Bounds | Sequence[str]) -> None:
        """Hold the rows until the transaction ends, so that what is read next cannot move."""
        if not self._postgres:
            return  # SQLite has one writer at a time
        conditions, values = self._those(which)
        self.store.execute(
            f"SELECT 1 FROM {self.table} a{_all(conditions)} ORDER BY {self._id} FOR NO KEY UPDATE", values
        )

    # --- writing ---

    def stored_state(self, state: str | None) -> str | None:
        """A state value as the state column holds it: JSON, or a path where the column is text."""
        if state is None or self.columns.state_kind == "json":
            return state
        value = json.loads(state)
        path = single_path(value)
        # Only a name that reads back as the same place; a path's own escapes do not.
        return state if path is None else value if isinstance(value, str) else path

    def write(self, run: int, kinds: Sequence[Kind], changes: Sequence[Change]) -> None:
        """Write a batch and its decisions. Raises `Moved`, for the transaction to be rolled back, where
        an actor is no longer as it was read."""
        if not changes:
            return
        if self.store.kind == "postgres":
            from statekeep_cli.stores import writing_postgres

            writing_postgres.write(self, run, kinds, changes)
        else:
            from statekeep_cli.stores import writing_sqlite

            writing_sqlite.write(self, run, kinds, changes)


def _all(conditions: Sequence[str]) -> str:
    return f" WHERE {' AND '.join(conditions)}" if conditions else ""


def _recorded_json(store: Store, mapping: Mapping) -> bool:
    """Are recorded states of the history JSON already?"""
    h = mapping.history
    if h is None or not h.state or mapping.own:
        return mapping.own
    if h.query:
        return query_type(store, h.query, h.state) in ("json", "jsonb")
    table = describe(store, h.table)
    return table is not None and table.columns[h.state].kind == "json"


def _quoted(text: str) -> str:
    """A constant of ours as an SQL string."""
    return raw("'" + text.replace("'", "''") + "'")
