"""A team's own tables as an export: the records that `preview --actors` and `apply --actors` read.

StateKeep's own tables have their records written back as they came (`stores.exporting`); here a record is
made of what the mapping says, with the markers of earlier runs in the history.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from msgspec import Raw
from msgspec.json import Decoder, Encoder

from statekeep_cli.core.splice import members, spliced
from statekeep_cli.loading import spelled, unquoted
from statekeep_cli.stores.actors import Bounds
from statekeep_cli.stores.interface import Store
from statekeep_cli.stores.rows import Row
from statekeep_cli.stores.scope import Scope

BATCH = 5_000

_pieces: Decoder[list[Raw]] = Decoder(list[Raw])
_encode = Encoder().encode


def records(store: Store, scope: Scope, *, size: int = BATCH) -> Iterator[bytes]:
    """All actors of a mapped table by id, each a JSON object on a line; one view of the data throughout.

    Raises `StateKeepError` where a table or a column is missing.
    """
    actors = replace(scope, everyone=True).actors(store)
    history = scope.mapping.history
    empty = history is not None and history.no_rows == "empty"
    low: str | None = None
    with store.transaction(read_only=True, snapshot=True):
        while True:
            high = actors.next_bound(low, size)
            for row in actors.read(Bounds(low, high)):
                yield record_of(row, empty=empty) + b"\n"
            if high is None:
                return
            low = high


def record_of(row: Row, *, empty: bool = False) -> bytes:
    """One actor. `empty`: one without rows of history has an empty one, not none."""
    parts: dict[str, bytes | None] = {
        "id": _encode(row.id),
        "definition": None if row.definition is None else _encode(row.definition),
        "version": None if row.version is None else _version(row.version),
        "status": _encode(row.status),
        "state": unquoted(row.state.encode()),
        "context": row.context.encode() if row.context else None,
    }
    if row.items is not None or empty:
        # Markers alone are no history: one of unknown events would be claimed to be all of it.
        items = [_item(bytes(item)) for item in _pieces.decode(spelled(row))]
        parts["history"] = b"[" + b",".join(items) + b"]"
    if row.status == "needs_rescue":
        parts["rescue"] = _encode({"reason": row.reason})
    return spliced(b"{}", parts)


def _version(version: str) -> bytes:
    number = version.isascii() and version.isdigit() and str(int(version)) == version
    return version.encode() if number else _encode(version)


def _item(item: bytes) -> bytes:
    """A trace item as an export has it: what is null is left out, and JSON in a text column is JSON."""
    if not item.startswith(b"{"):
        return item
    edits: dict[str, bytes | None] = {}
    for key, value in members(item).items():
        if value == b"null":
            edits[key] = None
        elif key == "state":
            edits[key] = unquoted(value)
    return spliced(item, edits)
