"""What a database's catalogue says about a table, and the column types that statements need.

`columns` is for those who read and write actors; `catalogue_check` builds its findings on `describe`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from statekeep_cli.core.check_finding import did_you_mean, listed
from statekeep_cli.core.mapping import OWN, HistoryMapping, Mapping, Name
from statekeep_cli.errors import StateKeepError
from statekeep_cli.stores.interface import Store, raw

Kind = Literal["text", "integer", "timestamp", "uuid", "json", "enum", "other"]
RevisionKind = Literal["integer", "timestamp", "uuid", "xmin", "other"]
StateKind = Literal["text", "json", "enum"]
# In a text column: `paid` and `packing.boxing`; `paid` and {"packing":"boxing"}; "paid" and the same.
Spelling = Literal["path", "objects", "json"]
SAMPLED = 1_000  # rows whose states tell how states are written


@dataclass(frozen=True, slots=True)
class Column:
    """One column. `type` is its type as SQL text without a length, safe to use in casts; `declared` is
    what its owner wrote."""

    name: str
    type: str
    declared: str
    kind: Kind
    nullable: bool = True
    generated: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """A table (or view) as the catalogue has it. `sql` is its quoted name; `where` says what it is."""

    name: Name
    sql: str
    what: Literal["table", "partitioned", "view", "foreign"]
    columns: dict[str, Column]
    oid: int = 0


@dataclass(frozen=True, slots=True)
class Columns:
    """Types of a mapping's columns as SQL text, "" where the mapping has no such column.

    `context` is the one json column's; `context_columns` are in the order of `Mapping.context_columns`, on
    SQLite JSON and BOOLEAN where that was declared, else the affinity. `spelling` is a text state's.
    `actor` is the type of the history's actor key, and `order` of the columns it is ordered by (both
    empty without a history; `order` also where it comes from a query).
    """

    id: str
    state: str
    version: str
    revision: str
    reason: str
    context: str
    context_columns: tuple[str, ...]
    actor: str
    order: tuple[str, ...]
    state_kind: StateKind
    version_kind: Literal["text", "integer", ""]
    revision_kind: RevisionKind
    spelling: Spelling = "path"


def columns(store: Store, mapping: Mapping) -> Columns:
    """The types of a mapping's columns.

    Raises `StateKeepError` (exit 1) naming every table and column that is missing.
    """
    table = describe(store, mapping.table)
    if table is None:
        raise _missing_table(store, mapping.table, mapping.own)
    if not mapping.revision and store.kind == "sqlite":
        raise StateKeepError(
            f"{mapping.name}: SQLite has no xmin, so 'revision' is required; name a column that changes"
            " with every write under actors.revision"
        )
    _require(table, used_columns(mapping), "actors", store.address)

    def type_of(name: str) -> str:
        return table.columns[name].type if name else ""

    actor, order = "", tuple[str, ...]()
    history = mapping.history
    if history is not None:
        actor, order = _history(store, history)
    version = table.columns[mapping.version].kind if mapping.version else ""
    state = table.columns[mapping.state].kind
    return Columns(
        id=type_of(mapping.id),
        state=type_of(mapping.state),
        version=type_of(mapping.version),
        revision=type_of(mapping.revision),
        reason=type_of(mapping.reason),
        context=type_of(mapping.context),
        context_columns=tuple(_context_type(store, table.columns[c]) for _, c in mapping.context_columns),
        actor=actor,
        order=order,
        # In own tables the state is JSON, whatever an SQLite column is declared as.
        state_kind="json" if mapping.own or state == "json" else "enum" if state == "enum" else "text",
        version_kind="" if not version else "integer" if version == "integer" else "text",
        revision_kind=revision_kind(mapping, table),
        spelling=_spelling(store, mapping, table) if state == "text" and not mapping.own else "path",
    )


def _context_type(store: Store, column: Column) -> str:
    if store.kind == "postgres":
        return column.type
    if column.kind == "json":
        return "JSON"
    return "BOOLEAN" if "BOOL" in column.declared.upper() else column.type


def _spelling(store: Store, mapping: Mapping, table: Table) -> Spelling:
    """How whoever writes this text column spells states, as the first rows have it: so must we."""
    column = raw(store.quote(mapping.state))
    where = f" WHERE ({raw(mapping.where)})" if mapping.where else ""
    rows = store.rows(
        f"SELECT DISTINCT s FROM (SELECT {column} AS s FROM {raw(table.sql)}{where} LIMIT %s) AS x LIMIT 100",
        (SAMPLED,),
    )
    found = {_spelled(text) for (text,) in rows}
    return "json" if "json" in found else "objects" if "objects" in found else "path"


def _spelled(text: Any) -> Spelling:
    """States of several regions are objects in every spelling, and say nothing."""
    if not isinstance(text, str) or not text.startswith(('"', "{")):
        return "path"
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return "path"
    if isinstance(value, str):
        return "json"
    while isinstance(value, dict) and len(value) == 1:
        (value,) = value.values()
    return "objects" if isinstance(value, str) else "path"


def used_columns(mapping: Mapping) -> list[tuple[str, str]]:
    """(key in the configuration, column) of the actors' table."""
    plain = (
        ("id", mapping.id),
        ("state", mapping.state),
        ("version", mapping.version),
        ("revision", mapping.revision),
        ("rescue", mapping.reason),
        ("context", mapping.context),
        ("definition", mapping.definition),
        ("status", mapping.status),
        ("snapshot", mapping.snapshot),
        ("origin", mapping.origin),
        ("has_history", mapping.has_history),
    )
    context = [(f"context.{key}", column) for key, column in mapping.context_columns]
    return [(key, column) for key, column in plain if column] + context


