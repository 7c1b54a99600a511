"""Verifies a mapping against a live database: `statekeep check --db`.

Nothing is written, and nothing is read without a bound: the catalogue, plans of statements that are not
run, and the states of the first rows.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress

from statekeep_cli.core.check_finding import did_you_mean, listed
from statekeep_cli.core.mapping import HistoryMapping, Mapping, Name
from statekeep_cli.core.model import Definition
from statekeep_cli.errors import ConnectionLost, DatabaseUnavailable, StateKeepError
from statekeep_cli.stores import catalogue_facts as facts
from statekeep_cli.stores.catalogue import (
    Column,
    Table,
    describe,
    history_columns,
    names,
    query_type,
    revision_kind,
    used_columns,
)
from statekeep_cli.stores.catalogue_finding import DatabaseFinding as Finding
from statekeep_cli.stores.catalogue_finding import grant
from statekeep_cli.stores.catalogue_own import own_tables
from statekeep_cli.stores.catalogue_values import MAX_ROWS, unknown_values, unwritable
from statekeep_cli.stores.interface import Store, raw


def check_database(store: Store, mapping: Mapping, definitions: Sequence[Definition] = ()) -> list[Finding]:
    """Every finding about a mapping (`OWN` for own tables) and the definitions it is to be used with.

    Raises `DatabaseUnavailable` where the database does not answer.
    """
    found = list(own_tables(store, mapping))
    if not (mapping.own and any(f.code == "DB013" for f in found)):
        table, missing = _table(store, mapping.table, ("actors", "table"))
        found += missing
        if table is not None:
            found += _actors(store, mapping, table)
            found += _history(store, mapping, table)
            usable = not any(f.pointer[:1] == ("actors",) and f.severity == "error" for f in found)
            if usable and definitions:
                found += unwritable(store, mapping, table, definitions)
                found += unknown_values(store, mapping, table, definitions)
    why = facts.read_only(store)
    if why:
        found.append(
            Finding("DB010", (), f"{why}: preview works here, apply does not", "apply on the primary server")
        )
    return found


# --- tables and columns ------------------------------------------------------------------------------


def _table(store: Store, name: Name, pointer: tuple[str, ...]) -> tuple[Table | None, list[Finding]]:
    written = ".".join(name)
    try:
        table = describe(store, name)
    except ConnectionLost:
        raise
    except DatabaseUnavailable as error:
        user = facts.user(store)
        sql = f"GRANT USAGE ON SCHEMA {store.quote(name[0])} TO {user};" if len(name) == 2 else ""
        return None, [Finding("DB008", pointer, f"{written}: {facts.said(error)}", "", sql)]
    if table is None:
        hint = did_you_mean(written, names(store, name), "write it as the database has it, with its schema")
        return None, [Finding("DB001", pointer, f"there is no table {written}", hint)]
    return table, []


def _columns(table: Table, wanted: Sequence[tuple[str, str]], part: str) -> Iterator[Finding]:
    for key, column in wanted:
        if column not in table.columns:
            hint = did_you_mean(column, table.columns, f"it has {listed(table.columns, 'and', 12)}")
            pointer = (part, *key.split(".", 1))
            yield Finding("DB002", pointer, f"{'.'.join(table.name)} has no column '{column}'", hint)


def _actors(store: Store, mapping: Mapping, table: Table) -> Iterator[Finding]:
    used = used_columns(mapping)
    missing = list(_columns(table, used, "actors"))
    yield from missing
    have = {key: table.columns[column] for key, column in used if column in table.columns}
    yield from _types(mapping, table, have)
    if mapping.id in table.columns:
        yield from _identity(store, mapping, table)
    if mapping.own:
        return
    yield from _revision(store, mapping, table)
    lacking = list(_privileges(store, mapping, table)) if store.kind == "postgres" else []
    yield from lacking
    if mapping.where and not missing and not any(f.code == "DB008" for f in lacking):
        yield from _condition(store, "actors", table.sql, mapping.where)
    triggers = facts.update_triggers(store, table, _written(mapping))
    if triggers:
        noun = "trigger" if len(triggers) == 1 else "triggers"
        message = f"{'.'.join(table.name)} has the {noun} {listed(triggers)}, set off by each migrated actor"
        yield Finding("DB011", ("actors", "table"), message, "make sure that it is meant to run then")


def _condition(store: Store, part: str, rows: str, where: str) -> Iterator[Finding]:
    code, said = facts.refused(store, f"SELECT 1 FROM {rows} AS t WHERE ({where}\n)")
    if said:
        hint = f"it is a condition on the columns of the {'history' if part == 'history' else 'table'}"
        yield Finding(code, (part, "where"), f"'where' is refused: {said}", hint)


def _written(mapping: Mapping) -> list[str]:
    """Columns that apply may write."""
    context = [mapping.context, *(column for _, column in mapping.context_columns)]
    columns = [mapping.state, mapping.version, mapping.revision, mapping.reason, *context]
    return list(dict.fromkeys(c for c in columns if c))


_KINDS = {
    "state": ("text", "enum", "json"),
    "version": ("text", "integer"),
    "context": ("json", "text"),
    "rescue": ("text",),
}
_SAID = {
    "state": "text, an enum, json or jsonb",
    "version": "text or an integer",
    "context": "json or jsonb",
    "rescue": "text",
}


def _types(mapping: Mapping, table: Table, have: dict[str, Column]) -> Iterator[Finding]:
    for key, kinds in _KINDS.items():
        column = have.get(key)
        if column is None:
            continue
        # A json column of SQLite is text by its declaration; Postgres knows better.
        text_context = key == "context" and column.kind == "text" and bool(table.oid)
        if column.kind not in kinds or text_context:
            message = (
                f"'{column.name}' is {column.declared or 'without a type'}, and {key} must be {_SAID[key]}"
            )
            yield Finding("DB003", ("actors", key), message, "name another column")
    for key, column in have.items():
        if column.generated and column.name in _written(mapping):
            message = f"'{column.name}' is generated by the database and cannot be written"
            yield Finding("DB003", ("actors", *key.split(".", 1)), message, "name the column behind it")
    reason = have.get("rescue")
    if reason is not None and not reason.nullable and not mapping.own:
        sql = f'ALTER TABLE {table.sql} ALTER COLUMN "{reason.name}" DROP NOT NULL;' if table.oid else ""
        message = f"'{reason.name}' may not be NULL, as it is for an actor that needs no rescue"
        yield Finding("DB003", ("actors", "rescue"), message, "let it be NULL, or leave 'rescue' out", sql)


def _identity(store: Store, mapping: Mapping, table: Table) -> Iterator[Finding]:
    pointer, where = ("actors", "id"), ".".join(table.name)
    unique = any(
        i.unique and not i.partial and i.columns == (mapping.id,) for i in facts.indexes(store, table)
    )
    if not unique:
        if table.what != "table":
            message = f"whether '{mapping.id}' is unique cannot be seen: {where} is a {table.what} table"
            yield Finding("DB017", pointer, message.replace("view table", "view"), "make sure that it is")
            return
        message = (
            f"'{mapping.id}' is not unique in {where}: it has no primary key or unique index on it alone"
        )
        column, concurrently = store.quote(mapping.id), " CONCURRENTLY" if store.kind == "postgres" else ""
        sql = f"CREATE UNIQUE INDEX{concurrently} ON {table.sql} ({column});"
        if store.kind == "sqlite":
            index = store.quote(f"{mapping.table[-1]}_{mapping.id}")
            sql = f"CREATE UNIQUE INDEX {index} ON {table.sql} ({column});"
        yield Finding("DB004", pointer, message, "name the key's column, or make it unique", sql)
    elif (
        table.columns[mapping.id].nullable
        and not mapping.own
        and _has_null(store, mapping, table, mapping.id)
    ):
        message = f"{where} has rows whose '{mapping.id}' is NULL"
        yield Finding("DB004", pointer, message, "leave them out with 'where', or give them ids")


def _revision(store: Store, mapping: Mapping, table: Table) -> Iterator[Finding]:
    pointer = ("actors", "revision")
    integer = "bigint" if store.kind == "postgres" else "INTEGER"
    sql = f"ALTER TABLE {table.sql} ADD COLUMN revision {integer} NOT NULL DEFAULT 0;"
    if not mapping.revision:
        if store.kind == "sqlite":
            message = "SQLite has no xmin, so 'revision' is required; comparing the old state is not enough"
            hint = "name a column that every write changes; if you add one, your writers must count it up"
            yield Finding("DB005", pointer, message, hint, sql)
        elif table.what in ("view", "foreign"):
            message = f"{'.'.join(table.name)} is a {table.what} and has no xmin, so 'revision' is required"
            yield Finding("DB005", pointer, message.replace("a foreign and", "a foreign table and"))
        return
    column = table.columns.get(mapping.revision)
    if column is None:
        return
    if revision_kind(mapping, table) == "other":
        message = f"'{column.name}' is {column.declared}: StateKeep cannot give it a new value with a write"
        xmin = ", or leave 'revision' out to use xmin" if store.kind == "postgres" else ""
        sql = "" if xmin else sql
        yield Finding("DB005", pointer, message, f"name an integer, a timestamp or a uuid{xmin}", sql)
    elif column.kind == "timestamp" and re.search(r"\([0-2]\)", column.declared):
        message = f"'{column.name}' is {column.declared}: two writes may come at one time"
        yield Finding("DB005", pointer, message, "give it all six digits, or name another column")
    elif column.nullable and _has_null(store, mapping, table, mapping.revision):
        message = f"{'.'.join(table.name)} has rows whose '{column.name}' is NULL: it equals nothing"
        yield Finding("DB005", pointer, message, "fill it in for every row")


def _has_null(store: Store, mapping: Mapping, table: Table, column: str) -> bool:
    """Is it NULL somewhere among the first rows? False where that cannot be looked at."""
    where = f" WHERE ({raw(mapping.where)}\n)" if mapping.where else ""
    rows = f"SELECT {raw(store.quote(column))} AS c FROM {raw(table.sql)}{where} LIMIT %s"
    try:
        with store.transaction(read_only=True):
            found = store.one(f"SELECT 1 FROM ({rows}) AS t WHERE c IS NULL LIMIT 1", (MAX_ROWS,))
    except ConnectionLost:
        raise
    except StateKeepError:
        return False  # a privilege or a condition, and a finding of its own
    return found is not None


def _privileges(store: Store, mapping: Mapping, table: Table) -> Iterator[Finding]:
    user, pointer = facts.user(store), ("actors", "table")
    read = [c for _, c in used_columns(mapping) if c in table.columns]
    hidden = ["xmin"] if not mapping.revision and table.what in ("table", "partitioned") else []
    lacking = facts.column_privileges(store, table, [*read, *hidden], "SELECT")
    if lacking:
        yield grant("DB008", pointer, "SELECT", [table.sql], user, f"preview reads {listed(lacking)}")
    written = [c for c in _written(mapping) if c in table.columns]
    lacking = facts.column_privileges(store, table, written, "UPDATE")
    if lacking:
        message = f"{user} may not UPDATE {listed(lacking)} of {'.'.join(table.name)}: apply writes them"
        names = ", ".join(store.quote(c) for c in lacking)
        yield Finding("DB009", pointer, message, "", f"GRANT UPDATE ({names}) ON {table.sql} TO {user};")
    if table.what in ("table", "partitioned"):
        row = store.one("SELECT row_security_active(CAST(%s AS oid))", (table.oid,))
        if row and row[0]:
            message = f"row-level security of {'.'.join(table.name)} applies to {user}: actors may be hidden"
            hint = "use a user with BYPASSRLS, or make sure that its policies show every actor"
            yield Finding("DB012", pointer, message, hint)


# --- the history -------------------------------------------------------------------------------------


def _history(store: Store, mapping: Mapping, actors: Table) -> Iterator[Finding]:
    history = mapping.history
    if history is None or mapping.own:
        return
    if history.query:
        yield from _query(store, mapping, history, actors)
        return
    table, unknown = _table(store, history.table, ("history", "table"))
    yield from unknown
    if table is None:
        return
    missing = list(_columns(table, history_columns(history), "history"))
    yield from missing
    if store.kind == "postgres":
        user = facts.user(store)
        read = [c for _, c in history_columns(history) if c in table.columns]
        if facts.column_privileges(store, table, read, "SELECT"):
            yield grant("DB008", ("history", "table"), "SELECT", [table.sql], user, "preview reads them")
            return
    if missing:
        return
    if history.where:
        yield from _condition(store, "history", table.sql, history.where)
    if table.what in ("table", "partitioned") and mapping.id in actors.columns:
        yield from _index(store, mapping, history, table, actors)


def _index(
    store: Store, mapping: Mapping, history: HistoryMapping, table: Table, actors: Table
) -> Iterator[Finding]:
    if any(i.columns[:1] == (history.actor,) and not i.partial for i in facts.indexes(store, table)):
        return
    # The planner knows better still: a partial index may be the right one for 'where', and a column in
    # front that 'where' fixes (the content type in a generic log) is no obstacle.
    where = f" WHERE ({history.where}\n)" if history.where else ""
    rows, kind = f"(SELECT * FROM {table.sql}{where})", table.columns[history.actor].type
    with suppress(StateKeepError):
        key, actor = store.quote(mapping.id), store.quote(history.actor)
        if not facts.scanned(store, actors.sql, key, rows, actor, kind):
            return
    columns = ", ".join(store.quote(c) for c in dict.fromkeys((history.actor, *history.order)))
    if store.kind == "sqlite":
        name = store.quote(f"{table.name[-1]}_{history.actor}")
        sql = f"CREATE INDEX {name} ON {table.sql} ({columns});"
    else:
        # An index of a partitioned table cannot be built concurrently.
        how = " CONCURRENTLY" if table.what == "table" else ""
        sql = f"CREATE INDEX{how} ON {table.sql} ({columns});"
    message = (
        f"{'.'.join(table.name)} has no index that starts with '{history.actor}': every actor's history"
        " is looked for in the whole table"
    )
    yield Finding("DB006", ("history", "actor"), message, "create one before a large run", sql)


def _query(store: Store, mapping: Mapping, history: HistoryMapping, actors: Table) -> Iterator[Finding]:
    pointer = ("history", "query")
    code, said = facts.refused(store, history.query)
    if said:
        hint = "run it as it stands, as the same user"
        yield Finding(code, pointer, f"the query is refused: {said}", hint)
        return
    rows, broken = f"({history.query}\n)", list[Finding]()
    for key, column in history_columns(history):
        _, said = facts.refused(store, f"SELECT history.{store.quote(column)} FROM {rows} AS history")
        if said:
            message = f"the query has no column '{column}': {said}"
            broken.append(Finding("DB002", ("history", key), message, "name one of its columns"))
    if history.where and not broken:
        broken += _condition(store, "history", rows, history.where)
        rows = f"(SELECT * FROM {rows} AS t WHERE ({history.where}\n))"
    yield from broken
    if broken or mapping.id not in actors.columns:
        return
    actor, key = store.quote(history.actor), store.quote(mapping.id)
    try:
        kind = query_type(store, history.query, history.actor)
        scanned = facts.scanned(store, actors.sql, key, rows, actor, kind)
    except ConnectionLost:
        raise
    except StateKeepError as error:
        message = f"whether the query is cheap for one actor could not be seen: {facts.said(error)}"
        yield Finding("DB017", pointer, message, "look at its plan with a condition on one actor")
        return
    if scanned:
        message = f"to find one actor's events, the query reads all of {listed(scanned)}"
        hint = f"an index on what '{history.actor}' is there makes it cheap; look at the plan with EXPLAIN"
        yield Finding("DB006", pointer, message, hint)
