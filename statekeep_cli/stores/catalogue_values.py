"""States and versions: those in a table that no definition has, and those a column cannot hold."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from statekeep_cli.core.check_finding import listed
from statekeep_cli.core.configuration import configuration_of
from statekeep_cli.core.mapping import Mapping
from statekeep_cli.core.model import Definition, join_path
from statekeep_cli.errors import ConnectionLost, StateKeepError
from statekeep_cli.stores.catalogue import Table
from statekeep_cli.stores.catalogue_facts import said
from statekeep_cli.stores.catalogue_finding import DatabaseFinding as Finding
from statekeep_cli.stores.interface import Store, raw

MAX_ROWS = 1_000_000  # looked at; a check is not a preview
MAX_VALUES = 1_000  # different states, times versions
_LENGTH = re.compile(r"\((\d+)\)\s*$")


# --- what is there -----------------------------------------------------------------------------------


def unknown_values(
    store: Store, mapping: Mapping, table: Table, definitions: Sequence[Definition]
) -> Iterator[Finding]:
    """Actors in states, or of versions, that none of the definitions has. The actors would strand."""
    try:
        values = _values(store, mapping, table, definitions)
    except ConnectionLost:
        raise
    except StateKeepError as error:
        message = f"the states in {'.'.join(table.name)} could not be looked at: {said(error)}"
        yield Finding("DB017", ("actors", "state"), message)
        return
    states: dict[str, int] = {}
    versions: dict[str, int] = {}
    for state, version, count in values:
        ofs = [d for d in definitions if not mapping.version or str(d.version) == version]
        if not ofs:
            name = "NULL" if version is None else str(version)
            versions[name] = versions.get(name, 0) + count
        elif not any(configuration_of(d, _value(state, mapping, table)) is not None for d in ofs):
            name = "NULL" if state is None else str(state)
            states[name] = states.get(name, 0) + count
    limit = f" among the first {MAX_ROWS:,} rows" if sum(c for *_, c in values) >= MAX_ROWS else ""
    if states:
        message = f"no definition has the {_counted('state', states)}{limit}"
        hint = "they would strand as snapshot_invalid; check the definitions, or leave them out with 'where'"
        yield Finding("DB014", ("actors", "state"), message, hint)
    if versions:
        message = f"no definition given is of the {_counted('version', versions)}{limit}"
        hint = "give the definitions of these versions too, as sources"
        yield Finding("DB015", ("actors", "version"), message, hint)


def _values(
    store: Store, mapping: Mapping, table: Table, definitions: Sequence[Definition]
) -> list[tuple[Any, Any, int]]:
    state = f"CAST({raw(store.quote(mapping.state))} AS text)"
    version = f"CAST({raw(store.quote(mapping.version))} AS text)" if mapping.version else "NULL"
    conditions, values = [], list[Any]()
    if mapping.where:
        conditions.append(f"({raw(mapping.where)}\n)")
    if mapping.own:
        places = ", ".join(["%s"] * len(definitions))
        conditions.append(f"status IN ('active', 'needs_rescue') AND definition IN ({places})")
        values = [d.id for d in definitions]
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    with store.transaction(read_only=True):
        return [
            (s, v, int(count))
            for s, v, count in store.rows(
                f"SELECT s, v, count(*) FROM (SELECT {state} AS s, {version} AS v"
                f" FROM {raw(table.sql)}{where} LIMIT %s) AS x GROUP BY s, v ORDER BY 3 DESC LIMIT %s",
                (*values, MAX_ROWS, MAX_VALUES),
            )
        ]


def _value(state: Any, mapping: Mapping, table: Table) -> Any:
    if not isinstance(state, str):
        return None
    if mapping.own or table.columns[mapping.state].kind == "json" or state.startswith("{"):
        try:
            return json.loads(state)
        except ValueError:
            return None
    return state


def _counted(noun: str, values: dict[str, int]) -> str:
    shown = [f"'{v[:60]}' ({c:,} {'actor' if c == 1 else 'actors'})" for v, c in values.items()]
    return f"{noun if len(values) == 1 else noun + 's'} {listed(shown)}"


# --- what must fit -----------------------------------------------------------------------------------


def unwritable(
    store: Store, mapping: Mapping, table: Table, definitions: Sequence[Definition]
) -> Iterator[Finding]:
    """States and versions of the target (the last definition) that the columns refuse."""
    if mapping.own:
        return
    target, column = definitions[-1], table.columns[mapping.state]
    if mapping.version:
        yield from _version(mapping, table, target)
    names = _names(target)
    if column.kind == "json" or not names:
        return
    pointer = ("actors", "state")
    length = _LENGTH.search(column.declared)
    too_long = [n for n in names if length and len(n) > int(length[1])] if table.oid else []
    if too_long and length:
        message = f"'{column.name}' is {column.declared}, too short for {listed([repr(n) for n in too_long])}"
        sql = f"ALTER TABLE {table.sql} ALTER COLUMN {store.quote(column.name)} TYPE text;"
        yield Finding("DB016", pointer, message, "make room before the new version needs it", sql)
    if column.kind == "enum":
        labels = [r[0] for r in store.rows(_LABELS, (table.oid, column.name))]
        missing = [n for n in names if n not in labels]
        if missing:
            message = f"the enum {column.type} has no {listed([repr(n) for n in missing], 'or')}"
            sql = "\n".join(f"ALTER TYPE {column.type} ADD VALUE {_quoted(n)};" for n in missing)
            yield Finding("DB016", pointer, message, "add what the new version needs", sql)
    elif table.oid:
        yield from _constraints(
            store, table, column.name, column.type, [n for n in names if n not in too_long]
        )


def _version(mapping: Mapping, table: Table, target: Definition) -> Iterator[Finding]:
    column, pointer = table.columns[mapping.version], ("actors", "version")
    version = str(target.version)
    length = _LENGTH.search(column.declared)
    if table.oid and column.kind == "integer" and not re.fullmatch(r"-?\d{1,18}", version):
        message = f"'{column.name}' is {column.declared}, and {target.id} is of version '{version}'"
        yield Finding("DB016", pointer, message, "use a text column, or versions that are numbers")
    elif length and column.kind == "text" and table.oid and len(version) > int(length[1]):
        message = f"'{column.name}' is {column.declared}, too short for version '{version}'"
        yield Finding("DB016", pointer, message, "make the column wider")


def _names(target: Definition) -> list[str]:
    """Every single place an actor may land on, as a text column holds it."""
    names = []
    for node in target.nodes[1:]:
        above = target.nodes_in(node.ancestors)
        if node.is_leaf and node.kind != "history" and all(n.kind == "compound" for n in above):
            names.append(join_path(node.path))
    return names


_LABELS = """
SELECT CAST(e.enumlabel AS text) FROM pg_attribute a
JOIN pg_type t ON t.oid = a.atttypid
JOIN pg_enum e ON e.enumtypid = CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE t.oid END
WHERE a.attrelid = %s AND a.attname = %s
"""
# CHECK constraints on the state column alone.
_CONSTRAINTS = """
SELECT CAST(c.conname AS text), pg_get_expr(c.conbin, c.conrelid) FROM pg_constraint c
JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attname = %s
WHERE c.conrelid = %s AND c.contype = 'c' AND c.conkey = ARRAY[a.attnum] ORDER BY c.conname
"""


def _constraints(store: Store, table: Table, column: str, kind: str, names: list[str]) -> Iterator[Finding]:
    for constraint, expression in store.rows(_CONSTRAINTS, (column, table.oid)):
        try:
            with store.transaction(read_only=True):
                # The constraint's own expression, evaluated by the database for each name.
                refused = [
                    r[0]
                    for r in store.rows(
                        f"SELECT n FROM (SELECT n, CAST(n AS {kind}) AS {raw(store.quote(column))}"
                        f" FROM unnest(CAST(%s AS text[])) n) AS x WHERE NOT ({raw(expression)})",
                        (names,),
                    )
                ]
        except ConnectionLost:
            raise
        except StateKeepError:
            continue  # it calls a function that wants a real row, or so
        if refused:
            message = f"the constraint {constraint} refuses {listed([repr(n) for n in refused])}"
            hint = f"widen it before the new version needs it; it says {expression}"
            yield Finding("DB016", ("actors", "state"), message, hint)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
