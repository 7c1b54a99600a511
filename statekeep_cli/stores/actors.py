"""Reading and writing the actors of one population, set by set.

A `Mapping` says where things are; from it the statements are made once. A row's actor and its history
are read in one statement, so that they belong together; a write compares the revision it has read. Ids
travel as text whatever their type is, and are cast back by the database.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from statekeep_cli.core.mapping import Mapping
from statekeep_cli.core.report import single_path
from statekeep_cli.errors import StateKeepError
from statekeep_cli.stores.catalogue import Columns, describe, query_type, relation
from statekeep_cli.stores.interface import Store, raw
from statekeep_cli.stores.rows import Rows

_id_of, _items_of = itemgetter(0), itemgetter(11)


@dataclass(frozen=True, slots=True)
class Bounds:
    """A range of ids: after `low`, up to `high`; None is open."""

    low: str | None = None
    high: str | None = None


@dataclass(frozen=True, slots=True)
class Fragments:
    """The actors as SQL, for queries that are made elsewhere (`stores.rescue`). `source` goes behind FROM;
    the others are expressions over its rows: `state` is JSON text, `definition` NULL where there is none."""

    source: str
    id: str
    id_text: str
    definition: str
    version: str
    status: str
    reason: str
    state: str


LIVE = "('active', 'needs_rescue')"
_XMIN = 'a."statekeep xmin"'


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
        everyone: bool = False,
    ):
        self.store = store
        self.mapping = mapping
        self.columns = columns
        self.population = population
        self.definitions = tuple(definitions)
        self.target = target
        self.where = where
        self.rescued = rescued
        self.everyone = everyone
        self.markers = population is not None
        self.current: int | None = None  # a run of which no actor that is read has a decision yet
        self._dense: bool | None = None
        self._only_types = True  # until a history has more to it than event types
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

    def as_id(self, place: str = "%s") -> str:
        return f"CAST({place} AS {self.columns.id})" if self._postgres else place

    @property
    def _id_text(self) -> str:
        return f"CAST({self._id} AS text)" if self.columns.id != "text" else self._id

    @property
    def _revision(self) -> str:
        return self.revision(self._column(self.mapping.revision)) if self.mapping.revision else _XMIN

    def revision(self, column: str) -> str:
        """A revision column's value (not xmin's) as it is read, compared and recorded.

        Timestamps as seconds, which do not depend on a session's time zone; NULL, which equals nothing,
        as a value of its own.
        """
        if self.mapping.own:
            return column
        kind = self.columns.revision_kind
        if kind == "integer":
            return f"coalesce({column}, 0)"
        if kind == "timestamp" and self._postgres:
            column = f"extract(epoch FROM {column})"
        return f"coalesce(CAST({column} AS text), '')"

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
        """A state column as JSON text; NULL as null, which is no state.

        All that a text column holds is a JSON string here, also where it is JSON itself: whoever loads
        the row looks into it. Text of others never becomes part of a document unquoted.
        """
        text = f"CAST({column} AS text)"
        if self.mapping.own:
            return text
        if is_json and self._postgres:
            return f"coalesce({text}, 'null')"
        if is_json:  # SQLite checks no JSON that is not asked for
            return f"coalesce(CASE WHEN json_valid({text}) THEN {text} ELSE json_quote({text}) END, 'null')"
        quoted = f"CAST(to_json({text}) AS text)" if self._postgres else f"json_quote({text})"
        return f"coalesce({quoted}, 'null')"

    @property
    def _context(self) -> str:
        m = self.mapping
        if m.context:
            return f"CAST({self._column(m.context)} AS text)"
        if m.context_columns:
            # A column that is NULL is a key that is not there: `defaults` fill it in, schemas may miss it.
            members = []
            for (key, name), kind in zip(m.context_columns, self.columns.context_columns, strict=True):
                column, value = self._column(name), self._json_value(self._column(name), kind)
                begin = _quoted("," + json.dumps(key, ensure_ascii=False) + ":")
                members.append(f"CASE WHEN {column} IS NULL THEN '' ELSE {begin} || {value} END")
            return f"'{{{{' || ltrim({' || '.join(members)}, ',') || '}}'"
        return "NULL"

    def _json_value(self, column: str, kind: str) -> str:
        if self._postgres:
            return f"CAST(to_json({column}) AS text)"
        if kind == "JSON":
            return f"CASE WHEN json_valid({column}) THEN {column} ELSE json_quote({column}) END"
        if kind == "BOOLEAN":
            return f"CASE {column} WHEN 0 THEN 'false' WHEN 1 THEN 'true' ELSE json_quote({column}) END"
        return f"json_quote({column})"

    def _own(self, name: str) -> str:
        return f"CAST({self._column(name)} AS text)" if name else "NULL"

    @property
    def _source(self) -> str:
        """The table's rows that are actors."""
        return self._among(())

    @property
    def _meant(self) -> list[str]:
        """Conditions on the table's own columns that tell which of its rows are looked at."""
        conditions = [f"({raw(c)})" for c in (self.mapping.where, self.where) if c]
        if self.mapping.own and self.definitions:
            conditions.append(f"definition IN ({', '.join(map(_quoted, self.definitions))})")
        return conditions

    def _among(self, more: Sequence[str]) -> str:
        conditions = [*self._meant, *more]
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
        elif self.mapping.version:
            return f"({self._version} IS NULL OR NOT {there})"
        return f"NOT {there}"

    @property
    def _needed(self) -> str:
        """Is the history of `a` read at all?"""
        if self.everyone:
            return "TRUE"
        return f"{self._status} IN {LIVE} AND {self._off_target}"

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
        """All items of the actor `a`, a JSON array as text; NULL where there are none."""
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
        its = _compared(self._id, self.columns.id, self.columns.actor, self._postgres)
        order = ", ".join(self._column(name, "e") for name in h.order)
        if self._postgres:
            return (
                f"(SELECT '[' || string_agg({self._item}, ',' ORDER BY {order}) || ']' FROM {rows} e"
                f" WHERE {actor} = {its} AND {self._needed})"
            )
        return (
            f"(SELECT '[' || group_concat(item, ',') || ']' FROM (SELECT {self._item} AS item FROM {rows} e"
            f" WHERE {actor} = {its} AND {self._needed} ORDER BY {order}))"
        )

    @property
    def _marked(self) -> str:
        """The markers of earlier runs, with how many items came before each; without those undone."""
        if not self.markers:
            return "NULL"
        if self._postgres:
            pair, gather = "json_build_array(d.events, c.marker)", "CAST(json_agg(x ORDER BY run) AS text)"
        else:
            pair, gather = "json_array(d.events, json(c.marker))", "nullif(json_group_array(json(x)), '[]')"
        # Mostly nothing has marked anybody yet: asked once, instead of looking for it actor by actor.
        others = "" if self.current is None else f" AND r.run <> {self.current:d}"
        any_marker = (
            "EXISTS (SELECT 1 FROM {runs} r JOIN {classes} c ON c.run = r.run AND c.marker IS NOT NULL"
            f" WHERE r.population = {self.population}{others})"
        )
        return (
            f"CASE WHEN {any_marker} THEN"
            f" (SELECT {gather} FROM (SELECT {pair} AS x, d.run FROM {{decisions}} d"
            " JOIN {classes} c ON c.run = d.run AND c.class = d.class AND c.marker IS NOT NULL"
            f" WHERE d.population = {self.population} AND d.actor = {self._id_text} AND NOT EXISTS"
            " (SELECT 1 FROM {decisions} u JOIN {runs} r ON r.run = u.run AND r.reverts = d.run"
            f" WHERE u.population = {self.population} AND u.actor = d.actor) ORDER BY d.run) m) END"
        )

    # --- reading ---

    @property
    def _select(self) -> str:
        return self._selecting(self._items) + self._source

    def _selecting(self, items: str) -> str:
        m = self.mapping
        history = self._column(m.has_history) if m.has_history else "NULL"
        definition = self._column(m.definition) if m.definition else "NULL"
        is_json = self.columns.state_kind == "json"
        return (
            f"SELECT {self._id_text}, {self._revision}, {definition}, {self._version}, {self._status},"
            f" {self._reason}, {self._state(self._column(m.state), is_json)}, {self._context},"
            f" {self._own(m.snapshot)}, {self._own(m.origin)}, {history}, {items}, {self._marked} FROM "
        )

    @property
    def fragments(self) -> Fragments:
        m = self.mapping
        return Fragments(
            self._source,
            self._id,
            self._id_text,
            self._column(m.definition) if m.definition else "NULL",
            self._version,
            self._status,
            self._reason,
            self._state(self._column(m.state), self.columns.state_kind == "json"),
        )

    def those(self, which: Bounds | Sequence[str]) -> tuple[str, list[Any]]:
        """A condition for a range or a list of ids ("" for all), and its values."""
        conditions, values = self._those(which)
        return " AND ".join(conditions), values

    def _those(self, which: Bounds | Sequence[str]) -> tuple[list[str], list[Any]]:
        """Conditions and values for a range or a list of ids."""
        conditions: list[str] = []
        values: list[Any] = []
        if isinstance(which, Bounds):
            for operator, bound in ((">", which.low), ("<=", which.high)):
                if bound is not None:
                    conditions.append(f"{self._id} {operator} {self.as_id()}")
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

    def read(self, which: Bounds | Sequence[str] = Bounds(), undecided: int | None = None) -> Rows:
        """The actors of a range or with these ids, by id; with `undecided` only those without a decision in
        that run."""
        if isinstance(which, Bounds) and undecided is None and self._is_dense():
            return self._read_dense(which)
        where, values = self._where(which, undecided)
        return Rows(self.store.rows(f"{self._select}{where} ORDER BY {self._id}", values))

    def _is_dense(self) -> bool:
        """Are most histories of the own table needed? Then those of a range are best read as one."""
        if self._dense is None:
            self._dense = False
            if self._postgres and self.mapping.own and not self.rescued:
                needed = " AND ".join([*self._meant, self._needed])
                found = self.store.one(
                    f"SELECT count(*), count(*) FILTER (WHERE {needed}) FROM {self.table} a"
                    " TABLESAMPLE SYSTEM (CASE WHEN pg_relation_size(%s) < 10000000 THEN 100 ELSE 1 END)",
                    (self.store.name("actors"),),
                )
                self._dense = found is not None and 2 * int(found[1]) >= int(found[0]) > 0
        return self._dense

    def _read_dense(self, bounds: Bounds) -> Rows:
        """A range whose histories are read in the order they lie in, and grouped on the way: half the cost
        of looking each of them up.

        Not by nested loops, which a wrong estimate would make quadratic, and which a FULL JOIN cannot
        be. It also gives events of actors that do not exist; these are left out here.
        """
        mine, values = self._those(bounds)
        theirs = " AND ".join(c.replace(self._id, "e.actor", 1) for c in mine) or "TRUE"
        items = f"'[' || string_agg({self._item}, ',' ORDER BY e.seq) || ']'"
        if self._only_types:
            plain = "count(e.state) = 0 AND count(e.item) = 0"
            items = f"CASE WHEN {plain} THEN CAST(json_agg(e.type ORDER BY e.seq) AS text) ELSE '' END"
        found = self.store.rows(
            self._selecting(f"CASE WHEN {self._needed} THEN h.items END")
            + self._among([c.replace("a.", "", 1) for c in mine])
            + f" FULL JOIN (SELECT e.actor, {items} AS items FROM {{events}} e WHERE {theirs}"
            " GROUP BY e.actor) h ON h.actor = a.id",
            [*values, *values],
        )
        if None in map(_id_of, found):
            found = [r for r in found if r[0] is not None]
        found.sort(key=_id_of)  # collation "C" is the order of code points
        if self._only_types and "" in map(_items_of, found):
            self._only_types = False
            return self._read_dense(bounds)
        return Rows(found)

    def named(self, id: str) -> str | None:
        """The id of the actor that is meant, as it is recorded; None where there is none, or the text is no
        id of the column's type."""
        where = f"{self._id} = {self.as_id()}"
        with suppress(StateKeepError):
            found = self.store.one(f"SELECT {self._id_text} FROM {self._source} WHERE {where}", (id,))
            return None if found is None else str(found[0])
        return None

    def ids_near(self, id: str, most: int = 250) -> list[str]:
        """Some ids around this one, for a guess at which was meant; the first ones where it is no id."""
        found: list[str] = []
        for operator, order in ((">=", ""), ("<", " DESC")):
            with suppress(StateKeepError):
                rows = self.store.rows(
                    f"SELECT {self._id_text} FROM {self._source} WHERE {self._id} {operator} {self.as_id()}"
                    f" ORDER BY {self._id}{order} LIMIT %s",
                    (id, most),
                )
                found += [str(row[0]) for row in rows]
        return found

    def next_bound(self, after: str | None, size: int, undecided: int | None = None) -> str | None:
        """The id that ends a range of `size` actors after `after`, or of fewer where the table has other rows
        too; None where fewer are left."""
        where, values = self._where(Bounds(after), undecided)
        source = self._source
        if undecided is None and self._is_dense():  # then an index is all that is looked at
            source = f"{self.table} a"
        found = self.store.one(
            f"SELECT {self._id_text} FROM {source}{where} ORDER BY {self._id} LIMIT 1 OFFSET %s",
            [*values, size - 1],
        )
        return None if found is None else str(found[0])

    def left(self, undecided: int | None = None) -> int:
        """How many live actors are not on the target, and have no decision in a run, where one is given."""
        if undecided is not None and not self._newcomers():
            return 0
        where, values = self._where(Bounds(), undecided)
        condition = f"{self._status} IN {LIVE} AND {self._off_target}"
        where = f"{where} AND {condition}" if where else f" WHERE {condition}"
        found = self.store.one(f"SELECT count(*) FROM {self._source}{where}", values)
        return int(found[0]) if found else 0

    def _newcomers(self) -> bool:
        """Is anybody active and not on the target? Mostly nobody is after a run, and that is quicker to say
        than who has a decision; whoever was tagged before it began has been looked at by then."""
        # Counted, which several processes of the server share; a LIMIT would leave it to one.
        found = self.store.one(
            f"SELECT count(*) FROM {self._source} WHERE {self._status} = 'active' AND {self._off_target}"
        )
        return found is not None and found[0] > 0

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

    def standing(self) -> list[tuple[str, str, int, int]]:
        """(version, status, actors, how many of them are live and not on the target), as they are now."""
        left = f"sum(CASE WHEN {self._status} IN {LIVE} AND {self._off_target} THEN 1 ELSE 0 END)"
        rows = self.store.rows(
            f"SELECT {self._version}, {self._status}, count(*), {left} FROM {self._source}"
            " GROUP BY 1, 2 ORDER BY 1, 2"
        )
        return [(str(a), str(b), int(c), int(d)) for a, b, c, d in rows]

    def lock(self, which: Bounds | Sequence[str]) -> None:
        """Hold the rows until the transaction ends, so that what is read next cannot move."""
        if not self._postgres:
            return  # SQLite has one writer at a time
        conditions, values = self._those(which)
        self.store.execute(
            f"SELECT 1 FROM {self.table} a{_all(conditions)} ORDER BY {self._id} FOR NO KEY UPDATE", values
        )

    # --- writing ---

    def stored_state(self, state: str | None, exact: bool = False) -> str | None:
        """A state value as the state column holds it: JSON, or a path where the column is text; or what
        others write to a text column (`Spelling`).

        `exact`: the state is as a `Row` had it, and the column is to hold what it held then.
        """
        if state is None or self.columns.state_kind == "json":
            return state
        value = json.loads(state)
        if exact:  # whatever a text column held was quoted on its way here
            return None if value is None else str(value)
        spelling = self.columns.spelling
        if spelling == "json" or (spelling == "objects" and not isinstance(value, str)):
            return state
        path = single_path(value)
        # Only a name that reads back as the same place; a path's own escapes do not.
        return state if path is None else value if isinstance(value, str) else path


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


_INTEGERS = frozenset({"smallint", "integer", "bigint"})
_TEXTS = frozenset({"text", "character varying"})


def _compared(id: str, kind: str, actor: str, postgres: bool) -> str:
    """An id as it is compared with a history's actor key, so that an index on the key is of use."""
    if not postgres:
        # A text column would be read as numbers, all of it, for an id that is one.
        return f"CAST({id} AS TEXT)" if actor == "TEXT" and kind != "TEXT" else id
    if kind == actor or {kind, actor} <= _INTEGERS or {kind, actor} <= _TEXTS:
        return id
    return f"CAST({id} AS {actor})"


def _quoted(text: str) -> str:
    """A constant of ours as an SQL string."""
    return raw("'" + text.replace("'", "''") + "'")
