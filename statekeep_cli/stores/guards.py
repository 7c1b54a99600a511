"""Triggers that teams may ask for: `db init --fence` and `db init --block-events`.

They are made as SQL text: run here on own tables, printed for the team's. Running it again replaces them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from typing import Literal

from statekeep_cli.core.mapping import OWN, Mapping
from statekeep_cli.errors import StateKeepError
from statekeep_cli.stores.catalogue import columns, relation
from statekeep_cli.stores.installing import named
from statekeep_cli.stores.interface import Store

# Its own writes may take an actor to a version it has been in: a revert, or an apply of an older definition.
_STALE = """\
CREATE OR REPLACE FUNCTION {function}() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
  IF EXISTS (
    SELECT 1 FROM statekeep.populations p
    JOIN statekeep.decisions d ON d.population = p.population AND d.actor = CAST(OLD.{id} AS text)
    JOIN statekeep.classes c ON c.run = d.run AND c.class = d.class AND c.outcome IN ('migrate', 'manual')
    WHERE p.name = {population}
      AND coalesce(c.marker -> 'from' ->> 'version', c.decision -> 'from' ->> 'version')
        = CAST(NEW.{version} AS text)
  ) THEN
    RAISE EXCEPTION 'actor % was migrated from version % to %, and a stale write would take it back',
      OLD.{id}, NEW.{version}, OLD.{version}
      USING HINT = 'Update the process that writes; statekeep revert undoes a migration.';
  END IF;
  RETURN NEW;
END
$body$;
CREATE OR REPLACE TRIGGER statekeep_fence BEFORE UPDATE ON {table}
  FOR EACH ROW WHEN (OLD.{version} IS DISTINCT FROM NEW.{version}
    AND current_setting('statekeep.reverting', true) IS DISTINCT FROM 'on')
  EXECUTE FUNCTION {function}();
"""

_SQLITE_STALE = """\
DROP TRIGGER IF EXISTS {trigger};
CREATE TRIGGER {trigger} BEFORE UPDATE OF {version} ON {table}
WHEN OLD.{version} IS NOT NEW.{version}
  AND NOT EXISTS (SELECT 1 FROM statekeep_meta WHERE reverting = 1)
  AND EXISTS (
    SELECT 1 FROM statekeep_populations p
    JOIN statekeep_decisions d ON d.population = p.population AND d.actor = CAST(OLD.{id} AS TEXT)
    JOIN statekeep_classes c ON c.run = d.run AND c.class = d.class AND c.outcome IN ('migrate', 'manual')
    WHERE p.name = {population}
      AND CAST(coalesce(json_extract(c.marker, '$.from.version'), json_extract(c.decision, '$.from.version'))
        AS TEXT) = CAST(NEW.{version} AS TEXT))
BEGIN
  SELECT RAISE(ABORT, 'the actor was migrated away from this version, and a stale write would take it back');
END;
"""

_RESCUED = """\
CREATE OR REPLACE FUNCTION {function}() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
  IF EXISTS ({rescued}) THEN
    RAISE EXCEPTION 'actor % needs rescue and takes no events until it is resolved', NEW.{actor}
      USING HINT = 'See statekeep rescue show; statekeep rescue resolve or retry sets it free.';
  END IF;
  RETURN NEW;
END
$body$;
CREATE OR REPLACE TRIGGER statekeep_block_events BEFORE INSERT ON {history}
  FOR EACH ROW EXECUTE FUNCTION {function}();
"""

_SQLITE_RESCUED = """\
DROP TRIGGER IF EXISTS {trigger};
CREATE TRIGGER {trigger} BEFORE INSERT ON {history}
WHEN EXISTS ({rescued})
BEGIN
  SELECT RAISE(ABORT, 'the actor needs rescue and takes no events until it is resolved');