def history_columns(history: HistoryMapping) -> list[tuple[str, str]]:
    """(key in the configuration, column) of the history."""
    plain = (
        ("actor", history.actor),
        ("event", history.event),
        ("state", history.state),
        ("item", history.item),
    )
    order = [("order", column) for column in history.order]
    return [(key, column) for key, column in plain if column] + order


def revision_kind(mapping: Mapping, table: Table) -> RevisionKind:
    """What kind of value tells one write from the next."""
    if not mapping.revision:
        return "xmin"
    column = table.columns.get(mapping.revision)
    kind = column.kind if column else "other"
    return kind if kind in ("integer", "timestamp", "uuid") else "other"


def relation(store: Store, name: Name) -> str:
    """A table's name as SQL text; own tables carry their schema as SQLite wants it.

    It may hold any character: to compose it into a statement, escape it as `raw` does.
    """
    if name[:1] == OWN.table[:1] and len(name) == 2 and store.kind == "sqlite":
        return store.name(name[1])
    return store.quote(*name)


def describe(store: Store, name: Name) -> Table | None:
    """A table's facts, or None where there is no such table (or view)."""
    return _postgres(store, name) if store.kind == "postgres" else _sqlite(store, name)


def _require(table: Table, wanted: Sequence[tuple[str, str]], part: str, address: str) -> None:
    missing = [(key, column) for key, column in wanted if column not in table.columns]
    if not missing:
        return
    said = listed([f"'{column}' ({part}.{key})" for key, column in missing])
    key, column = missing[0]
    hint = did_you_mean(column, table.columns, f"correct {part}.{key} in the configuration")
    raise StateKeepError(f"{address}: {'.'.join(table.name)} has no column {said}; {hint}")


def _missing_table(store: Store, name: Name, own: bool) -> StateKeepError:
    if own:
        return StateKeepError(f"{store.address} has no StateKeep tables; run statekeep db init")
    hint = did_you_mean(".".join(name), names(store, name), "correct its name in the configuration")
    return StateKeepError(f"{store.address} has no table {'.'.join(name)}; {hint}")


def names(store: Store, like: Name) -> list[str]:
    """Tables there are, written as `like` is: with their schema or without."""
    if store.kind == "sqlite":
        return [r[0] for r in store.rows("SELECT name FROM sqlite_master WHERE type IN ('table', 'view')")]
    found = store.rows(
        "SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')"
        " AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'statekeep') LIMIT 1000"
    )
    return [".".join(r) if len(like) > 1 else r[1] for r in found]


def _history(store: Store, history: HistoryMapping) -> tuple[str, tuple[str, ...]]:
    """Types of the history's actor key and of the columns that order it."""
    if history.query:
        return query_type(store, history.query, history.actor), ()
    table = describe(store, history.table)
    if table is None:
        raise _missing_table(store, history.table, history.table[:1] == OWN.table[:1])
    _require(table, history_columns(history), "history", store.address)
    return table.columns[history.actor].type, tuple(table.columns[c].type for c in history.order)


def query_type(store: Store, query: str, column: str) -> str:
    """The type of a query's column. Raises `StateKeepError` where the query or the column is wrong."""
    name = raw(store.quote(column))
    part = f"(SELECT {name} FROM ({raw(query)}) AS history LIMIT 0)"
    if store.kind == "sqlite":
        store.rows(f"SELECT * FROM {part} LIMIT %s", (1,))
        return "TEXT"
    row = store.one(f"SELECT format_type(pg_typeof({part})::oid, -1) LIMIT %s", (1,))
    return str(row[0]) if row else "text"


