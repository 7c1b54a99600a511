"""A record of an export as rows of the own tables, and back: nothing is lost, whatever form it had.

The usual record is `{id, definition, version, status, state, context, history}` with a text id, a version
that is a number where it looks like one, and unknown keys at the end. What a record does otherwise is
remembered in the column `shape`:

| key     | says                                                                                |
|---------|-------------------------------------------------------------------------------------|
| keys    | the record's keys in their order                                                    |
| number  | true where the id is a number                                                       |
| text    | true where the version is text although it looks like a number                      |
| nulls   | known keys that are null                                                            |
| filled  | `definition` and `version` as they were filled in where it left them out or null   |
| as      | values beside a snapshot that say something else than the snapshot, as they were    |

A trace item is a row of `events`: `type`, `at` and `state` for `{type?, at?, state?}` in this order, a
bare string where there is a type only, and anything else whole in `item`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
from msgspec import Raw, Struct, field
from msgspec.json import Decoder, Encoder

from statekeep_cli.core.trace import SNAPSHOT_STATUSES, Actor

KNOWN = ("id", "definition", "version", "status", "snapshot", "state", "context", "history", "origin")
_KNOWN = frozenset(KNOWN)
_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)", re.ASCII)
# Spellings of state values and shapes that are remembered; forgotten when there are more.
MAX_SPELLINGS = 1 << 14

_decode: Decoder[Any] = Decoder()
_members: Decoder[dict[str, Raw]] = Decoder(dict[str, Raw])
_items: Decoder[list[Raw]] = Decoder(list[Raw])
_encode = Encoder().encode
_NULL = Raw(b"null")


class _Event(Struct, frozen=True, gc=False, omit_defaults=True):
    type: str | None = None
    at: str | None = None
    state: Raw = Raw()


_events: Decoder[list[str | _Event]] = Decoder(list[str | _Event])


class ActorRow(NamedTuple):
    """A row of `actors`, in the order of `ACTOR_COLUMNS`; JSON as text."""

    id: str
    definition: str
    version: str
    status: str
    state: str
    context: str | None
    snapshot: str | None
    origin: str | None
    has_history: bool
    reason: str | None
    shape: str | None
    extra: str | None


ACTOR_COLUMNS = ActorRow._fields

# (type, at, state, item): a row of `events` without its actor.
EventRow = tuple[str | None, str | None, str | None, str | None]
EVENT_COLUMNS = ("type", "at", "state", "item")


class Shape(Struct, frozen=True, gc=False, omit_defaults=True):
    """How a record was written (the column `shape`)."""

    keys: tuple[str, ...] = ()
    number: bool = False
    text: bool = False
    nulls: tuple[str, ...] = ()
    filled: dict[str, str] = field(default_factory=dict)
    beside: dict[str, Raw] = field(name="as", default_factory=dict)


_shape_of: Decoder[Shape] = Decoder(Shape)


class Unfit(ValueError):
    """A record that cannot be stored; the message says why."""


class Recorder:
    """Records -> rows. `definition` and `version` are for records that have none (None: such are unfit)."""

    def __init__(self, definition: str | None, version: str | None):
        self._definition = definition
        self._version = version
        self._spellings: dict[bytes, str] = {}
        self._shapes: dict[Any, str] = {}

    def row(self, actor: Actor[Any, Any], record: Mapping[str, Raw]) -> ActorRow:
        """The row of one record: as the reader settled it, and with everything in it."""
        has_history = actor.history is not None
        id = str(actor.id)
        if actor.redacted:
            raise Unfit(
                f"actor '{id}' comes from a redacted snapshot, which is for previews; import a whole export"
            )
        definition = self._definition if actor.definition is None else actor.definition
        version = self._version if actor.version is None else str(actor.version)
        if definition is None or version is None:
            what = "definition" if definition is None else "version"
            raise Unfit(f"actor '{id}' has no {what}; give the one definition it is of, or write it down")
        state = self._spelling(bytes(actor.state))
        context = _text(actor.context)
        origin = _text(actor.origin)
        snapshot, beside = None, {}
        if actor.snapshot:
            snapshot = kept_snapshot(bytes(actor.snapshot), actor.status)
            beside = self._beside(actor, record, state, context)
        reason = None
        extra = None
        if not record.keys() <= _KNOWN:
            rest = {key: raw for key, raw in record.items() if key not in _KNOWN}
            extra = _text(_encode(rest))
            if actor.status == "needs_rescue" and "rescue" in rest:
                reason = _reason(bytes(rest["rescue"]))
        row = ActorRow(
            id, definition, version, actor.status, state, context, snapshot, origin, has_history, reason,
            None, extra,
        )  # fmt: skip
        if any(text and "\0" in text for text in (id, definition, version, reason)):
            raise Unfit(f"actor {id!r}: a NUL character in its id, definition or version cannot be stored")
        keys = tuple(record)
        usual = _usual(row, has_history and "history" in record)
        form = (
            keys if keys != usual + tuple(k for k in keys if k not in _KNOWN) else None,
            type(actor.id) is int,
            type(actor.version) is str and _NUMBER.fullmatch(version) is not None,
            tuple(k for k in keys if k in _KNOWN and bytes(record[k]) == b"null"),
            definition if actor.definition is None else None,
            version if actor.version is None else None,
        )
        if form == _USUAL_FORM and not beside:
            return row
        return row._replace(shape=self._shape(form, keys, beside))

    def _spelling(self, raw: bytes) -> str:
        """A state value in one spelling, without spaces and needless escapes."""
        text = self._spellings.get(raw)
        if text is None:
            if len(self._spellings) >= MAX_SPELLINGS:
                self._spellings.clear()
            text = self._spellings[raw] = _encode(_decode.decode(raw)).decode()
        return text

    def _shape(self, form: Any, keys: tuple[str, ...], beside: dict[str, Raw]) -> str:
        found = None if beside else self._shapes.get((form, keys))
        if found is not None:
            return found
        _, number, text, nulls, definition, version = form
        filled = {k: v for k, v in (("definition", definition), ("version", version)) if v is not None}
        made = _line(_encode(Shape(keys, number, text, nulls, filled, beside))).decode()
        if not beside:
            if len(self._shapes) >= MAX_SPELLINGS:
                self._shapes.clear()
            self._shapes[form, keys] = made
        return made

    def _beside(
        self, actor: Actor[Any, Any], record: Mapping[str, Raw], state: str, context: str | None
    ) -> dict[str, Raw]:
        """What stands beside a snapshot saying something else, or the same in another order."""
        beside = {}
        if bytes(record.get("state", _NULL)) != b"null" and self._spelling(bytes(record["state"])) != state:
            beside["state"] = record["state"]
        if "context" in record and _text(record["context"]) not in (None, context):
            beside["context"] = record["context"]
        if "status" in record and bytes(record["status"]) != _encode(actor.status):
            beside["status"] = record["status"]
        return beside


_USUAL_FORM = (None, False, False, (), None, None)


def _reason(rescue: bytes) -> str | None:
    """The reason in the `rescue` of a record; it may be anything."""
    tag = _members.decode(rescue) if rescue.startswith(b"{") else {}
    return _plain(tag.get("reason"))


def event_rows(history: bytes) -> list[EventRow]:
    """The rows of a trace (a JSON array), in its order."""
    try:
        text = msgspec.json.format(history, indent=-1)
        items = _events.decode(text)
        # A NUL is text to JSON, and to no column.
        if _encode(items) == text and b"\\u0000" not in text:
            return [
                (item, None, None, None)
                if type(item) is str
                else (item.type, item.at, bytes(item.state).decode() or None, None)  # type: ignore[union-attr]
                if item.at is not None or item.state  # type: ignore[union-attr]
                else (item.type, None, None, _encode(item).decode())  # type: ignore[union-attr]
                for item in items
            ]
    except (msgspec.DecodeError, RecursionError):
        pass
    return [_event_row(bytes(raw)) for raw in _items.decode(history)]


def _event_row(raw: bytes) -> EventRow:
    """One item that may be anything the reader takes for one."""
    item = _decode.decode(raw) if raw.startswith(b'"') else _members.decode(raw)
    if isinstance(item, str):
        return (item, None, None, None) if "\0" not in item else (None, None, None, raw.decode())
    columns = {key: _plain(item.get(key)) for key in ("type", "at")}
    state = _text(item.get("state"))
    usual = [
        key for key in ("type", "at", "state") if (state if key == "state" else columns[key]) is not None
    ]
    if list(item) == usual and usual != ["type"]:
        return columns["type"], columns["at"], state, None
    return columns["type"], columns["at"], state, _line(raw).decode()


def record_of(row: ActorRow, revision: int, trace: Sequence[bytes], rescue: bytes | None) -> bytes:
    """The record of a row, its trace items as JSON and the tag of a rescued actor, on one line.

    An actor that nobody has moved (`revision` 0) comes out as it came in. Otherwise keys that it did not
    have, because they said nothing then, come out where they say something now.
    """
    shape = _shape_of.decode(row.shape) if row.shape else Shape()
    moved = revision != 0
    extra = {key: bytes(raw) for key, raw in _members.decode(row.extra).items()} if row.extra else {}
    if row.status == "needs_rescue" and rescue is not None:
        extra["rescue"] = rescue
    elif row.status != "needs_rescue" and moved:
        extra.pop("rescue", None)
    values = _values(row, shape, trace)
    said = _said(row, shape, moved, values)
    keys = list(shape.keys) if row.shape else list(_usual(row, row.has_history))
    keys += [key for key in KNOWN if key in said and key not in keys]
    keys += [key for key in extra if key not in keys]
    members = []
    for key in keys:
        if key in shape.beside and not moved:
            value: bytes | None = bytes(shape.beside[key])
        elif key in shape.nulls and key not in said:
            value = b"null"
        else:
            value = values.get(key, extra.get(key))
        if value is not None:
            members.append(_encode(key) + b":" + value)
    return b"{" + b",".join(members) + b"}"


def _values(row: ActorRow, shape: Shape, trace: Sequence[bytes]) -> dict[str, bytes]:
    """What each known key of a record has to say."""
    as_number = not shape.text and _NUMBER.fullmatch(row.version)
    values = {
        "id": row.id.encode() if shape.number else _encode(row.id),
        "definition": _encode(row.definition),
        "version": row.version.encode() if as_number else _encode(row.version),
        "status": _encode(row.status),
        "state": row.state.encode(),
    }
    if row.snapshot is not None:
        values["snapshot"] = whole_snapshot(row.snapshot, row.state, row.context, row.status)
    if row.context is not None:
        values["context"] = row.context.encode()
    if row.has_history:
        values["history"] = b"[" + b",".join(trace) + b"]"
    if row.origin is not None:
        values["origin"] = row.origin.encode()
    return values


def _said(row: ActorRow, shape: Shape, moved: bool, values: Mapping[str, bytes]) -> set[str]:
    """The known keys that a record must have now, whatever it had when it came in."""
    said = {
        key for key in ("definition", "version") if moved or shape.filled.get(key, "") != getattr(row, key)
    }
    if not row.shape:
        said.clear()  # they are there anyway
    said |= {"history", "origin", "snapshot"} & values.keys()
    parts = _members.decode(row.snapshot) if row.snapshot is not None else {}
    if "value" not in parts:
        said.add("state")
    if "context" not in parts and "context" in values:
        said.add("context")
    usual = SNAPSHOT_STATUSES if "status" in parts else ("active",)
    return said if row.status in usual else said | {"status"}


def trace_item(type: str | None, at: str | None, state: str | None, item: str | None) -> bytes:
    """The JSON of a row of `events`."""
    if item is not None:
        return item.encode()
    if at is None and state is None:
        return _encode(type)
    parts = []
    if type is not None:
        parts.append(b'"type":' + _encode(type))
    if at is not None:
        parts.append(b'"at":' + _encode(at))
    if state is not None:
        parts.append(b'"state":' + state.encode())
    return b"{" + b",".join(parts) + b"}"


def kept_snapshot(whole: bytes, status: str) -> str:
    """A persisted snapshot as the column `snapshot` keeps it: null in place of what other columns say.

    `status` is the actor's; a snapshot that says another keeps it.
    """
    parts = _members.decode(whole)
    parts["value"] = _NULL
    if "context" in parts:
        parts["context"] = _NULL
    if "status" in parts and bytes(parts["status"]) == _encode(status):
        parts["status"] = _NULL
    return _line(_encode(parts)).decode()


def whole_snapshot(kept: str, state: str, context: str | None, status: str) -> bytes:
    """The persisted snapshot of an actor, from its columns."""
    parts = {key: bytes(raw) for key, raw in _members.decode(kept).items()}
    parts["value"] = state.encode()
    if context is not None and "context" in parts:
        parts["context"] = context.encode()
    if parts.get("status") == b"null":
        # An actor is rescued while it is active; XState knows no such status.
        parts["status"] = _encode(status if status in SNAPSHOT_STATUSES else "active")
    return b"{" + b",".join(_encode(key) + b":" + value for key, value in parts.items()) + b"}"


def _usual(row: ActorRow, history: bool) -> tuple[str, ...]:
    """The known keys of a usual record."""
    keys: tuple[str, ...] = ("id", "definition", "version")
    if row.snapshot is not None:
        keys += ("snapshot",)
    else:
        keys += ("status", "state") if row.context is None else ("status", "state", "context")
    return keys + (("history",) if history else ()) + (("origin",) if row.origin is not None else ())


def _plain(raw: Raw | None) -> str | None:
    """A JSON string that a text column can hold."""
    data = b"" if raw is None else bytes(raw)
    if not data.startswith(b'"'):
        return None
    text: str = _decode.decode(data)
    return None if "\0" in text else text


def _text(raw: Any) -> str | None:
    """Raw JSON as the text of a column; None where there is none, or null."""
    data = bytes(raw) if raw else b""
    return None if data in (b"", b"null") else _line(data).decode()


def _line(data: bytes) -> bytes:
    """JSON on one line: between tokens a line break is as good as a space; within strings it is escaped."""
    if b"\n" in data or b"\r" in data:
        return data.replace(b"\n", b" ").replace(b"\r", b" ")
    return data