END;
"""


def fence(store: Store, mapping: Mapping = OWN) -> str:
    """The SQL of a trigger that refuses to take an actor back to a version that a migration took it from.

    Writes of StateKeep itself are let through: on Postgres those of a transaction with the setting
    `statekeep.reverting` on, on SQLite those while `meta.reverting` is 1. Raises `StateKeepError` where
    the table has no version column.
    """
    if not mapping.version:
        raise StateKeepError(
            f"{mapping.name} has no version column that a stale write could set back (StateKeep keeps"
            " its actors' versions itself); leave --fence out"
        )
    parts = {
        "table": relation(store, mapping.table),
        "version": store.quote(mapping.version),
        "id": store.quote(mapping.id),
        "population": _literal(mapping.name),
    }
    if store.kind == "sqlite":
        trigger = store.quote(f"statekeep_fence_{mapping.table[-1]}")
        return _filled(_SQLITE_STALE, trigger=trigger, **parts)
    return _filled(_STALE, function=_function("refuse_stale_version", mapping), **parts)


def block_events(store: Store, mapping: Mapping = OWN) -> str:
    """The SQL of a trigger by which the history table refuses events of actors that need rescue.

    Raises `StateKeepError` where the history is no table.
    """
    history = mapping.history
    if history is None or not history.table:
        what = "comes from a query" if history is not None else "is not mapped"
        raise StateKeepError(
            f"the history of {mapping.name} {what}, so there is no table to refuse events;"
            " leave --block-events out"
        )
    name = relation(store, history.table)
    if store.kind == "sqlite":
        return _filled(
            _SQLITE_RESCUED,
            trigger=store.quote(f"statekeep_block_events_{history.table[-1]}"),
            history=name,
            rescued=_rescued(store, mapping, history.actor),
        )
    return _filled(
        _RESCUED,
        function=_function("refuse_events", mapping),
        history=name,
        actor=store.quote(history.actor),
        rescued=_rescued(store, mapping, history.actor),
    )


def _rescued(store: Store, mapping: Mapping, actor: str) -> str:
    """A query with a row where the actor of the row NEW needs rescue."""
    table, event = _qualified(store, mapping), f"NEW.{store.quote(actor)}"
    if not mapping.own and not mapping.reason:
        kept = named(store.kind, "{populations} p JOIN {marks} k ON k.population = p.population")
        return (
            f"SELECT 1 FROM {kept} WHERE p.name = {_literal(mapping.name)}"
            f" AND k.actor = CAST({event} AS text) AND k.status = 'needs_rescue'"
        )
    key = f"a.{store.quote(mapping.id)}"
    if store.kind == "postgres" and not mapping.own:
        types = columns(store, mapping)
        if types.actor != types.id:
            event = f"CAST(CAST({event} AS text) AS {types.id})"
    tagged = (
        f"a.{store.quote(mapping.status)} = 'needs_rescue'"
        if mapping.status
        else (f"a.{store.quote(mapping.reason)} IS NOT NULL")
    )
    return f"SELECT 1 FROM {table} a WHERE {key} = {event} AND {tagged}"


def _qualified(store: Store, mapping: Mapping) -> str:
    """The actors' table with its schema: a function that runs as its owner must not search for it."""
    name = relation(store, mapping.table)
    if store.kind == "sqlite" or len(mapping.table) > 1:
        return name
    found = store.one(
        "SELECT n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE c.oid = to_regclass(%s)",
        (name,),
    )
    return name if found is None else store.quote(found[0], *mapping.table)


def _function(name: str, mapping: Mapping) -> str:
    """One function per table of actors: its text names the columns."""
    return f"statekeep.{name}" + ("" if mapping.own else f"_{sha256(mapping.name.encode()).hexdigest()[:8]}")


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _filled(template: str, **parts: str) -> str:
    return re.sub(r"\{(\w+)\}", lambda found: parts[found.group(1)], template)


@contextmanager
def letting(store: Store, what: Literal["pruning", "reverting"]) -> Iterator[None]:
    """Within a transaction: the triggers let pass what they refuse to everybody else.

    `pruning` deletes decisions, `reverting` takes actors to versions they have been in.
    """
    if store.kind == "postgres":
        store.execute(f"SET LOCAL statekeep.{what} = 'on'")
        yield
        store.execute(f"SET LOCAL statekeep.{what} = 'off'")
    else:
        # Nobody sees it set: it is unset again before the transaction ends, or rolled back.
        store.execute(f"UPDATE {{meta}} SET {what} = 1")
        yield
        store.execute(f"UPDATE {{meta}} SET {what} = 0")
