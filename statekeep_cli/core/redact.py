"""An actor as a record that may leave the building (surface.md, `snapshot --redact`).

What stays is what decides: definition, version, status, state, event types with recorded states, markers,
remembered history, which children run. Ids become keyed hashes; times, reasons in words, unknown keys, inputs
of invokes and everything in contexts but the paths that are to be kept are gone.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from typing import Any

from msgspec import DecodeError, Raw, ValidationError
from msgspec.json import Decoder, Encoder

from statekeep_cli.core.model import Path, join_path, split_path
from statekeep_cli.core.trace import SNAPSHOT_STATUSES, Actor

ID_DIGITS = 32  # hexadecimal: 128 bits, so that no two of any number of actors meet

_encode = Encoder().encode
_members: Decoder[dict[str, Raw]] = Decoder(dict[str, Raw])
_PLACE = ("definition", "version", "state")


class Redaction:
    """One snapshot's way of writing actors. `key` is for the ids, and is to be forgotten with this object."""

    def __init__(self, key: bytes, keep: Iterable[str] = ()):
        self._key = key
        self._keep = tuple(dict.fromkeys(split_path(p) for p in keep))

    def id(self, id: str | int) -> str:
        """The same for the same actor within one snapshot, and in no other."""
        return hmac.new(self._key, str(id).encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()[
            :ID_DIGITS
        ]

    def record(self, actor: Actor[Any, Any]) -> bytes:
        """The redacted record of an actor with its types as text, on one line."""
        context, kept = None, None
        if actor.context and bytes(actor.context) != b"null":
            context, paths, whole = self.context(bytes(actor.context))
            kept = None if whole else [join_path(p) for p in paths]
        record = written(actor, self.id(actor.id), context)
        if kept is not None:
            record["redacted"] = {"kept": kept}
        return _encode(record)

    def context(self, raw: bytes) -> tuple[bytes | None, list[Path], bool]:
        """What is left of a context, the paths that are as they were, and whether nothing was removed.

        None of it is left where it is no object. A path through something that is no object is not kept: what
        stands on the way would be another value.
        """
        members = _object(raw)
        if members is None:
            return None, [], False
        kept: list[Path] = []
        left: dict[str, Any] = {}
        for path in self._keep:
            at, to = members, left
            for key in path[:-1]:
                if key not in at:
                    kept.append(path)  # there is nothing there, and that is kept
                    break
                inner = _object(bytes(at[key]))
                if inner is None:
                    break
                found = to.setdefault(key, {})
                if not isinstance(found, dict):  # all of it is kept already
                    kept.append(path)
                    break
                at, to = inner, found
            else:
                kept.append(path)
                if path[-1] in at:
                    to[path[-1]] = at[path[-1]]
        text = _encode(left)
        whole = {p[0] for p in kept if len(p) == 1} >= members.keys()
        return text, kept, whole


def written(actor: Actor[Any, Any], id: str | int, context: bytes | None) -> dict[str, Any]:
    """The parts of a record that decide, under this id and with this context."""
    record: dict[str, Any] = {"id": id}
    record |= {k: v for k in ("definition", "version") if (v := getattr(actor, k)) is not None}
    if actor.snapshot:
        parts = _members.decode(bytes(actor.snapshot))
        if actor.status not in SNAPSHOT_STATUSES:
            record["status"] = actor.status
        record["snapshot"] = _snapshot(parts, actor, context)
    else:
        record |= {"status": actor.status, "state": actor.state}
        if context is not None:
            record["context"] = Raw(context)
    if actor.history is not None:
        record["history"] = [_item(item) for item in actor.history]
    if actor.origin:
        record["origin"] = _place(actor.origin)
    return record


def _snapshot(parts: dict[str, Raw], actor: Actor[Any, Any], context: bytes | None) -> dict[str, Any]:
    found: dict[str, Any] = {"status": parts.get("status", "active"), "value": actor.state}
    if context is not None:
        found["context"] = Raw(context)
    found["historyValue"] = parts.get("historyValue", {})
    children = _object(bytes(parts.get("children", Raw(b"null"))))
    found["children"] = {name: _child(bytes(child)) for name, child in (children or {}).items()}
    return found


def _child(raw: bytes) -> dict[str, Any]:
    """A persisted child: what it is, without what it knows."""
    members = _object(raw) or {}
    src = members.get("src")
    return {"src": src} if src is not None and bytes(src).startswith(b'"') else {}


def _item(item: Any) -> Any:
    """A trace item without its time and a person's words."""
    if isinstance(item, str):
        return item
    if item.type == "migrated":
        return {"type": item.type, "from": _place(item.origin), "to": _place(item.to)}
    if item.type == "manual":
        return {"type": item.type, "to": item.to}
    if not item.state:
        return item.type
    return ({} if item.type is None else {"type": item.type}) | {"state": item.state}


def _place(raw: Raw) -> dict[str, Raw]:
    members = _members.decode(bytes(raw))
    return {key: members[key] for key in _PLACE if key in members}


def _object(raw: bytes) -> dict[str, Raw] | None:
    try:
        return _members.decode(raw)
    except (ValidationError, DecodeError, RecursionError):
        return None
