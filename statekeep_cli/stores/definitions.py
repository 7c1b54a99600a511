"""Definitions in the own tables, one per id and version."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal

from statekeep_cli.core.model import Definition, build, digest
from statekeep_cli.errors import StateKeepError
from statekeep_cli.stores.interface import Store

# What may be changed under one version: where actors go, and how their contexts are judged. Everything
# else is the machine that actors of this version have been running.
METADATA = ("migration", "stateMapping", "contextSchema", "$schema", "description")

Stored = Literal["added", "updated", "same"]


def machine_digest(config: Mapping[str, Any]) -> str:
    """The digest of a config without routing metadata and notes (`x-` keys)."""
    return digest({k: v for k, v in config.items() if k not in METADATA and not k.startswith("x-")})


def store_definition(store: Store, config: Mapping[str, Any]) -> Stored:
    """Stores a checked config under its id and version; what is there already may get new metadata.

    To be called within a transaction of the caller's. Raises `StateKeepError` where another machine is
    stored under the same id and version.
    """
    definition = build(config)
    key = (definition.id, str(definition.version))
    machine = machine_digest(config)
    text = _json(config, definition.label)
    found = store.one("SELECT machine, digest FROM {definitions} WHERE id = %s AND version = %s", key)
    if found is None:
        store.execute(
            "INSERT INTO {definitions} (id, version, machine, digest, config) VALUES (%s, %s, %s, %s, %s)",
            (*key, machine, definition.digest, text),
        )
        return "added"
    if found[0] != machine:
        raise StateKeepError(
            f"{store.address} has another machine stored as {definition.label}: two definitions with one"
            " version but different digests; give the changed one a new version"
        )
    if found[1] == definition.digest:
        return "same"
    store.execute(
        "UPDATE {definitions} SET digest = %s, config = %s WHERE id = %s AND version = %s",
        (definition.digest, text, *key),
    )
    return "updated"


def stored_configs(store: Store, id: str | None = None) -> list[dict[str, Any]]:
    """The configs of all stored definitions, or of those with one id, in the order they were added."""
    where, values = ("", ()) if id is None else (" WHERE id = %s", (id,))
    query = f"SELECT CAST(config AS text) FROM {{definitions}}{where} ORDER BY added_at, id, version"
    return [json.loads(text) for (text,) in store.rows(query, values)]


def stored_definitions(store: Store, id: str | None = None) -> list[Definition]:
    """All stored definitions, or those with one id, in the order they were added."""
    return [build(config) for config in stored_configs(store, id)]


def _json(config: Mapping[str, Any], label: str) -> str:
    try:
        text = json.dumps(config, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except ValueError:
        raise StateKeepError(
            f"{label} has a number that JSON does not know (infinite or NaN) and cannot be stored;"
            " write another value"
        ) from None
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair: JSON can say it, UTF-8 cannot
        return json.dumps(config, separators=(",", ":"))
    return text