# --- Postgres ----------------------------------------------------------------------------------------

# The type below a domain, with a type modifier of -1: a cast to varchar(20) would cut in silence, where
# an assignment complains.
_POSTGRES_COLUMNS = """
SELECT a.attname, format_type(b.oid, -1), format_type(a.atttypid, a.atttypmod), a.attnotnull,
       a.attgenerated <> '', b.typcategory, b.typname
FROM pg_attribute a
JOIN pg_type t ON t.oid = a.atttypid
JOIN pg_type b ON b.oid = CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE t.oid END
WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attnum
"""
_WHAT: dict[str, Literal["table", "partitioned", "view", "foreign"]] = {
    "r": "table",
    "p": "partitioned",
    "v": "view",
    "m": "view",
    "f": "foreign",
}
_POSTGRES_KINDS: dict[str, Kind] = {
    "int2": "integer",
    "int4": "integer",
    "int8": "integer",
    "timestamp": "timestamp",
    "timestamptz": "timestamp",
    "uuid": "uuid",
    "json": "json",
    "jsonb": "json",
}


def _postgres(store: Store, name: Name) -> Table | None:
    quoted = store.quote(*name)
    row = store.one(
        "SELECT c.oid::bigint, c.relkind FROM pg_class c WHERE c.oid = to_regclass(%s)", (quoted,)
    )
    if row is None or row[1] not in _WHAT:
        return None
    found = {}
    for column, short, declared, not_null, generated, category, base in store.rows(
        _POSTGRES_COLUMNS, (row[0],)
    ):
        kind = _POSTGRES_KINDS.get(base) or (
            "text" if category == "S" else "enum" if category == "E" else None
        )
        found[column] = Column(column, short, declared, kind or "other", not not_null, generated)
    return Table(name, quoted, _WHAT[row[1]], found, row[0])


# --- SQLite ------------------------------------------------------------------------------------------


def in_sqlite(store: Store, name: Name) -> tuple[str, str]:
    """A table's schema and name; own tables carry theirs as a prefix."""
    if name[:1] == OWN.table[:1] and len(name) == 2:
        return "main", store.name(name[1])
    return (name[0], name[1]) if len(name) == 2 else ("main", name[0])


def _sqlite(store: Store, name: Name) -> Table | None:
    schema, plain = in_sqlite(store, name)
    try:
        row = store.one(
            f"SELECT type, sql FROM {raw(store.quote(schema))}.sqlite_master"
            " WHERE type IN ('table', 'view') AND name = %s COLLATE NOCASE",
            (plain,),
        )
    except StateKeepError:
        return None  # no such schema
    if row is None:
        return None
    found = {}
    statement = 'SELECT name, type, "notnull", pk, hidden FROM pragma_table_xinfo(%s, %s)'
    for column, declared, not_null, key, hidden in store.rows(statement, (plain, schema)):
        json = re.search(rf"json_valid\(\s*[\"`\[]?{re.escape(column)}[\"`\]]?\s*[,)]", row[1] or "", re.I)
        affinity, kind = _affinity(declared or "")
        # An INTEGER PRIMARY KEY is the row's number, and that is never NULL.
        number = key == 1 and affinity == "INTEGER"
        found[column] = Column(
            column,
            affinity,
            declared or "",
            "json" if json else kind,
            not (not_null or number),
            hidden in (2, 3),
        )
    what: Literal["table", "view"] = "view" if row[0] == "view" else "table"
    return Table(name, relation(store, name), what, found)


def _affinity(declared: str) -> tuple[str, Kind]:
    """SQLite's affinity of a declared type (its documentation's rules, in their order), and the kind."""
    upper = declared.upper()
    if "INT" in upper:
        return "INTEGER", "integer"
    text = any(word in upper for word in ("CHAR", "CLOB", "TEXT"))
    kind: Kind = "text" if text or not upper else "other"
    if "JSON" in upper:
        kind = "json"
    elif "UUID" in upper or "GUID" in upper:
        kind = "uuid"
    elif "DATE" in upper or "TIME" in upper:
        kind = "timestamp"
    if text:
        return "TEXT", kind
    if not upper or "BLOB" in upper:
        return "BLOB", kind
    return ("REAL" if any(w in upper for w in ("REAL", "FLOA", "DOUB")) else "NUMERIC"), kind
