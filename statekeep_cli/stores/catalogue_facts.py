"""More of the catalogue, for checks: indexes, triggers, privileges, plans."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from statekeep_cli.errors import ConnectionLost, DatabaseUnavailable, StateKeepError
from statekeep_cli.stores.catalogue import Table, in_sqlite
from statekeep_cli.stores.interface import Store, raw


@dataclass(frozen=True, slots=True)
class Index:
    """`columns` are its columns in order, "" for an expression. `partial`: it holds some rows only."""

    columns: tuple[str, ...]
    unique: bool
    partial: bool


_INDEXES = """
SELECT ARRAY(
         SELECT coalesce(CAST(a.attname AS text), '')
         FROM unnest(CAST(i.indkey AS int2[])) WITH ORDINALITY k(number, place)
         LEFT JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.number AND k.number > 0
         WHERE k.place <= i.indnkeyatts ORDER BY k.place),
       i.indisunique, i.indpred IS NOT NULL
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am m ON m.oid = c.relam
WHERE i.indrelid = %s AND i.indisvalid AND m.amname IN ('btree', 'hash')
"""


def indexes(store: Store, table: Table) -> list[Index]:
    """Indexes that find rows by equality."""
    if store.kind == "postgres":
        return [Index(tuple(c), unique, partial) for c, unique, partial in store.rows(_INDEXES, (table.oid,))]
    schema, name = in_sqlite(store, table.name)
    found = []
    keys = store.rows(
        "SELECT name, upper(type) FROM pragma_table_info(%s, %s) WHERE pk > 0 ORDER BY pk", (name, schema)
    )
    if len(keys) == 1 and keys[0][1] == "INTEGER":
        found.append(Index((keys[0][0],), True, False))  # the row's number is no index, and better
    listed = store.rows('SELECT name, "unique", partial FROM pragma_index_list(%s, %s)', (name, schema))
    for index, unique, partial in listed:
        columns = store.rows("SELECT name FROM pragma_index_info(%s, %s) ORDER BY seqno", (index, schema))
        found.append(Index(tuple(c[0] or "" for c in columns), bool(unique), bool(partial)))
    return found


_TRIGGERS = """
SELECT CAST(t.tgname AS text), ARRAY(
         SELECT CAST(a.attname AS text) FROM pg_attribute a
         WHERE a.attrelid = t.tgrelid AND a.attnum = ANY(CAST(t.tgattr AS int2[])))
FROM pg_trigger t
WHERE t.tgrelid = %s AND NOT t.tgisinternal AND t.tgenabled IN ('O', 'A') AND t.tgtype & 16 <> 0
ORDER BY t.tgname
"""
_UPDATE_OF = re.compile(r"\bUPDATE\b(?:\s+OF\s+(?P<columns>.*?))?\s+ON\b", re.I | re.S)


def update_triggers(store: Store, table: Table, columns: Iterable[str]) -> list[str]:
    """Names of triggers that an UPDATE of some of these columns sets off; without StateKeep's own."""
    written = set(columns)
    found: list[tuple[str, set[str]]] = []
    if store.kind == "postgres":
        found = [(name, set(of)) for name, of in store.rows(_TRIGGERS, (table.oid,))]
    else:
        schema, name = in_sqlite(store, table.name)
        statement = (
            f"SELECT name, sql FROM {raw(store.quote(schema))}.sqlite_master"
            " WHERE type = 'trigger' AND tbl_name = %s COLLATE NOCASE ORDER BY name"
        )
        for trigger, sql in store.rows(statement, (name,)):
            on = _UPDATE_OF.search(re.split(r"\bBEGIN\b", sql, maxsplit=1, flags=re.I)[0])
            if on:
                of = (on["columns"] or "").split(",")
                found.append((trigger, {c.strip().strip('"`[]') for c in of if c.strip()}))
    return [name for name, of in found if (not of or of & written) and not name.startswith("statekeep")]


def column_privileges(store: Store, table: Table, columns: Iterable[str], privilege: str) -> list[str]:
    """Those of the columns (`xmin` may be one) for which the user lacks a privilege; Postgres only."""
    wanted = list(dict.fromkeys(columns))
    rows = store.rows(
        "SELECT c FROM unnest(CAST(%s AS text[])) c WHERE NOT has_column_privilege(CAST(%s AS oid), c, %s)",
        (wanted, table.oid, privilege),
    )
    lacking = {r[0] for r in rows}
    return [c for c in wanted if c in lacking]


def table_privileges(store: Store, names: Sequence[str], privilege: str) -> list[str]:
    """Those of the tables (as SQL text) for which the user lacks a privilege; Postgres only."""
    rows = store.rows(
        "SELECT t FROM unnest(CAST(%s AS text[])) t WHERE NOT has_table_privilege(t, %s)",
        (list(names), privilege),
    )
    lacking = {r[0] for r in rows}
    return [n for n in names if n in lacking]


def user(store: Store) -> str:
    """The database user as SQL text; "" with SQLite."""
    if store.kind == "sqlite":
        return ""
    row = store.one("SELECT current_user")
    return store.quote(str(row[0])) if row else ""


def read_only(store: Store) -> str:
    """Why nothing can be written here, or ""."""
    if store.kind == "sqlite":
        return "" if os.access(store.address, os.W_OK) else "the file is read-only"
    # The reset value, since a store opened for reading has a setting of its own.
    row = store.one(
        "SELECT pg_is_in_recovery(), reset_val FROM pg_settings WHERE name = 'default_transaction_read_only'"
    )
    if row and row[0]:
        return "the server is a replica"
    return "transactions are read-only by default" if row and row[1] == "on" else ""


def refused(store: Store, select: str) -> tuple[str, str]:
    """What the database says against a SELECT (SQL of the configuration's owner), with the finding's code:
    DB007, or DB008 where it lacks a privilege; ("", "") where it says nothing."""
    try:
        # A limit with a place, so that percent signs are read in the same way in every statement.
        store.rows(f"EXPLAIN SELECT * FROM ({raw(select)}\n) AS s LIMIT %s", (1,))
    except ConnectionLost:
        raise
    except StateKeepError as error:
        return "DB008" if isinstance(error, DatabaseUnavailable) else "DB007", said(error)
    return "", ""


def said(error: StateKeepError) -> str:
    """The database's own words behind an error."""
    cause: Any = error.__cause__
    primary = getattr(getattr(cause, "diag", None), "message_primary", None)
    return " ".join(str(primary or cause or error.message).split())


def scanned(store: Store, actors: str, key: str, rows: str, actor: str, actor_type: str) -> list[str]:
    """Tables that are read from end to end to find one actor's rows of a query.

    `actors` and `rows` are SQL of tables, `key` and `actor` quoted columns in them. Seq scans are
    forbidden while Postgres plans, so that a small table does not look like one without an index.
    """
    its = f"a.{key}" if store.kind == "sqlite" else f"CAST(a.{key} AS {actor_type})"
    select = raw(
        f"SELECT (SELECT count(*) FROM {rows} AS e WHERE e.{actor} = {its})"
        f" FROM (SELECT {key} FROM {actors}) AS a"
    )
    if store.kind == "sqlite":
        return _sqlite_scans(store.rows(f"EXPLAIN QUERY PLAN {select} LIMIT %s", (1,)))
    with store.transaction(read_only=True):
        store.execute("SET LOCAL enable_seqscan = off")
        row = store.one(f"EXPLAIN (FORMAT JSON) {select} LIMIT %s", (1,))
    plan = row[0] if row else []
    top = (json.loads(plan) if isinstance(plan, str) else plan)[0]["Plan"]
    return sorted(set(_scans(top, False)))


def _scans(plan: dict[str, Any], inside: bool) -> Iterable[str]:
    inside = inside or plan.get("Parent Relationship") in ("SubPlan", "InitPlan")
    if inside and plan["Node Type"] == "Seq Scan":
        yield str(plan.get("Relation Name", plan.get("Alias", "?")))
    for below in plan.get("Plans", []):
        yield from _scans(below, inside)


_SCAN = re.compile(r"SCAN (?:TABLE |SUBQUERY )?(\S+)|SEARCH (?:TABLE )?(\S+) .*AUTOMATIC")


def _sqlite_scans(rows: Iterable[Sequence[Any]]) -> list[str]:
    inside: set[int] = set()
    found = set()
    for number, parent, _, detail in rows:
        if parent in inside or "CORRELATED" in detail:
            inside.add(number)
        scan = _SCAN.match(detail)
        if number in inside and scan:
            found.add(scan[1] or scan[2])
    return sorted(found)
